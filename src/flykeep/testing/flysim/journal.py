"""What was asked of the simulator, kept for tests and written down, without anything secret in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

REDACTED = "<redacted>"
MEANT_WRONG_HEADER = "x-flysim-meant-wrong"
_SECRET_KEYS = frozenset({"header", "stdin", "token", "value"})


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request and how it was answered; `body` is the JSON sent, None where none was.

    `is_meant_wrong`: the sender said by MEANT_WRONG_HEADER that it is wrong on purpose.
    """

    at: datetime
    method: str
    path: str
    query: dict[str, str]
    body: Any
    action: str
    app: str | None
    status: int
    is_judged_refused: bool = False
    is_meant_wrong: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """One JSON line."""
        return json.dumps(asdict(self) | {"at": self.at.isoformat()}, ensure_ascii=True)


@dataclass(frozen=True, slots=True)
class ReceivedWebhook:
    """One delivery to the simulator's own webhook address."""

    at: datetime
    headers: dict[str, str]
    body: bytes

    def to_json(self) -> str:
        """One JSON line; the body as text, without what authorizes."""
        return json.dumps(
            {
                "at": self.at.isoformat(),
                "headers": redacted_headers(self.headers),
                "body": self.body.decode(errors="replace"),
            }
        )


def redacted_headers(headers: dict[str, str]) -> dict[str, str]:
    """Headers without what authorizes."""
    hidden = {"authorization", "cookie", "fly-machine-lease-nonce"}
    return {name: REDACTED if name.lower() in hidden else value for name, value in headers.items()}


def redacted_body(body: Any) -> Any:
    """A body whose shape is kept and whose secret values are not."""
    if not isinstance(body, dict):
        return body
    clean: dict[str, Any] = {}
    for key, value in body.items():
        if key in _SECRET_KEYS and isinstance(value, str):
            clean[key] = REDACTED
        elif key == "values" and isinstance(value, dict):
            clean[key] = {name: REDACTED if isinstance(text, str) else text for name, text in value.items()}
        else:
            clean[key] = value
    return clean


def append_line(path: Path, line: str) -> None:
    """Add one line to a file; lines of several processes never mix, for each has a file of its own."""
    with path.open("a", encoding="utf-8") as sink:
        sink.write(line + "\n")
