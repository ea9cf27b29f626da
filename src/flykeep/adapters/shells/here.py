"""Scripts on the machine this process runs on: how a mounted tree is read."""

from __future__ import annotations

from flykeep.adapters.shells.running import Ended, RunningCommand
from flykeep.domain.errors import WorkerError


class ShellHere:
    """`worker.machine.Shell` without a connection."""

    def start(self, script: bytes) -> RunningCommand:
        """Run a shell script. Call from a thread that outlives the command: the child dies with it."""
        return RunningCommand.start(["sh"], script, failure=WorkerError)

    def lost(self, ended: Ended) -> WorkerError:
        return WorkerError(
            "a command on the worker's own machine was killed",
            hint="Without enough memory the kernel kills processes: give workers a bigger machine.",
            facts={"exit_code": ended.code},
        )
