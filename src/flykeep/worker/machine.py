"""Commands on the machine whose files an order names, all of which end when the flow fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Protocol

from flykeep.adapters.shells.here import ShellHere
from flykeep.adapters.shells.running import Ended, RunningCommand
from flykeep.adapters.ssh.openssh import OpenSsh
from flykeep.domain.errors import FlykeepError
from flykeep.ports.fly import SshAccess
from flykeep.ports.worker import ReachOrder, ReachResult
from flykeep.worker.channel import Flow
from flykeep.worker.remote_tar import probe_script, read_probe

_REACH_STALL_S = 30.0


class Shell(Protocol):
    """Starts shells where the files are; each runs the one script that it is given."""

    def start(self) -> RunningCommand: ...

    def lost(self, ended: Ended) -> FlykeepError:
        """The error for a command that was killed or cut off, so that its output proves nothing."""
        ...


@contextmanager
def shell_on(access: SshAccess | None) -> Iterator[Shell]:
    """The shell of the machine behind this access; without one, of the machine this process runs on."""
    if access is None:
        yield ShellHere()
        return
    with OpenSsh.open(access) as ssh:
        yield ssh


class Machine:
    """Runs scripts in one shell. Call from a thread that outlives the commands."""

    def __init__(self, shell: Shell, *, flow: Flow, stall_s: float) -> None:
        self._shell = shell
        self._flow = flow
        self._stall_s = stall_s

    def start(self) -> RunningCommand:
        """A shell that waits for its script: connecting takes a while, and may go on beside something else."""
        self._flow.check()
        command = self._shell.start()
        self._flow.on_failure(command.kill)
        return command

    def run(self, script: bytes, on_chunk: Callable[[bytes], object]) -> Ended:
        """Run to the end; raises the shell's error where the command was lost, not where it failed."""
        with closing(self.start()) as command:
            command.give(script)
            return self.followed(command, on_chunk)

    def followed(self, command: RunningCommand, on_chunk: Callable[[bytes], object]) -> Ended:
        """The same for a command that has its script already."""
        ended = command.output(stall_s=self._stall_s, on_chunk=on_chunk)
        self._flow.check()
        self.fail_if_lost(ended)
        return ended

    def collect(self, script: bytes) -> bytes:
        """All of a short output."""
        pieces: list[bytes] = []
        self.run(script, pieces.append)
        return b"".join(pieces)

    def fail_if_lost(self, ended: Ended) -> None:
        """Raise where the command did not come to its own end."""
        if ended.is_lost:
            raise self._shell.lost(ended)


def reach(order: ReachOrder, *, flow: Flow) -> ReachResult:
    """Log in and look which tar there is. Raises SshError."""
    with OpenSsh.open(order.access) as ssh:
        machine = Machine(ssh, flow=flow, stall_s=_REACH_STALL_S)
        probe = read_probe(machine.collect(probe_script("/")), directory="/")
    return ReachResult(tar_flavour=probe.flavour.value)
