"""An import: archive -> judged -> tar over SSH into a staging folder on the volume -> digests compared there.

Two passes. The first judges every entry and adds up what they take, so that nothing leaves for the machine of an
archive that is unsafe or too large. The second writes a tar of its own from what was judged, never the archive's bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from flykeep.adapters.shells.fed import EndedEarlyError, FedCommand
from flykeep.adapters.shells.running import Ended, RunningCommand
from flykeep.adapters.ssh.openssh import OpenSsh
from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import IntegrityError, SshError
from flykeep.domain.tar_stream import TarHeader, TarReader
from flykeep.domain.tar_writer import END_OF_ARCHIVE, header_of, padding_of
from flykeep.ports.importing import ImportOrder, ImportResult, PlaceOrder, PlaceResult
from flykeep.worker.channel import Channel, Flow
from flykeep.worker.import_selection import Survey, survey
from flykeep.worker.import_source import TarInput, open_input
from flykeep.worker.index_spool import EntryList
from flykeep.worker.machine import Machine
from flykeep.worker.placing import held_record, mark_staged_script, placing_script, read_placed
from flykeep.worker.receiving import (
    HELD,
    TREE,
    DigestReader,
    Expectations,
    digest_script,
    read_free_bytes,
    receive_script,
)
from flykeep.worker.remote_tar import Flavour, probe_script, read_probe, shown
from flykeep.worker.report import Reporter

_QUEUED = 4


@dataclass(frozen=True, slots=True)
class _Place:
    """The machine as it was found."""

    flavour: Flavour
    free_bytes: int


class Import:
    """One import order, from the first look at the machine to a staged tree that was compared."""

    def __init__(self, order: ImportOrder, *, flow: Flow, reporter: Reporter) -> None:
        self._order = order
        self._flow = flow
        self._reporter = reporter

    def run(self) -> ImportResult:
        """Raises what went wrong first. What was staged by then stays for a PlaceOrder to discard."""
        try:
            source = open_input(
                self._order.source, mount=self._order.directory, flow=self._flow, reporter=self._reporter
            )
            with OpenSsh.open(self._order.access) as ssh, closing(EntryList()) as spool:
                return self._run(ssh, source, spool)
        except BaseException as error:
            self._flow.fail(error)
            raise

    def _run(self, ssh: OpenSsh, source: TarInput, spool: EntryList) -> ImportResult:
        """Each connection is opened one step before its own, for that takes a while."""
        order = self._order
        machine = Machine(ssh, flow=self._flow, stall_s=order.stall_timeout_s)
        self._reporter.phase("connecting")
        with closing(ssh.start_fed()) as remote:
            self._flow.on_failure(remote.kill)
            place = self._look(machine)
            self._reporter.phase("judging")
            found = survey(source.judged(), order.paths, spool, free_bytes=place.free_bytes, directory=order.directory)
            self._flow.check()
            with Expectations.open() as expectations, closing(machine.start()) as comparing:
                self._reporter.phase("sending")
                self._send(remote, machine, place, _Relay(found, spool.entries(), expectations), source)
                self._reporter.phase("comparing")
                self._compare(ssh, comparing, expectations)
        self._flow.check()
        return ImportResult(
            entries=found.entries,
            files=found.files,
            content_bytes=found.content_bytes,
            left_out=found.left_out,
            tar_flavour=place.flavour.value,
        )

    def _look(self, machine: Machine) -> _Place:
        output = machine.collect(probe_script(self._order.directory))
        probe = read_probe(output, directory=self._order.directory)
        return _Place(probe.flavour, read_free_bytes(output))

    def _send(self, remote: FedCommand, machine: Machine, place: _Place, relay: _Relay, source: TarInput) -> None:
        order = self._order
        script = receive_script(order.directory, order.run_id, place.flavour)
        with closing(relay):
            try:
                remote.begin(script, stall_s=order.stall_timeout_s)
                self._feed(remote, relay, source)
                ended = remote.finish(stall_s=order.stall_timeout_s)
            except EndedEarlyError as error:
                ended = error.ended
                self._flow.check()
                machine.fail_if_lost(ended)
                raise _refused_by_tar(ended) from error
        self._flow.check()
        machine.fail_if_lost(ended)
        if ended.code:
            raise _refused_by_tar(ended)

    def _feed(self, remote: FedCommand, relay: _Relay, source: TarInput) -> None:
        stall_s, tar_bytes = self._order.stall_timeout_s, 0
        reader = TarReader(lambda _: None, sink=relay, is_hashing=False)  # the machine hashes what arrived
        for piece in self._ahead(source):
            reader.feed(piece)
            remote.write(relay.taken(), stall_s=stall_s)
            tar_bytes += len(piece)
            self._reporter.read(tar_bytes, reader.entries)
        reader.finish()
        for pieces in relay.ending():
            remote.write(pieces, stall_s=stall_s)

    def _ahead(self, source: TarInput) -> Iterator[bytes]:
        """The tar, unpacked in a thread of its own."""
        pieces: Channel[bytes] = Channel(self._flow, size=_QUEUED)

        def unpack() -> None:
            for piece in source.tar():
                pieces.put(piece)
            pieces.close()

        self._flow.run("unpack", unpack)
        return iter(pieces)

    def _compare(self, ssh: OpenSsh, comparing: RunningCommand, expectations: Expectations) -> None:
        """Hashing one large file takes long in silence: only the deadline bounds it, and ssh's own look at its peer."""
        order, digests = self._order, DigestReader(expectations)
        patient = Machine(ssh, flow=self._flow, stall_s=order.deadline_s)
        with closing(patient.start()) as marking:
            comparing.give(digest_script(order.directory, order.run_id))
            ended = patient.followed(comparing, digests.feed)
            _require_success(ended, "the machine could not hash what was staged")
            digests.finish()
            marking.give(mark_staged_script(order.directory, order.run_id))
            marked = patient.followed(marking, lambda _: None)
        _require_success(marked, "the machine could not keep what was staged")


class _Relay:
    """A TarSink that writes the wanted members anew, and insists that they are those that were judged.

    Contents are compared on the machine, once they are there.
    """

    def __init__(self, found: Survey, judged: Iterator[IndexEntry], expectations: Expectations) -> None:
        self._found = found
        self._judged = judged
        self._expectations = expectations
        self._held = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._pieces: list[bytes | memoryview] = []
        self._expected: IndexEntry | None = None
        self._is_sent = False

    def begin(self, header: TarHeader) -> None:
        entry = header.entry
        self._expected = next(self._judged, None)
        if self._expected is None or not _is_same_header(self._expected, entry):
            raise _other_than_judged(entry)
        self._is_sent = self._found.is_sent(entry)
        if self._is_sent:
            self._pieces.append(header_of(entry, below=TREE))

    def content(self, piece: memoryview) -> None:
        if self._is_sent:
            self._pieces.append(piece)

    def end(self, entry: IndexEntry) -> None:
        if not self._is_sent or self._expected is None:
            return
        if entry.type is EntryType.FILE and entry.size_bytes:
            self._pieces.append(padding_of(entry.size_bytes))
        if self._found.is_wanted(entry.path):
            self._expectations.sent(self._expected)
            if entry.type is EntryType.DIRECTORY:
                self._held.write(held_record(entry))

    def taken(self) -> list[bytes | memoryview]:
        """What is to be sent since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def ending(self) -> Iterator[list[bytes]]:
        """The list of folders the archive holds, and the end of the tar. Raises where something judged did not come."""
        if next(self._judged, None) is not None:
            raise IntegrityError("the archive ended before all of its entries came")
        size = self._held.tell()
        member = IndexEntry(HELD, EntryType.FILE, size, 0o600, 0, 0, 0, None, None, 0)
        yield [header_of(member)]
        self._held.seek(0)
        while chunk := self._held.read(1 << 20):
            yield [chunk]
        yield [padding_of(size), END_OF_ARCHIVE]

    def close(self) -> None:
        self._held.close()


def place(order: PlaceOrder, *, flow: Flow) -> PlaceResult:
    """Move what was staged; bounded by the order's deadline only. Raises RefusalError, SshError."""
    with OpenSsh.open(order.access) as ssh:
        machine = Machine(ssh, flow=flow, stall_s=order.deadline_s)
        pieces: list[bytes] = []
        ended = machine.run(placing_script(order.directory, order.run_id, order.placing), pieces.append)
        placed = read_placed(b"".join(pieces), code=ended.code, stderr=ended.stderr, directory=order.directory)
    return PlaceResult(placed)


def _is_same_header(judged: IndexEntry, found: IndexEntry) -> bool:
    """All but the digest, which the machine compares."""
    return (
        judged.path == found.path
        and judged.offset == found.offset
        and judged.type is found.type
        and judged.size_bytes == found.size_bytes
        and judged.mode == found.mode
        and (judged.uid, judged.gid) == (found.uid, found.gid)
        and judged.mtime_s == found.mtime_s
        and judged.link_target == found.link_target
    )


def _refused_by_tar(ended: Ended) -> SshError:
    words = b"; ".join(ended.stderr[-3:]).decode("utf-8", "backslashreplace")
    return SshError(
        f"the machine's tar could not unpack what was sent: {words or 'no reason given'}",
        hint="Nothing was replaced. Look for room and permissions on the volume.",
        facts={"exit_code": ended.code},
    )


def _require_success(ended: Ended, what: str) -> None:
    if ended.code:
        words = b"; ".join(ended.stderr[-3:]).decode("utf-8", "backslashreplace")
        raise SshError(f"{what}: {words or 'no reason given'}", facts={"exit_code": ended.code})


def _other_than_judged(entry: IndexEntry) -> IntegrityError:
    return IntegrityError(
        "an entry is not what was judged before it was sent: the archive changed, or differs from its index",
        facts={"path": shown(entry.path), "offset": entry.offset},
    )
