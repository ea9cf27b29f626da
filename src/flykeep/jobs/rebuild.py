"""Recreate what the catalog held, from the stores: artifacts, lineages, configurations. Nothing is deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from flykeep.domain import layout
from flykeep.domain.app_description import AppDescription
from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import ConfigError, IntegrityError, StoreError, StoreNotFoundError
from flykeep.domain.fly import VolumeSnapshot
from flykeep.domain.holds import Pin
from flykeep.domain.ids import LineageId
from flykeep.domain.layout import ObjectRole
from flykeep.domain.remembering import (
    LineageMerge,
    RememberedLineage,
    StateDocument,
    lineages_of,
    merge_lineages,
    parse_state,
)
from flykeep.domain.verification import Level, after_failure
from flykeep.jobs.pins import believed_pin
from flykeep.jobs.settle import Settler
from flykeep.ports.catalog import Catalog, RecordedSnapshot, SavedDescription, Transaction
from flykeep.ports.clock import Clock
from flykeep.ports.crypto import Opener
from flykeep.ports.store import ObjectInfo, Store

Progress = Callable[[str, int, int], None]
"""Told the store, how many of its manifests were read, and how many there are."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An object that was not believed, or is not whole, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoreReport:
    """`failure` is set where the store did not answer; `state` says what became of its state document."""

    store: str
    restored: int = 0
    known: int = 0
    refused: tuple[Refused, ...] = ()
    state: str = "none there"
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class RebuildReport:
    stores: tuple[StoreReport, ...]
    lineages: tuple[str, ...]  # labels of those that were restored or learnt of earlier volumes

    @property
    def is_whole(self) -> bool:
        return all(not report.refused and report.failure is None for report in self.stores)


@dataclass(slots=True)
class _Found:
    """What one store holds that can be believed."""

    artifacts: list[Artifact]
    refused: list[Refused]
    pins: list[Pin] = field(default_factory=list)
    remembered: tuple[RememberedLineage, ...] = ()
    apps: tuple[AppDescription, ...] = ()
    state: str = "none there"


@dataclass(frozen=True, slots=True)
class RebuildJob:
    """Believes what a trusted key signed for the place it stands in, and nothing else. Once more adds nothing."""

    catalog: Catalog
    clock: Clock
    stores: Mapping[str, Store]
    settler: Settler
    opener: Opener
    identity: Callable[[], str | None]

    async def rebuild(
        self, stores: Iterable[str], *, identity: str | None = None, on_progress: Progress = lambda *_: None
    ) -> RebuildReport:
        """Every store is tried. `identity` is the text of an identity file; it opens the state document.

        Raises ConfigError for a store that is not configured; StoreError where no store answered.
        """
        reports: list[StoreReport] = []
        lineages: dict[str, None] = {}
        failures: list[StoreError] = []
        for name in stores:
            if name not in self.stores:
                raise ConfigError(f"no store is called {name!r}", hint=f"Configured: {', '.join(self.stores)}.")
            try:
                found = await self._read(self.stores[name], identity or self.identity(), on_progress)
            except StoreError as error:
                failures.append(error)
                reports.append(StoreReport(name, failure=str(error)))
                continue
            report, merge = await self._record(name, found)
            reports.append(report)
            lineages |= dict.fromkeys(lineage.label for lineage in merge.saved)
        if failures and len(failures) == len(reports):
            raise failures[0]
        return RebuildReport(tuple(reports), tuple(lineages))

    async def _read(self, store: Store, identity: str | None, on_progress: Progress) -> _Found:
        objects = {found.key: found for found in await store.list("")}
        places = {key: layout.parse_key(key) for key in objects}
        keys = [key for key, place in places.items() if place is not None and place.role is ObjectRole.MANIFEST]
        found = _Found([], [])
        for number, key in enumerate(keys, start=1):
            try:
                artifact = await self._artifact(store, key, objects)
            except IntegrityError as error:
                found.refused.append(Refused(key, error.message))
            else:
                if artifact is not None:
                    found.artifacts.append(artifact)
            on_progress(store.name, number, len(keys))
        await self._read_pins(store, objects, found)
        await self._read_state(store, identity, found)
        return found

    async def _read_pins(self, store: Store, keys: Iterable[str], found: _Found) -> None:
        for key in keys:
            if key.startswith(layout.PINS_PREFIX):
                try:
                    pin = await believed_pin(store, key, self.settler.signer)
                except IntegrityError as error:
                    found.refused.append(Refused(key, error.message))
                else:
                    found.pins += [pin] if pin else []

    async def _artifact(self, store: Store, key: str, objects: Mapping[str, ObjectInfo]) -> Artifact | None:
        """One that lacks an object is recorded as failed, so that it is looked into and counts for nothing."""
        signed = await self.settler.read(store, key)
        if signed is None:
            return None  # removed since the listing
        said = signed.manifest
        artifact = Artifact(said.export_id, store.name, key, said, self.clock.now())
        held = [objects.get(each.key) for each in (*said.data, said.index)]
        sizes = [each.size_bytes if each else None for each in held]
        if sizes != [each.size_bytes for each in (*said.data, said.index)]:
            return after_failure(artifact, Level.MANIFEST, now=self.clock.now())
        return artifact

    async def _read_state(self, store: Store, identity: str | None, found: _Found) -> None:
        try:
            sealed = await store.get(layout.STATE_KEY)
        except StoreNotFoundError:
            return
        if self.opener.is_encrypted(sealed) and identity is None:
            found.state = "not opened: no identity is at hand, so machine configurations are missing"
            return
        try:
            document = parse_state(self.opener.open(sealed, identity=identity), now=self.clock.now())
            self._judge(document)
        except IntegrityError as error:
            found.state = "refused"
            found.refused.append(Refused(layout.STATE_KEY, error.message))
        else:
            found.remembered, found.apps, found.state = document.lineages, document.apps, "read"

    def _judge(self, document: StateDocument) -> None:
        self.settler.signer.verify(
            document.signed, signature_hex=document.signature_hex, signer_hex=document.signer_hex
        )

    async def _record(self, name: str, found: _Found) -> tuple[StoreReport, LineageMerge]:
        async with self.catalog.transaction() as tx:
            remembered = {each.lineage.id: each.lineage for each in found.remembered}
            told = {lineage.id: lineage for lineage in lineages_of(found.artifacts)}
            merge = merge_lineages(await tx.lineages(include_retired=True), (told | remembered).values())
            for lineage in merge.saved:
                await tx.save_lineage(lineage)
            restored = 0
            for artifact in found.artifacts:
                restored += await self._record_artifact(tx, artifact, merge.owners, found.refused)
            known_pins = {pin.export_id for pin in await tx.pins()}
            for pin in found.pins:
                if pin.export_id not in known_pins:
                    await tx.pin(pin)
            for each in found.remembered:
                await self._record_rest(tx, each, merge.owners[each.lineage.id])
            for described in found.apps:
                await _record_description(tx, described)
        known = len(found.artifacts) - restored
        return StoreReport(name, restored, known, tuple(found.refused), found.state), merge

    async def _record_artifact(
        self, tx: Transaction, artifact: Artifact, owners: Mapping[LineageId, LineageId], refused: list[Refused]
    ) -> bool:
        """Whether it was not known. What is known stays, with all that was found out about it."""
        known = next((one for one in await tx.artifact(artifact.export_id) if one.store == artifact.store), None)
        if known is None:
            await tx.record_artifact(artifact, lineage_id=owners[artifact.manifest.origin.lineage_id])
        elif known.manifest != artifact.manifest:
            refused.append(Refused(artifact.manifest_key, "The catalog remembers another manifest of this artifact."))
        if known is None and artifact.is_failed:
            refused.append(Refused(artifact.manifest_key, "Objects of it are missing or of another size."))
        return known is None

    async def _record_rest(self, tx: Transaction, each: RememberedLineage, owner: LineageId) -> None:
        now, lineage = self.clock.now(), each.lineage
        if each.config_json and lineage.machine_id and await tx.machine_config(owner) is None:
            await tx.save_machine_config(lineage.machine_id, lineage_id=owner, config_json=each.config_json, now=now)
        for row in each.snapshots:
            if await tx.recorded_snapshot(row.id) is None:
                snapshot = VolumeSnapshot(row.id, "created", row.created_at, 0, 0, None)
                await tx.record_snapshot(RecordedSnapshot(owner, row.volume_id, lineage.app, snapshot, now))


async def _record_description(tx: Transaction, described: AppDescription) -> None:
    """A later description stands, whether a store or this daemon's own reading gave it."""
    known = await tx.description(described.app)
    last = known.description if known else None
    if last is None or last.described_at < described.described_at:
        # Without a fingerprint of the inventory, the next check reads the app itself.
        await tx.save_description(SavedDescription(described.app, described, "", described.described_at))
