"""Commands on the machine an order names, all of which end when the flow fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from flykeep.adapters.ssh.openssh import Ended, OpenSsh, RemoteCommand
from flykeep.domain.errors import SshError
from flykeep.ports.worker import ReachOrder, ReachResult
from flykeep.worker.channel import Flow
from flykeep.worker.remote_tar import probe_script, read_probe

_DENIED = b"Permission denied"
_DENIED_HINT = "The certificate was not accepted: it may be expired, or made for another app."
_REACH_STALL_S = 30.0


class Machine:
    """Runs scripts over one access. Call from a thread that outlives the commands."""

    def __init__(self, ssh: OpenSsh, *, host: str, flow: Flow, stall_s: float) -> None:
        self._ssh = ssh
        self._host = host
        self._flow = flow
        self._stall_s = stall_s

    def start(self, script: bytes) -> RemoteCommand:
        self._flow.check()
        command = self._ssh.start(script)
        self._flow.on_failure(command.kill)
        return command

    def run(self, script: bytes, on_chunk: Callable[[bytes], object]) -> Ended:
        """Run to the end; raises SshError where the connection was lost, not where the command failed."""
        with closing(self.start(script)) as command:
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
        """Raise SshError where the connection, not the command, came to its end."""
        if not ended.is_lost:
            return
        words = b" ".join(ended.stderr[-3:]).decode("utf-8", "backslashreplace")
        raise SshError(
            f"the connection ended before the command did: {words or 'no reason given'}",
            hint=_DENIED_HINT if _DENIED in b"".join(ended.stderr) else None,
            facts={"host": self._host},
        )


def reach(order: ReachOrder, *, flow: Flow) -> ReachResult:
    """Log in and look which tar there is. Raises SshError."""
    with OpenSsh.open(order.access) as ssh:
        machine = Machine(ssh, host=order.access.host, flow=flow, stall_s=_REACH_STALL_S)
        probe = read_probe(machine.collect(probe_script("/")), directory="/")
    return ReachResult(tar_flavour=probe.flavour.value)
