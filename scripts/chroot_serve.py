"""Starts the image's command in a chroot with a network of its own and asks its health check until it answers."""

import fcntl
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from scripts.dockerfile import Stage

CONFIG = """\
[fly]
org = "personal"

[state]
url = "sqlite:////data/flykeep.db"

[http]
bind = "127.0.0.1:8080"
"""
# Nothing listens there: a daemon that cannot reach Fly must still be alive, and say what it does not know.
ENVIRONMENT = {
    "FLY_API_TOKEN": "FlyV1 fm2_not_a_token",
    "FLY_FLAPS_BASE_URL": "http://127.0.0.1:9",
    "FLY_API_BASE_URL": "http://127.0.0.1:9",
}
ANSWER_SECONDS_MOST = 60
DRAIN_SECONDS_MOST = 60
SIOCSIFFLAGS, SIOCGIFFLAGS, IFF_UP = 0x8914, 0x8913, 1


class DaemonFailedError(Exception):
    """The daemon did not answer, ran as root, or did not end cleanly; what it wrote has been printed."""


def raise_loopback() -> None:
    """Bring `lo` up; a new network namespace starts with it down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(wire, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(wire, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


def serve_and_ask(root: Path, *, stage: Stage, environment: dict[str, str], working_directory: str) -> None:
    """Run `main` of this module in a new network namespace; raises DaemonFailedError when it says no."""
    config = root / environment["FLYKEEP_CONFIG"].lstrip("/")
    config.write_text(CONFIG, encoding="utf-8")
    command, stop = stage.last("CMD"), stage.last("STOPSIGNAL")
    if command is None or stop is None:
        msg = "the last stage needs CMD and STOPSIGNAL"
        raise ValueError(msg)
    order = {
        "root": str(root),
        "command": command.words(),
        "health": stage.health_command(),
        "stop": stop.arguments,
        "environment": environment | ENVIRONMENT,
        "working_directory": working_directory,
    }
    alone = ["unshare", "--net", sys.executable, "-m", "scripts.chroot_serve"]
    if subprocess.run(alone, input=json.dumps(order), text=True, check=False).returncode != 0:
        raise DaemonFailedError


def _ask_until_healthy(daemon: subprocess.Popen[bytes], health: list[str], environment: dict[str, str]) -> bool:
    deadline = time.monotonic() + ANSWER_SECONDS_MOST
    while time.monotonic() < deadline and daemon.poll() is None:
        if subprocess.run(health, env=environment, capture_output=True, check=False).returncode == 0:
            return True
        time.sleep(0.5)
    return False


def main() -> int:
    """Read the order, start the daemon, ask, stop it as the platform would; returns 0 when all of it went well."""
    order = json.load(sys.stdin)
    raise_loopback()
    root = Path(order["root"])
    log = root / "run/daemon.log"
    environment = order["environment"]
    chroot = ["chroot", order["root"]]
    started = time.monotonic()
    with log.open("wb") as sink:
        start = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', order["working_directory"], *order["command"]]
        daemon = subprocess.Popen(
            [*chroot, *start], env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, process_group=0
        )
        is_healthy = _ask_until_healthy(daemon, [*chroot, *order["health"]], environment)
        answered = time.monotonic() - started
        owner = _owner_of(root / "proc" / str(daemon.pid))
        daemon.send_signal(getattr(signal, order["stop"]))
        try:
            code = daemon.wait(timeout=DRAIN_SECONDS_MOST)
        except subprocess.TimeoutExpired:
            daemon.kill()
            code = daemon.wait()
    print(
        f"  {answered:6.1f} s  {' '.join(order['command'])}: healthy={is_healthy} user={owner} exit={code}", flush=True
    )
    if is_healthy and code == 0 and owner not in {"unknown", "0"}:
        return 0
    print(log.read_text(encoding="utf-8", errors="replace")[-6000:], flush=True)
    return 1


def _owner_of(process: Path) -> str:
    """Return the user id of a process, by its entry in the chroot's /proc: the host's numbers processes differently."""
    try:
        return str(process.stat().st_uid)
    except FileNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
