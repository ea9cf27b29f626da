"""What a machine is asked about its disk: the script, run by the shells machines have, and its answer read back."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from flykeep.domain.disk_usage import Folder, read_usage, usage_script
from flykeep.domain.errors import CommandFailedError

_APPLETS = ("sh", "find", "du", "df", "date", "timeout", "base64", "printf")


@pytest.fixture(params=["gnu", "busybox"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "gnu":
        return "/usr/bin:/bin"
    program = shutil.which("busybox", path="/usr/bin:/bin")
    assert program is not None
    for applet in _APPLETS:
        (tmp_path / applet).symlink_to(program)
    return str(tmp_path)


@pytest.fixture
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("volume") / "it's mounted"
    directory.mkdir()
    return directory


def asked(volume: Path, path: str) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("sh", path=path)
    assert shell is not None
    return subprocess.run(
        [shell, "-c", usage_script(str(volume))], capture_output=True, check=False, text=True, env={"PATH": path}
    )


def test_the_biggest_come_first_whatever_their_names(volume: Path, path: str) -> None:
    for name, kib in ((b"-n a/deep\nnew", 400), (b"\xff", 200), (b"logs", 100)):
        folder = os.fsencode(volume) + b"/" + name
        os.makedirs(folder)  # noqa: PTH103 - paths are bytes
        with open(folder + b"/file", "wb") as file:  # noqa: PTH123
            file.write(os.urandom(kib << 10))
    (volume / "big.bin").write_bytes(os.urandom(300 << 10))
    (volume / "lost+found").mkdir()
    (volume / "away").symlink_to("/usr")

    disk = read_usage(asked(volume, path).stdout)

    names = [os.fsencode(folder.path) for folder in disk.folders]
    assert names == [b"-n a", b"-n a/deep\nnew", b"big.bin", b"\xff", b"logs"]
    assert disk.folders[2].used_bytes >= 300 << 10
    assert disk.is_whole
    usage = shutil.disk_usage(volume)
    assert disk.size_bytes // (1 << 20) == usage.total // (1 << 20)
    assert 0 < disk.used_bytes < disk.size_bytes
    assert (disk.inodes or 0) >= (disk.inodes_used or 0)


def test_a_folder_that_takes_too_long_leaves_the_answer_partial(volume: Path, path: str, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "timeout").write_text("#!/bin/sh\nexit 143\n")
    (slow / "timeout").chmod(0o755)
    (volume / "huge").mkdir()

    disk = read_usage(asked(volume, f"{slow}:{path}").stdout)

    assert (disk.folders, disk.is_whole) == ((), False)
    assert disk.size_bytes


def test_a_mount_that_is_not_there_ends_with_a_code_of_its_own(volume: Path, path: str) -> None:
    volume.rmdir()
    assert asked(volume, path).returncode == 97


def answer(*, df: str = "/dev/vdb 1000 900 -5 90% /data", inodes: str = "", folders: bytes = b"whole\0") -> str:
    listed = base64.encodebytes(folders).decode()
    return f"flykeep:df\n{df}\nflykeep:inodes\n{inodes}\nflykeep:folders\n{listed}flykeep:end\n"


def test_an_answer_that_is_cut_short_is_no_answer() -> None:
    whole = answer()
    assert read_usage(whole).available_bytes == 0
    for cut in (whole.replace("flykeep:end\n", ""), answer(df="nonsense"), whole.replace("flykeep:df", "x")):
        with pytest.raises(CommandFailedError):
            read_usage(cut)
    with pytest.raises(CommandFailedError):
        read_usage(whole.replace("d2hvbGUA", "d2hvbGU"))


def test_a_list_without_its_end_is_partial() -> None:
    disk = read_usage(answer(inodes="/dev/vdb 100 9 91 9% /data", folders=b"8 ./a\0late ./b\0"))
    assert (disk.folders, disk.is_whole, disk.inodes, disk.inodes_used) == ((Folder("a", 8192),), False, 100, 9)
