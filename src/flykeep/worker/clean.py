"""Looks for files by rules on a machine, and removes them there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flykeep.adapters.shells.running import Ended
from flykeep.adapters.ssh.openssh import OpenSsh
from flykeep.domain.errors import SshError
from flykeep.ports.cleaning import SAMPLE_LIMIT, CleanOrder, CleanResult, CleanWish, Found, Kept
from flykeep.worker.channel import Flow
from flykeep.worker.cleaning import (
    NO_DIRECTORY,
    TROUBLE,
    Listed,
    Removed,
    Wanted,
    files_script,
    listed,
    listed_folder,
    removal_script,
    verdicts,
)
from flykeep.worker.machine import Machine
from flykeep.worker.remote_tar import shown
from flykeep.worker.selection import Pattern, parents, topmost

_AT_ONCE = 5000  # a script is sent whole before its output is read, which must fit a pipe
_TROUBLES = 5
_OWN = b".flykeep-"


def clean(order: CleanOrder, *, flow: Flow) -> CleanResult:
    """Raises SshError where the machine cannot be asked, or stops half-way; what is gone then stays gone."""
    with OpenSsh.open(order.access) as ssh:
        return Cleaning(order, Machine(ssh, flow=flow, stall_s=order.deadline_s)).run()


@dataclass(slots=True)
class _Tally:
    """What one wish names."""

    files: list[Listed] = field(default_factory=list)

    def found(self, glob: str) -> Found:
        """The oldest first; paths that are not UTF-8 with surrogate escapes."""
        self.files.sort(key=lambda one: (one.mtime_s, one.path))
        return Found(
            glob=glob,
            files=len(self.files),
            content_bytes=sum(one.size_bytes for one in self.files),
            oldest_s=self.files[0].mtime_s if self.files else None,
            newest_s=self.files[-1].mtime_s if self.files else None,
            sample=tuple(shown(one.path) for one in self.files[:SAMPLE_LIMIT]),
        )


class Cleaning:
    """One order."""

    def __init__(self, order: CleanOrder, machine: Machine) -> None:
        self._order = order
        self._machine = machine
        self._troubles: list[str] = []

    def run(self) -> CleanResult:
        tallies, wanted = self._named()
        removed: list[Removed] = []
        kept: list[Kept] = []
        if self._order.is_applied:
            for verdict, one in self._removed(wanted):
                if isinstance(verdict, Removed):
                    removed.append(verdict)
                else:
                    kept.append(Kept(shown(one.path), verdict))
        return CleanResult(
            found=tuple(tally.found(wish.glob) for tally, wish in zip(tallies, self._order.wishes, strict=True)),
            removed=len(removed),
            freed_bytes=freed_bytes(removed),
            kept_count=len(kept),
            kept=tuple(kept[:SAMPLE_LIMIT]),
            troubles=tuple(self._troubles[:_TROUBLES]),
        )

    def _named(self) -> tuple[list[_Tally], list[Wanted]]:
        """What each wish names, and all of it in the order of removal: those of one folder together."""
        wishes = [Naming(wish) for wish in self._order.wishes]
        tallies = [_Tally() for _ in wishes]
        wanted: list[Wanted] = []
        for file in self._files(wishes):
            number = next((number for number, wish in enumerate(wishes) if wish.names(file)), None)
            if number is not None:
                tallies[number].files.append(file)
                wanted.append(Wanted(file.path, wishes[number].until_s))
        wanted.sort(key=lambda one: (one.path.rpartition(b"/")[0], one.until_s, one.path))
        return tallies, wanted

    def _files(self, wishes: Sequence[Naming]) -> Iterator[Listed]:
        """Every regular file that may be named, each once; flykeep's own folders are left out."""
        literal = {wish.root for wish in wishes if wish.is_literal}
        roots = {wish.root for wish in wishes}
        for root in (b"",) if b"" in roots else topmost(roots):
            for file in self._below(root, is_literal=root in literal):
                if not file.path.startswith(_OWN):
                    yield file

    def _below(self, root: bytes, *, is_literal: bool) -> list[Listed]:
        records: list[bytes] = []
        rest = bytearray()

        def on_chunk(chunk: bytes) -> None:
            *whole, last = (bytes(rest) + chunk).split(b"\0")
            records.extend(whole)
            rest[:] = last

        ended = self._machine.run(files_script(self._order.directory, root, is_literal=is_literal), on_chunk)
        self._judge(ended, is_cut=bool(rest))
        return list(listed(records, folder=listed_folder(root, is_literal=is_literal)))

    def _judge(self, ended: Ended, *, is_cut: bool) -> None:
        if ended.code == TROUBLE:
            self._troubles += [line.decode("utf-8", "backslashreplace") for line in ended.stderr]
            return
        if ended.code or is_cut:
            words = b"; ".join(ended.stderr[-3:]).decode("utf-8", "backslashreplace")
            missing = (
                "the machine has no such directory" if ended.code == NO_DIRECTORY else "its files cannot be listed"
            )
            raise SshError(
                f"{missing}: {words or 'no reason given'}",
                facts={"directory": self._order.directory, "exit_code": ended.code},
            )

    def _removed(self, wanted: Sequence[Wanted]) -> Iterator[tuple[Removed | str, Wanted]]:
        for at in range(0, len(wanted), _AT_ONCE):
            batch = wanted[at : at + _AT_ONCE]
            output = self._machine.collect(removal_script(self._order.directory, batch))
            yield from zip(verdicts(output, batch), batch, strict=True)


class Naming:
    """Whether one wish names a file: the globs are those of an export's `include`."""

    def __init__(self, wish: CleanWish) -> None:
        pattern = Pattern.of(wish.glob).tree
        self.until_s = wish.until_s
        self.root = pattern.fixed_root.encode("utf-8", "surrogateescape")
        self.is_literal = pattern.is_literal
        self._regex = pattern.regex

    def names(self, file: Listed) -> bool:
        """It, or a folder above it, matches, and it is old enough."""
        if file.mtime_s > self.until_s:
            return False
        return any(self._regex.fullmatch(path) for path in (file.path, *parents(file.path)))


def freed_bytes(removed: Sequence[Removed]) -> int:
    """What the removal of these names gave back: an inode's bytes go with the last of its names."""
    left: dict[int, int] = {}
    freed = 0
    for one in removed:
        left[one.inode] = min(left.get(one.inode, one.links), one.links) - 1
        if left[one.inode] == 0:
            freed += one.size_bytes
    return freed
