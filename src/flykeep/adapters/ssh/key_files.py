"""Hands a private key and its certificate to `ssh` without leaving them on a disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flykeep.ports.fly import SshAccess

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a private directory is made inside


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Paths that only this user can read, as long as the context that made them is open."""

    private_key: str
    certificate: str


@contextlib.contextmanager
def key_files(access: SshAccess) -> Iterator[KeyFiles]:
    """Anonymous memory where the kernel has it, so that not even SIGKILL leaves a key behind.

    `ssh` closes every descriptor it inherits, so it reads them through this process's own entry in /proc. Elsewhere: a
    private directory, removed at the end.
    """
    key, certificate = _ended(access.private_key), _ended(access.certificate)
    with contextlib.ExitStack() as stack:
        if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
            yield KeyFiles(_memory(stack, "key", key), _memory(stack, "certificate", certificate))
        else:
            yield _directory(stack, key, certificate)


def _ended(text: str) -> bytes:
    return text.strip().encode() + b"\n"


def _memory(stack: contextlib.ExitStack, name: str, content: bytes) -> str:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, content)
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _directory(stack: contextlib.ExitStack, key: bytes, certificate: bytes) -> KeyFiles:
    parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="flykeep-", dir=parent))
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    files = KeyFiles(str(directory / "key"), str(directory / "key-cert.pub"))
    for path, content in ((files.private_key, key), (files.certificate, certificate)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    return files
