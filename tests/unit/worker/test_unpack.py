"""Unpacking into a directory: what tar restores comes out the same, and evil archives write nothing anywhere else."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flykeep.domain.errors import FlykeepError, RefusalError, TruncatedStreamError, UnpackError, UnsafeArchiveError
from flykeep.domain.tar_stream import TarReader
from flykeep.domain.unpacking import OutsideLinks, UnpackGuard, UnpackLimits
from flykeep.worker.unpack import Unpacker, restores_owner

LIMITS = UnpackLimits(entries=100, content_bytes=1 << 20, tar_bytes=1 << 22)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """An empty directory inside a yard whose other content must stay as it is."""
    (tmp_path / "yard").mkdir()
    (tmp_path / "yard" / "secret").write_bytes(b"untouched")
    made = tmp_path / "yard" / "target"
    made.mkdir()
    before = facts(tmp_path / "yard" / "secret")
    yield made
    assert facts(tmp_path / "yard" / "secret") == before
    assert sorted(each.name for each in (tmp_path / "yard").iterdir()) == ["secret", "target"]


def facts(path: Path) -> tuple[bytes, int, int]:
    status = path.stat()
    return path.read_bytes(), status.st_nlink, status.st_mtime_ns


def unpack(
    data: bytes, target: Path, *, piece: int = 1000, links: OutsideLinks = OutsideLinks.REFUSE, owner: bool = False
) -> None:
    guard = UnpackGuard(LIMITS, outside_links=links)
    with Unpacker(target, guard, restores_owner=owner) as unpacker:
        reader = TarReader(lambda _: None, sink=unpacker)
        for at in range(0, len(data), piece):
            reader.feed(data[at : at + piece])
        reader.finish()
        unpacker.finish()


def archive(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=form) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return written.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, *, to: str = "", content: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, to, 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info, content


@pytest.mark.parametrize("piece", [1, 511, 1 << 20])
def test_what_gnu_tar_packs_comes_out_as_gnu_tar_unpacks_it(tmp_path: Path, target: Path, piece: int) -> None:
    source = tmp_path / "source"
    (source / "closed" / "deep").mkdir(parents=True)
    (source / "closed" / "deep" / "file").write_bytes(os.urandom(3000))
    (source / ("long" * 40)).write_bytes(b"")
    (source / "run").write_bytes(b"#!")
    (source / "run").chmod(0o4755)
    (source / "twin").hardlink_to(source / "run")
    (source / "link").symlink_to("closed/deep/file")
    (source / "out").symlink_to("/nowhere")
    os.link(source / "out", source / "out too", follow_symlinks=False)
    os.mkfifo(source / "pipe", 0o640)
    os.mkfifo(os.fsencode(source) + b"/\xff\n", 0o600)
    for path in (source / "run", source / "closed" / "deep", source / "closed", source):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (source / "closed").chmod(0o555)
    data = subprocess.run(
        ["tar", "-c", "--format=gnu", "--numeric-owner", "-C", source, "."], check=True, capture_output=True
    ).stdout

    unpack(data, target, piece=piece, links=OutsideLinks.KEEP, owner=restores_owner())

    by_tar = tmp_path / "by tar"
    by_tar.mkdir()
    subprocess.run(["tar", "-xp", "--numeric-owner", "-C", by_tar], input=data, check=True)
    assert described(target) == described(by_tar)
    assert (target / "twin").stat().st_ino == (target / "run").stat().st_ino


def described(root: Path) -> dict[str, tuple[object, ...]]:
    return {
        str(path.relative_to(root)): (
            (status := path.lstat()).st_mode,
            (status.st_uid, status.st_gid, status.st_nlink, int(status.st_mtime)),
            str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None,
        )
        for path in (root, *root.rglob("*"))
    }


EVIL = {
    "climbs": [member("../secret", content=b"x")],
    "climbs later": [member("a/b", content=b"x"), member("a/../../secret", content=b"x")],
    "absolute": [member("/secret", content=b"x")],
    "hard link outside": [member("h", tarfile.LNKTYPE, to="../secret"), member("h", content=b"x")],
    "symbolic link outside": [member("l", tarfile.SYMTYPE, to="../secret")],
    "through a link": [member("l", tarfile.SYMTYPE, to="d"), member("l/secret", content=b"x")],
    "character device": [member("null", tarfile.CHRTYPE)],
    "block device": [member("disk", tarfile.BLKTYPE)],
    "file for a folder": [member("a/b", content=b"x"), member("a", content=b"x")],
    "bomb": [member("a", content=bytes((1 << 20) + 1))],
    "many": [member(f"f{number}") for number in range(101)],
}


@pytest.mark.parametrize("members", EVIL.values(), ids=EVIL)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_evil_archive_is_refused_before_the_entry_is_written(
    target: Path, members: list[tuple[tarfile.TarInfo, bytes]], form: int
) -> None:
    with pytest.raises(UnsafeArchiveError):
        unpack(archive(*members, form=form), target)


def test_a_link_that_may_stay_is_still_never_followed(target: Path) -> None:
    data = archive(member("l", tarfile.SYMTYPE, to=".."), member("l/secret", content=b"x"))
    with pytest.raises(UnsafeArchiveError, match="above it"):
        unpack(data, target, links=OutsideLinks.KEEP)
    assert str((target / "l").readlink()) == ".."


def test_a_link_put_in_the_way_by_somebody_else_is_not_followed(target: Path) -> None:
    class Meddling(Unpacker):
        def end(self, entry: object) -> None:
            super().end(entry)  # type: ignore[arg-type]
            if not (target / "moved").exists():
                (target / "d").rename(target / "moved")
                (target / "d").symlink_to("..")

    data = archive(member("d/one", content=b"x"), member("e/two"), member("d/secret", content=b"x"))
    with Meddling(target, UnpackGuard(LIMITS), restores_owner=False) as unpacker:
        reader = TarReader(lambda _: None, sink=unpacker)
        with pytest.raises((UnsafeArchiveError, UnpackError)):
            reader.feed(data)


def test_the_last_of_two_files_with_one_path_stands_and_its_hard_link_keeps_the_first(target: Path) -> None:
    data = archive(member("a", content=b"1"), member("b", tarfile.LNKTYPE, to="a"), member("a", content=b"2"))
    unpack(data, target)
    assert ((target / "a").read_bytes(), (target / "b").read_bytes()) == (b"2", b"1")


def test_only_an_empty_directory_is_unpacked_into(target: Path) -> None:
    (target / "lost+found").mkdir()
    unpack(archive(member("a")), target)
    with pytest.raises(RefusalError, match="not empty"):
        unpack(archive(member("b")), target)
    with pytest.raises(FlykeepError):
        unpack(archive(), target / "a")


def test_a_stream_that_stops_is_told_and_leaves_no_file_open(target: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(TruncatedStreamError):
        unpack(archive(member("d/a", content=b"x" * 2000))[:1024], target)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_set_id_bits_survive_only_with_the_owner(target: Path) -> None:
    info, content = member("run")
    info.mode = 0o6755
    unpack(archive((info, content)), target, owner=False)
    assert stat.S_IMODE((target / "run").stat().st_mode) == 0o755


def test_a_name_too_long_for_this_disk_or_a_full_one_is_told_with_its_path(target: Path) -> None:
    target.chmod(0o755)
    data = archive(member("d/x"), member("d/y", content=b"z"))
    (target.parent / "target").rename(target.parent.parent / "elsewhere")
    target.symlink_to("../elsewhere")
    with pytest.raises(UnsafeArchiveError, match="link stands"):
        unpack(data, target)
    target.unlink()
    (target.parent.parent / "elsewhere").rename(target)


@pytest.mark.parametrize("key", ["path", "linkpath", "size", "GNU.sparse.name"])
def test_what_tars_understand_differently_is_refused(target: Path, key: str) -> None:
    written = io.BytesIO()
    if key == "GNU.sparse.name":
        info, _ = member("a")
        info.pax_headers = {key: "b"}
        data = archive((info, b""), form=tarfile.PAX_FORMAT)
    else:
        with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT, pax_headers={key: "7"}) as tar:
            tar.addfile(member("a")[0])
        data = written.getvalue()
    with pytest.raises((TruncatedStreamError, UnsafeArchiveError)):
        unpack(data, target)
