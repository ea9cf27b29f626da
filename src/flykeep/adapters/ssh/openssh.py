"""Commands on a machine through OpenSSH's own client, one child process each.

The command sent is always `sh`; the script goes to its standard input, so that paths of any bytes travel unharmed and
no process list shows them. Scripts must not pipe: a pipe on the far side hides a failure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from flykeep.adapters.shells.fed import FedCommand
from flykeep.adapters.shells.running import Ended, RunningCommand
from flykeep.adapters.ssh.key_files import KeyFiles, key_files
from flykeep.domain.errors import SshError
from flykeep.ports.fly import SshAccess

_DENIED = b"Permission denied"
_DENIED_HINT = "The certificate was not accepted: it may be expired, or made for another app."
_CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com"

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

    def start(self) -> RunningCommand:
        """A shell on the machine that waits for its script, still connecting.

        Call from a thread that outlives it: the child dies with that thread.
        """
        with _program_needed():
            return RunningCommand.start(self._command(), failure=self._failure)

    def start_fed(self) -> FedCommand:
        """A shell on the machine that waits for a script and a stream; threads as for `start`."""
        with _program_needed():
            return FedCommand.start(self._command(), failure=self._failure)

    def lost(self, ended: Ended) -> SshError:
        """The error for a connection, not a command, that came to its end."""
        words = b" ".join(ended.stderr[-3:]).decode("utf-8", "backslashreplace")
        return SshError(
            f"the connection ended before the command did: {words or 'no reason given'}",
            hint=_DENIED_HINT if _DENIED in b"".join(ended.stderr) else None,
            facts={"host": self._access.host},
        )

    def _failure(self, message: str) -> SshError:
        return SshError(message, facts={"host": self._access.host})

    def _command(self) -> list[str]:
        options = [
            *(f"{name}={value}" for name, value in _OPTIONS.items()),
            f"IdentityFile={self._files.private_key}",
            f"CertificateFile={self._files.certificate}",
        ]
        flags = [part for option in options for part in ("-o", option)]
        access = self._access
        return ["ssh", "-F", "none", "-T", *flags, "-p", str(access.port), "-l", access.user, "--", access.host, "sh"]


@contextlib.contextmanager
def _program_needed() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SshError("there is no `ssh` program here", hint="Install OpenSSH's client.") from error
