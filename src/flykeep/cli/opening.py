"""Opens an artifact as a person without flykeep would, and compares it with the tree it came from."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import IntegrityError

_CHUNK_BYTES = 1 << 20
_LIMIT_S = 300


def open_artifact(artifact: Artifact, store: Path, identity: Path, target: Path) -> str:
    """Extract into `target`, by the programs where all three are installed, else by the libraries; says by which.

    Raises IntegrityError where any of them refuses what it is given.
    """
    target.mkdir()
    parts = [store / stored.key for stored in artifact.manifest.data]
    if all(shutil.which(program) for program in ("age", "zstd", "tar")):
        _by_programs(artifact, parts, identity, target)
        return "age -d | zstd -d | tar xp"
    _by_libraries(artifact, parts, identity, target)
    return "the age, zstd and tar libraries (the programs are not installed)"


def _by_programs(artifact: Artifact, parts: list[Path], identity: Path, target: Path) -> None:
    commands = [
        ["cat", *map(str, parts)],
        ["age", "-d", "-i", str(identity)],
        ["zstd", "-d", "-q", "-c"],
        ["tar", "xpf", "-", "-C", str(target)],
    ]
    children: list[subprocess.Popen[bytes]] = []
    stdin: IO[bytes] | None = None
    for command in commands:
        child = subprocess.Popen(
            command, stdin=stdin, stdout=None if command[0] == "tar" else subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        if stdin is not None:
            stdin.close()  # the child holds its own; ours would keep a dead pipe open
        stdin = child.stdout
        children.append(child)
    codes = [child.wait(timeout=_LIMIT_S) for child in children]
    if any(codes):
        failed = next(command[0] for command, code in zip(commands, codes, strict=True) if code)
        raise IntegrityError(f"{failed} refused artifact {artifact.export_id}", facts={"export_id": artifact.export_id})


def _by_libraries(artifact: Artifact, parts: list[Path], identity: Path, target: Path) -> None:
    from flykeep.adapters.codecs import age_stream, zstd_frames  # noqa: PLC0415 - where the programs are missing

    secret = next(line for line in identity.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-"))
    with tempfile.TemporaryFile() as compressed, tempfile.TemporaryFile() as plain:
        age_stream.decrypt(_chunks(parts), _writer(compressed), identity=secret)
        compressed.seek(0)
        for chunk in zstd_frames.decompressed(iter(lambda: compressed.read(_CHUNK_BYTES), b"")):
            plain.write(chunk)
        plain.seek(0)
        try:
            with tarfile.open(fileobj=plain, mode="r:") as archive:
                archive.extractall(target, filter="fully_trusted")  # noqa: S202 - it is the demo's own tree
        except tarfile.TarError as error:
            raise IntegrityError(f"tar refused artifact {artifact.export_id}: {error}") from error


def _writer(sink: IO[bytes]) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        sink.write(data)

    return write


def _chunks(parts: list[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as stored:
            while chunk := stored.read(_CHUNK_BYTES):
                yield chunk


def compare_trees(original: Path, restored: Path) -> int:
    """How many entries were compared; raises IntegrityError naming the first entries that differ."""
    wanted, found = _described(original), _described(restored)
    wanted.pop("lost+found", None)
    different = sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))
    if different:
        raise IntegrityError(f"{len(different)} entries differ from the volume", facts={"first": different[0]})
    return len(wanted)


def _described(root: Path) -> dict[str, tuple[object, ...]]:
    entries: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if not stat.S_ISSOCK(path.lstat().st_mode):
                entries[str(path.relative_to(root))] = _entry(path)
    return entries


def _entry(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    content: str | None = None
    if stat.S_ISLNK(status.st_mode):
        return ("link", str(path.readlink()))
    if stat.S_ISREG(status.st_mode):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    return (stat.filemode(status.st_mode), status.st_uid, status.st_gid, int(status.st_mtime), content)
