"""Single files and whole trees out of artifacts: right or not at all, and never more than they need."""

from __future__ import annotations

import os
import random
import shutil
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.domain.errors import (
    ConfigError,
    IntegrityError,
    NotFoundError,
    RefusalError,
    UnpackError,
    UnsafeArchiveError,
)
from tests.integration.worker.artifacts import INDEX, OPERATOR, Made, Member, folder, made, member

MIB = 1 << 20


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


TREE: list[Member] = [
    folder(".", 0o750),
    folder("agents", 0o700),
    folder("agents/main"),
    member("agents/main/memory.md", noise(300_000, 1)),
    member("agents/main/empty"),
    member("agents/main/" + "n" * 150, b"long name"),
    member("crocbot.json", b'{"a": 1}\n'),
    member("link", kind=tarfile.SYMTYPE, to="/outside/of/it"),
    member("twin", kind=tarfile.LNKTYPE, to="agents/main/memory.md"),
    member("pipe", kind=tarfile.FIFOTYPE),
    member("zz", noise(200_000, 2), mode=0o600),
]


@pytest.fixture(params=["encrypted", "in the clear", "in parts"])
def artifact(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    return made(
        tmp_path / "store",
        TREE,
        is_encrypted=request.param != "in the clear",
        frame_bytes=100_000,
        parts=5 if request.param == "in parts" else 1,
    )


def files_in(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): stat.filemode(path.lstat().st_mode) for path in root.rglob("*")}


def test_a_whole_artifact_comes_out_as_it_went_in(artifact: Made, tmp_path: Path) -> None:
    result = artifact.extract(tmp_path / "out")

    assert files_in(tmp_path / "out") == {
        info.name: stat.filemode(mode_of(info)) for info, _ in TREE if info.name != "."
    }
    for info, content in TREE:
        if info.isreg():
            assert (tmp_path / "out" / info.name).read_bytes() == content
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750
    assert {int(path.lstat().st_mtime) for path in (tmp_path / "out").rglob("*")} == {1_700_000_000}
    assert int((tmp_path / "out").stat().st_mtime) == 1_700_000_000
    assert (tmp_path / "out" / "twin").samefile(tmp_path / "out" / "agents" / "main" / "memory.md")
    assert (result.entries, result.files) == (len(TREE), 5)
    assert result.content_bytes == sum(len(content) for _, content in TREE)


def mode_of(info: tarfile.TarInfo) -> int:
    kind = {tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK, tarfile.FIFOTYPE: stat.S_IFIFO}
    mode = 0o777 if info.issym() else info.mode
    return kind.get(info.type, stat.S_IFREG) | mode


def test_single_files_bring_their_folders_with_them(artifact: Made, tmp_path: Path) -> None:
    artifact.extract(tmp_path / "out", "agents/main/empty", "/crocbot.json")

    assert files_in(tmp_path / "out") == {
        "agents": "drwx------",
        "agents/main": "drwxr-xr-x",
        "agents/main/empty": "-rw-r--r--",
        "crocbot.json": "-rw-r--r--",
    }
    assert (tmp_path / "out" / "crocbot.json").read_bytes() == b'{"a": 1}\n'


def test_a_folder_means_all_below_it_and_globs_work_as_in_exports(artifact: Made, tmp_path: Path) -> None:
    artifact.extract(tmp_path / "tree", "agents/main/")
    artifact.extract(tmp_path / "glob", "**/*.md", "z?")
    assert len(files_in(tmp_path / "tree")) == 5
    assert sorted(files_in(tmp_path / "glob")) == ["agents", "agents/main", "agents/main/memory.md", "zz"]


def test_a_hard_link_alone_brings_the_content_of_the_file_that_was_not_asked_for(tmp_path: Path) -> None:
    names = ["twin", "more/twin"]
    links = [folder("more"), *(member(name, kind=tarfile.LNKTYPE, to="a/file") for name in names)]
    artifact = made(tmp_path / "store", [folder("a"), member("a/file", b"content"), *links, member("after", b"x")])

    artifact.extract(tmp_path / "out", *names)

    assert sorted(files_in(tmp_path / "out")) == ["more", "more/twin", "twin"]
    assert (tmp_path / "out" / "twin").read_bytes() == b"content"
    assert (tmp_path / "out" / "twin").samefile(tmp_path / "out" / "more" / "twin")


def test_one_file_costs_its_frames_and_no_more(tmp_path: Path) -> None:
    members = [member(f"file{number:03}", noise(MIB, number)) for number in range(24)]
    artifact = made(tmp_path / "store", members, frame_bytes=2 * MIB)

    result = artifact.extract(tmp_path / "out", "file009", "file021")

    assert [(tmp_path / "out" / name).read_bytes() for name in ("file009", "file021")] == [
        noise(MIB, 9),
        noise(MIB, 21),
    ]
    assert result.read_bytes < 12 * MIB + artifact.order.index.size_bytes


def test_what_is_in_the_way_is_not_replaced_unless_asked(artifact: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "agents").mkdir(parents=True, mode=0o755)
    (out / "agents" / "mine").write_bytes(b"mine")
    (out / "crocbot.json").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(b"untouched")
    before = files_in(out)

    with pytest.raises(RefusalError, match="stands where") as refused:
        artifact.extract(out)
    assert refused.value.facts == {"path": "crocbot.json"}
    assert files_in(out) == before

    artifact.extract(out, is_overwriting=True)
    assert (out / "crocbot.json").read_bytes() == b'{"a": 1}\n'
    assert (tmp_path / "elsewhere").read_bytes() == b"untouched"
    assert (out / "agents" / "mine").read_bytes() == b"mine"
    assert files_in(out)["agents"] == before["agents"]  # what was there keeps its mode


@pytest.mark.parametrize("kind", ["folder", "link to a folder"])
def test_a_folder_is_never_replaced_and_a_link_never_followed(artifact: Made, tmp_path: Path, kind: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    if kind == "folder":
        (out / "crocbot.json").mkdir()
    else:
        (out / "agents").symlink_to(elsewhere)
    before = files_in(out)

    with pytest.raises(RefusalError, match="stands where"):
        artifact.extract(out, is_overwriting=True)

    assert files_in(out) == before
    assert list(elsewhere.iterdir()) == []


def test_a_path_that_matches_nothing_or_leads_out_is_told(artifact: Made, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"matches crocbot.jsn, b/\*"):
        artifact.extract(tmp_path / "out", "crocbot.jsn", "zz", "b/*")
    with pytest.raises(ConfigError, match="not a path inside"):
        artifact.extract(tmp_path / "out", "../x")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("victim", ["data", "index", "frames", "cut"])
def test_damage_is_found_and_leaves_nothing(artifact: Made, tmp_path: Path, victim: str) -> None:
    path = (
        artifact.root / artifact.order.index.key if victim == "index" else artifact.path(-1 if victim == "cut" else 0)
    )
    content = bytearray(path.read_bytes())
    if victim == "cut":
        del content[-1]
    elif victim == "frames":
        content[:] = os.urandom(len(content))
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(IntegrityError):
        artifact.extract(tmp_path / "out")

    assert files_in(tmp_path / "out") == {} or not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "data",
    [
        [member("a", b"another thing"), member("b", b"2" * 13)],
        [member("b", b"1" * 13), member("a", b"2" * 13)],
        [member("a", b"1" * 600), member("b", b"2" * 13)],
        [folder("a"), member("b", b"2" * 13)],
        [member("a", b"1" * 13)],
    ],
)
def test_data_that_the_index_does_not_tell_of_is_never_restored(tmp_path: Path, data: list[Member]) -> None:
    told = [member("a", b"1" * 13), member("b", b"2" * 13)]
    artifact = made(tmp_path / "store", data, is_encrypted=False, indexed=told)
    with pytest.raises(IntegrityError):
        artifact.extract(tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


@pytest.mark.parametrize(
    "evil",
    [
        [member("../secret", b"x")],
        [member("/secret", b"x")],
        [member("d/../../secret", b"x")],
        [member("null", kind=tarfile.CHRTYPE)],
        [member("disk", kind=tarfile.BLKTYPE)],
        [member("h", kind=tarfile.LNKTYPE, to="../secret")],
        [member("l", kind=tarfile.SYMTYPE, to=".."), member("l/secret", b"x")],
    ],
)
def test_an_artifact_that_would_write_elsewhere_is_refused(tmp_path: Path, evil: list[Member]) -> None:
    (tmp_path / "yard").mkdir()
    (tmp_path / "yard" / "secret").write_bytes(b"untouched")
    artifact = made(tmp_path / "store", [member("good", b"good"), *evil])

    with pytest.raises(UnsafeArchiveError) as refused:
        artifact.extract(tmp_path / "yard" / "out")

    assert refused.value.exit_code == 7
    assert (tmp_path / "yard" / "secret").read_bytes() == b"untouched"
    assert files_in(tmp_path / "yard") == {"secret": "-rw-r--r--", "out": "drwxr-xr-x"}
    artifact.extract(tmp_path / "yard" / "out", "good")


def test_an_artifact_that_unpacks_to_more_than_its_manifest_says_is_a_bomb(artifact: Made, tmp_path: Path) -> None:
    totals = replace(artifact.order.totals, content_bytes=artifact.order.totals.content_bytes - 1)
    with pytest.raises(UnsafeArchiveError, match="bytes of files at most"):
        artifact.extract(tmp_path / "out", totals=totals)
    assert files_in(tmp_path / "out") == {}


def test_a_disk_without_room_is_told_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = made(tmp_path / "store", TREE)
    (tmp_path / "out").mkdir()
    full = os.statvfs(tmp_path)
    shrunk = os.statvfs_result((*full[:4], 0, *full[5:]))
    monkeypatch.setattr(os, "fstatvfs", lambda _: shrunk)
    with pytest.raises(RefusalError, match="no room"):
        artifact.extract(tmp_path / "out")


def test_a_directory_that_cannot_be_one_is_told(artifact: Made, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnpackError, match="cannot be used"):
        artifact.extract(tmp_path / "file")


def test_keys_are_needed_and_any_of_several_will_do(tmp_path: Path) -> None:
    artifact = made(tmp_path / "store", TREE)
    with pytest.raises(ConfigError, match="no identity"):
        artifact.extract(tmp_path / "out", identity=None)
    with pytest.raises(IntegrityError, match="another key"):
        artifact.extract(tmp_path / "out", identity=str(INDEX))
    artifact.extract(tmp_path / "out", "zz", index_identity=str(OPERATOR))
    artifact.extract(tmp_path / "out", "link", identity=f"{INDEX}\n{OPERATOR}")
    assert (tmp_path / "out" / "link").readlink() == Path("/outside/of/it")
    shutil.rmtree(tmp_path / "out")


async def test_a_worker_does_it_and_says_what_it_read(tmp_path: Path, workers: LocalWorkers) -> None:
    artifact = made(tmp_path / "store", TREE)
    order = replace(artifact.order, directory=str(tmp_path / "out"), paths=("zz",))
    phases: list[str] = []
    result = await workers.extract(order, on_progress=lambda progress: phases.append(progress.phase))
    assert (result.files, result.content_bytes) == (1, 200_000)
    assert phases[:2] == ["reading the index", "restoring files"]
    with pytest.raises(RefusalError):
        await workers.extract(order, on_progress=lambda _: None)
