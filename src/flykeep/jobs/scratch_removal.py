"""Removes what the journal names, and nothing else: machines first, then the volumes they had."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import FlyError, FlykeepError, FlyNotFoundError, FlyPreconditionError
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.ids import AppName
from flykeep.domain.scratch import CLOCK_TOLERANCE
from flykeep.jobs.context import Journal
from flykeep.jobs.scratch_steps import CLEARED, LEFT_BEHIND, REMOVED, ScratchIntent, unremoved
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.scratch import OWNER_KEY, ScratchFly

_POLL_EVERY = timedelta(seconds=5)
_MACHINE_LIMIT = timedelta(minutes=2)
_VOLUME_LIMIT = timedelta(minutes=3)
_CLEANUP_LIMIT = timedelta(minutes=2)  # below the daemon's drain_timeout
UNSURE_FOR = timedelta(minutes=10)
"""How long a creation whose answer never arrived may still come true."""

_GONE = frozenset({"destroying", "destroyed"})


@dataclass(frozen=True, slots=True)
class Found:
    """What exists of the journalled names; `unsure` names may still appear."""

    machines: tuple[Machine, ...]
    volumes: tuple[Volume, ...]
    unsure: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*(machine.name for machine in self.machines), *(volume.name for volume in self.volumes))

    @property
    def by_app(self) -> dict[AppName, tuple[str, ...]]:
        """A run visits volumes in other apps too."""
        every = [(machine.app, machine.name) for machine in self.machines]
        every += [(volume.app, str(volume.name)) for volume in self.volumes]
        return {app: tuple(name for where, name in every if where == app) for app, _ in every}


@dataclass(frozen=True, slots=True)
class Remover:
    """A thing is ours where its name was journalled before it was made, and nothing it says speaks against."""

    fly: ScratchFly
    catalog: Catalog
    clock: Clock

    async def clean_up(self, journal: Journal) -> None:
        """Remove what the run made; shielded from cancellation and bounded. What remains is left to reconcile."""
        task = asyncio.ensure_future(self._clean_up(journal))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            raise

    async def clear(self, journal: Journal) -> None:
        """Remove what a refused attempt made, before the next one."""
        found = await self.remove(await self._intents(journal))
        await journal.step(CLEARED, names=", ".join(found.names) or None)

    async def _clean_up(self, journal: Journal) -> None:
        try:
            async with asyncio.timeout(_CLEANUP_LIMIT.total_seconds()):
                found = await self.remove(await self._intents(journal))
        except (FlykeepError, TimeoutError) as error:
            await journal.step(LEFT_BEHIND, error=str(error) or "timed out")
            return
        if found.unsure:
            await journal.step(LEFT_BEHIND, names=", ".join(found.unsure), error="it may still appear")
            return
        await journal.step(REMOVED, names=", ".join(found.names) or None)

    async def _intents(self, journal: Journal) -> tuple[ScratchIntent, ...]:
        async with self.catalog.transaction() as tx:
            return unremoved(await tx.steps(journal.run.id))

    async def remove(self, intents: Sequence[ScratchIntent]) -> Found:
        """Raises FlyError where something could not be removed in time."""
        found = await self.find(intents)
        for machine in found.machines:
            await self.fly.destroy_machine(machine.app, machine.id)
        for machine in found.machines:
            await self._until_destroyed(machine)
        for volume in found.volumes:
            await self._delete(volume)
        return found

    async def find(self, intents: Sequence[ScratchIntent]) -> Found:
        """What exists now of these."""
        machines: list[Machine] = []
        volumes: list[Volume] = []
        for app in dict.fromkeys(intent.app for intent in intents):
            by_name = {(intent.kind, intent.name): intent for intent in intents if intent.app == app}
            here = await self._machines(app)
            mine = [one for one in here if _owns_machine(by_name.get(("machine", one.name)), one)]
            machines += mine
            foreign = {one.id for one in here} - {one.id for one in mine}
            volumes += [
                one
                for one in await self._volumes(app)
                if _owns_volume(by_name.get(("volume", one.name)), one) and one.attached_machine_id not in foreign
            ]
        names = {one.name for one in machines} | {str(one.name) for one in volumes}
        fresh_since = self.clock.now() - UNSURE_FOR
        unsure = [one.name for one in intents if one.id is None and one.name not in names and one.at > fresh_since]
        return Found(tuple(machines), tuple(volumes), tuple(unsure))

    async def _machines(self, app: AppName) -> tuple[Machine, ...]:
        try:
            return tuple(one for one in await self.fly.machines(app) if one.state not in _GONE)
        except FlyNotFoundError:
            return ()  # the app is gone, and everything in it

    async def _volumes(self, app: AppName) -> tuple[Volume, ...]:
        try:
            return await self.fly.app_volumes(app)
        except FlyNotFoundError:
            return ()

    async def _until_destroyed(self, machine: Machine) -> None:
        try:
            is_gone = await self.fly.wait_for_state(machine.app, machine.id, "destroyed", within=_MACHINE_LIMIT)
        except FlyNotFoundError:
            return  # Fly has forgotten it already
        if not is_gone:
            raise FlyError("the machine is still there", facts={"app": machine.app, "machine": machine.id})

    async def _delete(self, volume: Volume) -> None:
        """Fly notices late that the machine has gone, and refuses until then."""
        started = self.clock.monotonic()
        while True:
            try:
                await self.fly.delete_volume(volume.app, volume.id)
            except FlyPreconditionError:
                if self.clock.monotonic() - started > _VOLUME_LIMIT.total_seconds():
                    raise
                await self.clock.sleep(_POLL_EVERY)
            else:
                return


def owner_of(machine: Machine) -> str | None:
    """The run id in the machine's metadata; None where there is none, or its host does not answer."""
    metadata = json.loads(machine.config_json or "{}").get("metadata") or {}
    owner = metadata.get(OWNER_KEY)
    return owner if isinstance(owner, str) else None


def _owns_machine(intent: ScratchIntent | None, machine: Machine) -> bool:
    if intent is None or intent.id not in {None, machine.id}:
        return False
    if machine.config_json is None:
        return intent.id is not None
    return owner_of(machine) == intent.run_id


def _owns_volume(intent: ScratchIntent | None, volume: Volume) -> bool:
    """Volumes carry no tag: without the id, the instant of creation tells a namesake apart."""
    if intent is None:
        return False
    if intent.id is not None:
        return intent.id == volume.id
    return volume.created_at >= intent.at - CLOCK_TOLERANCE
