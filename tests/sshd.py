"""OpenSSH's own server on loopback, open to certificates of its own authority. For tests and benchmarks."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flykeep.ports.fly import SshAccess

_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {home}/host_key
TrustedUserCAKeys {home}/authority.pub
AuthorizedKeysFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
LogLevel ERROR
{environment}
"""


@dataclass(slots=True)
class Sshd:
    """A running server. Certificates come from `access`."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]
    _made: int = field(default=0)

    def access(self, *, validity: str = "-5m:+1h", port: int | None = None) -> SshAccess:
        """A fresh key pair with a certificate for the user who runs the server."""
        self._made += 1
        key = self.home / f"user_{self._made}"
        _keygen("-t", "ed25519", "-N", "", "-f", str(key))
        _keygen("-s", str(self.home / "authority"), "-I", "test", "-n", _user(), "-V", validity, f"{key}.pub")
        return SshAccess(
            host="127.0.0.1",
            port=port or self.port,
            user=_user(),
            private_key=key.read_text(),
            certificate=Path(f"{key}-cert.pub").read_text(),
        )

    def sessions(self) -> list[int]:
        """The processes that serve connections now."""
        return _children(self.process.pid)

    def kill_sessions(self) -> None:
        """End every open connection as a crash of its server process would; the listener goes on."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def running_sshd(home: Path, *, path: str | None = None) -> Iterator[Sshd]:
    """Start a server whose files live in `home`; `path` becomes the sessions' PATH."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise FileNotFoundError("sshd: install openssh-server")
    home.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where the server runs as root it insists on this directory
    _keygen("-t", "ed25519", "-N", "", "-f", str(home / "host_key"))
    _keygen("-t", "ed25519", "-N", "", "-f", str(home / "authority"))
    port = free_port()
    environment = f"SetEnv PATH={path}" if path else ""
    config = home / "sshd_config"
    config.write_text(_CONFIG.format(port=port, home=home.absolute(), environment=environment))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(config.absolute())],  # a relative path is lost: it executes itself again
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        _wait_until_listening(port, process)
        yield Sshd(home=home, port=port, process=process)
    finally:
        for pid in _children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


def busybox_path(directory: Path) -> str:
    """A PATH on which `tar`, `find` and `stat` are busybox's."""
    program = shutil.which("busybox")
    if program is None:
        raise FileNotFoundError("busybox: install busybox")
    directory.mkdir(parents=True, exist_ok=True)
    for applet in ("tar", "find", "stat", "df", "sh"):
        (directory / applet).symlink_to(program)
    return f"{directory.absolute()}:/usr/bin:/bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _user() -> str:
    return getpass.getuser()


def _keygen(*arguments: str) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []


def _wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise RuntimeError(f"sshd ended with {process.returncode}")
        threading.Event().wait(0.02)
    raise TimeoutError("sshd did not start")
