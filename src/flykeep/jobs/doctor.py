"""Checks everything online that a backup will need, one line each, before it is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

from flykeep.domain.errors import FlykeepError, IntegrityError, StoreError, StorePreconditionError
from flykeep.domain.findings import MessageKind
from flykeep.domain.fly import Inventory
from flykeep.domain.lineages import LineageState, resolve_lineages
from flykeep.domain.policy import TargetRule
from flykeep.domain.store_trial import StoreTrialReport
from flykeep.jobs.export import BoundStore
from flykeep.jobs.snapshot_doctor import SnapshotDoctor
from flykeep.jobs.store_trial import StoreTrial
from flykeep.ports.bucket import Buckets
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock, IdSource
from flykeep.ports.fly import AccessIssuer, Fly
from flykeep.ports.notifier import Notifier
from flykeep.ports.store import Store
from flykeep.ports.store_trial import StoreTrials
from flykeep.ports.worker import ReachOrder, Workers

_LIMIT = timedelta(seconds=60)
_PROBE_PREFIX = "_probes"


@dataclass(frozen=True, slots=True)
class Examined:
    """One thing tried; `error` None means that it works."""

    subject: str
    detail: str
    error: str | None = None
    hint: str | None = None


class DoctorWorkers(Workers, StoreTrials, Protocol):
    """What this needs of workers."""


@dataclass(frozen=True, slots=True)
class Doctor:
    fly: Fly
    access: AccessIssuer
    workers: DoctorWorkers
    catalog: Catalog
    stores: Mapping[str, BoundStore]
    notifiers: Mapping[str, Notifier]
    rules: tuple[TargetRule, ...]
    clock: Clock
    ids: IdSource
    buckets: Buckets
    snapshots: SnapshotDoctor | None = None

    async def try_store(self, name: str) -> StoreTrialReport:
        """Try one store thoroughly, bulk data, locks and rules included."""
        bound = self.stores[name]
        return await StoreTrial(self.workers, self.buckets, bound, self.catalog, self.clock, self.ids).examine()

    async def examine(self) -> list[Examined]:
        """Try everything; a failure of one thing does not hide the others. Writes and removes one probe per store."""
        found = [
            await self._try("state database", self._state),
            await self._try("Fly token", self._token),
        ]
        found.extend(await self._apps())
        for name, store in self.stores.items():
            found.append(await self._try(f"store {name}", partial(self._store, store)))
        if not self.stores:
            found.append(Examined("stores", "", "none: nothing leaves the platform", "Add [stores.NAME]."))
        found.extend(self._notifiers())
        return found

    async def _try(self, subject: str, attempt: Callable[[], Awaitable[str]]) -> Examined:
        try:
            async with asyncio.timeout(_LIMIT.total_seconds()):
                return Examined(subject, await attempt())
        except FlykeepError as error:
            return Examined(subject, "", f"{error.code}: {error}", error.next_step)
        except TimeoutError:
            return Examined(subject, "", f"no answer within {_LIMIT.total_seconds():.0f} s", "Check the network.")

    async def _state(self) -> str:
        await self.catalog.ping()
        return "answers"

    async def _token(self) -> str:
        info = await self.fly.token_info()
        return "accepted for " + ", ".join(sorted({token.org_slug for token in info})) if info else "accepted"

    async def _apps(self) -> list[Examined]:
        try:
            inventory = await self.fly.inventory()
        except FlykeepError as error:
            return [Examined("Fly inventory", "", f"{error.code}: {error}", error.next_step)]
        read = f"{len(inventory.machines)} machines, {len(inventory.volumes)} volumes"
        found = [Examined("Fly inventory", read)]
        if not inventory.is_complete:
            regions = ", ".join(inventory.incomplete_regions)
            found = [Examined("Fly inventory", read, f"incomplete: no answer from {regions}", "Try again later.")]
        try:
            states = await self._targets(inventory)
        except FlykeepError as error:
            return [*found, Examined("targets", "", f"{error.code}: {error}", error.next_step)]
        if self.snapshots is not None:
            apps = [state.lineage.app for state in states]
            found.append(await self._try("exports from snapshots", partial(self.snapshots.examine, apps)))
        for state in states:
            found.append(await self._try(f"ssh {state.lineage.label}", partial(self._reach, state)))
        return found

    async def _targets(self, inventory: Inventory) -> tuple[LineageState, ...]:
        async with self.catalog.transaction() as tx:
            known = await tx.lineages(include_retired=True)
        plan = resolve_lineages(known, inventory, rules=self.rules, now=self.clock.now(), new_id=self.ids.token)
        return tuple(state for state in plan.current if state.rule.policy.copies)

    async def _reach(self, state: LineageState) -> str:
        machine = state.machine
        if machine is None or not machine.is_started:
            return f"not tried: its machine is {machine.state if machine else 'missing'}"
        machine = await self.fly.machine(machine.app, machine.id)
        result = await self.workers.reach(
            ReachOrder(access=await self.access.access(machine), deadline_s=_LIMIT.total_seconds())
        )
        return f"reached {machine.id}, {result.tar_flavour} tar"

    async def _store(self, bound: BoundStore) -> str:
        """Write create-only, read back, see the second create refused, remove."""
        store = bound.store
        key = f"{_PROBE_PREFIX}/{self.ids.token()}"
        data = self.ids.token().encode()
        await store.put_new(key, data)
        try:
            if await store.get(key) != data:
                raise IntegrityError("the store gave back other bytes than it took", facts={"key": key})
            await self._expect_refusal(store, key)
        finally:
            if not bound.traits.are_deletes_refused:
                await store.delete(key)
        stays = f"; {key} stays, for deletes are refused" if bound.traits.are_deletes_refused else ""
        place = "; on the platform: lost together with the Fly account" if bound.traits.is_on_platform else ""
        return f"writable, readable, refuses to overwrite{stays}{place}"

    @staticmethod
    async def _expect_refusal(store: Store, key: str) -> None:
        try:
            await store.put_new(key, b"again")
        except StorePreconditionError:
            return
        raise StoreError("the store lets an existing object be overwritten by a create-only write")

    def _notifiers(self) -> list[Examined]:
        if not any(MessageKind.OPENED in notifier.kinds for notifier in self.notifiers.values()):
            return [Examined("notifiers", "", "none tells people of incidents", "Add [notifiers.NAME].")]
        return [Examined(f"notifier {name}", "configured; try `flykeep notify test`") for name in self.notifiers]
