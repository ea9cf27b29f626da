"""Domain values inside a row, as JSON text that gives back exactly what went in.

JSON itself knows neither instants nor bytes, so both are tagged: `{"@at": "..."}` and `{"@bytes": "..."}`. Text is
written in ASCII with escapes: paths that were not UTF-8 (surrogate escapes) and NUL survive, which no database's own
text or JSON type allows.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from flykeep.domain.errors import InternalError

_AT = "@at"
_BYTES = "@bytes"


def to_document(value: object, shape: Any) -> str:
    """Write a value of type `shape` as one line of JSON. Raises InternalError for an instant without a zone."""
    plain = _adapter(shape).dump_python(value, mode="python", warnings="error")
    return json.dumps(plain, default=_tagged, separators=(",", ":"), ensure_ascii=True)


def from_document(text: str, shape: Any) -> Any:
    """Read what `to_document` wrote. Fields the type has gained since must have defaults; those it lost are dropped."""
    return _adapter(shape).validate_python(json.loads(text, object_hook=_untagged))


def in_utc(at: datetime) -> datetime:
    """The same instant in UTC. Raises InternalError where it has no zone: nobody can say later what it meant."""
    if at.tzinfo is None:
        raise InternalError("an instant without a time zone was about to be stored")
    return at.astimezone(UTC)


def instant_text(at: datetime) -> str:
    """Fixed width, in UTC, so that the order of the texts is the order of the instants."""
    return in_utc(at).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def _tagged(value: object) -> dict[str, str]:
    if isinstance(value, datetime):
        return {_AT: instant_text(value)}
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    raise InternalError(f"a {type(value).__name__} cannot be stored in a document")


def _untagged(found: dict[str, Any]) -> Any:
    if found.keys() == {_AT}:
        return datetime.fromisoformat(found[_AT]).astimezone(UTC)
    if found.keys() == {_BYTES}:
        return base64.b64decode(found[_BYTES], validate=True)
    return found
