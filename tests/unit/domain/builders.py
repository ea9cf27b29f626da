"""Facts for the tests of the domain, each with one field that matters at a time."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from flykeep.domain.artifact import (
    Artifact,
    ArtifactOrigin,
    ArtifactOutcome,
    Consistency,
    Manifest,
    StoredObject,
    TarTotals,
)
from flykeep.domain.findings import Finding, FindingCode, Severity
from flykeep.domain.fly import HostStatus, Inventory, Machine, Mount, Volume, VolumeSnapshot
from flykeep.domain.ids import AppName, ExportId, LineageId, MachineId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.subjects import lineage_subject
from flykeep.domain.target import Lineage

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def counted_ids(prefix: str) -> Callable[[], str]:
    numbers: Iterator[int] = count(1)
    return lambda: f"{prefix}{next(numbers)}"


def volume(id: str = "vol_1", **changes: Any) -> Volume:  # noqa: A002
    machine = changes.pop("machine", "m1")
    fields: dict[str, Any] = {
        "id": VolumeId(id),
        "app": AppName("my-crocbot"),
        "name": VolumeName("crocbot_data"),
        "state": "created",
        "region": "fra",
        "size_gb": 3,
        "attached_machine_id": MachineId(machine) if machine else None,
        "created_at": NOW - 30 * DAY,
        "host_status": HostStatus.OK,
        "is_automatic_snapshot_on": True,
        "snapshot_retention_days": 14,
    }
    return Volume(**(fields | changes))


def machine(id: str = "m1", *, mounts: tuple[str, ...] = (), **changes: Any) -> Machine:  # noqa: A002
    fields: dict[str, Any] = {
        "id": MachineId(id),
        "app": AppName("my-crocbot"),
        "name": f"name-of-{id}",
        "state": "started",
        "region": "fra",
        "private_ip": None,
        "host_status": HostStatus.OK,
        "mounts": tuple(Mount(VolumeId(mounted), "/data") for mounted in mounts),
    }
    return Machine(**(fields | changes))


def snapshot(id: str | None = "vs_1", *, age: timedelta | None = HOUR, status: str = "created") -> VolumeSnapshot:  # noqa: A002
    return VolumeSnapshot(
        id=SnapshotId(id) if id else None,
        status=status,
        created_at=None if age is None else NOW - age,
        size_bytes=1,
        volume_size_bytes=1,
        retention_days=5,
    )


def inventory(
    *volumes: Volume, machines: tuple[Machine, ...] = (), missing: tuple[str, ...] = (), read_at: datetime = NOW
) -> Inventory:
    return Inventory(read_at=read_at, machines=machines, volumes=volumes, incomplete_regions=missing)


def lineage(id: str = "lin_1", **changes: Any) -> Lineage:  # noqa: A002
    fields: dict[str, Any] = {
        "id": LineageId(id),
        "app": AppName("my-crocbot"),
        "volume_name": VolumeName("crocbot_data"),
        "machine_id": MachineId("m1"),
        "machine_name": "name-of-m1",
        "volume_ids": (VolumeId("vol_1"),),
        "first_seen_at": NOW - 30 * DAY,
        "last_seen_at": NOW - HOUR,
    }
    return Lineage(**(fields | changes))


def artifact(
    id: str = "20260301T040000Z",  # noqa: A002
    *,
    age: timedelta = DAY,
    store: str = "offsite",
    consistency: Consistency = Consistency.SNAPSHOT,
    open_databases: tuple[str, ...] = (),
    is_failed: bool = False,
) -> Artifact:
    object_ = StoredObject("key", 1, "00")
    manifest = Manifest(
        export_id=ExportId(id),
        origin=ArtifactOrigin(
            lineage_id=LineageId("lin_1"),
            app=AppName("my-crocbot"),
            volume_name=VolumeName("crocbot_data"),
            volume_id=VolumeId("vol_1"),
            machine_id=MachineId("m1"),
            machine_name="name-of-m1",
            machine_state="started",
            region="fra",
            snapshot_id=None,
            source="ssh",
            paths=(".",),
            excluded=(),
        ),
        consistency=consistency,
        policy="critical",
        started_at=NOW - age,
        ended_at=NOW - age + timedelta(minutes=4),
        flykeep_version="0.1.0",
        encryption="age",
        recipients=("age1example",),
        data=(object_,),
        index=object_,
        totals=TarTotals(1, 1, 1, 1, "00"),
        outcome=ArtifactOutcome.COMPLETE,
        changed=(),
        skipped=(),
        lost=(),
        open_databases=open_databases,
    )
    return Artifact(ExportId(id), store, "manifest", manifest, recorded_at=NOW - age, is_failed=is_failed)


def finding(code: FindingCode = FindingCode.SNAPSHOT_STALE, **changes: Any) -> Finding:
    fields: dict[str, Any] = {
        "code": code,
        "severity": Severity.CRITICAL,
        "subject": lineage_subject(lineage(), "my-crocbot/crocbot_data"),
        "summary": "The newest restorable snapshot is 40 h old; the policy allows 30 h.",
        "since_at": NOW - 10 * HOUR,
        "last_good_at": NOW - 40 * HOUR,
        "next_step": "flykeep snapshot my-crocbot/crocbot_data",
    }
    return Finding(**(fields | changes))
