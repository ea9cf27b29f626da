"""Small documents, compressed and encrypted in memory; and what counts as a recipient."""

from __future__ import annotations

import hashlib
import re
import sys

import pyrage

from flykeep.adapters.codecs.age_stream import identities_in
from flykeep.domain.errors import ConfigError, IntegrityError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_OPTIONS: dict[int, int] = {zstd.CompressionParameter.compression_level: 9, zstd.CompressionParameter.checksum_flag: 1}
_OPEN_AT_MOST_BYTES = 256 << 20
_AGE_MAGIC = b"age-encryption.org/"
_RECIPIENT = re.compile(r"age1[0-9a-z]{58}")
_RECIPIENT_HINT = "A recipient is a public key of `age-keygen`: 62 characters that start with age1."


def check_recipient(text: str) -> str:
    """The age X25519 public key in `text`, without the white space around it; ConfigError where it is none.

    A secret key put here by mistake is named as what it is and never repeated.
    """
    recipient = text.strip()
    if recipient.upper().startswith("AGE-SECRET-KEY-"):
        raise ConfigError(
            "A recipient holds a secret age key.",
            hint="Put the public key there (`age-keygen -y`), and make a new pair: this one was in a config.",
        )
    try:
        if not _RECIPIENT.fullmatch(recipient):
            raise ValueError("not an X25519 recipient")
        pyrage.x25519.Recipient.from_str(recipient)
    except (pyrage.RecipientError, ValueError) as error:
        raise ConfigError(f"This is no age recipient: {recipient[:80]!a}.", hint=_RECIPIENT_HINT) from error
    return recipient


def fingerprint(recipient: str) -> str:
    """A short name for a recipient: the first 16 hexadecimal digits of the sha256 of its text."""
    return hashlib.sha256(check_recipient(recipient).encode()).hexdigest()[:16]


class AgeSealer:
    """Implements ports.crypto.Sealer."""

    def seal(self, plain: bytes, *, recipients: tuple[str, ...]) -> bytes:
        """zstd, then age to `recipients`; zstd alone where there are none. Raises ConfigError."""
        packed = zstd.compress(plain, options=_OPTIONS)
        if not recipients:
            return packed
        keys = [pyrage.x25519.Recipient.from_str(check_recipient(each)) for each in recipients]
        return bytes(pyrage.encrypt(packed, keys))


class AgeOpener:
    """Implements ports.crypto.Opener."""

    def is_encrypted(self, sealed: bytes) -> bool:
        return sealed.startswith(_AGE_MAGIC)

    def open(self, sealed: bytes, *, identity: str | None) -> bytes:
        """`identity` is the text of an identity file; it is not used where nothing is encrypted."""
        return open_sealed(sealed, identity=identity if self.is_encrypted(sealed) else None)


def open_sealed(sealed: bytes, *, identity: str | None) -> bytes:
    """What `seal` was given. `identity` is an age secret key, None where nothing was encrypted.

    Raises IntegrityError, which says nothing of the identity.
    """
    try:
        packed = sealed if identity is None else bytes(pyrage.decrypt(sealed, identities_in(identity)))
        unpacking = zstd.ZstdDecompressor()
        plain = unpacking.decompress(packed, _OPEN_AT_MOST_BYTES)
    except (pyrage.DecryptError, zstd.ZstdError, EOFError) as error:
        raise IntegrityError(
            f"The document could not be opened: {type(error).__name__}.",
            hint="Another key was used, or the bytes were altered.",
        ) from error
    if not unpacking.eof:
        raise IntegrityError("The document is cut short, or larger than flykeep ever writes one.")
    return plain
