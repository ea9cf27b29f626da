"""Where an import's tar comes from: an artifact in a store, or a file that somebody brought."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from flykeep.adapters.codecs.age_ranges import opened
from flykeep.adapters.codecs.zstd_frames import decompressed
from flykeep.adapters.stores.objects import open_bulk
from flykeep.domain.artifact import IndexEntry, StoredObject
from flykeep.domain.errors import ConfigError, IntegrityError, NotFoundError
from flykeep.domain.tar_stream import TarHeader, TarReader
from flykeep.domain.unpacking import OutsideLinks, UnpackGuard, UnpackLimits
from flykeep.ports.importing import ArtifactSource, FileSource
from flykeep.worker.channel import Flow
from flykeep.worker.remote_tar import raw
from flykeep.worker.report import Reporter
from flykeep.worker.verify import decrypted, read_index, whole

_CHUNK_BYTES = 1 << 20
_GZIP, _ZSTD, _ZSTD_SKIPPABLE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
_GZIP_WINDOW = 31  # zlib's word for gzip with the largest window


class TarInput(Protocol):
    """An archive that can be gone through twice: to judge all of it, then to send it."""

    def judged(self) -> Iterator[IndexEntry]:
        """Every entry, each found safe before it is given. Raises UnsafeArchiveError, IntegrityError."""
        ...

    def tar(self) -> Iterator[bytes]:
        """The tar, in pieces of about 1 MiB."""
        ...


def open_input(source: ArtifactSource | FileSource, *, mount: str, flow: Flow, reporter: Reporter) -> TarInput:
    """Raises ConfigError where an artifact needs an identity and there is none."""
    if isinstance(source, FileSource):
        return FileTar(source, mount=mount, flow=flow)
    return ArtifactTar(source, flow=flow, reporter=reporter)


class ArtifactTar:
    """Its index is judged instead of its data: what is sent must then equal the index, entry by entry."""

    def __init__(self, source: ArtifactSource, *, flow: Flow, reporter: Reporter) -> None:
        if source.is_encrypted and not source.identity:
            raise ConfigError(
                "no identity opens this artifact's data", hint="Set `identity_secret` under [encryption]."
            )
        self._source = source
        self._flow = flow
        self._reporter = reporter
        self._store = open_bulk(source.store)

    def judged(self) -> Iterator[IndexEntry]:
        source = self._source
        guard = UnpackGuard(UnpackLimits.announced(source.totals), outside_links=OutsideLinks.KEEP)
        chunks = self._checked(source.index)
        if source.is_encrypted:
            chunks = decrypted(chunks, identity=source.index_identity or source.identity, flow=self._flow)
        _, entries = read_index(chunks)
        for entry in entries:
            guard.admit(TarHeader(entry, is_sparse=False))
            yield entry

    def tar(self) -> Iterator[bytes]:
        source = self._source
        chunks: Iterator[bytes] = (chunk for stored in source.objects for chunk in self._checked(stored))
        if source.is_encrypted:
            sealed_bytes = sum(stored.size_bytes for stored in source.objects)
            chunks = opened(chunks, sealed_bytes=sealed_bytes, identity=source.identity or "")
        return decompressed(chunks)

    def _checked(self, stored: StoredObject) -> Iterator[bytes]:
        for chunk in whole(self._store, stored):
            self._flow.check()
            self._reporter.stored(len(chunk))
            yield chunk


class FileTar:
    """Read through once to judge it, and once to send it; both readings must be of the same archive."""

    def __init__(self, source: FileSource, *, mount: str, flow: Flow) -> None:
        self._path = Path(source.path)
        self._mount = raw(mount)
        self._flow = flow

    def judged(self) -> Iterator[IndexEntry]:
        guard = UnpackGuard(UnpackLimits.of_tarball(self._size()), outside_links=OutsideLinks.REFUSE, mount=self._mount)
        found: list[IndexEntry] = []
        reader, tar_bytes = TarReader(found.append, sink=_Judge(guard)), 0
        for piece in self.tar():
            tar_bytes += len(piece)
            guard.check_tar_bytes(tar_bytes)
            reader.feed(piece)
            yield from found
            found.clear()
        reader.finish()

    def tar(self) -> Iterator[bytes]:
        chunks = self._chunks()
        first = next(chunks, b"")
        every = _again(first, chunks)
        if first.startswith(_ZSTD) or first[1:4] == _ZSTD_SKIPPABLE:
            return decompressed(every)
        return gunzipped(every) if first.startswith(_GZIP) else every

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def _chunks(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    self._flow.check()
                    yield chunk
        except OSError as error:
            raise _unreadable(self._path, error) from error


class _Judge:
    """Asks the guard about each member before its content."""

    def __init__(self, guard: UnpackGuard) -> None:
        self._guard = guard

    def begin(self, header: TarHeader) -> None:
        self._guard.admit(header)

    def content(self, piece: memoryview) -> None:
        """Only the names are judged."""

    def end(self, entry: IndexEntry) -> None:
        """Nothing is kept."""


def gunzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of all gzip members, in pieces of at most 1 MiB whatever they expand to.

    Raises IntegrityError for a damaged stream and for one that ends inside a member. Zeros behind the last are padding.
    """
    inflater: zlib._Decompress | None = None
    try:
        for chunk in chunks:
            data = chunk
            while data:
                if inflater is None:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    inflater = zlib.decompressobj(_GZIP_WINDOW)
                if piece := inflater.decompress(data, _CHUNK_BYTES):
                    yield piece
                data = inflater.unconsumed_tail
                if inflater.eof:
                    data, inflater = inflater.unused_data, None
    except zlib.error as error:
        raise IntegrityError("the compressed stream is damaged") from error
    if inflater is not None:
        raise IntegrityError("the compressed stream ends inside a member")


def _again(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _unreadable(path: Path, error: OSError) -> NotFoundError:
    return NotFoundError(
        f"the file cannot be read: {error.strerror}", hint="Check its path.", facts={"file": str(path)}
    )
