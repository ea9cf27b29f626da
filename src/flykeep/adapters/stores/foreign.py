"""Turns what obstore and the operating system raise into the `store.*` family, without a word of any credential."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from flykeep.domain.errors import StoreError, StoreNotFoundError, StorePreconditionError, StoreUnavailableError
from flykeep.ports.store import StoreOrder

T = TypeVar("T")

FOREIGN: tuple[type[Exception], ...] = (BaseError, OSError, ValueError)
_STATUS = re.compile(r"(?:status(?: code)?:? |with status )(\d{3})|Server returned non-2xx status code: (\d{3})")
_S3_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
_WIRE_WORDS = ("HTTP error", "error sending request", "operation timed out", "connection", "Error performing")
_BUSY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_WORDS_AT_MOST = 300
_DENIED_HINT = "The store refused these credentials: check the key, its secret and what it may do in this bucket."


class ForeignError(Exception):
    """What the library said, shortened and with every secret taken out; only ever the cause of a StoreError."""


@dataclass(frozen=True, slots=True)
class Translator:
    """Knows which store this is and which words must never be repeated."""

    store: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, order: StoreOrder) -> Translator:
        known = (order.access_key_id, order.secret_access_key)
        return cls(store=order.name, secrets=tuple(secret for secret in known if secret))

    def call(self, action: str, key: str, work: Callable[[], T]) -> T:
        """Run `work`; what it raises leaves as a StoreError that has no trace of the original object."""
        try:
            return work()
        except FOREIGN as error:
            failure = self.translate(action, key, error)
        raise failure

    def pull(self, action: str, key: str, chunks: Iterator[T]) -> Iterator[T]:
        """Pass `chunks` on, translating what the iteration itself raises."""
        missing = object()
        while (chunk := self.call(action, key, lambda: next(chunks, missing))) is not missing:
            yield chunk  # type: ignore[misc]  # not `missing`, hence T

    def translate(self, action: str, key: str, error: Exception) -> StoreError:
        words = self._redacted(error)
        status = _status_of(words)
        failure = self._classify(error, words, status)(
            f"Store {self.store} could not {action}: {_reason(words, status)}",
            hint=_DENIED_HINT if _is_denied(error, status) else None,
            facts={"store": self.store, "key": self._without_secrets(key), "status": status},
        )
        failure.__cause__ = ForeignError(f"{type(error).__name__}: {words[:_WORDS_AT_MOST]}")
        return failure

    @staticmethod
    def _classify(error: Exception, words: str, status: int | None) -> type[StoreError]:
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in words:
            return StoreNotFoundError
        if isinstance(error, AlreadyExistsError | PreconditionError | FileExistsError):
            return StorePreconditionError
        if isinstance(error, TimeoutError | ConnectionError) or status in _BUSY_STATUS:
            return StoreUnavailableError
        is_wire = isinstance(error, BaseError) and any(word in words for word in _WIRE_WORDS)
        is_final = isinstance(error, NotSupportedError) or _is_denied(error, status) or "builder error" in words
        return StoreUnavailableError if is_wire and status is None and not is_final else StoreError

    def _redacted(self, error: Exception) -> str:
        words = str(error).split("\n\nDebug source")[0]
        code = _S3_CODE.search(words)
        plain = " ".join(words.split("<", maxsplit=1)[0].split())  # an S3 error body repeats the signed request
        return self._without_secrets(f"{plain} {code.group(1)}" if code else plain)

    def _without_secrets(self, words: str) -> str:
        for secret in self.secrets:
            words = words.replace(secret, "***")
        return re.sub(r"//[^/@\s]+@", "//***@", words)


def _status_of(words: str) -> int | None:
    found = _STATUS.search(words)
    return int(found.group(1) or found.group(2)) if found else None


def _is_denied(error: Exception, status: int | None) -> bool:
    return isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in {401, 403}


def _reason(words: str, status: int | None) -> str:
    tail = words[:_WORDS_AT_MOST]
    return tail or f"status {status}"
