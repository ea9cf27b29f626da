"""Runbooks: written from what the catalog knows, and kept in each store, sealed to the operator and signed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from flykeep.domain import layout
from flykeep.domain.app_description import AppDescription, DescribedVolume
from flykeep.domain.artifact import Artifact
from flykeep.domain.candidates import LONGEST_RETENTION
from flykeep.domain.errors import StoreError, StoreNotFoundError, StorePreconditionError
from flykeep.domain.ids import AppName
from flykeep.domain.run import Outcome
from flykeep.domain.runbook import runbook
from flykeep.domain.runbook_facts import KnownSnapshot, RunbookFacts, StoreDoor, VolumeHistory
from flykeep.domain.runbook_state import StaleRunbook, stale_runbook_of
from flykeep.domain.signed_page import signed_page
from flykeep.domain.target import Lineage
from flykeep.jobs.context import Journal, TargetWork
from flykeep.jobs.export import BoundStore
from flykeep.jobs.runner import TargetJob
from flykeep.ports.catalog import Catalog, RecordedSnapshot, Transaction
from flykeep.ports.clock import Clock
from flykeep.ports.crypto import Sealer, Signer
from flykeep.ports.store import Store, StoreOrder, StoreType


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a store was given last: the page's digest, and the machines that it describes."""

    digest: str
    machines: tuple[str, ...]

    def to_note(self) -> str:
        return json.dumps([self.digest, *self.machines], ensure_ascii=False)

    @classmethod
    def of(cls, note: str | None) -> _Mark | None:
        if not note:
            return None
        digest, *machines = json.loads(note)
        return cls(digest, tuple(machines))


@dataclass(frozen=True, slots=True)
class Runbooks:
    """Sealed to `recipients`, plain where there are none: a page holds what machine configurations hold.

    `stores` are in the order in which a page names them, but for the store that the page itself lies in.
    """

    catalog: Catalog
    clock: Clock
    stores: Mapping[str, BoundStore]
    sealer: Sealer
    signer: Signer
    recipients: tuple[str, ...]

    async def page(
        self, app: AppName, *, home: str | None = None, name: AppName | None = None, org: str | None = None
    ) -> str | None:
        """The page as it would be written now; None for an app that was never described.

        `home` is the store that it lies in. `name` and `org` are for an app that shall be built under others.
        """
        facts = await self._facts(app, home=home)
        if facts is None:
            return None
        described = replace(facts.described, app=name or app, org=org or facts.described.org)
        return runbook(replace(facts, described=described))

    async def _facts(self, app: AppName, *, home: str | None) -> RunbookFacts | None:
        async with self.catalog.transaction() as tx:
            saved = await tx.description(app)
            if saved is None or saved.description is None:
                return None
            histories = await self._histories(tx, saved.description)
        doors = sorted((door_of(bound.order) for bound in self.stores.values()), key=lambda door: door.name != home)
        return RunbookFacts(saved.description, histories, tuple(doors))

    async def renew(self, apps: Iterable[AppName], journal: Journal) -> None:
        """Write every page that a store does not hold as it is now; a failure is journalled and remembered.

        Never raises StoreError: whatever the runbook is renewed for has succeeded by itself.
        """
        for app in sorted(set(apps)):
            for name, bound in self.stores.items():
                facts = await self._facts(app, home=name)
                if facts is not None:
                    await self._renew(facts, bound.store, journal)

    async def renew_all(self, journal: Journal) -> None:
        """The same for every app that a target belongs to; the pages of apps that were erased are removed."""
        async with self.catalog.transaction() as tx:
            described = {saved.app for saved in await tx.descriptions()}
            ended = {lineage.app for lineage in await tx.lineages(include_retired=True)}
        live = await self._apps()
        erased = ended - described - set(live)
        await self.renew(live, journal)
        for app in sorted(erased):
            for bound in self.stores.values():
                await self._remove(app, bound.store, journal)

    async def stale(self) -> tuple[StaleRunbook, ...]:
        """What could not be renewed when it was last tried."""
        found: list[StaleRunbook] = []
        for app in await self._apps():
            for store in self.stores:
                async with self.catalog.transaction() as tx:
                    note = stale_runbook_of(app, store, await tx.note(_failing(app, store)))
                found += [note] if note else []
        return tuple(found)

    async def _apps(self) -> tuple[AppName, ...]:
        async with self.catalog.transaction() as tx:
            return tuple(sorted({lineage.app for lineage in await tx.lineages()}))

    async def _renew(self, facts: RunbookFacts, store: Store, journal: Journal) -> None:
        app, text = facts.described.app, runbook(facts)
        mark = _Mark(self._digest(text), tuple(machine.name for machine in facts.machines))
        async with self.catalog.transaction() as tx:
            last = _Mark.of(await tx.note(_written(app, store.name)))
        if last is not None and last.digest == mark.digest:
            return
        signature_hex = self.signer.sign(text.encode())
        document = signed_page(text, signature_hex=signature_hex, signer_hex=self.signer.public_hex)
        try:
            if last is None or set(last.machines) - set(mark.machines):
                await self._set_aside(app, store)
            await store.put(self._key(app), self.sealer.seal(document, recipients=self.recipients))
        except StoreError as error:
            await journal.step("runbook not renewed", store=store.name, app=app, code=error.code, error=str(error))
            await self._remember_failure(app, store.name, error)
            return
        await self._remember(app, store.name, mark.to_note())
        await journal.step("runbook renewed", store=store.name, app=app)

    async def _set_aside(self, app: AppName, store: Store) -> None:
        """Keep the page that describes machines which are gone, or of which this catalog knows nothing.

        An app that is half rebuilt must not take the page by which it is rebuilt. Of one day the first stays.
        """
        key = layout.earlier_runbook_key(app, self.clock.now(), is_encrypted=bool(self.recipients))
        with contextlib.suppress(StoreNotFoundError, StorePreconditionError):
            await store.put_new(key, await store.get(self._key(app)))

    async def _remove(self, app: AppName, store: Store, journal: Journal) -> None:
        async with self.catalog.transaction() as tx:
            if not await tx.note(_written(app, store.name)):
                return
        try:
            earlier = await store.list(layout.earlier_runbooks_prefix(app))
            for key in (*(found.key for found in earlier), self._key(app)):
                await store.delete(key)
        except StoreError as error:
            await journal.step("runbook not removed", store=store.name, app=app, code=error.code, error=str(error))
            return
        await self._remember(app, store.name, "")
        await journal.step("runbook removed", store=store.name, app=app)

    async def _remember(self, app: AppName, store: str, mark: str) -> None:
        """Only after the store has done it."""
        async with self.catalog.transaction() as tx:
            await tx.save_note(_written(app, store), mark)
            await tx.save_note(_failing(app, store), "")

    def _key(self, app: AppName) -> str:
        return layout.runbook_key(app, is_encrypted=bool(self.recipients))

    async def _remember_failure(self, app: AppName, store: str, error: StoreError) -> None:
        async with self.catalog.transaction() as tx:
            known = stale_runbook_of(app, store, await tx.note(_failing(app, store)))
            since_at = known.since_at if known else self.clock.now()
            await tx.save_note(_failing(app, store), StaleRunbook(app, store, since_at, error.message).to_note())

    def _digest(self, text: str) -> str:
        """Of the page and of whom it is sealed to: another key means another object."""
        return hashlib.sha256("\n".join([*self.recipients, self.signer.public_hex, text]).encode()).hexdigest()

    async def _histories(self, tx: Transaction, described: AppDescription) -> tuple[VolumeHistory, ...]:
        lineages = [each for each in await tx.lineages() if each.app == described.app]
        histories: list[VolumeHistory] = []
        for volume in described.volumes:
            snapshots: tuple[KnownSnapshot, ...] = ()
            artifacts: tuple[Artifact, ...] = ()
            for lineage in lineages_of(volume, described.volumes, lineages):
                snapshots = snapshots or self._usable(await tx.recorded_snapshots(lineage.id))
                artifacts = artifacts or tuple(await tx.artifacts(lineage.id))
            histories.append(VolumeHistory(volume.id, snapshots, artifacts))
        return tuple(histories)

    def _usable(self, rows: Sequence[RecordedSnapshot]) -> tuple[KnownSnapshot, ...]:
        """Those that Fly may still hold, newest first."""
        found: list[KnownSnapshot] = []
        for row in rows:
            one = row.snapshot
            if one.is_restorable and one.id and one.created_at:
                days = one.retention_days
                kept = LONGEST_RETENTION if days is None else timedelta(days=days)
                if one.created_at + kept > self.clock.now():
                    found.append(KnownSnapshot(one.id, row.volume_id, one.created_at, one.volume_size_bytes))
        return tuple(sorted(found, key=lambda each: each.created_at, reverse=True))


@dataclass(frozen=True, slots=True)
class WithRunbook:
    """A job after which the runbook of its app is renewed; what the job says stands whatever comes of that."""

    job: TargetJob
    runbooks: Runbooks

    async def run(self, work: TargetWork) -> Outcome:
        outcome = await self.job.run(work)
        await self.runbooks.renew([work.lineage.app], work.journal)
        return outcome


def lineages_of(
    volume: DescribedVolume, volumes: Iterable[DescribedVolume], lineages: Iterable[Lineage]
) -> tuple[Lineage, ...]:
    """The volume's own lineage first, then those of its name that have lost their volume, seen last first."""
    present = {each.id for each in volumes}
    alike = [each for each in lineages if each.volume_name == volume.name]
    lost = [each for each in alike if not present & set(each.volume_ids)]
    own = [each for each in alike if volume.id in each.volume_ids]
    return (*own, *sorted(lost, key=lambda each: each.last_seen_at, reverse=True))


def door_of(order: StoreOrder) -> StoreDoor:
    """How a person without flykeep reaches the store; no key of it is in the answer."""
    prefix = order.prefix.strip("/")
    if order.type is StoreType.DIRECTORY:
        return StoreDoor(order.name, "/".join(part for part in ((order.path or "").rstrip("/"), prefix) if part))
    region = order.region if order.endpoint or order.region != "auto" else "us-east-1"
    endpoint = order.endpoint or f"https://s3.{region}.amazonaws.com"
    scheme, _, host = endpoint.rstrip("/").partition("://")
    bucket = order.bucket or ""
    if order.is_path_style:
        host = f"{host}/{bucket}"
    elif not host.startswith(f"{bucket}."):
        host = f"{bucket}.{host}"
    return StoreDoor(order.name, "/".join(part for part in (f"{scheme}://{host}", prefix) if part), region)


def _written(app: AppName, store: str) -> str:
    return f"runbook_digest:{store}:{app}"


def _failing(app: AppName, store: str) -> str:
    return f"runbook_failing:{store}:{app}"
