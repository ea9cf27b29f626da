"""Restores files of an artifact into a local directory, reading no more of it than they need."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from flykeep.adapters.stores.objects import open_bulk
from flykeep.domain.artifact import EntryType, IndexEntry, IndexHeader
from flykeep.domain.errors import (
    ConfigError,
    IntegrityError,
    RefusalError,
    TruncatedStreamError,
    UnpackError,
)
from flykeep.domain.tar_stream import BLOCK, TarHeader, TarReader
from flykeep.domain.unpacking import OutsideLinks, UnpackGuard, UnpackLimits
from flykeep.ports.worker import ExtractOrder, ExtractResult
from flykeep.worker.channel import Flow
from flykeep.worker.choice import Choice
from flykeep.worker.merging import in_the_way, place
from flykeep.worker.remote_tar import shown
from flykeep.worker.report import Reporter
from flykeep.worker.stored_tar import StoredTar
from flykeep.worker.unpack import Unpacker, restores_owner
from flykeep.worker.verify import decrypted, read_index, whole

_HEADERS_LIMIT_BYTES = 4 << 20
_COPY_BYTES = 1 << 20
_CLOSED_HINT = "Set `identity_secret` under [encryption], or name a file with --identity."


class Extraction:
    """One order: choose by the index, unpack beside the place, compare, then move into place."""

    def __init__(self, order: ExtractOrder, *, flow: Flow, reporter: Reporter) -> None:
        self._order = order
        self._flow = flow
        self._reporter = reporter
        self._store = open_bulk(order.store)
        self._read_bytes = 0
        self._files = 0
        self._entries = 0
        self._content_bytes = 0

    def run(self) -> ExtractResult:
        """Raises what `Workers.extract` says; then nothing stands in the directory that was not there before."""
        if self._order.is_encrypted and not self._order.identity:
            raise ConfigError("no identity opens this artifact's data", hint=_CLOSED_HINT)
        self._reporter.phase("reading the index")
        with tempfile.TemporaryFile() as index:
            self._fetch(index)
            choice = Choice.of(self._order.paths, self._index(index)[1])
            with _target(self._order) as (target, staging):
                self._check_room(choice, target)
                self._foresee(choice, self._index(index)[1])
                self._reporter.phase("restoring files")
                self._restore(choice, index, target, staging)
        return ExtractResult(self._entries, self._files, self._content_bytes, self._read_bytes)

    def _fetch(self, index: BinaryIO) -> None:
        """The index, compressed as it is, into a file: it is gone through more than once."""
        chunks = self._counted(whole(self._store, self._order.index))
        if self._order.is_encrypted:
            chunks = decrypted(chunks, identity=self._order.index_identity, flow=self._flow)
        index.writelines(chunks)

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._note_read(len(chunk))
            yield chunk

    def _note_read(self, count: int) -> None:
        self._flow.check()
        self._read_bytes += count
        self._reporter.stored(count)

    @staticmethod
    def _index(index: BinaryIO) -> tuple[IndexHeader, Iterator[IndexEntry]]:
        index.seek(0)
        return read_index(iter(lambda: index.read(_COPY_BYTES), b""))

    @staticmethod
    def _check_room(choice: Choice, target: int) -> None:
        disk = os.fstatvfs(target)
        free_bytes = disk.f_bavail * disk.f_frsize
        if choice.content_bytes > free_bytes:
            raise RefusalError(
                "The disk has no room for these files.",
                hint="Choose another directory with --to, or fewer paths.",
                facts={"needed_bytes": choice.content_bytes, "free_bytes": free_bytes},
            )

    def _foresee(self, choice: Choice, entries: Iterator[IndexEntry]) -> None:
        """Refuse by the index alone, before anything is downloaded: unsafe entries, and what is in the way."""
        guard, root = self._guard(), os.fsencode(self._order.directory)
        for entry in entries:
            if (placed := choice.placed(entry)) is None:
                continue
            parts = guard.admit(TarHeader(placed, is_sparse=False))
            may_stand = self._order.is_overwriting or entry.type is EntryType.DIRECTORY
            if not may_stand and os.path.lexists(b"/".join((root, *parts))):
                raise in_the_way(parts, can_be_overwritten=True)

    def _guard(self) -> UnpackGuard:
        return UnpackGuard(UnpackLimits.announced(self._order.totals), outside_links=OutsideLinks.KEEP)

    def _restore(self, choice: Choice, index: BinaryIO, target: int, staging: Path) -> None:
        header, entries = self._index(index)
        tar = StoredTar(
            self._store,
            self._order.objects,
            header.frames,
            identity=self._order.identity if self._order.is_encrypted else None,
            on_bytes=self._note_read,
        )
        is_new = not set(os.listdir(target)) - {staging.name, "lost+found"}
        with Unpacker(staging, self._guard(), restores_owner=restores_owner()) as unpacker, contextlib.closing(tar):
            for entry in entries:
                self._flow.check()
                if (placed := choice.placed(entry)) is not None:
                    self._one(entry, placed, unpacker, tar)
            source = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                merged = place(source, target, is_overwriting=self._order.is_overwriting)
            finally:
                os.close(source)
            staging.rmdir()  # before the folder around it gets its time
            unpacker.moved(target, kept=merged if is_new else merged | {()})
            unpacker.finish()

    def _one(self, entry: IndexEntry, placed: IndexEntry, unpacker: Unpacker, tar: StoredTar) -> None:
        """Only files with content need the data: the index, signed for by the manifest, says all of the others."""
        if entry.type is EntryType.FILE and entry.size_bytes:
            _copy(_OneFile(entry, placed, unpacker), tar)
        else:
            unpacker.begin(TarHeader(placed, is_sparse=False))
            unpacker.end(placed)
        self._entries += 1
        self._files += entry.type is EntryType.FILE
        self._content_bytes += entry.size_bytes
        self._reporter.read(self._content_bytes, self._entries)


class _OneFile:
    """A TarSink for a single member, which must be the one the index describes."""

    def __init__(self, wanted: IndexEntry, placed: IndexEntry, unpacker: Unpacker) -> None:
        self.wanted = wanted
        self.has_begun = False
        self._placed = placed
        self._unpacker = unpacker

    def begin(self, header: TarHeader) -> None:
        self._compare(replace(header.entry, sha256=self.wanted.sha256))
        self.has_begun = True
        self._unpacker.begin(replace(header, entry=self._placed))

    def content(self, piece: memoryview) -> None:
        self._unpacker.content(piece)

    def end(self, entry: IndexEntry) -> None:
        self._compare(entry)
        self._unpacker.end(self._placed)

    def _compare(self, entry: IndexEntry) -> None:
        if replace(entry, offset=self.wanted.offset) != self.wanted:
            raise IntegrityError("a file differs from the index", facts={"path": shown(self.wanted.path)})


def _copy(file: _OneFile, tar: StoredTar) -> None:
    wanted, position = file.wanted, file.wanted.offset
    reader = TarReader(lambda _: None, sink=file)
    try:
        while not file.has_begun and position - wanted.offset < _HEADERS_LIMIT_BYTES:
            for piece in tar.read(position, BLOCK):
                reader.feed(piece)
            position += BLOCK
        if not file.has_begun:
            raise TruncatedStreamError("no member begins where the index says")
        for piece in tar.read(position, wanted.size_bytes + -wanted.size_bytes % BLOCK):
            reader.feed(piece)
    except TruncatedStreamError as error:
        raise IntegrityError("the data is not what the index says", facts={"path": shown(wanted.path)}) from error


@contextlib.contextmanager
def _target(order: ExtractOrder) -> Iterator[tuple[int, Path]]:
    """The directory, open, and a folder of ours inside it that is gone afterwards."""
    directory = Path(order.directory)
    staging = directory / f".flykeep-{order.export_id}-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        target = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UnpackError(
            f"The directory cannot be used: {error.strerror}.", facts={"directory": order.directory}
        ) from error
    try:
        staging.mkdir(mode=0o700)
        try:
            yield target, staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise UnpackError(f"A file could not be restored: {error.strerror}.", facts={"path": error.filename}) from error
    finally:
        os.close(target)
