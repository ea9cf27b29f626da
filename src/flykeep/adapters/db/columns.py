"""The column types: instants that stay aware and in UTC, text of any kind, and domain values as documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import TIMESTAMP, Dialect, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from flykeep.adapters.db.documents import from_document, in_utc, instant_text, to_document

_ESCAPED = 'json:"'


class Instant(TypeDecorator[datetime]):
    """An aware instant in UTC, to the microsecond; a naive one is refused.

    PostgreSQL has a type for it. SQLite stores sortable text that a person can read.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return in_utc(value) if dialect.name == "postgresql" else instant_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return at.astimezone(UTC)


class AnyText(TypeDecorator[str]):
    """Text as it is; what a database cannot hold (surrogate escapes, NUL) is stored as `json:"..."`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is None or (_is_storable(value) and not value.startswith(_ESCAPED)):
            return value
        return "json:" + json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is None or not value.startswith(_ESCAPED):
            return value
        return str(json.loads(value.removeprefix("json:")))


class Document(TypeDecorator[Any]):
    """A domain value of one type as JSON text: `Column("manifest", Document(Manifest))`."""

    impl = Text
    cache_ok = True

    def __init__(self, shape: Any) -> None:
        super().__init__()
        self.shape = shape

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else to_document(value, self.shape)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else from_document(value, self.shape)


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)
