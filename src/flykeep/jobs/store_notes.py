"""What was learned of a store while it was used, remembered for the checks of other processes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from flykeep.ports.catalog import Transaction
from flykeep.ports.store import Store


async def remember_creates(tx: Transaction, store: Store, *, now: datetime) -> None:
    """Remember since when the store lets a create overwrite, or that it does not any more."""
    if store.is_create_atomic is None:
        return
    known = await tx.note(_name(store.name))
    if store.is_create_atomic and known:
        await tx.save_note(_name(store.name), "")
    elif not store.is_create_atomic and not known:
        await tx.save_note(_name(store.name), now.isoformat())


async def lax_stores(tx: Transaction, names: Iterable[str]) -> tuple[tuple[str, datetime], ...]:
    """Those of the stores that let a create overwrite, each with when that was first seen."""
    notes = [(name, await tx.note(_name(name))) for name in sorted(names)]
    return tuple((name, datetime.fromisoformat(since)) for name, since in notes if since)


def _name(store: str) -> str:
    return f"create_ignored:{store}"
