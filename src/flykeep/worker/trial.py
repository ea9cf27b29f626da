"""Stores noise in parts as an export stores data, and reads it back whole and in part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from flykeep.adapters.stores.objects import open_bulk
from flykeep.domain.errors import IntegrityError
from flykeep.ports.store_trial import TrialOrder, TrialResult
from flykeep.worker.channel import Flow

_CONCURRENCY = 4
_PIECE_BYTES = 1 << 20
_ACROSS_BYTES = 4096


def try_store(order: TrialOrder, *, flow: Flow) -> TrialResult:
    """Raises IntegrityError where the store gives back other bytes, StoreError where it does not answer."""
    store, written = open_bulk(order.store), hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        for piece in _noise(order):
            flow.check()  # raising from here is what aborts an upload
            written.update(piece)
            yield piece

    store.upload(order.key, pieces(), chunk_bytes=order.part_bytes, concurrency=_CONCURRENCY)
    start = order.part_bytes - _ACROSS_BYTES // 2
    if store.read_range(order.key, start, _ACROSS_BYTES) != _slice(order, start, _ACROSS_BYTES):
        raise IntegrityError("a range across two parts holds other bytes than were written", facts={"key": order.key})
    read = hashlib.sha256()
    for chunk in store.read(order.key):
        flow.check()
        read.update(chunk)
    if read.digest() != written.digest():
        raise IntegrityError("the store returned other bytes than were written", facts={"key": order.key})
    return TrialResult(
        parts=-(-order.size_bytes // order.part_bytes),
        sha256=read.hexdigest(),
        are_ranges_honoured=store.honours_ranges(order.key),
    )


def _noise(order: TrialOrder) -> Iterator[bytes]:
    """Bytes that no two pieces and no two keys share, so that mixed-up parts are noticed."""
    for number in range(-(-order.size_bytes // _PIECE_BYTES)):
        left = order.size_bytes - number * _PIECE_BYTES
        yield hashlib.shake_128(f"{order.key} {number}".encode()).digest(min(left, _PIECE_BYTES))


def _slice(order: TrialOrder, start: int, length: int) -> bytes:
    whole = b"".join(
        piece
        for number, piece in enumerate(_noise(order))
        if start < (number + 1) * _PIECE_BYTES and number * _PIECE_BYTES < start + length
    )
    first = start // _PIECE_BYTES * _PIECE_BYTES
    return whole[start - first : start - first + length]
