"""The catalog: the local index of everything known, and the ledger of runs, incidents and messages.

All work happens in a transaction: everything in it is stored or nothing is. A transaction is serialized against every
other writer. Errors: StateError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from flykeep.domain.app_description import AppDescription
from flykeep.domain.artifact import Artifact, Lock
from flykeep.domain.findings import Compliance, Delivery, Incident, Message
from flykeep.domain.fly import VolumeSnapshot
from flykeep.domain.holds import AuditEntry, Pin
from flykeep.domain.ids import AppName, ExportId, LineageId, MachineId, OwnerId, ProofId, RunId, SnapshotId, VolumeId
from flykeep.domain.policy import JobKind
from flykeep.domain.proof import RecordedProof
from flykeep.domain.run import Outcome, Run, RunState, Step
from flykeep.domain.target import Lineage


@dataclass(frozen=True, slots=True)
class NewestSlot:
    """A slot, and the states its attempts are in."""

    scheduled_at: datetime
    states: frozenset[RunState]


class RunLedger(Protocol):
    async def add_run(self, run: Run) -> bool:
        """Insert a run; False, and nothing changed, where (kind, lineage, slot) exists already.

        A pending run that has an owner is set aside: only that owner may claim it.
        """
        ...

    async def run(self, run_id: RunId) -> Run | None: ...

    async def runs(
        self,
        *,
        lineage_id: LineageId | None = None,
        kind: JobKind | None = None,
        scheduled_at: datetime | None = None,
        is_open: bool | None = None,
        limit: int = 100,
    ) -> Sequence[Run]:
        """Newest request first; `scheduled_at` picks one slot with all its attempts.

        `is_open` True gives pending and running ones only, False final ones only.
        """
        ...

    async def claim(self, run_id: RunId, *, owner_id: OwnerId, now: datetime) -> bool:
        """Make a pending run running and owned.

        False where it is not pending, is set aside for another owner, or its lineage has a running run.
        """
        ...

    async def claimable(self, *, now: datetime, limit: int = 50) -> Sequence[Run]:
        """Pending runs for anybody that are due and whose lineage has no running run.

        Oldest due first, one per lineage.
        """
        ...

    async def finish(self, run_id: RunId, *, outcome: Outcome, now: datetime) -> bool:
        """End a pending or running run; False, and nothing changed, where it is final already."""
        ...

    async def newest_slots(self) -> Mapping[tuple[JobKind, LineageId], NewestSlot]:
        """The newest scheduled slot that has a row, of every kind and lineage that has one."""
        ...

    async def add_step(self, step: Step) -> None: ...

    async def steps(self, run_id: RunId) -> Sequence[Step]:
        """In the order they were journalled."""
        ...


@dataclass(frozen=True, slots=True)
class RecordedSnapshot:
    """A snapshot flykeep has seen; `run_id` where it asked for it itself."""

    lineage_id: LineageId
    volume_id: VolumeId
    app: AppName
    snapshot: VolumeSnapshot
    seen_at: datetime
    run_id: RunId | None = None


class Backups(Protocol):
    async def record_snapshot(self, snapshot: RecordedSnapshot) -> None:
        """Insert or renew by snapshot id; a `run_id` once set stays."""
        ...

    async def recorded_snapshots(self, lineage_id: LineageId) -> Sequence[RecordedSnapshot]:
        """Newest first."""
        ...

    async def recorded_snapshot(self, snapshot_id: SnapshotId) -> RecordedSnapshot | None: ...

    async def record_artifact(self, artifact: Artifact, *, lineage_id: LineageId | None = None) -> None:
        """Insert or renew by (export id, store); `leaving_at`, `lock` and the lineage it belongs to stay as they are.

        A new one belongs to `lineage_id`, without it to the lineage its manifest names.
        """
        ...

    async def begin_removal(self, export_id: ExportId, store: str, *, now: datetime) -> bool:
        """Its `leaving_at` is set unless it was before, and it has no lock; False where it is not recorded."""
        ...

    async def give_up_removal(self, export_id: ExportId, store: str, lock: Lock) -> bool:
        """It is a backup again, with what the store said as its lock; False where it is not recorded."""
        ...

    async def forget_artifact(self, export_id: ExportId, store: str) -> bool:
        """False where it was not recorded."""
        ...

    async def artifacts(self, lineage_id: LineageId | None = None) -> Sequence[Artifact]:
        """Newest first by export id."""
        ...

    async def artifact(self, export_id: ExportId) -> Sequence[Artifact]:
        """Its copies, one per store; empty where unknown."""
        ...


class Holds(Protocol):
    async def pin(self, pin: Pin) -> None:
        """Insert or renew by export id."""
        ...

    async def unpin(self, export_id: ExportId) -> bool:
        """False where it was not pinned."""
        ...

    async def pins(self) -> Sequence[Pin]:
        """Oldest first."""
        ...

    async def add_audit(self, entry: AuditEntry) -> None: ...

    async def audit(self, *, limit: int = 100) -> Sequence[AuditEntry]:
        """Newest first."""
        ...


@dataclass(frozen=True, slots=True)
class MergeCounts:
    """How much of one lineage became another's."""

    runs: int
    snapshots: int
    artifacts: int
    proofs: int


class Lineages(Protocol):
    async def save_lineage(self, lineage: Lineage) -> None:
        """Insert or renew by id."""
        ...

    async def lineages(self, *, include_retired: bool = False) -> Sequence[Lineage]:
        """Sorted by label, then machine id."""
        ...

    async def save_machine_config(
        self, machine_id: MachineId, *, lineage_id: LineageId, config_json: str, now: datetime
    ) -> bool:
        """Keep a complete configuration for disaster recovery; True where it differs from the last one kept."""
        ...

    async def machine_config(self, lineage_id: LineageId) -> str | None:
        """The configuration saved last for this lineage's machine."""
        ...

    async def merge_lineage(self, lineage_id: LineageId, *, into: LineageId) -> MergeCounts:
        """Give all that is known of one lineage to another, and drop the one; nothing but its verdicts is lost.

        A run of a slot that the other has a run of too becomes one more attempt of that slot. The caller has made
        sure that not both have a running run.
        """
        ...

    async def forget_lineage(self, lineage_id: LineageId) -> None:
        """Drop what is known of its machines, snapshots, verdicts and proofs; the lineage and its runs stay.

        With an app's last lineage that is not retired goes the app's description.
        """
        ...


@dataclass(frozen=True, slots=True)
class SavedDescription:
    """An app's last complete description and how the newest reading of it went.

    `fingerprint` is what the inventory showed of the app then; `failure` says why the newest reading was not complete,
    and `failing_since_at` since when.
    """

    app: AppName
    description: AppDescription | None
    fingerprint: str
    read_at: datetime
    failing_since_at: datetime | None = None
    failure: str | None = None


class Descriptions(Protocol):
    async def save_description(self, saved: SavedDescription) -> None:
        """Insert or renew by app."""
        ...

    async def descriptions(self) -> Sequence[SavedDescription]:
        """Sorted by app."""
        ...

    async def description(self, app: AppName) -> SavedDescription | None: ...


@dataclass(frozen=True, slots=True)
class Pause:
    target: str
    until_at: datetime | None
    reason: str
    paused_at: datetime


class Pauses(Protocol):
    async def pause(self, pause: Pause) -> None:
        """Insert or renew by target (the lineage's id)."""
        ...

    async def resume(self, target: str) -> bool:
        """False where it was not paused."""
        ...

    async def pauses(self, *, now: datetime) -> Sequence[Pause]:
        """Those in force at `now`."""
        ...


class Alerts(Protocol):
    async def save_verdict(self, compliance: Compliance) -> None:
        """The newest evaluation of a lineage; an inconclusive one keeps the last conclusive one beside it."""
        ...

    async def verdicts(self) -> Sequence[Compliance]:
        """The newest conclusive evaluation of each lineage, or the inconclusive one where there is none yet."""
        ...

    async def note(self, name: str) -> str | None:
        """A small remembered value, such as the digest of the state document a store holds."""
        ...

    async def save_note(self, name: str, value: str) -> None:
        """Insert or replace."""
        ...

    async def fly_seen_at(self) -> datetime | None:
        """When Fly last answered a check completely."""
        ...

    async def save_fly_seen(self, at: datetime) -> None: ...

    async def save_incident(self, incident: Incident) -> None:
        """Insert or renew by id."""
        ...

    async def incidents(self, *, is_open: bool | None = None, limit: int = 200) -> Sequence[Incident]:
        """Newest opened first."""
        ...

    async def enqueue(self, notifier: str, message: Message, *, now: datetime) -> None:
        """Put one message for one notifier into the outbox; once per (notifier, message id)."""
        ...

    async def due_deliveries(self, *, now: datetime, limit: int = 50) -> Sequence[Delivery]:
        """Oldest first; none of a notifier that stands behind one which waits for another try."""
        ...

    async def delivered(self, delivery_id: int, *, now: datetime) -> None: ...

    async def delivery_failed(
        self, delivery_id: int, *, error: str, next_attempt_at: datetime | None, now: datetime
    ) -> None:
        """Count an attempt; `next_attempt_at` None gives up."""
        ...


class Proofs(Protocol):
    """The results of drills, all of them believed: whoever records one has judged its signature."""

    async def record_proof(self, proof: RecordedProof) -> None:
        """Insert or renew by id."""
        ...

    async def proofs(
        self, lineage_id: LineageId, *, is_passed: bool | None = None, limit: int = 50
    ) -> Sequence[RecordedProof]:
        """Newest ended first."""
        ...

    async def proof(self, proof_id: ProofId) -> RecordedProof | None: ...

    async def proof_ids(self) -> frozenset[ProofId]:
        """Of every recorded proof."""
        ...


class Transaction(RunLedger, Backups, Holds, Proofs, Lineages, Descriptions, Pauses, Alerts, Protocol):
    """All of the catalog within one transaction."""


class Catalog(Protocol):
    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Commit at the end of the context; roll back on any exception."""
        ...

    async def ping(self) -> None:
        """Raises StateError when the database does not answer."""
        ...
