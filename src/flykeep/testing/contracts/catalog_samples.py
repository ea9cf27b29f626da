"""Values for the catalog's contract: ordinary ones, and the awkward ones that a lossy store would bend."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flykeep.domain.agreement import Comparison, Difference
from flykeep.domain.app_description import AppDescription, DescribedMachine, canonical_config
from flykeep.domain.artifact import (
    Artifact,
    ArtifactOrigin,
    ArtifactOutcome,
    ChangedFile,
    Consistency,
    Manifest,
    StoredObject,
    TarTotals,
)
from flykeep.domain.findings import (
    Compliance,
    Finding,
    FindingCode,
    Incident,
    Message,
    MessageKind,
    Severity,
    Subject,
    Verdict,
)
from flykeep.domain.fly import VolumeSnapshot
from flykeep.domain.ids import (
    AppName,
    ExportId,
    IncidentId,
    LineageId,
    MachineId,
    ProofId,
    RunId,
    SnapshotId,
    VolumeId,
    VolumeName,
)
from flykeep.domain.policy import JobKind
from flykeep.domain.probes import ProbeOutcome
from flykeep.domain.proof import (
    Against,
    Contents,
    DrillSource,
    Proof,
    ProofOutcome,
    RecordedProof,
    Timing,
)
from flykeep.domain.run import Run, RunRequest, RunState, Slot
from flykeep.domain.target import Lineage
from flykeep.ports.catalog import RecordedSnapshot

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ODD_INSTANT = datetime(2026, 3, 2, 12, 0, 0, 123457, tzinfo=UTC)
ODD_TEXT = 'a\udcff\udc80 name, a NUL \0, a quote " and json:"'
LINEAGE = LineageId("11111111111111111111111111111111")
OTHER_LINEAGE = LineageId("22222222222222222222222222222222")


def after(minutes: float) -> datetime:
    """NOON and so many minutes."""
    return NOON + timedelta(minutes=minutes)


def a_run(
    run_id: str,
    *,
    lineage_id: LineageId = LINEAGE,
    kind: JobKind = JobKind.SNAPSHOT,
    slot_at: datetime | None = None,
    attempt: int = 1,
    due_at: datetime = NOON,
    state: RunState = RunState.PENDING,
) -> Run:
    return Run(
        id=RunId(run_id),
        kind=kind,
        lineage_id=lineage_id,
        slot=Slot.manual(RunId(run_id)) if slot_at is None else Slot.scheduled(slot_at, attempt=attempt),
        state=state,
        requested_at=NOON,
        due_at=due_at,
    )


def an_odd_run(run_id: str) -> Run:
    request = RunRequest(
        reason=ODD_TEXT, source="ssh", paths=("plain", ODD_TEXT), export_id="e", level="bytes", is_applied=True
    )
    return Run(
        id=RunId(run_id),
        kind=JobKind.EXPORT,
        lineage_id=LINEAGE,
        slot=Slot.scheduled(NOON),
        state=RunState.PENDING,
        requested_at=ODD_INSTANT,
        due_at=ODD_INSTANT,
        request=request,
    )


def a_snapshot(
    snapshot_id: str | None,
    *,
    created_at: datetime | None = NOON,
    lineage_id: LineageId = LINEAGE,
    run_id: str | None = None,
    status: str = "created",
) -> RecordedSnapshot:
    snapshot = VolumeSnapshot(
        id=None if snapshot_id is None else SnapshotId(snapshot_id),
        status=status,
        created_at=created_at,
        size_bytes=2**41,
        volume_size_bytes=2**42,
        retention_days=5,
    )
    return RecordedSnapshot(
        lineage_id=lineage_id,
        volume_id=VolumeId("vol_1"),
        app=AppName("my-crocbot"),
        snapshot=snapshot,
        seen_at=ODD_INSTANT,
        run_id=None if run_id is None else RunId(run_id),
    )


def a_manifest(export_id: str, *, lineage_id: LineageId = LINEAGE) -> Manifest:
    return Manifest(
        export_id=ExportId(export_id),
        origin=ArtifactOrigin(
            lineage_id=lineage_id,
            app=AppName("my-crocbot"),
            volume_name=VolumeName("crocbot_data"),
            volume_id=VolumeId("vol_1"),
            machine_id=MachineId("m1"),
            machine_name=None,
            machine_state="started",
            region="fra",
            snapshot_id=None,
            source="ssh",
            paths=(".",),
            excluded=(ODD_TEXT,),
        ),
        consistency=Consistency.LIVE,
        policy="production",
        started_at=NOON,
        ended_at=ODD_INSTANT,
        flykeep_version="0.1.0",
        encryption="age",
        recipients=("age1example",),
        data=(StoredObject("prefix/data.tar.zst.age.00001", 2**40, "0" * 64),),
        index=StoredObject("prefix/index.jsonl.zst.age", 1, "1" * 64),
        totals=TarTotals(entries=3, files=1, content_bytes=2**40, tar_bytes=2**40 + 1, tar_sha256="2" * 64),
        outcome=ArtifactOutcome.DEGRADED,
        changed=(ChangedFile(ODD_TEXT, "vanished"),),
        skipped=(ODD_TEXT,),
        lost=("sockets",),
        open_databases=("db-wal",),
    )


def an_artifact(export_id: str, *, store: str = "main", lineage_id: LineageId = LINEAGE) -> Artifact:
    return Artifact(
        export_id=ExportId(export_id),
        store=store,
        manifest_key=f"prefix/{export_id}/manifest.json",
        manifest=a_manifest(export_id, lineage_id=lineage_id),
        recorded_at=ODD_INSTANT,
    )


def a_proof(proof_id: str, *, ended_at: datetime = NOON, reason: str | None = None) -> RecordedProof:
    """Passed where there is no `reason`."""
    against = Against(
        ExportId("01"), "main", ODD_INSTANT, Comparison(1, 2, 3, 4, 1, (Difference(ODD_TEXT, "differs"),))
    )
    proof = Proof(
        proof_id=ProofId(proof_id),
        lineage_id=LINEAGE,
        app=AppName("my-crocbot"),
        volume_name=VolumeName("crocbot_data"),
        volume_id=VolumeId("vol_1"),
        policy="critical",
        source=DrillSource("snapshot", ODD_INSTANT, snapshot_id=SnapshotId("vs_1")),
        started_at=ended_at - timedelta(minutes=5),
        ended_at=ended_at,
        flykeep_version="0.1.0",
        outcome=ProofOutcome.FAILED if reason else ProofOutcome.PASSED,
        reason=reason,
        contents=Contents(3, 22),
        probes=(ProbeOutcome("json crocbot.json", is_passed=True, detail=ODD_TEXT),),
        against=against,
        timings=(Timing("volume", 1200, is_restore=True),),
    )
    return RecordedProof(proof, "c3" * 32, ODD_INSTANT)


def a_description(app: str, *, at: datetime = ODD_INSTANT) -> AppDescription:
    """One machine with an odd name and configuration, and nothing else."""
    machine = DescribedMachine(MachineId("m1"), "croc-1", "fra", None, canonical_config({"env": {"A": ODD_TEXT}}))
    return AppDescription(AppName(app), "personal", None, (machine,), (), (), (), ("a.example",), at)


def a_lineage(
    lineage_id: str, *, app: str, volume: str = "data", machine_id: str | None = None, is_retired: bool = False
) -> Lineage:
    return Lineage(
        id=LineageId(lineage_id),
        app=AppName(app),
        volume_name=VolumeName(volume),
        machine_id=None if machine_id is None else MachineId(machine_id),
        machine_name=None,
        volume_ids=(VolumeId("vol_old"), VolumeId("vol_new")),
        first_seen_at=NOON,
        last_seen_at=ODD_INSTANT,
        is_retired=is_retired,
    )


def a_finding(code: FindingCode = FindingCode.SNAPSHOT_STALE, *, subject: str = "my-crocbot/crocbot_data") -> Finding:
    return Finding(
        code=code,
        severity=Severity.CRITICAL,
        subject=Subject(key=subject, label=subject, app="my-crocbot", volume_id="vol_1", lineage_id=LINEAGE),
        summary=ODD_TEXT,
        since_at=ODD_INSTANT,
        last_good_at=None,
        next_step="flykeep snapshot my-crocbot/crocbot_data",
    )


def a_verdict(
    *,
    at: datetime = NOON,
    verdict: Verdict = Verdict.UNHEALTHY,
    is_conclusive: bool = True,
    lineage_id: LineageId = LINEAGE,
) -> Compliance:
    return Compliance(
        lineage_id=lineage_id,
        label="my-crocbot/crocbot_data",
        verdict=verdict,
        findings=(a_finding(),) if verdict is Verdict.UNHEALTHY else (),
        evaluated_at=at,
        newest_snapshot_at=ODD_INSTANT,
        is_conclusive=is_conclusive,
        reason=None if is_conclusive else "Fly did not answer",
    )


def an_incident(incident_id: str, *, opened_at: datetime = NOON, finding: Finding | None = None) -> Incident:
    return Incident(
        id=IncidentId(incident_id), finding=finding or a_finding(), opened_at=opened_at, last_notified_at=opened_at
    )


def a_message(message_id: str) -> Message:
    return Message(
        id=message_id,
        kind=MessageKind.OPENED,
        created_at=ODD_INSTANT,
        severity=Severity.CRITICAL,
        title=ODD_TEXT,
        body="line one\nline two",
        code=FindingCode.SNAPSHOT_STALE.value,
        subject="my-crocbot/crocbot_data",
        since_at=ODD_INSTANT,
        is_healthy=False,
    )
