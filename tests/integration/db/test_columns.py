"""What goes into a column comes out of it, whatever it is."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite

from flykeep.adapters.db.columns import AnyText, Instant
from flykeep.adapters.db.documents import from_document, to_document
from flykeep.adapters.db.engine import open_catalog
from flykeep.domain.errors import InternalError
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.run import Step
from flykeep.testing.contracts.catalog_samples import a_run

ANY_TEXT = st.text(st.characters(codec=None) | st.characters(categories=["Cs"]))
INSTANTS = st.datetimes(timezones=st.just(UTC))
DIALECTS: list[Dialect] = [sqlite.dialect(), postgresql.dialect()]


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Leaf:
    text: str
    raw: bytes
    at: datetime | None
    colour: Colour | None


@dataclass(frozen=True, slots=True)
class Tree:
    leaves: tuple[Leaf, ...]
    pairs: tuple[tuple[str, str], ...]
    number: int
    is_true: bool


LEAVES = st.builds(Leaf, ANY_TEXT, st.binary(), st.none() | INSTANTS, st.none() | st.just(Colour.RED))
TREES = st.builds(
    Tree, st.lists(LEAVES).map(tuple), st.lists(st.tuples(ANY_TEXT, ANY_TEXT)).map(tuple), st.integers(), st.booleans()
)


@given(TREES)
def test_a_document_gives_back_exactly_what_went_in(tree: Tree) -> None:
    text = to_document(tree, Tree)
    found = from_document(text, Tree)

    assert found == tree
    assert text.isascii()
    assert "\0" not in text
    assert [type(leaf.colour) for leaf in found.leaves] == [type(leaf.colour) for leaf in tree.leaves]
    assert all(leaf.at is None or leaf.at.tzinfo is UTC for leaf in found.leaves)


def test_a_document_keeps_the_instant_of_another_zone_in_utc() -> None:
    at = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))

    found = from_document(to_document(Leaf("", b"", at, None), Leaf), Leaf)

    assert found.at == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_a_document_refuses_an_instant_without_a_zone() -> None:
    with pytest.raises(InternalError):
        to_document(Leaf("", b"", datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None), None), Leaf)


@given(ANY_TEXT)
@example('json:"')
@example("\0")
@example("\udcff")
def test_any_text_survives_a_database_that_holds_only_some(text: str) -> None:
    column = AnyText()
    stored = column.process_bind_param(text, DIALECTS[0])

    assert column.process_result_value(stored, DIALECTS[0]) == text
    assert stored is not None
    assert "\0" not in stored
    stored.encode()


@given(st.datetimes(timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-14), timedelta(hours=14)))))
@example(datetime(1, 1, 2, tzinfo=UTC))
def test_an_instant_survives_in_utc(at: datetime) -> None:
    column = Instant()
    for dialect in DIALECTS:
        try:
            stored = column.process_bind_param(at, dialect)
        except OverflowError:  # within hours of the year 1 or 9999, where UTC has no name for it
            continue
        found = column.process_result_value(stored, dialect)

        assert found == at
        assert found is not None
        assert found.tzinfo is UTC


@given(INSTANTS, INSTANTS)
def test_stored_instants_sort_as_instants_do(one: datetime, two: datetime) -> None:
    column, dialect = Instant(), DIALECTS[0]

    assert (one < two) == (column.process_bind_param(one, dialect) < column.process_bind_param(two, dialect))


async def test_odd_text_survives_both_databases(state_url: str) -> None:
    odd = ["\0", "\udcff\udc80", 'json:"x"', "\U0001f600", "\n\r\t\\", "'; DROP TABLE runs; --", ""]
    run = a_run("1", lineage_id=LineageId("l"))
    async with open_catalog(state_url) as catalog, catalog.transaction() as tx:
        await tx.add_run(run)
        for number, text in enumerate(odd):
            await tx.add_step(Step(RunId("1"), number, text, run.due_at, text))
    async with open_catalog(state_url) as catalog, catalog.transaction() as tx:
        assert [(step.name, step.detail) for step in await tx.steps(RunId("1"))] == [(text, text) for text in odd]
