"""Trees with everything a volume may hold, and their comparison. Paths are bytes: pathlib has none of those."""
# ruff: noqa: PTH114, PTH115, PTH118, PTH123

from __future__ import annotations

import hashlib
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fact:
    """What a restore must bring back of one path."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime_s: int
    content: str
    links: int


def build_tree(root: Path, *, small_files: int, large_bytes: int) -> None:
    """Make `root` with many small files, one large file and every kind of entry."""
    root.mkdir(exist_ok=True)
    raw = os.fsencode(root)
    for number in range(small_files):
        folder = root / "many" / f"{number % 100:02}"
        if number < 100:
            folder.mkdir(parents=True)
        (folder / f"{number}.json").write_text(f'{{"number": {number}}}')
    block = os.urandom(1 << 20)
    with (root / "large.bin").open("wb") as file:
        for number in range(large_bytes >> 20):
            file.write(number.to_bytes(4, "big") + (block if number % 4 else bytes(len(block)))[4:])
    for name in (b"not-utf8-\xff\xfe", b"new\nline", b"back\\slash", b"quote's \"", b"-dash", b"tab\t", b"colon: x"):
        with open(raw + b"/" + name, "wb") as file:
            file.write(name)
    deep = root
    for _ in range(6):
        deep = deep / ("d" * 90)
    deep.mkdir(parents=True)
    (deep / ("f" * 120)).write_text("deep")
    (root / ("n" * 250)).write_text("long")
    (root / "to-large").symlink_to("large.bin")
    (root / "dangling").symlink_to("nowhere/at/all")
    (root / "far").symlink_to("t" * 200)
    os.link(root / "many" / "00" / "0.json", root / "hard-link")
    os.link(root / "many" / "00" / "0.json", root / ("h" * 150))
    with (root / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(20 << 20)
        file.write(b"end")
    os.mkfifo(root / "fifo", 0o640)
    (root / "empty" / "nested").mkdir(parents=True)
    (root / "empty-file").touch()
    (root / "setuid").write_text("x")
    (root / "setuid").chmod(0o4755)
    (root / "secret").write_text("x")
    (root / "secret").chmod(0o600)
    if os.geteuid() == 0:
        os.chown(root / "secret", 12345, 54321)
        os.chown(root / "empty", 3_000_000, 3_000_001)
    os.utime(root / "empty-file", (1, 1_000_000_000))
    os.utime(root / "secret", (1, 100))


def add_socket(path: Path) -> None:
    """Bind by a short relative name: socket paths are limited to 108 bytes."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def facts(root: Path) -> dict[bytes, Fact]:
    """Every path below `root` and what is to be compared; sockets are left out, as tar leaves them."""
    found: dict[bytes, Fact] = {}
    top = os.fsencode(root)
    for folder, directories, files in os.walk(top):
        for name in (b"", *files, *(d for d in directories if os.path.islink(os.path.join(folder, d)))):
            path = os.path.join(folder, name) if name else folder
            info = os.lstat(path)
            if not stat.S_ISSOCK(info.st_mode):
                found[os.path.relpath(path, top)] = _fact(path, info)
    return found


def _fact(path: bytes, info: os.stat_result) -> Fact:
    content = ""
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif stat.S_ISLNK(info.st_mode):
        content = os.readlink(path).hex()
    return Fact(
        kind=stat.filemode(info.st_mode)[0],
        mode=stat.S_IMODE(info.st_mode),
        owner=(info.st_uid, info.st_gid),
        mtime_s=int(info.st_mtime),
        content=content,
        links=0 if stat.S_ISDIR(info.st_mode) else info.st_nlink,
    )
