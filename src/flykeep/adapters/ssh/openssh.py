"""Commands on a machine through OpenSSH's own client, one child process each.

The command sent is always `sh`; the script goes to its standard input, so that paths of any bytes travel unharmed and
no process list shows them. Scripts must not pipe: a pipe on the far side hides a failure.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from flykeep.adapters.ssh.key_files import KeyFiles, key_files
from flykeep.domain.errors import SshError
from flykeep.ports.fly import SshAccess

_CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com"
_PIPE_BYTES = 1 << 20
_STDERR_LIMIT_BYTES = 8 << 20
_READ_BYTES = 256 << 10
_LOST = 255
_END_GRACE_S = 60.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

_OPTIONS = {
    "BatchMode": "yes",
    "PreferredAuthentications": "publickey",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "ForwardAgent": "no",
    "StrictHostKeyChecking": "no",  # hallpass has no host certificate and no published key: the private network vouches
    "UserKnownHostsFile": "/dev/null",
    "GlobalKnownHostsFile": "/dev/null",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
    "ConnectTimeout": "20",
    "Compression": "no",
    "Ciphers": _CIPHERS,
    "LogLevel": "ERROR",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a remote command ended: its exit code, 255 for a lost connection, and its standard error by lines."""

    code: int
    stderr: tuple[bytes, ...]

    @property
    def is_lost(self) -> bool:
        """The connection broke, or the command was killed: OpenSSH does not tell these apart."""
        return self.code == _LOST or self.code < 0


class OpenSsh:
    """Starts commands on one machine. Keep it open while they start: it holds the key material."""

    def __init__(self, access: SshAccess, files: KeyFiles) -> None:
        self._access = access
        self._files = files

    @classmethod
    @contextlib.contextmanager
    def open(cls, access: SshAccess) -> Iterator[OpenSsh]:
        with key_files(access) as files:
            yield cls(access, files)

    def start(self, script: bytes) -> RemoteCommand:
        """Run a shell script on the machine. Call from a thread that outlives the command: the child dies with it."""
        try:
            with tempfile.TemporaryFile() as stdin:
                stdin.write(script)
                stdin.seek(0)
                child = subprocess.Popen(
                    self._command(),
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, looked up beforehand
                )
        except FileNotFoundError as error:
            raise SshError("there is no `ssh` program here", hint="Install OpenSSH's client.") from error
        return RemoteCommand(child, host=self._access.host)

    def _command(self) -> list[str]:
        options = [
            *(f"{name}={value}" for name, value in _OPTIONS.items()),
            f"IdentityFile={self._files.private_key}",
            f"CertificateFile={self._files.certificate}",
        ]
        flags = [part for option in options for part in ("-o", option)]
        access = self._access
        return ["ssh", "-F", "none", "-T", *flags, "-p", str(access.port), "-l", access.user, "--", access.host, "sh"]


class RemoteCommand:
    """A command that runs on the machine; its output is read by one thread only."""

    def __init__(self, child: subprocess.Popen[bytes], *, host: str) -> None:
        if child.stdout is None or child.stderr is None:
            raise AssertionError
        self._child = child
        self._host = host
        self._stdout = child.stdout
        self._stderr = bytearray()
        self._is_flooded = False
        _widen(self._stdout.fileno())
        self._poll = select.poll()
        self._poll.register(self._stdout.fileno(), select.POLLIN | select.POLLHUP)
        self._listener = threading.Thread(target=self._listen, args=(child.stderr,), daemon=True, name="ssh-stderr")
        self._listener.start()

    def fill(self, buffer: memoryview, *, stall_s: float) -> int:
        """Read until the buffer is full or the output ends; returns the bytes read.

        Raises SshError when nothing arrives for `stall_s` seconds.
        """
        filled = 0
        while filled < len(buffer):
            if not self._poll.poll(stall_s * 1000):
                raise SshError(f"nothing arrived for {stall_s:g} s", facts={"host": self._host})
            count = os.readv(self._stdout.fileno(), [buffer[filled:]])
            if not count:
                break
            filled += count
        return filled

    def output(self, *, stall_s: float, on_chunk: Callable[[bytes], object]) -> Ended:
        """Read all output in pieces, then wait for the end."""
        buffer = memoryview(bytearray(_READ_BYTES))
        while count := self.fill(buffer, stall_s=stall_s):
            on_chunk(bytes(buffer[:count]))
        return self.end()

    def end(self) -> Ended:
        """Wait for the command after its output has ended; a child that does not end is killed."""
        try:
            code = self._child.wait(_END_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = _LOST
        self._listener.join(_END_GRACE_S)
        if self._is_flooded:
            raise SshError("the machine reported more trouble than can be kept", facts={"host": self._host})
        return Ended(code=code, stderr=tuple(bytes(self._stderr).splitlines()))

    def kill(self) -> None:
        """End the child now; safe from any thread and at any time. Its output then ends."""
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()

    def close(self) -> None:
        """Kill what is left and reap it."""
        self.kill()
        self._child.wait()
        self._listener.join(_END_GRACE_S)
        self._stdout.close()

    def _listen(self, stderr: IO[bytes]) -> None:
        with contextlib.suppress(ValueError, OSError), stderr:
            for piece in iter(lambda: os.read(stderr.fileno(), 65536), b""):
                if len(self._stderr) < _STDERR_LIMIT_BYTES:
                    self._stderr += piece
                else:
                    self._is_flooded = True


def _widen(descriptor: int) -> None:
    """A pipe of 1 MiB lets the child run ahead; smaller ones cost a third of the speed."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _die_with_parent() -> None:
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
