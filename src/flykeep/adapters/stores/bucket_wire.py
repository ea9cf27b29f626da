"""One question to the bucket program and its one answer, each a line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from flykeep.domain.errors import StoreError, StoreUnavailableError
from flykeep.ports.bucket import BucketRules, Upload
from flykeep.ports.store import StoreOrder

T = TypeVar("T", "BucketQuestion", "BucketAnswer")


@dataclass(frozen=True, slots=True)
class BucketQuestion:
    """`uploads` are those to abort, `key` the object whose lock is asked for."""

    kind: Literal["uploads", "abort", "rules"]
    store: StoreOrder
    uploads: tuple[Upload, ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no answer, free of secrets."""

    reason: str
    hint: str | None = None
    is_retryable: bool = False
    facts: dict[str, str] = field(default_factory=dict)

    def error(self) -> StoreError:
        kind = StoreUnavailableError if self.is_retryable else StoreError
        return kind(self.reason, hint=self.hint, facts=self.facts)


@dataclass(frozen=True, slots=True)
class BucketAnswer:
    uploads: tuple[Upload, ...] = ()
    rules: BucketRules | None = None
    refused: Refused | None = None


_ANSWERS = TypeAdapter(BucketAnswer)
_QUESTIONS = TypeAdapter(BucketQuestion)


def encode(message: BucketQuestion | BucketAnswer) -> bytes:
    """One line. A question holds secrets: it travels by standard input only."""
    return json.dumps(asdict(message), default=str).encode() + b"\n"


def decode_question(line: bytes) -> BucketQuestion:
    return _decoded(_QUESTIONS, line)


def decode_answer(line: bytes) -> BucketAnswer:
    return _decoded(_ANSWERS, line)


def _decoded(adapter: TypeAdapter[T], line: bytes) -> T:
    """Raises StoreError, without a word of the content."""
    try:
        return adapter.validate_python(json.loads(line))
    except (ValidationError, ValueError):
        pass
    raise StoreError("what the bucket program wrote cannot be read", hint="Report it: this is a defect in flykeep.")
