"""A small S3 server on loopback: fast, forgiving, and ready to fail on command. Checks no signature.

For fault injection and benchmarks; moto and rclone (tests/object_stores.py) stand for the real thing's manners.
"""

from __future__ import annotations

import re
import socketserver
import sys
import threading
import urllib.parse
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.client import parse_headers
from io import BufferedIOBase
from pathlib import Path
from typing import Any

_PIECE = 1 << 20


@dataclass(slots=True)
class Upload:
    key: str
    parts: dict[int, bytes] = field(default_factory=dict)


class Parts:
    """An object in the parts that it came in: joining gigabytes takes a second, of a benchmark's time."""

    def __init__(self, parts: Iterable[bytes | memoryview]) -> None:
        self.parts = [memoryview(part) for part in parts]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def cut(self, start: int, end: int) -> Parts:
        """From `start` up to and without `end`."""
        kept, at = [], 0
        for part in self.parts:
            kept.append(part[max(start - at, 0) : max(end - at, 0)])
            at += len(part)
        return Parts(part for part in kept if part)


@dataclass(slots=True)
class Contents:
    """What the server holds. `refuse_after_parts` answers every later part with 403; `discards` keeps sizes only.

    Without `joins` objects that came in parts are kept as Parts.
    """

    objects: dict[str, Any] = field(default_factory=dict)  # bytes, or Parts
    joins: bool = True
    uploads: dict[str, Upload] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    refuse_after_parts: int | None = None
    refuse_keys_with: str | None = None
    part_seen: threading.Event = field(default_factory=threading.Event)
    parts_seen: int = 0
    sent_bytes: int = 0  # of objects, whether the reader took them or went away
    discards: bool = False
    directory: Path | None = None  # with `discards`: where bodies are written, as one file per object


class Handler(socketserver.StreamRequestHandler):
    server: S3Standin
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while (line := self.rfile.readline(65536)).strip():
            method, target, _ = line.decode().split(" ", 2)
            headers = parse_headers(self.rfile)
            if headers.get("Expect"):
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = _body(self.rfile, headers)
            parts = urllib.parse.urlsplit(target)
            query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
            self.server.contents.requests.append(f"{method} {target}")
            status, extra, answer = self._answer(
                method, urllib.parse.unquote(parts.path).lstrip("/"), query, body, headers.get("Range")
            )
            if not isinstance(answer, Parts):
                answer = Parts([answer])
            length = extra.pop("Content-Length", str(len(answer)))
            head = f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n"
            head += "Last-Modified: Sun, 22 Nov 2026 00:00:00 GMT\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in extra.items())
            self.wfile.write(head.encode() + b"\r\n")
            for part in answer.parts:
                self.wfile.write(part)

    def _answer(  # noqa: C901, PLR0911, PLR0912 - one request kind, one answer
        self, method: str, key: str, query: dict[str, str], body: bytes, wanted: str | None
    ) -> tuple[int, dict[str, str], bytes | Parts]:
        held = self.server.contents
        match method:
            case "POST" | "PUT" if held.refuse_keys_with is not None and held.refuse_keys_with in key:
                return 403, {}, _xml("Error", Code="AccessDenied")
            case "POST" if "delete" in query:
                for name in re.findall(rb"<Key>(.*?)</Key>", body):
                    held.objects.pop(f"{key.strip('/')}/{name.decode()}", None)
                return 200, {}, _xml("DeleteResult")
            case "POST" if "uploads" in query:
                upload_id = uuid.uuid4().hex
                held.uploads[upload_id] = Upload(key)
                return 200, {}, _xml("InitiateMultipartUploadResult", Bucket="b", Key=key, UploadId=upload_id)
            case "PUT" if "partNumber" in query:
                return self._part(query, body)
            case "POST" if "uploadId" in query:
                upload = held.uploads.pop(query["uploadId"])
                parts = [upload.parts[number] for number in sorted(upload.parts)]
                held.objects[key] = b"".join(parts) if held.joins else Parts(parts)
                return 200, {}, _xml("CompleteMultipartUploadResult", Bucket="b", Key=key, ETag='"x"')
            case "DELETE" if "uploadId" in query:
                held.uploads.pop(query["uploadId"], None)
                return 204, {}, b""
            case "PUT":
                held.objects[key] = body
                return 200, {"ETag": '"x"'}, b""
            case "DELETE":
                held.objects.pop(key, None)
                return 204, {}, b""
            case "GET" | "HEAD" if key in held.objects:
                return self._read(method, held.objects[key], wanted)
            case "HEAD" if "/" not in key.rstrip("/"):
                return 200, {}, b""  # every bucket is there
            case "GET" if "location" in query:
                return 200, {}, _xml("LocationConstraint")
            case "GET" if "prefix" in query:
                return 200, {}, _listing(held.objects, key.rstrip("/"), query)
            case _:
                return 404, {}, _xml("Error", Code="NoSuchKey")

    def _part(self, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        held = self.server.contents
        held.parts_seen += 1
        held.part_seen.set()
        if held.refuse_after_parts is not None and held.parts_seen > held.refuse_after_parts:
            return 403, {}, _xml("Error", Code="AccessDenied")
        upload = held.uploads.get(query["uploadId"])
        if upload is None:
            return 404, {}, _xml("Error", Code="NoSuchUpload")
        upload.parts[int(query["partNumber"])] = b"" if held.discards else body
        return 200, {"ETag": f'"{query["partNumber"]}"'}, b""

    def _read(self, method: str, held: bytes | Parts, wanted: str | None) -> tuple[int, dict[str, str], bytes | Parts]:
        extra, status = {"ETag": '"x"'}, 200
        data = held if isinstance(held, Parts) else Parts([held])
        if wanted and (found := re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)):
            start = int(found.group(1))
            end = min(int(found.group(2) or len(data) - 1), len(data) - 1)
            extra["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            data, status = data.cut(start, end + 1), 206
        if method == "HEAD":
            extra["Content-Length"] = str(len(data))
            return status, extra, b""
        self.server.contents.sent_bytes += len(data)
        return status, extra, data


class S3Standin(socketserver.ThreadingTCPServer):
    """Serve from a thread; `close` also drops the connections that are open."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.contents = Contents()
        self._open: set[object] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def process_request(self, request: object, client_address: object) -> None:
        self._open.add(request)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def close(self) -> None:
        """As if the server was killed."""
        self.shutdown()
        self.server_close()
        for request in self._open:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


def _body(stream: BufferedIOBase, headers: object) -> bytes:
    get = headers.get  # type: ignore[attr-defined]
    length = int(get("Content-Length") or 0)
    body = bytearray(length)
    view = memoryview(body)
    while view:
        count = stream.readinto(view)
        if not count:
            raise ConnectionError
        view = view[count:]
    is_signed_by_piece = (get("x-amz-content-sha256") or "").startswith("STREAMING-")
    if is_signed_by_piece or "aws-chunked" in (get("Content-Encoding") or ""):
        return _unchunked(bytes(body))
    return bytes(body)


def _unchunked(body: bytes) -> bytes:
    pieces, at = [], 0
    while at < len(body):
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";")[0], 16)
        if not size:
            break
        pieces.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(pieces)


def _listing(objects: dict[str, Any], bucket: str, query: dict[str, str]) -> bytes:
    """All of it in one page; names hold nothing that XML would have to escape."""
    prefix, delimiter = query["prefix"], query.get("delimiter", "")
    names = sorted(name.removeprefix(f"{bucket}/") for name in objects if name.startswith(f"{bucket}/{prefix}"))
    found, folders = [], dict[str, None]()
    for name in names:
        rest = name.removeprefix(prefix)
        if delimiter and delimiter in rest:
            folders[prefix + rest.partition(delimiter)[0] + delimiter] = None
        else:
            size = str(len(objects[f"{bucket}/{name}"]))
            when = "2026-11-22T00:00:00.000Z"
            found.append(_tag("Contents", _tags(Key=name, LastModified=when, ETag="x", Size=size)))
    inner = _tags(Name=bucket, Prefix=prefix, KeyCount=str(len(names)), MaxKeys="1000", IsTruncated="false")
    inner += "".join(found) + "".join(_tag("CommonPrefixes", _tags(Prefix=folder)) for folder in folders)
    return f'<?xml version="1.0" encoding="UTF-8"?>{_tag("ListBucketResult", inner)}'.encode()


def _tags(**fields: str) -> str:
    return "".join(_tag(name, text) for name, text in fields.items())


def _tag(name: str, inner: str) -> str:
    return f"<{name}>{inner}</{name}>"


def _xml(name: str, **fields: str) -> bytes:
    inner = _tags(**fields)
    return f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inner}</{name}>'.encode()


if __name__ == "__main__":
    server = S3Standin()
    server.contents.joins = False
    print(server.endpoint, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    server.serve_forever(poll_interval=0.02)
