"""Both kinds of owners' locks keep their contract."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flykeep.adapters.db.owners import open_owners
from flykeep.ports.ownership import Owners
from flykeep.testing.contracts.owners import CHECKS

Check = Callable[[Owners, Owners], Awaitable[None]]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_owners_keep_their_promise(check: Check, state_url: str, tmp_path: Path) -> None:
    directory = tmp_path / "owners"
    async with (
        open_owners(state_url, directory=directory) as first,
        open_owners(state_url, directory=directory) as second,
    ):
        await check(first, second)
