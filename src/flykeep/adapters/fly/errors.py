"""Fly's refusals and httpx's failures as flykeep's own errors, translated once.

Statuses lead, the gRPC-style word in front of Fly's text refines; prose decides only whether room was wanting, which
Fly has no status of its own for. Source: fly-go, flaps/flaps_error.go, and the statuses third parties saw.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from flykeep.adapters.fly.tokens import FlyTokens
from flykeep.domain.errors import (
    FlyCapacityError,
    FlyConflictError,
    FlyError,
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyNameTakenError,
    FlyNotFoundError,
    FlyPreconditionError,
    FlyRateLimitedError,
    FlyUnauthorizedError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
)

_LONGEST_TEXT = 300
_MOST_READ = 64 * 1024
_GRPC_WORD = re.compile(r"^([a-z_]+):\s")
_BY_STATUS: dict[int, type[FlyError]] = {
    400: FlyInvalidRequestError,
    401: FlyUnauthorizedError,
    403: FlyForbiddenError,
    404: FlyNotFoundError,
    408: FlyUnavailableError,
    409: FlyConflictError,
    412: FlyPreconditionError,
    422: FlyInvalidRequestError,
}
_BY_WORD: dict[str, type[FlyError]] = {
    "invalid_argument": FlyInvalidRequestError,
    "failed_precondition": FlyPreconditionError,
    "aborted": FlyConflictError,
    "not_found": FlyNotFoundError,
    "deadline_exceeded": FlyUnavailableError,
    "unavailable": FlyUnavailableError,
}
_NO_ROOM = frozenset({"insufficient_capacity", "volume_placement_capacity"})
_NO_ROOM_STATUSES = frozenset({409, 412, 422})
_NO_ROOM_TEXT = re.compile(r"insufficient (resources|memory|cpus?|capacity|disk|space)\b", re.IGNORECASE)
_NAME_TAKEN = "name_taken"
# Source: what third parties were answered for a second machine of one name; Fly documents no word for it.
_NAME_TAKEN_TEXT = re.compile(r"^already_exists: unique machine name violation\b")
# Statuses a proxy or a handler picks loosely, where the word in front of the text knows better.
_LOOSE_STATUSES = frozenset({400, 409, 412, 422})


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked, for the words of an error: never the token, never the body."""

    action: str
    facts: dict[str, str | int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete answer of Fly."""

    status: int
    body: bytes = field(repr=False)
    content_type: str
    request_id: str | None
    retry_after: str | None = None

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def error_of(answer: Answer, *, call: Call, tokens: FlyTokens, now: datetime) -> FlyError:
    """The error an unsuccessful answer stands for; its text carries no token, even where Fly echoed one."""
    text = _text_of(answer, tokens)
    message = f"Fly refused {call.action}: {text}" if text else f"Fly refused {call.action} without saying why"
    facts: dict[str, str | int | None] = {**call.facts, "fly_status": _status_word(answer)}
    if answer.status == 429:
        wait = retry_after_of(answer.retry_after, now=now)
        return FlyRateLimitedError(message, retry_after=wait, request_id=answer.request_id, facts=facts)
    return _kind_of(answer, text)(message, status=answer.status, request_id=answer.request_id, facts=facts)


def unexpected(reason: str, *, answer: Answer, call: Call) -> FlyUnexpectedAnswerError:
    """A successful status with a body from which nothing may be concluded."""
    return FlyUnexpectedAnswerError(
        f"Fly's answer to {call.action} {reason}",
        status=answer.status,
        request_id=answer.request_id,
        facts=call.facts,
    )


def unreachable(error: Exception, *, call: Call) -> FlyUnavailableError:
    """No answer, or half of one: the effect is unknown."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        what = "Fly's API cannot be reached"
    elif isinstance(error, httpx.TimeoutException | TimeoutError):
        what = "Fly's API did not answer in time"
    else:
        what = "The connection to Fly's API broke"
    return FlyUnavailableError(f"{what} during {call.action}", facts={**call.facts, "cause": type(error).__name__})


def retry_after_of(header: str | None, *, now: datetime) -> timedelta | None:
    """How long a Retry-After header asks to wait: seconds or an HTTP date; None where it says neither."""
    if header is None:
        return None
    try:
        return timedelta(seconds=max(0.0, float(header.strip())))
    except (ValueError, OverflowError):
        pass
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(timedelta(0), at - now)


def _kind_of(answer: Answer, text: str) -> type[FlyError]:
    if _lacks_room(answer, text):
        return FlyCapacityError
    if _status_word(answer) == _NAME_TAKEN or _NAME_TAKEN_TEXT.match(text):
        return FlyNameTakenError
    return _class_of(answer.status, text)


def _lacks_room(answer: Answer, text: str) -> bool:
    if _status_word(answer) in _NO_ROOM:
        return True
    return answer.status in _NO_ROOM_STATUSES and _NO_ROOM_TEXT.search(text) is not None


def _class_of(status: int, text: str) -> type[FlyError]:
    word = _GRPC_WORD.match(text)
    if word and status in _LOOSE_STATUSES and word.group(1) in _BY_WORD:
        return _BY_WORD[word.group(1)]
    if status >= 500:
        return FlyUnavailableError
    if 300 <= status < 400:
        return FlyUnexpectedAnswerError
    return _BY_STATUS.get(status, FlyError)


def _text_of(answer: Answer, tokens: FlyTokens) -> str:
    document = _json_of(answer)
    for key in ("error", "message"):
        value = document.get(key)
        if isinstance(value, str) and value.strip():
            return short(tokens.scrub(value))
    raw = answer.body[:_MOST_READ].decode("utf-8", errors="replace").strip()
    if raw.startswith("<") or "html" in answer.content_type:
        return "a web page instead of an answer"
    # Scrubbed before it is cut: half a token at the cut would not be recognized.
    return "" if raw.startswith(("{", "[")) else short(tokens.scrub(raw))


def _status_word(answer: Answer) -> str | None:
    value = _json_of(answer).get("status")
    return short(value) if isinstance(value, str) and re.fullmatch(r"[a-z_]{1,64}", value) else None


def _json_of(answer: Answer) -> dict[str, object]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def short(text: str) -> str:
    """One line, cut where an error would drown in it."""
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _LONGEST_TEXT else one_line[: _LONGEST_TEXT - 3] + "..."
