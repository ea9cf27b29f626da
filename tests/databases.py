"""An empty state database whose tables are there already: migrated once in a process, then copied.

Only where a test is not about how tables come to be; migrations have tests of their own, and so have first starts.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from functools import cache
from pathlib import Path

from flykeep.adapters.db.engine import open_catalog


def place_empty_database(path: Path) -> None:
    """Put one there; one that is there already stays."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_migrated())


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory(prefix="flykeep-database-") as folder:
        path = Path(folder) / "state.db"
        migrate(f"sqlite:///{path}")
        return path.read_bytes()


def migrate(url: str) -> None:
    """Make its tables."""
    made = threading.Thread(target=lambda: asyncio.run(_create(url)))  # the caller's own loop is running
    made.start()
    made.join()


async def _create(url: str) -> None:
    async with open_catalog(url) as catalog:
        await catalog.ping()
