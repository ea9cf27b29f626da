"""Reads an artifact back: its stored bytes, or its contents entry by entry, or only its index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from flykeep.adapters.codecs import age_stream
from flykeep.adapters.codecs.zstd_frames import decompressed
from flykeep.adapters.stores.links import Readable, open_readable
from flykeep.domain.artifact import IndexEntry, IndexHeader, StoredObject, TarTotals
from flykeep.domain.artifact_index import decode_entry, decode_header
from flykeep.domain.errors import ConfigError, IntegrityError
from flykeep.domain.tar_stream import TarReader, TarSink
from flykeep.ports.worker import IndexOrder, IndexReference, VerifyOrder, VerifyResult
from flykeep.worker.channel import Channel, Flow
from flykeep.worker.index_spool import lines
from flykeep.worker.remote_tar import shown
from flykeep.worker.report import Reporter

_QUEUED = 4


class Verification:
    """Compares a stored artifact with what its manifest says of it."""

    def __init__(self, order: VerifyOrder, *, flow: Flow, reporter: Reporter, sink: TarSink | None = None) -> None:
        """A `sink` gets the contents at level `contents`; they are proven only when `run` has returned."""
        self._order = order
        self._sink = sink
        self._flow = flow
        self._reporter = reporter
        self._store = open_readable(order.store)
        self._verified: dict[str, int] = {}

    def run(self) -> VerifyResult:
        """Raises IntegrityError at the first difference, StoreError where the store does not answer."""
        self._reporter.phase("reading stored bytes" if self._order.level == "bytes" else "reading contents")
        entries = 0
        if self._order.level == "bytes":
            for stored in (*self._order.objects, self._order.index):
                for _ in self._checked(stored):
                    pass
        else:
            entries = self._compare_contents()
        if len(self._verified) != len(self._order.objects) + 1:
            raise IntegrityError("an object was not read to its end", facts={"objects": len(self._verified)})
        return VerifyResult(level=self._order.level, bytes_read=sum(self._verified.values()), entries_compared=entries)

    def _compare_contents(self) -> int:
        """The tar against the index, in step; every object is hashed on the way."""
        order = self._order
        if order.is_encrypted and not order.identity:
            raise ConfigError("no identity opens this artifact's data", hint="Set `identity_secret`, or verify bytes.")
        index = self._opened((order.index,), order.index_identity or order.identity)
        header, expected = read_index(index)
        compared = 0

        def compare(entry: IndexEntry) -> None:
            nonlocal compared
            wanted = next(expected, None)
            if wanted != entry:
                raise IntegrityError("an entry differs from the index", facts={"path": shown(entry.path)})
            compared += 1
            self._reporter.read(entry.offset, compared)

        reader, digest, tar_bytes = TarReader(compare, sink=self._sink), hashlib.sha256(), 0
        for piece in decompressed(self._opened(order.objects, order.identity)):
            digest.update(piece)
            reader.feed(piece)
            tar_bytes += len(piece)
        reader.finish()
        if next(expected, None) is not None or header.entries != compared:
            raise IntegrityError("the index names entries that the data lacks")
        found = TarTotals(compared, reader.files, reader.content_bytes, tar_bytes, digest.hexdigest())
        if found != order.totals:
            raise IntegrityError("the data's totals differ from the manifest's", facts={"tar_bytes": tar_bytes})
        return compared

    def _opened(self, objects: tuple[StoredObject, ...], identity: str | None) -> Iterator[bytes]:
        chunks = (chunk for stored in objects for chunk in self._checked(stored))
        return decrypted(chunks, identity=identity, flow=self._flow) if self._order.is_encrypted else chunks

    def _checked(self, stored: StoredObject) -> Iterator[bytes]:
        """An object's bytes; raises IntegrityError at its end when they are not those the manifest names."""
        digest, size = hashlib.sha256(), 0
        for chunk in self._store.read(stored.key):
            self._flow.check()
            digest.update(chunk)
            size += len(chunk)
            self._reporter.stored(len(chunk))
            yield chunk
        if (size, digest.hexdigest()) != (stored.size_bytes, stored.sha256):
            raise IntegrityError(
                "a stored object is not what was written",
                facts={"key": stored.key, "stored_bytes": size, "expected_bytes": stored.size_bytes},
            )
        self._verified[stored.key] = size


def report_index(order: IndexOrder, *, flow: Flow, reporter: Reporter) -> int:
    """Report the entries whose path contains the order's text; returns how many."""
    store = open_readable(order.store)
    chunks = whole(store, order.index)
    if order.is_encrypted:
        if not order.identity:
            raise ConfigError("no identity opens this artifact's index")
        chunks = decrypted(chunks, identity=order.identity, flow=flow)
    _, entries = read_index(chunks)
    wanted = (order.contains or "").encode("utf-8", "surrogateescape")
    count = 0
    for entry in entries:
        flow.check()
        if wanted in entry.path:
            reporter.entry(entry)
            count += 1
    return count


def referenced(reference: IndexReference, *, flow: Flow) -> Iterator[IndexEntry]:
    """The entries of the index that a tree is compared with; raises ConfigError where no identity opens it."""
    chunks = whole(open_readable(reference.store), reference.index)
    if reference.is_encrypted:
        if not reference.identity:
            raise ConfigError("no identity opens this artifact's index")
        chunks = decrypted(chunks, identity=reference.identity, flow=flow)
    return read_index(chunks)[1]


def read_index(chunks: Iterator[bytes]) -> tuple[IndexHeader, Iterator[IndexEntry]]:
    """The header, and the entries as they are asked for; raises IntegrityError when they are not all there."""
    every = lines(decompressed(chunks))
    header = decode_header(next(every, b""))
    return header, _counted(every, header.entries)


def decrypted(chunks: Iterator[bytes], *, identity: str | None, flow: Flow) -> Iterator[bytes]:
    """Decrypt in a thread of its own; its failure fails the flow and ends the iteration with StoppedError."""
    opened: Channel[bytes] = Channel(flow, size=_QUEUED)

    def decrypt() -> None:
        age_stream.decrypt(chunks, opened.put, identity=identity or "")
        opened.close()

    flow.run("decrypt", decrypt)
    return iter(opened)


def _counted(every: Iterator[bytes], expected: int) -> Iterator[IndexEntry]:
    count = 0
    for line in every:
        count += 1
        yield decode_entry(line)
    if count != expected:
        raise IntegrityError("the index does not hold as many entries as it says", facts={"entries": count})


def whole(store: Readable, stored: StoredObject) -> Iterator[bytes]:
    """The stored bytes; raises IntegrityError at the end when they are not those the manifest names."""
    digest = hashlib.sha256()
    for chunk in store.read(stored.key):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != stored.sha256:
        raise IntegrityError("the stored index is not what was written", facts={"key": stored.key})
