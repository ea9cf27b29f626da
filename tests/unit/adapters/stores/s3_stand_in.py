"""A small S3 server that can be told to fail: no signatures checked, every request remembered."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from flykeep.ports.store import StoreOrder, StoreType

ACCESS_KEY = "AKPLANTEDACCESSKEY"
SECRET_KEY = "planted-store-secret"

Fault = Callable[[str, str], str | int | None]
"""(method, path with query) -> None, a status, "close" (drop the connection), "cut" (half the body), "hang"."""


class StandIn:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []  # of each request, names in lower case
        self.fault: Fault = lambda method, path: None
        self.ignores_ranges = False
        self.ignores_conditions = False
        self.refuses_conditions = False
        self.date: str | None = None  # what it says instead of the time; nothing where empty
        self.released = threading.Event()
        self.ids = itertools.count(1)
        self.endpoint = ""

    def order(self, **changes: Any) -> StoreOrder:
        facts: dict[str, Any] = {
            "name": "standin",
            "type": StoreType.S3,
            "prefix": "fly",
            "bucket": "b",
            "endpoint": self.endpoint,
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
        }
        return StoreOrder(**(facts | changes))

    def seen(self, method: str, part: str) -> int:
        return sum(1 for each, path in self.requests if each == method and part in path)


@contextmanager
def stand_in() -> Iterator[StandIn]:
    state = StandIn()

    class Handler(_Handler):
        world = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    world: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Date" and self.world.date is not None:
            value = self.world.date
        if keyword != "Date" or value:
            super().send_header(keyword, value)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", headers.get("length", str(len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.world.requests.append((self.command, self.path))
        self.world.headers.append({name.lower(): value for name, value in self.headers.items()})
        fault = self.world.fault(self.command, self.path)
        if fault == "hang":
            self.world.released.wait(30)
        if fault in {"close", "hang"}:
            self.close_connection = True
        elif isinstance(fault, int):
            words = f"<Error><Code>Planted</Code><StringToSign>{ACCESS_KEY} {SECRET_KEY}</StringToSign></Error>"
            self.answer(fault, words.encode())
        else:
            self.serve(body, is_cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815 - the server's names

    def serve(self, body: bytes, *, is_cut: bool) -> None:
        parts = urlsplit(self.path)
        key, query = unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)
        if "uploads" in query or "uploadId" in query:
            self.multipart(key, query, body)
        elif "delete" in query:
            self.answer(200, b"<DeleteResult></DeleteResult>")
        elif self.command == "PUT":
            self.put(key, body)
        elif key not in self.world.objects:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self.get(self.world.objects[key], is_cut=is_cut)

    def put(self, key: str, body: bytes) -> None:
        if "If-None-Match" in self.headers and self.world.refuses_conditions:
            self.answer(501, b"<Error><Code>NotImplemented</Code></Error>")
            return
        is_taken = self.headers.get("If-None-Match") == "*" and key in self.world.objects
        if is_taken and not self.world.ignores_conditions:
            self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        self.world.objects[key] = body
        self.answer(200, ETag='"x"')

    def get(self, data: bytes, *, is_cut: bool) -> None:
        facts = {"ETag": '"x"', "Last_Modified": "Sun, 22 Nov 2026 04:00:00 GMT"}
        status = 200
        if (wanted := self.headers.get("Range")) and not self.world.ignores_ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1, len(data)) if last else len(data)
            facts["Content_Range"] = f"bytes {first}-{end - 1}/{len(data)}"
            data, status = data[int(first) : end], 206
        if is_cut:
            self.close_connection = True
            self.send_response(status)
            for name, value in {**facts, "Content_Length": str(len(data))}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
        else:
            self.answer(status, data, **facts)

    def multipart(self, key: str, query: dict[str, list[str]], body: bytes) -> None:
        world = self.world
        if "uploads" in query:
            name = f"upload-{next(world.ids)}"
            world.uploads[name] = {}
            self.answer(
                200,
                f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>".encode(),
            )
        elif self.command == "PUT":
            world.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
            self.answer(200, ETag='"x"')
        else:
            kept = world.uploads.pop(query["uploadId"][0])
            if self.command == "DELETE":
                self.answer(204)
                return
            world.objects[key] = b"".join(kept[number] for number in sorted(kept))
            self.answer(200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
