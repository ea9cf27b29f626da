"""An inspection: list a tree in use, ask its probes, put an artifact's index beside it. Nothing is written there."""

from __future__ import annotations

from flykeep.domain.inspection import TreeDiff
from flykeep.ports.inspecting import InspectOrder, InspectResult
from flykeep.ports.worker import IndexReference
from flykeep.worker.channel import Flow
from flykeep.worker.live_diff import LiveDiff
from flykeep.worker.live_probes import LiveProbing
from flykeep.worker.live_tree import LiveTree
from flykeep.worker.machine import Machine, Shell, shell_on
from flykeep.worker.report import Reporter
from flykeep.worker.selection import Selection
from flykeep.worker.verify import referenced


class Inspection:
    """One inspect order."""

    def __init__(self, order: InspectOrder, *, flow: Flow, reporter: Reporter) -> None:
        self._order = order
        self._flow = flow
        self._reporter = reporter

    def run(self) -> InspectResult:
        """Raises SshError where nobody can look; IntegrityError where the index is not what was written."""
        order = self._order
        self._reporter.phase("connecting")
        with shell_on(order.access) as shell:
            machine = Machine(shell, flow=self._flow, stall_s=order.stall_timeout_s)
            self._reporter.phase("listing")
            with LiveTree.read(machine, order.directory, token=order.token) as tree:
                self._reporter.phase("probing")
                probing = LiveProbing(tree, machine, order.directory, as_of_s=order.as_of_s, flow=self._flow)
                probes = probing.run(order.probes)
                diff = self._diff(tree, shell, order.reference) if order.reference else None
                files, directories, content_bytes = tree.totals()
                return InspectResult(tree.use, files, directories, content_bytes, tree.troubles, probes, diff)

    def _diff(self, tree: LiveTree, shell: Shell, reference: IndexReference) -> TreeDiff:
        """Hashing one large file takes long in silence: only the deadline bounds it."""
        order = self._order
        self._reporter.phase("comparing")
        patient = Machine(shell, flow=self._flow, stall_s=order.deadline_s)
        diff = LiveDiff(
            tree,
            selection=Selection.of(reference.include, reference.exclude),
            is_digesting=order.is_digesting,
            digest_bytes=order.digest_bytes,
            names=order.names,
        )
        return diff.run(referenced(reference, flow=self._flow), patient, order.directory)
