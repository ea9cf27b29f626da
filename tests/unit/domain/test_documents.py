import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.documents import instant, plain, to_json


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    name: str
    secret: str = field(default="hidden", repr=False)


@dataclass(frozen=True)
class Outer:
    inner: Inner
    colour: Colour
    many: tuple[Inner, ...]
    at: datetime


AT = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)


def test_a_dataclass_becomes_a_document_without_what_hides_from_repr() -> None:
    document = json.loads(to_json(Outer(Inner("a"), Colour.RED, (Inner("b"),), AT)))
    assert document == {
        "inner": {"name": "a"},
        "colour": "red",
        "many": [{"name": "b"}],
        "at": "2026-03-01T04:00:00Z",
    }


def test_instants_are_utc_whatever_zone_they_came_in() -> None:
    assert instant(AT.astimezone(timezone(timedelta(hours=5)))) == "2026-03-01T04:00:00Z"
    assert plain(AT.replace(microsecond=5)) == "2026-03-01T04:00:00.000005Z"


def test_durations_are_seconds_and_bytes_are_text() -> None:
    assert plain(timedelta(minutes=1.5)) == 90.0
    assert plain(b"caf\xc3\xa9 \xff") == "café \\xff"
    assert plain({1: {"x"}, "n": [None, True, 2, 0.5]}) == {"1": ["x"], "n": [None, True, 2, 0.5]}


def test_what_has_no_place_in_a_document_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="object has no place"):
        plain(object())


@given(st.binary())
def test_any_file_name_becomes_json(name: bytes) -> None:
    text = plain(name.decode("utf-8", "surrogateescape"))
    json.dumps(text).encode()
    assert isinstance(text, str)
    text.encode()


class Plainly(Enum):
    ONE = 1


def test_a_choice_is_its_value() -> None:
    assert plain(Plainly.ONE) == 1
