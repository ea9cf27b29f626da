"""Reads what apps consist of and keeps it: after a loss nobody can ask Fly for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from flykeep.domain.describing import (
    READ_AGAIN_AFTER,
    AppReading,
    DescriptionState,
    describe,
    fingerprint,
    volumes_of,
)
from flykeep.domain.errors import FlyError
from flykeep.domain.fly import Inventory
from flykeep.domain.ids import AppName
from flykeep.ports.apps import AppReader
from flykeep.ports.catalog import Catalog, SavedDescription
from flykeep.ports.clock import Clock

_PARALLEL_READS = 8
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Describer:
    """Reads an app when the inventory shows a change of it, when a reading failed, and every few hours."""

    apps: AppReader
    catalog: Catalog
    clock: Clock
    org: str

    async def renew(self, inventory: Inventory, apps: Iterable[AppName]) -> tuple[DescriptionState, ...]:
        """How each app is described now. What can't be read is told, and never stops anything else.

        An inventory that lacks regions changes nothing: what it does not show may still exist.
        """
        async with self.catalog.transaction() as tx:
            known = {saved.app: saved for saved in await tx.descriptions()}
        if not inventory.is_complete:
            return tuple(_state(known[app]) for app in sorted(set(apps)) if app in known)
        limit = asyncio.Semaphore(_PARALLEL_READS)

        async def renewed(app: AppName) -> SavedDescription:
            async with limit:
                return await self._renewed(inventory, app, known.get(app))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(renewed(app)) for app in sorted(set(apps))]
        saved = [task.result() for task in tasks]
        async with self.catalog.transaction() as tx:
            for one in saved:
                if one != known.get(one.app):
                    await tx.save_description(one)
        return tuple(_state(one) for one in saved)

    async def _renewed(self, inventory: Inventory, app: AppName, last: SavedDescription | None) -> SavedDescription:
        now, seen = self.clock.now(), fingerprint(inventory, app)
        if (
            last is not None
            and last.failure is None
            and last.fingerprint == seen
            and now - last.read_at < READ_AGAIN_AFTER
        ):
            return last
        kept = last.description if last else None
        refusals: dict[str, str] = {}
        machines = await _part("machines", self.apps.machines(app), refusals)
        if machines is not None:
            reading = AppReading(
                app=await _part("network", self.apps.app(app), refusals),
                machines=machines,
                volumes=volumes_of(inventory, app),
                secrets=await _part("secrets", self.apps.secrets(app), refusals),
                addresses=await _part("addresses", self.apps.addresses(app), refusals),
                certificates=await _part("certificates", self.apps.certificates(app), refusals),
            )
            kept = describe(app, reading, kept, org=self.org, now=now)
        silent = [one.name for one in machines or () if one.config_json is None]
        reasons = [f"{part}: {why}" for part, why in refusals.items()]
        reasons += [f"machine {name}: its host does not answer" for name in silent]
        since_at = (last.failing_since_at if last else None) or now
        return SavedDescription(
            app, kept, seen, now, since_at if reasons else None, "; ".join(reasons) if reasons else None
        )


async def _part(name: str, reading: Awaitable[_T], refusals: dict[str, str]) -> _T | None:
    try:
        return await reading
    except FlyError as error:
        refusals[name] = error.message
        return None


def _state(saved: SavedDescription) -> DescriptionState:
    return DescriptionState(saved.app, saved.description, saved.failure, saved.failing_since_at)
