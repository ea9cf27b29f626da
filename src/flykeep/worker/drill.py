"""A drill: get a volume's contents, where they are not there yet; compare them; ask the probes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from flykeep.domain.agreement import Comparison, Gap, gap_between
from flykeep.domain.artifact import EntryType
from flykeep.domain.errors import IntegrityError
from flykeep.domain.proof import Timing
from flykeep.domain.unpacking import OutsideLinks, UnpackGuard, UnpackLimits
from flykeep.ports.clock import Clock
from flykeep.ports.worker import DrillOrder, DrillResult, IndexReference, VerifyOrder
from flykeep.worker.channel import Flow
from flykeep.worker.comparison import IndexComparison
from flykeep.worker.faithful import check_attributes, keep_on_disk
from flykeep.worker.probes import Probing
from flykeep.worker.report import Reporter
from flykeep.worker.selection import Selection
from flykeep.worker.tree import Tree
from flykeep.worker.unpack import Unpacker, restores_owner
from flykeep.worker.verify import Verification, referenced


class Drill:
    """One drill order, on a directory that this worker may do with as it likes."""

    def __init__(self, order: DrillOrder, *, flow: Flow, reporter: Reporter, clock: Clock) -> None:
        self._order = order
        self._flow = flow
        self._reporter = reporter
        self._clock = clock
        self._timings: list[Timing] = []

    def run(self) -> DrillResult:
        """Raises IntegrityError for an artifact that is not what was written; other flaws stand in the result."""
        if self._order.restore is not None:
            with self._timed("restore", is_restore=True):
                self._restore(self._order.restore)
        try:
            return self._look()
        except OSError as error:
            path = error.filename if isinstance(error.filename, str) else None
            raise IntegrityError(
                f"the restored volume cannot be read: {error.strerror}",
                hint="Look at the run's source: its backup is damaged, or its filesystem is.",
                facts={"path": path},
            ) from error

    def _look(self) -> DrillResult:
        tree = Tree(Path(self._order.directory), as_of_s=self._order.as_of_s, flow=self._flow)
        files, content_bytes = self._survey(tree)
        comparison = None
        if self._order.reference is not None:
            with self._timed("compare"):
                comparison = self._compare(tree, self._order.reference)
                self._check_attributes(self._order.reference)
        with self._timed("probe"):
            asked = Probing(tree, as_of_s=self._order.as_of_s, flow=self._flow, is_kept=self._order.is_kept)
            probes = asked.run(self._order.probes)
        return DrillResult(files, content_bytes, probes, comparison, tuple(self._timings))

    def _restore(self, order: VerifyOrder) -> None:
        """The artifact is verified as it is unpacked; what a trusted manifest describes may link outside."""
        guard = UnpackGuard(UnpackLimits.announced(order.totals), outside_links=OutsideLinks.KEEP)
        with Unpacker(Path(self._order.directory), guard, restores_owner=restores_owner()) as unpacker:
            Verification(order, flow=self._flow, reporter=self._reporter, sink=unpacker).run()
            unpacker.finish()
        if self._order.is_kept:
            keep_on_disk(Path(self._order.directory))

    def _survey(self, tree: Tree) -> tuple[int, int]:
        files = content_bytes = 0
        with self._timed("survey"):
            for found in tree.entries():
                if found.facts.type is EntryType.FILE:
                    files += 1
                    content_bytes += found.facts.size_bytes
        return files, content_bytes

    def _compare(self, tree: Tree, reference: IndexReference) -> Comparison:
        gap = Gap(0.0, is_tree_later=True, is_exact=True) if reference.is_exact else self._gap(reference)
        selection = Selection.of(reference.include, reference.exclude)
        comparison = IndexComparison(tree, gap, selection=selection, unsteady=reference.unsteady)
        return comparison.run(referenced(reference, flow=self._flow))

    def _check_attributes(self, reference: IndexReference) -> None:
        if self._order.is_kept and reference.is_exact:
            root, entries = Path(self._order.directory), referenced(reference, flow=self._flow)
            check_attributes(root, entries, flow=self._flow, has_owners=restores_owner())

    def _gap(self, reference: IndexReference) -> Gap:
        def at(instant_s: float) -> datetime:
            return datetime.fromtimestamp(instant_s, UTC)

        return gap_between(tree_at=at(self._order.as_of_s), artifact_at=at(reference.artifact_at_s))

    @contextmanager
    def _timed(self, step: str, *, is_restore: bool = False) -> Iterator[None]:
        self._reporter.phase(step)
        started = self._clock.monotonic()
        yield
        took_ms = round((self._clock.monotonic() - started) * 1000)
        self._timings.append(Timing(step, took_ms, is_restore=is_restore))
