"""Scripts on the machine this process runs on: how a mounted tree is read."""

from __future__ import annotations

from flykeep.adapters.shells.running import Ended, RunningCommand
from flykeep.domain.errors import WorkerError


class ShellHere:
    """`worker.machine.Shell` without a connection."""

    def start(self) -> RunningCommand:
        """A shell that waits for its script. Call from a thread that outlives it: the child dies with that thread."""
        return RunningCommand.start(["sh"], failure=WorkerError)

    def lost(self, ended: Ended) -> WorkerError:
        return WorkerError(
            "a command on the worker's own machine was killed",
            hint="Without enough memory the kernel kills processes: give workers a bigger machine.",
            facts={"exit_code": ended.code},
        )
