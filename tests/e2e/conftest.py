"""Daemons and verbs as processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.nursery import Household, Nursery, household


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    program = Nursery()
    yield program
    program.close()


@pytest.fixture
async def home(tmp_path: Path, nursery: Nursery) -> AsyncIterator[Household]:
    """One app whose slots are owed, and nobody living there yet."""
    async with household(tmp_path, nursery) as built:
        yield built
