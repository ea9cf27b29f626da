"""Daemons and verbs as processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.nursery import Household, Nursery, household


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where daemons are born."""
    program = Nursery()
    yield program
    program.close()


@pytest.fixture(scope="session")
def nurseries() -> Iterator[tuple[Nursery, Nursery]]:
    """Where verbs are born while a daemon lives."""
    programs = (Nursery(), Nursery())
    yield programs
    for program in programs:
        program.close()


@pytest.fixture
async def home(tmp_path: Path, nursery: Nursery) -> AsyncIterator[Household]:
    """One app whose slots are owed, and nobody living there yet."""
    async with household(tmp_path, nursery, known_for=timedelta(days=30)) as built:
        yield built


@pytest.fixture
async def quiet(tmp_path: Path, nursery: Nursery, nurseries: tuple[Nursery, Nursery]) -> AsyncIterator[Household]:
    """One app of which nothing is owed."""
    async with household(tmp_path, nursery, known_for=timedelta(0)) as built:
        yield built
        for program in nurseries:
            await program.clear()
