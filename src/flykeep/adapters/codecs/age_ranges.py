"""Opens any part of an age stream without what stands before it. It only reads; pyrage writes, and reads whole streams.

pyrage offers no way to seek, although age's payload is made for it: chunks of 64 KiB, each sealed by itself under its
number. Source: the age specification, https://c2sp.org/age, "X25519 recipient stanza", "Header MAC" and "Payload".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import pyrage
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flykeep.adapters.codecs.age_stream import identities_in
from flykeep.domain.errors import IntegrityError

Ranges = Callable[[int, int], Iterator[bytes]]
"""The bytes from `start`, `length` of them, in pieces; the iterator is closed where the rest is not wanted."""

_VERSION = b"age-encryption.org/v1"
_X25519 = b"age-encryption.org/v1/X25519"
_CHUNK_BYTES = 64 << 10
_TAG_BYTES = 16
_SEALED_BYTES = _CHUNK_BYTES + _TAG_BYTES
_KEY_BYTES = 16
_NONCE_BYTES = 16
_BODY_COLUMNS = 64
_JOINED_CHUNKS = 16
_HEADER_STEPS_BYTES = (16 << 10, 1 << 20)
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_CHECKSUM_LETTERS = 6


class AgeRanges:
    """An age stream of `sealed_bytes` bytes, opened by one of the X25519 identities in `identity`.

    Everything it returns is authenticated, with its place in the stream. Errors: IntegrityError where the stream is
    damaged, shorter or longer than announced, or for another key; ConfigError for an identity that cannot be read.
    """

    def __init__(self, ranges: Ranges, *, sealed_bytes: int, identity: str) -> None:
        self._ranges = ranges
        header, header_bytes = _read_header(ranges, sealed_bytes)
        file_key = _file_key(header, identity)
        header.check(file_key)
        self._start = header_bytes + _NONCE_BYTES
        nonce = b"".join(ranges(header_bytes, _NONCE_BYTES))
        sealed = sealed_bytes - self._start
        self._chunks, last = -(-sealed // _SEALED_BYTES), sealed % _SEALED_BYTES or _SEALED_BYTES
        if len(nonce) < _NONCE_BYTES or sealed < _TAG_BYTES or last < _TAG_BYTES:
            raise IntegrityError("the age stream is cut short")
        self._end = sealed_bytes
        self._plain_bytes = sealed - self._chunks * _TAG_BYTES
        self._cipher = ChaCha20Poly1305(_derived(file_key, salt=nonce, info=b"payload"))
        if not self._plain_bytes:  # nothing will be read, and that must be authentic too
            self._open(0, b"".join(ranges(self._start, _TAG_BYTES)))

    @property
    def plain_bytes(self) -> int:
        """The length of what was encrypted."""
        return self._plain_bytes

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """The plain bytes from `start`, in pieces of at most 64 KiB; fewer than `length` only where the stream ends."""
        end = min(start + length, self._plain_bytes)
        if start >= end:
            return
        number = start // _CHUNK_BYTES
        begin = self._start + number * _SEALED_BYTES
        stop = min(self._start + -(-end // _CHUNK_BYTES) * _SEALED_BYTES, self._end)
        for sealed in _cut(self._ranges(begin, stop - begin), stop - begin):
            plain = self._open(number, sealed)
            at = number * _CHUNK_BYTES
            yield plain[max(start - at, 0) : end - at]
            number += 1

    def _open(self, number: int, sealed: bytes) -> bytes:
        is_last = number == self._chunks - 1
        nonce = number.to_bytes(11, "big") + bytes([is_last])
        try:
            return self._cipher.decrypt(nonce, sealed, None)
        except InvalidTag as error:
            raise IntegrityError("a part of the age stream is damaged", facts={"chunk": number}) from error


def opened(sealed: Iterator[bytes], *, sealed_bytes: int, identity: str) -> Iterator[bytes]:
    """The whole of a stream that arrives once, in order, in pieces of about 1 MiB. Errors as of AgeRanges.

    Beside pyrage it needs a fraction of the CPU time, and no thread of its own.
    """
    begin = bytearray()
    while len(begin) < min(_HEADER_STEPS_BYTES[-1], sealed_bytes) and (piece := next(sealed, b"")):
        begin += piece
    head = bytes(begin)

    def ranges(start: int, length: int) -> Iterator[bytes]:
        yield head[start : start + length]
        if start + length > len(head):
            yield from sealed

    stream = AgeRanges(ranges, sealed_bytes=sealed_bytes, identity=identity)
    pieces = stream.read(0, stream.plain_bytes)
    while joined := b"".join(islice(pieces, _JOINED_CHUNKS)):
        yield joined
    if next(sealed, b"") or len(head) > sealed_bytes:
        raise IntegrityError("bytes follow the age stream's end")


@dataclass(frozen=True, slots=True)
class _Stanza:
    arguments: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Header:
    """`signed` is what the header's own code covers."""

    stanzas: tuple[_Stanza, ...]
    signed: bytes
    code: bytes

    def check(self, file_key: bytes) -> None:
        mac = HMAC(_derived(file_key, salt=b"", info=b"header"), SHA256())
        mac.update(self.signed)
        try:
            mac.verify(self.code)
        except InvalidSignature as error:
            raise IntegrityError("the age stream's header is damaged") from error


def _read_header(ranges: Ranges, sealed_bytes: int) -> tuple[_Header, int]:
    for limit in _HEADER_STEPS_BYTES:
        begin = b"".join(ranges(0, min(limit, sealed_bytes)))
        signed_bytes = begin.find(b"\n---") + 4
        line_end = begin.find(b"\n", signed_bytes)
        if signed_bytes >= 4 and line_end > 0:
            code = _decoded(begin[signed_bytes:line_end].removeprefix(b" "))
            signed = begin[:signed_bytes]
            return _Header(_stanzas(signed.split(b"\n")[:-1]), signed, code), line_end + 1
    raise IntegrityError("this is no age stream")


def _stanzas(lines: list[bytes]) -> tuple[_Stanza, ...]:
    if lines[0] != _VERSION:
        raise IntegrityError("this is no age stream of version 1")
    found: list[_Stanza] = []
    at = 1
    while at < len(lines):
        mark, *arguments = lines[at].split(b" ")
        end = next((end for end in range(at + 1, len(lines)) if len(lines[end]) < _BODY_COLUMNS), None)
        if mark != b"->" or not arguments or end is None:
            raise IntegrityError("the age stream's header is damaged")
        found.append(_Stanza(tuple(arguments), _decoded(b"".join(lines[at + 1 : end + 1]))))
        at = end + 1
    return tuple(found)


def _file_key(header: _Header, identity: str) -> bytes:
    for each in identities_in(identity):
        secret = X25519PrivateKey.from_private_bytes(_secret_bytes(each))
        for stanza in header.stanzas:
            if stanza.arguments[0] == b"X25519" and (key := _unwrapped(stanza, secret)) is not None:
                return key
    raise IntegrityError("the age stream is for another key")


def _unwrapped(stanza: _Stanza, secret: X25519PrivateKey) -> bytes | None:
    """The file key, None where the stanza is for another key. A damaged stanza looks the same."""
    share = _decoded(b"".join(stanza.arguments[1:]))
    recipient = secret.public_key().public_bytes_raw()
    try:
        agreed = secret.exchange(X25519PublicKey.from_public_bytes(share))
        key = _derived(agreed, salt=share + recipient, info=_X25519)
        opened = ChaCha20Poly1305(key).decrypt(bytes(12), stanza.body, None)
    except (InvalidTag, ValueError):
        return None
    return opened if len(opened) == _KEY_BYTES else None


def _secret_bytes(identity: pyrage.x25519.Identity) -> bytes:
    """The 32 bytes behind an identity's text, which pyrage has judged already: five bits a letter, then a checksum."""
    letters = str(identity).lower().rpartition("1")[2][:-_CHECKSUM_LETTERS]
    number = 0
    for letter in letters:
        number = number << 5 | _BECH32.index(letter)
    return (number >> (len(letters) * 5 - 256)).to_bytes(32, "big")


def _derived(key: bytes, *, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)


def _decoded(text: bytes) -> bytes:
    """Canonical base64 without padding, as age writes it."""
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise IntegrityError("the age stream's header is damaged") from error
    if base64.b64encode(raw).rstrip(b"=") != text:
        raise IntegrityError("the age stream's header is damaged")
    return raw


def _cut(pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    """Sealed chunks, the last one shorter; raises IntegrityError where less than `length` comes."""
    held, left = bytearray(), length
    for piece in pieces:
        held += piece
        left -= len(piece)
        whole = len(held) // _SEALED_BYTES * _SEALED_BYTES
        for at in range(0, whole, _SEALED_BYTES):
            yield bytes(held[at : at + _SEALED_BYTES])
        del held[:whole]
    if left:
        raise IntegrityError("the age stream is cut short", facts={"missing_bytes": left})
    if held:
        yield bytes(held)
