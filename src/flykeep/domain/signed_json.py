"""Documents that are signed: their canonical bytes, and strict reading of what came back from a store.

What is signed are the canonical bytes: the document without its `signature`, keys sorted by code point, no white
space, UTF-8. Documents hold whole numbers only and no key twice, so any JSON tool that sorts keys makes the same
bytes. Where a path is not UTF-8, an object with its bytes in base64 (`path_b64`) stands for it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn, TypeAlias, TypeVar, cast

from flykeep.domain.errors import IntegrityError

SIGNATURE_ALGORITHM = "ed25519"

Json: TypeAlias = dict[str, object]
_T = TypeVar("_T")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


# writing


def canonical(body: Json) -> bytes:
    """What is signed of a document."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed_document(body: Json, *, signature_hex: str, signer_hex: str) -> bytes:
    """The object as it is stored: JSON for people to read, the signature last."""
    signature = {"algorithm": SIGNATURE_ALGORITHM, "public_key": signer_hex, "signature": signature_hex}
    return json.dumps({**body, "signature": signature}, indent=2, ensure_ascii=False).encode() + b"\n"


def path_body(path: str) -> str | Json:
    """A path with surrogate escapes where it is not UTF-8, as documents write it."""
    raw = path.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"path_b64": base64.b64encode(raw).decode()}


def named_path(path: str) -> Json:
    """The fields by which an object names its path: `path`, or `path_b64`."""
    body = path_body(path)
    return body if isinstance(body, dict) else {"path": body}


def instant_text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


# reading


def signed_bytes(document: bytes, *, what: str) -> bytes:
    """What the signature of a stored document covers: every field of it, those this version does not know too.

    `what` names the document in errors. Raises IntegrityError.
    """
    body = load(document, what=what)
    body.pop("signature", None)
    return canonical(body)


def load(document: bytes, *, what: str) -> Json:
    """The outermost object; refuses what two JSON readers could understand differently."""
    try:
        body = json.loads(
            document.decode(), object_pairs_hook=_object, parse_float=_no_fraction, parse_constant=_no_fraction
        )
        canonical({"": body})  # half a surrogate pair reads well and can never be signed
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"The {what} is not the JSON flykeep writes: {type(error).__name__}.") from error
    if not isinstance(body, dict):
        raise IntegrityError(f"The {what} is not a JSON object.")
    return cast("Json", body)


def read_signature(body: Fields) -> tuple[str, str]:
    """The signature and the public key that is said to have made it, hexadecimal; nothing is judged here."""
    signature = body.fields("signature")
    if (algorithm := signature.text("algorithm")) != SIGNATURE_ALGORITHM:
        signature.refuse("algorithm", f"is {algorithm!a}, not {SIGNATURE_ALGORITHM}")
    return (
        signature.hexadecimal("signature", length_bytes=64),
        signature.hexadecimal("public_key", length_bytes=32),
    )


def read_format(body: Fields, *, what: str, known: int, hint: str) -> None:
    """Raises IntegrityError for a format that this version cannot read; `hint` is for a newer one."""
    version = body.count("format")
    if version != known:
        raise IntegrityError(
            f"The {what} has format {version}; this flykeep reads format {known}.",
            hint=hint if version > known else None,
        )


def _object(pairs: list[tuple[str, object]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_fraction(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is not a whole number")


class Fields:
    """One JSON object, read strictly; every refusal names the field by its full name."""

    def __init__(self, value: object, where: str = "", *, what: str) -> None:
        self._where = where
        self._what = what
        if not isinstance(value, dict):
            self.refuse("", "is not an object")
        self._value = cast("Json", value)

    def refuse(self, name: str, reason: str) -> NoReturn:
        field = ".".join(part for part in (self._where, name) if part)
        raise IntegrityError(f"The {self._what}'s field {field} {reason}.")

    def _get(self, name: str, kind: type[_T]) -> _T:
        if name not in self._value:
            self.refuse(name, "is missing")
        value = self._value[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            self.refuse(name, f"is not of type {kind.__name__}")
        return value

    def _below(self, value: object, where: str) -> Fields:
        return Fields(value, where, what=self._what)

    def text(self, name: str) -> str:
        return self._get(name, str)

    def claim(self, name: str) -> bool:
        value = self._value.get(name)
        if not isinstance(value, bool):
            self.refuse(name, "is missing or not true or false")
        return value

    def text_or_none(self, name: str) -> str | None:
        if name in self._value and self._value[name] is None:
            return None
        return self.text(name)

    def texts(self, name: str) -> list[str]:
        values = self._get(name, list)
        if not all(isinstance(value, str) for value in values):
            self.refuse(name, "holds something that is not text")
        return values

    def count(self, name: str) -> int:
        value = self._get(name, int)
        if value < 0:
            self.refuse(name, "is below zero")
        return value

    def hexadecimal(self, name: str, *, length_bytes: int) -> str:
        value = self.text(name)
        if len(value) != 2 * length_bytes or not _HEX.fullmatch(value):
            self.refuse(name, f"is not {length_bytes} bytes in lowercase hexadecimal")
        return value

    def instant(self, name: str) -> datetime:
        value = self.text(name)
        if not _INSTANT.fullmatch(value):
            self.refuse(name, "is not an instant in UTC")
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            self.refuse(name, "is not a date that exists")

    def one_of(self, name: str, kind: Callable[[str], _T]) -> _T:
        value = self.text(name)
        try:
            return kind(value)
        except ValueError:
            self.refuse(name, f"has the unknown value {value!a}")

    def fields(self, name: str) -> Fields:
        return self._below(self._get(name, dict), f"{self._where}.{name}".lstrip("."))

    def fields_or_none(self, name: str) -> Fields | None:
        if name in self._value and self._value[name] is None:
            return None
        return self.fields(name)

    def objects(self, name: str, read: Callable[[Fields], _T]) -> tuple[_T, ...]:
        values = self._get(name, list)
        return tuple(read(self._below(value, f"{self._where}{name}[{at}]")) for at, value in enumerate(values))

    def document(self, name: str) -> Json:
        """An object that is nobody's business here, as it stands."""
        return cast("Json", self._get(name, dict))

    # What may be missing, as in documents of an earlier version: absent and null mean the same.

    def _has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def optional_text(self, name: str) -> str | None:
        return self.text(name) if self._has(name) else None

    def optional_count(self, name: str) -> int | None:
        return self.count(name) if self._has(name) else None

    def optional_claim(self, name: str) -> bool | None:
        return self.claim(name) if self._has(name) else None

    def optional_texts(self, name: str) -> tuple[str, ...]:
        return tuple(self.texts(name)) if self._has(name) else ()

    def optional_objects(self, name: str, read: Callable[[Fields], _T]) -> tuple[_T, ...]:
        return self.objects(name, read) if self._has(name) else ()

    def path(self) -> str:
        """This object's `path`, or its `path_b64` with surrogate escapes where not UTF-8."""
        if "path_b64" not in self._value:
            return self.text("path")
        try:
            raw = base64.b64decode(self.text("path_b64"), validate=True)
        except (binascii.Error, ValueError):
            self.refuse("path_b64", "is not base64")
        return raw.decode("utf-8", "surrogateescape")

    def paths(self, name: str) -> tuple[str, ...]:
        values = self._get(name, list)
        return tuple(
            value if isinstance(value, str) else self._below(value, f"{name}[{at}]").path()
            for at, value in enumerate(values)
        )
