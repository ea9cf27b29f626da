"""Results as JSON: the one way a dataclass becomes a document people and programs read."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"


def instant(at: datetime) -> str:
    """RFC 3339 in UTC, whole seconds where there are no finer ones."""
    text = at.astimezone(UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"


def plain(value: object) -> Plain:
    """`value` as JSON knows it: instants as RFC 3339, durations as seconds, bytes and stray surrogates escaped."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return _container(value)


def _container(value: object) -> Plain:
    if isinstance(value, Enum):
        return plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no place in a document")


def to_json(document: DataclassInstance) -> str:
    """One line of JSON; fields that hide from repr (secrets) stay out."""
    return json.dumps(plain(document), ensure_ascii=False, separators=(",", ":"))
