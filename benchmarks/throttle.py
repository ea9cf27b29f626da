"""A relay in front of the SSH server that lets no more through than a volume of Fly's would: `throttle.py PORT MIB_S`.

Prints the port it listens on. A process of its own, so that its turns of the interpreter are nobody else's.
"""

# ruff: noqa: INP001, TID251 - part of a program of its own, which measures time
from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

_PIECE_BYTES = 256 << 10
_BURST_S = 0.2  # what the relay was kept from sending while others had the processor


@contextlib.contextmanager
def throttled(port: int, *, mib_per_s: int) -> Iterator[int]:
    """The port of a relay to `port`."""
    command = [sys.executable, __file__, str(port), str(mib_per_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as relay:
        assert relay.stdout is not None
        try:
            yield int(relay.stdout.readline())
        finally:
            relay.kill()


def _carry(source: socket.socket, sink: socket.socket, bytes_per_s: float) -> None:
    buffer = memoryview(bytearray(_PIECE_BYTES))
    free_at = time.monotonic()
    with contextlib.suppress(OSError):
        while count := source.recv_into(buffer):
            now = time.monotonic()
            free_at = max(free_at, now - _BURST_S) + count / bytes_per_s
            if free_at > now:
                time.sleep(free_at - now)
            sink.sendall(buffer[:count])
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def main() -> None:
    port, mib_per_s = int(sys.argv[1]), int(sys.argv[2])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_carry, args=(near, far, float("inf")), daemon=True).start()
            threading.Thread(target=_carry, args=(far, near, mib_per_s * float(1 << 20)), daemon=True).start()


if __name__ == "__main__":
    main()
