"""Secrets that are planted, and every way in which one could come to light."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import os
import signal
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

_SHORTEST = 8


def forms(secret: str) -> frozenset[bytes]:
    """A secret as it stands, and as URLs, JSON, HTML, hexadecimal and base64 (at each of its offsets) would show it."""
    raw = secret.encode()
    texts = {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote(secret), urllib.parse.quote_plus(secret)}
    texts |= {json.dumps(secret)[1:-1], html.escape(secret), raw.hex(), raw.hex().upper(), repr(secret)[1:-1]}
    found = {text.encode() for text in texts}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            encoded = encode(b"\0" * offset + raw)
            # The ends depend on what stands before and behind the secret.
            found.add(encoded[-(-offset * 8 // 6) :].rstrip(b"=")[:-1])
    return frozenset(form for form in found if len(form) >= _SHORTEST)


@dataclass
class Found:
    """What the search was given and what came to light."""

    secrets: Mapping[str, str]
    leaks: list[str] = field(default_factory=list)
    searched_bytes: int = 0
    places: list[str] = field(default_factory=list)
    _forms: dict[str, frozenset[bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self._forms = {name: forms(secret) for name, secret in self.secrets.items()}

    def search(self, place: str, content: bytes) -> None:
        self.places.append(place)
        self.searched_bytes += len(content)
        for name, variants in self._forms.items():
            for variant in variants:
                at = content.find(variant)
                if at >= 0:
                    around = content[max(0, at - 120) : at + len(variant) + 40]
                    self.leaks.append(f"{name} in {place}: {around!r}")
                    break

    def search_tree(self, root: Path, *, without: frozenset[str]) -> None:
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.name not in without:
                self.search(str(path.relative_to(root)), path.read_bytes())


@dataclass(frozen=True)
class Seen:
    """A process below one of ours, as /proc shows it to everybody on the machine."""

    pid: int
    command: bytes
    environment: bytes


class Watcher:
    """Looks at /proc all the time, at every descendant of the processes it is told of.

    `kill_next` kills the next process whose command line holds these bytes.
    """

    def __init__(self) -> None:
        self._roots: set[int] = set()
        self._seen: dict[tuple[int, bytes], Seen] = {}
        self._commands: dict[int, set[bytes]] = {}
        self._kill: bytes | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proc-watcher", daemon=True)
        self.killed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def children(self) -> list[Seen]:
        return list(self._seen.values())

    @property
    def root_commands(self) -> list[bytes]:
        return [command for commands in self._commands.values() for command in commands]

    def kill_next(self, command: bytes) -> None:
        self._kill = command

    @contextlib.contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        self._roots.add(pid)
        try:
            yield
        finally:
            self._roots.discard(pid)

    def _run(self) -> None:
        while not self._is_over.wait(0.03):
            for root in list(self._roots):
                command = _read(root, "cmdline")
                self._commands.setdefault(root, set()).add(command)
                self._look_below(root, command)

    def _look_below(self, parent: int, parents_command: bytes) -> None:
        for pid in _children(parent):
            command = _read(pid, "cmdline")
            # A child that has not yet become another program still shows its parent's memory.
            if command and command != parents_command:
                self._note(pid, command)
            self._look_below(pid, command or parents_command)

    def _note(self, pid: int, command: bytes) -> None:
        if (pid, command) not in self._seen:
            environment = _read(pid, "environ")
            if _read(pid, "cmdline") == command:
                self._seen[pid, command] = Seen(pid, command, environment)
        if self._kill is not None and self._kill in command:
            self._kill = None
            self.killed += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in _read(pid, f"task/{task.name}/children").split()]
    return found


class Troublemaker(ThreadingHTTPServer):
    """A server that repeats in its answer what it was sent: the worst that an API, a store or a service can do.

    The first part of a path says how: `ok`, `json-403`, `xml-403`, `html-200`, `text-500`, `moved` ...
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Echo)
        self.paths: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def url(self, how: str, rest: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}/{how}/{rest}".rstrip("/")

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no matter."""


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Troublemaker

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length < 1 << 20 else b""
        how, _, _ = self.path.lstrip("/").partition("/")
        self.server.paths.append(self.path)
        kind, _, status = how.partition("-")
        said = f"{self.headers.get('authorization', '')} {self.path} {self.headers} {body[:2000]!r}"
        text = {
            "json": json.dumps({"error": said, "message": said}),
            "xml": f"<Error><Code>InvalidAccessKeyId</Code><Message>{html.escape(said)}</Message></Error>",
            "html": f"<html><body>{html.escape(said)}</body></html>",
        }.get(kind, said)
        answer = text.encode()
        self.send_response(302 if kind == "moved" else int(status or 200))
        self.send_header("content-length", str(len(answer)))
        self.send_header("content-type", {"json": "application/json", "xml": "application/xml"}.get(kind, "text/html"))
        if kind == "moved":
            self.send_header("location", f"http://127.0.0.1:{self.server.server_port}/ok/elsewhere")
        if status == "429":
            self.send_header("retry-after", "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer  # noqa: N815 - the names http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Nothing: the test searches what flykeep says."""


def dead_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
