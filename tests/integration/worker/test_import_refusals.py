"""Archives that must not be unpacked: refused before a byte leaves, and nothing is written anywhere."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flykeep.domain.errors import IntegrityError, NotFoundError, RefusalError, TruncatedStreamError, UnsafeArchiveError
from flykeep.ports.importing import FileSource
from tests.integration.worker.importing import Volume
from tests.sshd import Sshd, running_sshd

MIB = 1 << 20


def member(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    return info


def add(archive: tarfile.TarFile, name: str, content: bytes = b"evil", **more: object) -> None:
    info = member(name, content=content if not more else b"", **more)  # type: ignore[arg-type]
    archive.addfile(info, io.BytesIO(content) if not more else None)


def climbing(archive: tarfile.TarFile, outside: Path) -> None:
    add(archive, f"../{outside.name}/x")


def climbing_within(archive: tarfile.TarFile, outside: Path) -> None:
    add(archive, f"a/b/../../../{outside.name}/x")


def absolute(archive: tarfile.TarFile, outside: Path) -> None:
    add(archive, f"{outside}/x")


def device(archive: tarfile.TarFile, _: Path) -> None:
    add(archive, "sda", kind=tarfile.BLKTYPE)


def character_device(archive: tarfile.TarFile, _: Path) -> None:
    add(archive, "mem", kind=tarfile.CHRTYPE)


def hard_link_outside(archive: tarfile.TarFile, outside: Path) -> None:
    add(archive, "passwd", kind=tarfile.LNKTYPE, link=f"../{outside.name}/there")


def hard_link_absolute(archive: tarfile.TarFile, outside: Path) -> None:
    add(archive, "passwd", kind=tarfile.LNKTYPE, link=f"{outside}/there")


def hard_link_to_what_the_volume_holds(archive: tarfile.TarFile, _: Path) -> None:
    add(archive, "stolen", kind=tarfile.LNKTYPE, link="mine")


def link_then_write_through(archive: tarfile.TarFile, outside: Path) -> None:
    add(archive, "way", kind=tarfile.SYMTYPE, link=f"../{outside.name}")
    add(archive, "way/x")


def link_within_then_write_through(archive: tarfile.TarFile, _: Path) -> None:
    add(archive, "folder", kind=tarfile.DIRTYPE)
    add(archive, "way", kind=tarfile.SYMTYPE, link="folder")
    add(archive, "way/x")


def link_outside(archive: tarfile.TarFile, _: Path) -> None:
    add(archive, "shadow", kind=tarfile.SYMTYPE, link="/etc/shadow")


def bomb_of_one_file(archive: tarfile.TarFile, _: Path) -> None:
    archive.addfile(member("zeros", content=bytes(80 * MIB)), io.BytesIO(bytes(80 * MIB)))


EVIL = [
    climbing,
    climbing_within,
    absolute,
    device,
    character_device,
    hard_link_outside,
    hard_link_absolute,
    hard_link_to_what_the_volume_holds,
    link_then_write_through,
    link_within_then_write_through,
    link_outside,
    bomb_of_one_file,
]


@pytest.fixture
def volume(tmp_path: Path, gnu_sshd: Sshd) -> Volume:
    directory = tmp_path / "volume"
    directory.mkdir()
    (directory / "mine").write_text("mine")
    return Volume(directory, gnu_sshd)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "there").write_text("secret")
    return directory


@pytest.mark.parametrize("build", EVIL, ids=lambda build: build.__name__)
async def test_an_unsafe_archive_is_refused_and_nothing_is_written(
    volume: Volume, outside: Path, tmp_path: Path, build: Callable[[tarfile.TarFile, Path], None]
) -> None:
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=9) as archive:
        add(archive, "harmless", b"harmless")
        build(archive, outside)

    with pytest.raises(UnsafeArchiveError) as caught:
        await volume.stage(volume.order(FileSource(str(path))))

    assert caught.value.exit_code == 7
    assert sorted(one.name for one in volume.directory.iterdir()) == ["mine"]
    assert (volume.directory / "mine").read_text() == "mine"
    assert list(outside.iterdir()) == [outside / "there"]  # noqa: ASYNC240
    assert (outside / "there").stat().st_nlink == 1


@pytest.fixture
def full_sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A machine whose volume has 10 KiB left."""
    (tmp_path / "bin").mkdir()
    df = tmp_path / "bin" / "df"
    df.write_text(
        "#!/bin/sh\necho 'Filesystem 1024-blocks Used Available Capacity Mounted on'\n"
        "echo '/dev/vdc 1000000 999990 10 100% /data'\n"
    )
    df.chmod(0o755)
    with running_sshd(tmp_path / "sshd", path=f"{tmp_path / 'bin'}:/usr/bin:/bin") as sshd:
        yield sshd


async def test_an_archive_larger_than_the_room_is_refused_with_both_numbers(full_sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    volume = Volume(tmp_path / "volume", full_sshd)
    path = tmp_path / "large.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "small", b"s" * 1000)
        add(archive, "large", b"l" * 1000)

    with pytest.raises(RefusalError, match="10240 bytes free, and the import needs 16384"):
        await volume.stage(volume.order(FileSource(str(path))))

    assert not list(volume.directory.iterdir())
    await volume.take_in(FileSource(str(path)), paths=("small",))


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("cut.tar", member("f", content=b"x" * 1000).tobuf() + b"x" * 400, TruncatedStreamError),
        ("noise.tar", b"\1" * 2048, TruncatedStreamError),
        ("empty.tar", b"", TruncatedStreamError),
        ("cut.tar.gz", gzip.compress(bytes(10240), mtime=0)[:-9], IntegrityError),
        ("noise.tar.gz", b"\x1f\x8b" + b"\1" * 100, IntegrityError),
        ("noise.tar.zst", b"\x28\xb5\x2f\xfd" + b"\1" * 100, IntegrityError),
    ],
)
async def test_a_damaged_file_is_refused_and_nothing_is_written(
    volume: Volume, tmp_path: Path, name: str, content: bytes, error: type[Exception]
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(error):
        await volume.stage(volume.order(FileSource(str(tmp_path / name))))

    assert sorted(one.name for one in volume.directory.iterdir()) == ["mine"]


async def test_a_file_that_is_not_there_is_told(volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="cannot be read"):
        await volume.stage(volume.order(FileSource(str(tmp_path / "nowhere.tar"))))


async def test_two_gzip_members_are_one_stream(volume: Volume, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "plain.tar", "w") as archive:
        add(archive, "f", b"f" * 3000)
    plain = (tmp_path / "plain.tar").read_bytes()
    (tmp_path / "two.tar.gz").write_bytes(gzip.compress(plain[:1500]) + gzip.compress(plain[1500:]) + bytes(512))

    await volume.take_in(FileSource(str(tmp_path / "two.tar.gz")))

    assert (volume.directory / "f").read_bytes() == b"f" * 3000
