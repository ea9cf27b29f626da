"""The daemon's own keys: files beside its state, made once, never overwritten.

<directory>/keys/signing.key       Ed25519 private key, PEM (PKCS 8)
<directory>/keys/index.key         age X25519 identity, as age-keygen writes it
<directory>/keys/trusted_signers   optional: public keys in hexadecimal that are trusted too, one a line, `#` comments
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from flykeep.adapters.codecs.signing import Ed25519Signer
from flykeep.domain.errors import ConfigError, FlykeepError, StateError

T = TypeVar("T")

_PUBLIC = re.compile(r"[0-9a-f]{64}")
_LOST_HINT = "Restore it from your copy of the keys directory. Without it older manifests are not trusted."


class AgeIndexKey:
    """Implements ports.crypto.IndexKey."""

    def __init__(self, identity: pyrage.x25519.Identity) -> None:
        self._identity = identity

    def __repr__(self) -> str:
        return f"AgeIndexKey({self.recipient})"

    @property
    def recipient(self) -> str:
        return str(self._identity.to_public())

    def identity(self) -> str:
        return str(self._identity)


@dataclass(frozen=True, slots=True)
class StateKeys:
    """The keys of one state directory."""

    signer: Ed25519Signer
    index_key: AgeIndexKey

    @classmethod
    def load_or_create(cls, directory: Path) -> StateKeys:
        """Read the keys under `directory`, making those that are missing.

        Safe between processes: of two that start at once, both end with the same keys. Files others can read are
        closed to them. Raises StateError when a key cannot be read, written or understood; ConfigError for a bad line
        in `trusted_signers`.
        """
        folder = directory / "keys"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            signing = _load(folder / "signing.key", make=_new_signing_key, read=_signing_key)
            index = _load(folder / "index.key", make=_new_identity, read=_identity)
            trusted = _trusted(folder / "trusted_signers")
        except OSError as error:
            raise StateError(
                f"The daemon's keys cannot be used: {error.strerror}.", facts={"path": error.filename or str(folder)}
            ) from error
        return cls(signer=Ed25519Signer(signing, trusted=trusted), index_key=AgeIndexKey(index))


def _load(path: Path, *, make: Callable[[], bytes], read: Callable[[bytes], T]) -> T:
    if not path.exists():
        _create(path, make())
    path.chmod(0o600)
    content = path.read_bytes()
    failure: FlykeepError
    try:
        return read(content)
    except (ValueError, TypeError, UnicodeDecodeError, pyrage.IdentityError):
        failure = StateError(f"{path.name} is not a key flykeep can use.", hint=_LOST_HINT, facts={"path": str(path)})
    raise failure  # outside the handler: what the parser said may repeat the key


def _create(path: Path, content: bytes) -> None:
    """Put `content` at `path` whole, on the disk, and only if nothing is there: the first of several writers wins."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)  # left by a process that had this id before
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _new_signing_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _signing_key(content: bytes) -> Ed25519PrivateKey:
    key = load_pem_private_key(content, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("not an Ed25519 key")
    return key


def _new_identity() -> bytes:
    identity = pyrage.x25519.Identity.generate()
    return (
        f"# flykeep's own key: opens indexes, never data\n# public key: {identity.to_public()}\n{identity}\n".encode()
    )


def _identity(content: bytes) -> pyrage.x25519.Identity:
    lines = [line.strip() for line in content.decode().splitlines()]
    secret = [line for line in lines if line and not line.startswith("#")]
    if len(secret) != 1:
        raise ValueError("not one identity")
    return pyrage.x25519.Identity.from_str(secret[0])


def _trusted(path: Path) -> frozenset[str]:
    if not path.exists():
        return frozenset()
    found = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        public = line.partition("#")[0].strip()
        if public and not _PUBLIC.fullmatch(public):
            raise ConfigError(
                f"Line {number} of trusted_signers is no public key.",
                hint="Write 64 lowercase hexadecimal digits a line, as manifests show them under public_key.",
                facts={"path": str(path)},
            )
        found.add(public)
    return frozenset(found - {""})
