"""A run: one execution of one job for one lineage and one slot; a row before it is anything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from flykeep.domain.ids import AppName, LineageId, OwnerId, RunId, SnapshotId
from flykeep.domain.policy import JobKind


class RunState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    DEGRADED = "degraded"
    FAILED = "failed"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self not in {RunState.PENDING, RunState.RUNNING}


@dataclass(frozen=True, slots=True)
class Slot:
    """The occurrence a run belongs to; `key` is unique together with kind and lineage.

    A scheduled slot's key is its instant in UTC, from the second attempt on with its number; a manual run's key is
    its own run id.
    """

    key: str
    scheduled_at: datetime | None = None

    @classmethod
    def scheduled(cls, at: datetime, *, attempt: int = 1) -> Slot:
        key = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return cls(key if attempt == 1 else f"{key}~{attempt}", at)

    @property
    def attempt(self) -> int:
        """1 for the first run of a slot."""
        _, tilde, number = self.key.rpartition("~")
        return int(number) if tilde else 1

    @classmethod
    def manual(cls, run_id: RunId) -> Slot:
        return cls(f"manual:{run_id}")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is asked to do beyond its kind: free text and choices of the person who asked.

    `file` is an archive on the disk of the process that executes the run; `ending` and `of_run` end an earlier import
    or restore. `lineage_id` is the one target that a run of the whole organization is for; `actor` is who asked. A
    restore's source is `snapshot_id` or `export_id`, chosen before the run is submitted; one with `to_app` is a copy
    into another app, with the machine's configuration or without, its machine launched or not. A clean's `paths` are
    its rules as the person saw them. `is_export_skipped` and `is_degraded_accepted` are what a checkpoint does without.
    """

    reason: str | None = None
    source: str | None = None
    paths: tuple[str, ...] = ()
    export_id: str | None = None
    level: str | None = None
    is_applied: bool = False
    file: str | None = None
    ending: str | None = None
    of_run: str | None = None
    is_restarting: bool = True
    lineage_id: LineageId | None = None
    actor: str | None = None
    max_delete_share: float | None = None
    is_erasing: bool = False
    snapshot_id: SnapshotId | None = None
    to_app: AppName | None = None
    size_gb: int | None = None
    retention_days: int | None = None
    volume_act: str | None = None
    is_snapshot_first: bool = False
    is_automatic_on: bool | None = None
    is_with_config: bool = False
    is_launching: bool = False
    is_export_skipped: bool = False
    is_degraded_accepted: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run did not succeed, in the words of the error that stopped it."""

    code: str
    message: str
    hint: str
    exit_code: int
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; `result_json` is the job's result as one JSON object."""

    state: RunState
    result_json: str = "{}"
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Run:
    id: RunId
    kind: JobKind
    lineage_id: LineageId
    slot: Slot
    state: RunState
    requested_at: datetime
    due_at: datetime
    request: RunRequest = field(default_factory=RunRequest)
    owner_id: OwnerId | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One journalled step of a run; a step with an intent names what it is about to create."""

    run_id: RunId
    number: int
    name: str
    at: datetime
    detail: str = ""
