"""The daemon's own keys: one signs, one opens indexes. Neither opens data."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """Signs manifests with the daemon's Ed25519 key."""

    @property
    def public_hex(self) -> str: ...

    def sign(self, data: bytes) -> str:
        """The signature over `data`, hex."""
        ...

    def verify(self, data: bytes, *, signature_hex: str, signer_hex: str) -> None:
        """Raises SignatureError unless a trusted key signed exactly these bytes."""
        ...


class IndexKey(Protocol):
    """The age identity that opens indexes only."""

    @property
    def recipient(self) -> str: ...

    def identity(self) -> str:
        """The secret half; handed to a worker's standard input and nowhere else."""
        ...


class Opener(Protocol):
    """Opens what a Sealer made."""

    def is_encrypted(self, sealed: bytes) -> bool: ...

    def open(self, sealed: bytes, *, identity: str | None) -> bytes:
        """`identity` is the text of an identity file. Raises IntegrityError, which says nothing of the identity."""
        ...


class Sealer(Protocol):
    """Compresses and encrypts small documents (`_state/latest`)."""

    def seal(self, plain: bytes, *, recipients: tuple[str, ...]) -> bytes:
        """zstd, then age to `recipients`; zstd alone where there are none."""
        ...
