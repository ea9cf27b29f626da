"""age encryption of streams too long for memory.

pyrage pulls its input and pushes its output within one call, so these functions occupy the calling thread until the
stream is over. An exception from the source or the sink comes out unchanged: pyrage itself would keep only its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyrage

from flykeep.domain.errors import ConfigError, IntegrityError, InternalError

_SINK_BYTES = 1 << 20


def encrypt(chunks: Iterable[bytes], write: Callable[[bytes], None], *, recipients: Sequence[str]) -> None:
    """Encrypt a stream to age X25519 recipients, writing pieces of about 1 MiB.

    Raises ConfigError for an unreadable recipient, and whatever `chunks` or `write` raise.
    """
    keys = [_recipient(text) for text in recipients]
    source, sink = _Source(iter(chunks)), _Sink(write)
    try:
        pyrage.encrypt_io(source, sink, keys)
    except (pyrage.EncryptError, OSError) as error:
        _raise_own(source, sink)
        raise InternalError("age encryption failed") from error
    sink.end()


def decrypt(chunks: Iterable[bytes], write: Callable[[bytes], None], *, identity: str) -> None:
    """Decrypt a stream; everything written is authenticated, but only a normal return says that it was all.

    Raises IntegrityError when the stream is damaged, cut short, or not encrypted to any identity in `identity`.
    """
    keys = identities_in(identity)
    source, sink = _Source(iter(chunks)), _Sink(write)
    try:
        pyrage.decrypt_io(source, sink, keys)
    except (pyrage.DecryptError, OSError) as error:  # OSError: found in the middle of the stream
        _raise_own(source, sink)
        raise IntegrityError("the age stream cannot be opened: it is damaged, cut short, or for another key") from error
    sink.end()


def identities_in(text: str) -> list[pyrage.x25519.Identity]:
    """The identities in the text of an identity file: one a line, `#` comments. Raises ConfigError, which repeats none.

    Only X25519 identities are read.
    """
    lines = [line.strip() for line in text.splitlines()]
    secrets = [line for line in lines if line and not line.startswith("#")]
    try:
        if secrets:
            return [pyrage.x25519.Identity.from_str(secret) for secret in secrets]
    except pyrage.IdentityError:
        pass
    raise ConfigError("the age identity cannot be read", hint="It is one line that begins with AGE-SECRET-KEY-1.")


def is_for_any(identity: str, recipients: tuple[str, ...]) -> bool:
    """Whether some identity in this text is that of one of the recipients. Raises ConfigError."""
    return not {str(each.to_public()) for each in identities_in(identity)}.isdisjoint(recipients)


class _Source:
    """Hands pyrage its 8 KiB reads out of the larger pieces that arrive."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        at = self._at
        piece = self._chunk[at : at + size] if size >= 0 else self._chunk[at:]
        if piece:
            self._at = at + len(piece)
            return piece
        if not size:
            return b""
        try:
            self._chunk = next(chunk for chunk in self._chunks if chunk)
        except StopIteration:
            return b""
        except BaseException as error:
            self.error = error
            raise
        self._at = 0
        return self.read(size)


class _Sink:
    """Joins pyrage's 64 KiB writes into the larger pieces an uploader wants."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._pieces: list[bytes] = []
        self._held = 0
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self._held += len(data)
        if self._held >= _SINK_BYTES:
            self.end()
        return len(data)

    def flush(self) -> None:
        """pyrage flushes after every chunk at will; pieces leave when they are large enough."""

    def end(self) -> None:
        """Hand over what is held back."""
        if not self._held:
            return
        joined = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        try:
            self._write(joined)
        except BaseException as error:
            self.error = error
            raise


def _raise_own(source: _Source, sink: _Sink) -> None:
    for error in (source.error, sink.error):
        if error is not None:
            raise error


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text.strip())
    except pyrage.RecipientError:
        raise ConfigError(
            "an age recipient cannot be read", hint="Recipients are public keys that begin with age1."
        ) from None
