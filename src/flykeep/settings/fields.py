"""The kinds of values a configuration file holds, each validated where it enters.

Messages never repeat the value they refuse: it may be a secret put into the wrong place.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from flykeep.domain.cadence import check_cron
from flykeep.domain.cleaning import MIN_AGE, names_nothing
from flykeep.domain.errors import ConfigError
from flykeep.domain.policy import Schedule
from flykeep.settings.durations import DURATION_PATTERN, format_duration, parse_duration

NEVER = "never"


class Table(BaseModel):
    """A table of the file: unknown keys are errors, and errors hide what they refuse."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("is not a duration: write 20s, 90m, 26h, 8d or 1h30m, in quotes")  # noqa: TRY004 - pydantic
    return parse_duration(value)


def _duration_or_never(value: object) -> object:
    return NEVER if value == NEVER else _duration(value)


def _secret_name(value: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", value):
        raise ValueError("must be the NAME of an environment variable (capitals, digits, _), not the secret itself")
    return value


def cron_expression(value: str) -> str:
    """`value` where it is a cron expression that comes due at least once; raises ValueError."""
    try:
        check_cron(Schedule(value))
    except ConfigError:  # its message repeats the value
        raise ValueError('is not a cron expression of five fields that ever comes due, as "15 */6 * * *"') from None
    return value


def _cron(value: str) -> str:
    return value if value == NEVER else cron_expression(value)


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError):  # what it raises depends on how the name is wrong
        raise ValueError("is not a time zone such as Europe/Vienna or UTC") from None
    return value


def _glob(value: str) -> str:
    if not value or value.startswith("/"):
        raise ValueError("must be a path from the volume's root, without a leading slash")
    if ".." in PurePosixPath(value).parts:
        raise ValueError('must not climb with ".."')
    if "\0" in value or "\n" in value:
        raise ValueError("must be one line")
    return value


def _clean_glob(value: str) -> str:
    if names_nothing(value):
        raise ValueError("would name whatever there is: give it at least one letter or digit outside of wildcards")
    return _glob(value)


def _clean_age(value: timedelta) -> timedelta:
    if value < MIN_AGE:
        raise ValueError(f"must be at least {format_duration(MIN_AGE)}: younger files are in no snapshot yet")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("must be an absolute path")
    if ".." in PurePosixPath(value).parts:
        raise ValueError('must not climb with ".."')
    return value


def _prefix(value: str) -> str:
    if value.startswith("/") or value.endswith("/") or ".." in value.split("/"):
        raise ValueError("must not begin or end with a slash or climb with ..")
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that begins with https:// or http://")
    if parts.username or parts.password or parts.query:
        raise ValueError("must not hold credentials; use the keys that name secrets")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError("must have a port between 0 and 65535") from error
    return value.rstrip("/")


def _recipient(value: str) -> str:
    if value.upper().startswith("AGE-SECRET-KEY-"):
        raise ValueError("is a private key: give the public half, age1..., and take this key out of the file")
    import pyrage  # noqa: PLC0415 - heavy, and only needed where a recipient is given

    try:
        pyrage.x25519.Recipient.from_str(value)
    except pyrage.RecipientError:
        raise ValueError("is not an age X25519 recipient (age1...): a character is wrong or missing") from None
    return value


def _image(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}", value):
        raise ValueError("must be pinned by its digest, as registry/name@sha256:... with 64 hexadecimal digits")
    return value


def _public_key(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("must be a public key of 64 lowercase hexadecimal digits, as proofs show it")
    return value


def _bind(value: str) -> str:
    host, colon, port = value.rpartition(":")
    is_bracketed = host.startswith("[") == host.endswith("]")
    if not colon or not host or not is_bracketed or not port.isdigit() or int(port) > 65_535:
        raise ValueError('must be an address and a port such as "[::]:8080" or "127.0.0.1:8080"')
    return value


def _state_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"sqlite", "postgresql"}:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if parts.password:
        raise ValueError("holds a password: use url_secret with the name of a variable that holds the whole URL")
    if parts.scheme == "sqlite" and (parts.netloc or not parts.path.startswith("//")):
        raise ValueError("needs an absolute path, with four slashes: sqlite:////data/flykeep.db")
    return value


_DURATION_SCHEMA = {"type": "string", "pattern": DURATION_PATTERN, "examples": ["26h", "1h30m"]}

Duration = Annotated[
    timedelta, BeforeValidator(_duration), PlainSerializer(format_duration), WithJsonSchema(_DURATION_SCHEMA)
]
DurationOrNever = Annotated[
    timedelta | Literal["never"],
    BeforeValidator(_duration_or_never),
    WithJsonSchema({"anyOf": [_DURATION_SCHEMA, {"const": NEVER}]}),
]
SecretName = Annotated[str, AfterValidator(_secret_name)]
Cron = Annotated[str, AfterValidator(_cron)]
Zone = Annotated[str, AfterValidator(_zone)]
Glob = Annotated[str, AfterValidator(_glob)]
CleanGlob = Annotated[str, AfterValidator(_clean_glob)]
CleanAge = Annotated[
    timedelta,
    BeforeValidator(_duration),
    AfterValidator(_clean_age),
    PlainSerializer(format_duration),
    WithJsonSchema(_DURATION_SCHEMA),
]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
KeyPrefix = Annotated[str, AfterValidator(_prefix)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Recipient = Annotated[str, AfterValidator(_recipient)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
Image = Annotated[str, AfterValidator(_image)]
Bind = Annotated[str, AfterValidator(_bind)]
StateUrl = Annotated[str, AfterValidator(_state_url)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
