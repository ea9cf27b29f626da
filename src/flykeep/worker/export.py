"""An export: tar -> index -> zstd frames -> age -> sha256 -> store, in constant memory.

The main thread reads and indexes; compression, encryption and storing have a thread each. The upload can only end after
the archive's end was proven, for the stream is closed behind that proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from flykeep.adapters.codecs import age_stream
from flykeep.adapters.codecs.zstd_frames import FrameWriter
from flykeep.adapters.shells.running import Ended, RunningCommand
from flykeep.adapters.stores.objects import open_bulk
from flykeep.domain.artifact import ChangedFile, EntryType, IndexEntry, IndexHeader, StoredObject, TarTotals
from flykeep.domain.tar_stream import TarReader
from flykeep.ports.worker import ExportOrder, ExportResult
from flykeep.worker.channel import Channel, Flow
from flykeep.worker.diagnostics import Diagnosis, diagnose, judge
from flykeep.worker.index_spool import IndexSpool
from flykeep.worker.machine import Machine, shell_on
from flykeep.worker.remote_tar import Flavour, shown
from flykeep.worker.report import Reporter
from flykeep.worker.source import Source, TarCommand, needs_second_look
from flykeep.worker.storing import PART_LIMIT, ObjectWriter, UploadPlan

_BUFFER_BYTES = 1 << 20
_BUFFERS = 4
_QUEUED = 4
_WITHDRAW_WAIT_S = 20.0
_SIDE_FILES = (b"-wal", b"-journal")


@dataclass(frozen=True, slots=True)
class _Read:
    """What reading the tar to its proven end gave."""

    totals: TarTotals
    ended: Ended
    diagnosis: Diagnosis
    side_files: frozenset[bytes]


class Export:
    """One export order, from the first look at the machine to objects that were read back."""

    def __init__(self, order: ExportOrder, *, flow: Flow, reporter: Reporter, part_limit: int = PART_LIMIT) -> None:
        self._order = order
        self._flow = flow
        self._reporter = reporter
        self._part_limit = part_limit
        self._free: Channel[bytearray] = Channel(flow, size=_BUFFERS)
        self._tar: Channel[memoryview] = Channel(flow, size=_BUFFERS)
        self._compressed: Channel[bytes] = Channel(flow, size=_QUEUED)
        self._sealed: Channel[bytes] = Channel(flow, size=_QUEUED)
        self._frames = FrameWriter(
            level=order.compression.level, threads=order.compression.threads, frame_bytes=order.compression.frame_bytes
        )
        self._writer = ObjectWriter(open_bulk(order.store), on_bytes=reporter.stored)
        self._stored: tuple[StoredObject, ...] = ()

    def run(self) -> ExportResult:
        """Raises what went wrong first; then nothing of this export stays in the store, as far as it answers."""
        try:
            with shell_on(self._order.access) as shell, closing(IndexSpool()) as spool:
                machine = Machine(shell, flow=self._flow, stall_s=self._order.stall_timeout_s)
                return self._run(Source(self._order, machine), machine, spool)
        except BaseException as error:
            self._flow.fail(error)
            self._writer.withdraw()
            raise

    def _run(self, source: Source, machine: Machine, spool: IndexSpool) -> ExportResult:
        self._reporter.phase("connecting")
        with closing(machine.start()) as remote:  # it connects while the plan is made over another connection
            command = source.plan()
            self._reporter.phase("reading")
            remote.give(command.script)
            read = self._stream(machine, command, remote, spool)
        changed, open_databases = _inspect(read, spool)
        if needs_second_look(command.probe.flavour):
            self._reporter.phase("comparing")
            changed = merged(changed, source.second_look(command, spool.entries()))
        self._reporter.phase("storing")
        index = self._store_index(spool, read.totals)
        self._reporter.phase("reading back")
        self._writer.read_back()
        self._flow.check()
        return ExportResult(
            data=self._stored,
            index=index,
            totals=read.totals,
            changed=changed,
            skipped=tuple(shown(path) for path in read.diagnosis.skipped),
            open_databases=open_databases,
            tar_flavour=command.probe.flavour.value,
            tar_exit_code=read.ended.code,
        )

    def _stream(self, machine: Machine, command: TarCommand, remote: RunningCommand, spool: IndexSpool) -> _Read:
        """Read the tar while the other threads compress, encrypt and store it."""
        expected = self._order.expected_bytes or command.probe.used_bytes
        plan = UploadPlan.of(expected, part_limit=self._part_limit)
        threads = [self._flow.run("compress", self._compress)]
        if self._order.recipients:
            threads.append(self._flow.run("encrypt", self._encrypt))
        threads.append(self._flow.run("store", lambda: self._store_data(plan)))
        try:
            read = self._read(machine, command, remote, spool)
            self._tar.close()
            for thread in threads:
                thread.join()
            self._flow.check()
        except BaseException as error:
            self._flow.fail(error)
            threads[-1].join(_WITHDRAW_WAIT_S)
            raise
        return read

    def _read(self, machine: Machine, command: TarCommand, remote: RunningCommand, spool: IndexSpool) -> _Read:
        side_files: set[bytes] = set()

        def on_entry(entry: IndexEntry) -> None:
            spool.add(entry)
            if entry.path.endswith(_SIDE_FILES) and entry.size_bytes and entry.type is EntryType.FILE:
                side_files.add(entry.path)

        reader, digest, tar_bytes = TarReader(on_entry), hashlib.sha256(), 0
        for buffer in self._buffers():
            count = remote.fill(memoryview(buffer), stall_s=self._order.stall_timeout_s)
            if not count:
                break
            piece = memoryview(buffer)[:count]
            digest.update(piece)
            reader.feed(piece)
            tar_bytes += count
            self._reporter.read(tar_bytes, reader.entries)
            self._tar.put(piece)
        ended = remote.end()
        self._flow.check()
        diagnosis = self._prove(machine, command.probe.flavour, ended, reader)
        spool.seal()
        totals = TarTotals(
            entries=reader.entries,
            files=reader.files,
            content_bytes=reader.content_bytes,
            tar_bytes=tar_bytes,
            tar_sha256=digest.hexdigest(),
        )
        return _Read(totals=totals, ended=ended, diagnosis=diagnosis, side_files=frozenset(side_files))

    @staticmethod
    def _prove(machine: Machine, flavour: Flavour, ended: Ended, reader: TarReader) -> Diagnosis:
        """Exit code, messages and the archive's own end must all agree that this was everything."""
        machine.fail_if_lost(ended)
        diagnosis = diagnose(ended.stderr, flavour)
        judge(ended.code, diagnosis, flavour)
        reader.finish()
        return diagnosis

    def _buffers(self) -> Iterator[bytearray]:
        """Buffers to read into, each used again once the compressor is done with it."""
        for _ in range(_BUFFERS):
            self._free.put(bytearray(_BUFFER_BYTES))
        return iter(self._free)

    def _compress(self) -> None:
        for piece in self._tar:
            for out in self._frames.write(piece):
                self._compressed.put(out)
            buffer = piece.obj
            piece.release()
            self._free.put(buffer)  # type: ignore[arg-type]  # the bytearray that _buffers made
        for out in self._frames.end_frame():
            self._compressed.put(out)
        self._compressed.close()

    def _encrypt(self) -> None:
        age_stream.encrypt(self._compressed, self._sealed.put, recipients=self._order.recipients)
        self._sealed.close()

    def _store_data(self, plan: UploadPlan) -> None:
        chunks = self._sealed if self._order.recipients else self._compressed
        self._stored = self._writer.write(self._key("data.tar.zst"), iter(chunks), plan)

    def _store_index(self, spool: IndexSpool, totals: TarTotals) -> StoredObject:
        header = IndexHeader(export_id=self._order.export_id, frames=self._frames.frames, entries=totals.entries)
        chunks: Iterable[bytes] = spool.stream(header)
        if self._order.recipients:
            chunks = self._sealed_index(chunks)
        plan = UploadPlan.of(None)
        return self._writer.write(self._key("index.jsonl.zst"), iter(chunks), plan)[0]

    def _sealed_index(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        sealed: Channel[bytes] = Channel(self._flow, size=_QUEUED)

        def encrypt() -> None:
            recipients = (*self._order.recipients, self._order.index_recipient)
            age_stream.encrypt(chunks, sealed.put, recipients=recipients)
            sealed.close()

        self._flow.run("encrypt index", encrypt)
        return sealed

    def _key(self, name: str) -> str:
        return f"{self._order.key_prefix}/{name}{'.age' if self._order.recipients else ''}"


def merged(first: tuple[ChangedFile, ...], second: tuple[ChangedFile, ...]) -> tuple[ChangedFile, ...]:
    """Each path once; what tar itself said outranks the second look. Sorted by path."""
    by_path = {changed.path: changed for changed in (*second, *first)}
    return tuple(by_path[path] for path in sorted(by_path))


def _inspect(read: _Read, spool: IndexSpool) -> tuple[tuple[ChangedFile, ...], tuple[str, ...]]:
    """Go through the index once more: changed directories are no changed files, side files need their database.

    A directory that gained or lost a name while it was read is not itself listed: the files that vanished are.
    """
    changed = {shown(path): change for path, change in read.diagnosis.changed.items()}
    databases = {_database_of(path) for path in read.side_files}
    present: set[bytes] = set()
    for entry in spool.entries() if changed or databases else ():
        if entry.type is EntryType.DIRECTORY and changed.get(shown(entry.path)) == "changed":
            del changed[shown(entry.path)]
        if entry.type is EntryType.FILE and entry.path in databases:
            present.add(entry.path)
    is_open = sorted(shown(path) for path in read.side_files if _database_of(path) in present)
    return tuple(ChangedFile(path, changed[path]) for path in sorted(changed)), tuple(is_open)


def _database_of(side_file: bytes) -> bytes:
    return side_file.removesuffix(_SIDE_FILES[0]).removesuffix(_SIDE_FILES[1])
