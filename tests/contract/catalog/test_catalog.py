"""Both databases keep the catalog's contract."""

from collections.abc import Awaitable, Callable

import pytest

from flykeep.adapters.db.engine import SqlCatalog, open_catalog
from flykeep.testing.contracts.catalog import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_a_catalog_keeps_its_promise(check: Callable[[SqlCatalog], Awaitable[None]], migrated_url: str) -> None:
    async with open_catalog(migrated_url) as catalog:
        await check(catalog)
