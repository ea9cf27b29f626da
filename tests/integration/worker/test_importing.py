"""Archives into a volume behind OpenSSH's sshd, and back."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flykeep.domain.errors import NotFoundError, RefusalError
from flykeep.ports.importing import FileSource, Placed, Placing
from flykeep.ports.store import StoreOrder
from tests.full import full
from tests.integration.worker.exporting import Keys, export_order, result_here
from tests.integration.worker.importing import Volume, artifact_source, compared
from tests.integration.worker.trees import build_tree
from tests.sshd import Sshd

PACKERS = {
    "gnu": ["tar", "-c", "-f"],
    "gnu gz": ["tar", "-c", "-z", "-f"],
    "gnu zst": ["tar", "-c", "--zstd", "-f"],
    "pax": ["tar", "-c", "--format=pax", "-f"],
    "busybox": ["busybox", "tar", "-c", "-f"],
    "busybox gz": ["busybox", "tar", "-c", "-z", "-f"],
}


@pytest.fixture
def volume(tmp_path: Path, sshd: Sshd) -> Volume:
    directory = tmp_path / "the target's volume"
    directory.mkdir()
    return Volume(directory, sshd)


@pytest.fixture
def gnu_volume(tmp_path: Path, gnu_sshd: Sshd) -> Volume:
    """Where the tar on the machine does not matter."""
    directory = tmp_path / "gnu volume"
    directory.mkdir()
    return Volume(directory, gnu_sshd)


def pack(tree: Path, into: Path, *, packer: str = "gnu", members: tuple[str, ...] = (".",)) -> FileSource:
    subprocess.run([*PACKERS[packer], str(into), "-C", str(tree), *members], check=True)
    return FileSource(str(into))


@pytest.mark.parametrize("is_encrypted", [True, pytest.param(False, marks=full("the same without age"))])
async def test_an_artifact_comes_back_as_it_was(
    volume: Volume, tree: Path, store: StoreOrder, keys: Keys, *, is_encrypted: bool
) -> None:
    build_tree(tree, small_files=120, large_bytes=3 << 20)
    order = export_order(volume.sshd.access(), tree, store, keys if is_encrypted else None)
    result = await result_here(order)
    build_tree(volume.directory, small_files=10, large_bytes=0)
    (volume.directory / "many" / "00" / "0.json").write_text("spoiled")
    (volume.directory / "stays").write_text("stays")
    before = volume.content()

    run_id = await volume.take_in(artifact_source(order, result, keys if is_encrypted else None))

    after, wanted = volume.content(), compared(tree)
    assert {path: after[path] for path in wanted} == wanted
    assert after.keys() - wanted.keys() == {b"stays"}

    assert await volume.place(run_id, Placing.UNDO) is Placed.UNDONE
    assert volume.content() == before
    assert await volume.place(run_id, Placing.DROP) is Placed.NOTHING
    assert volume.content() == before
    assert not volume.own()


@pytest.mark.parametrize(
    "packer",
    [packer if packer == "busybox gz" else pytest.param(packer, marks=full("every packer")) for packer in PACKERS],
)
async def test_a_tarball_of_any_make_comes_in_whole(volume: Volume, tree: Path, tmp_path: Path, packer: str) -> None:
    build_tree(tree, small_files=40, large_bytes=1 << 20)
    source = pack(tree, tmp_path / "archive", packer=packer)

    run_id = await volume.take_in(source)

    assert volume.content() == compared(tree)
    await volume.place(run_id, Placing.DROP)
    assert not volume.own()


async def test_a_tarball_without_folders_leaves_those_of_the_volume_as_they_are(
    gnu_volume: Volume, tree: Path, tmp_path: Path
) -> None:
    (tree / "agents" / "main").mkdir(parents=True)
    (tree / "agents" / "main" / "f").write_text("good")
    (gnu_volume.directory / "agents").mkdir(mode=0o711)
    source = pack(tree, tmp_path / "archive", members=("agents/main/f",))

    await gnu_volume.take_in(source)

    assert (gnu_volume.directory / "agents" / "main" / "f").read_text() == "good"
    assert gnu_volume.content()[b"agents"].mode == 0o711
    assert gnu_volume.content()[b"agents/main"].mode == 0o755


async def test_only_the_paths_that_were_asked_for_are_touched(volume: Volume, tree: Path, tmp_path: Path) -> None:
    build_tree(tree, small_files=5, large_bytes=0)
    (tree / "empty").chmod(0o750)
    (volume.directory / "many").mkdir(mode=0o700)
    (volume.directory / "secret").write_text("untouched")
    before = volume.content()
    source = pack(tree, tmp_path / "archive")

    await volume.take_in(source, paths=("many/0[12]/**", "empty/nested"))

    after, wanted = volume.content(), compared(tree)
    came = {b"many/01", b"many/01/1.json", b"many/02", b"many/02/2.json", b"empty/nested", b"empty"}
    assert after.keys() - before.keys() == came
    assert {path: after[path] for path in came - {b"empty"}} == {path: wanted[path] for path in came - {b"empty"}}
    assert after[b"empty"].mode == 0o750
    assert after[b"many"].mode == 0o700
    assert after[b"secret"] == before[b"secret"]


async def test_a_hard_link_needs_its_file(gnu_volume: Volume, tree: Path, tmp_path: Path) -> None:
    build_tree(tree, small_files=2, large_bytes=0)
    source = pack(tree, tmp_path / "archive", members=("many", "hard-link"))

    with pytest.raises(RefusalError, match=r"hard link to many/00/0\.json, which is not asked for"):
        await gnu_volume.stage(gnu_volume.order(source, paths=("hard-link",)))
    await gnu_volume.take_in(source, paths=("hard-link", "many/00/0.json"))

    assert (gnu_volume.directory / "hard-link").samefile(gnu_volume.directory / "many" / "00" / "0.json")


async def test_a_path_that_is_not_there_is_told_before_anything_is_sent(
    gnu_volume: Volume, tree: Path, tmp_path: Path
) -> None:
    (tree / "f").write_text("f")
    source = pack(tree, tmp_path / "archive")

    with pytest.raises(NotFoundError, match="nothing in the archive matches g, h"):
        await gnu_volume.stage(gnu_volume.order(source, paths=("g", "f", "h")))

    assert not gnu_volume.own()


async def test_what_earlier_imports_left_in_an_archive_is_not_brought_back(
    gnu_volume: Volume, tree: Path, tmp_path: Path
) -> None:
    (tree / "f").write_text("f")
    for folder in (".flykeep-old-X", ".flykeep-import-X"):
        (tree / folder).mkdir()
        (tree / folder / "g").write_text("g")
    source = pack(tree, tmp_path / "archive")

    order = gnu_volume.order(source)
    result = await gnu_volume.stage(order)
    await gnu_volume.place(order.run_id, Placing.MOVE)

    assert result.left_out == 4
    assert gnu_volume.content().keys() == {b"f"}
