"""Every point a target could be restored from is listed with what it is worth, or with why it cannot be restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flykeep.domain.artifact import Artifact, ArtifactOutcome, ChangedFile, Consistency
from flykeep.domain.candidates import (
    Candidate,
    CandidateFacts,
    CandidateKind,
    KnownSnapshot,
    VolumeRows,
    candidates_of,
    unread_volumes,
)
from flykeep.domain.fly import VolumeSnapshot
from flykeep.domain.holds import Pin
from flykeep.domain.ids import ExportId, SnapshotId, VolumeId
from flykeep.domain.proof import DrillSource, RecordedProof
from flykeep.testing.contracts.catalog_samples import a_proof
from tests.unit.domain.builders import DAY, HOUR, NOW, artifact, snapshot

OLD, LIVE = VolumeId("vol_old"), VolumeId("vol_live")


def listed(volume_id: VolumeId, *rows: VolumeSnapshot) -> VolumeRows:
    return VolumeRows(volume_id, rows)


def known(volume_id: VolumeId, row: VolumeSnapshot) -> KnownSnapshot:
    return KnownSnapshot(volume_id, row)


def drilled(id: str, *, kind: str, age: timedelta, reason: str | None = None) -> RecordedProof:  # noqa: A002
    name = {"snapshot_id": SnapshotId(id)} if kind == "snapshot" else {"export_id": ExportId(id)}
    made = a_proof(f"p-{id}-{age}", ended_at=NOW - age, reason=reason)
    source: Any = DrillSource(kind, NOW - age - HOUR, **name)  # type: ignore[arg-type]
    return replace(made, proof=replace(made.proof, source=source))


def found(
    volumes: Sequence[VolumeRows] = (),
    recorded: Sequence[KnownSnapshot] = (),
    artifacts: Sequence[Artifact] = (),
    pins: Sequence[Pin] = (),
    proofs: Sequence[RecordedProof] = (),
    **changes: Any,
) -> tuple[Candidate, ...]:
    return candidates_of(CandidateFacts(volumes, recorded, artifacts, pins, proofs, **changes), now=NOW)


def test_snapshots_of_every_volume_id_and_artifacts_stand_in_one_order_of_time() -> None:
    candidates = found(
        [listed(OLD, snapshot("vs_old", age=3 * DAY)), listed(LIVE, snapshot("vs_new", age=HOUR))],
        artifacts=[artifact(age=DAY)],
    )
    assert [(one.id, one.volume_id) for one in candidates] == [
        ("vs_new", LIVE),
        ("20260301T040000Z", "vol_1"),
        ("vs_old", OLD),
    ]
    assert all(one.is_restorable and one.is_safe_choice for one in candidates)


def test_a_snapshot_that_is_not_done_or_failed_says_so() -> None:
    (pending,) = found([listed(LIVE, snapshot("vs_1", status="running"), snapshot(None, age=None, status="waiting"))])
    assert pending.why_not == "its status at Fly is 'running', not 'created'"


@pytest.mark.parametrize(
    ("volume", "age", "days", "why"),
    [
        (listed(OLD), DAY, 5, "Fly does not list it under vol_old any more"),
        (VolumeRows(OLD, None, is_forgotten=True), 6 * DAY, 5, "its retention of 5 d is over"),
        (VolumeRows(OLD, None, is_forgotten=True), 61 * DAY, None, "it is older than Fly keeps any snapshot"),
        (VolumeRows(OLD, None, is_forgotten=True), 4 * DAY, 5, None),
        (VolumeRows(OLD, None, is_forgotten=True), 59 * DAY, None, None),
        (VolumeRows(OLD, None, failure="502"), 4 * DAY, 5, None),
    ],
)
def test_a_recorded_snapshot_counts_until_fly_or_its_retention_says_otherwise(
    volume: VolumeRows, age: timedelta, days: int | None, why: str | None
) -> None:
    row = replace(snapshot("vs_old", age=age), retention_days=days)
    (one,) = found([volume], [known(OLD, row)])
    assert (one.why_not, one.is_listed) == (why, False)
    if why is None:
        assert one.notes == ("known from the catalog only: Fly was not seen to list it now",)


def test_a_recorded_snapshot_that_is_listed_too_stands_once_as_fly_says() -> None:
    row = snapshot("vs_1")
    (one,) = found([listed(LIVE, row)], [known(LIVE, row), known(LIVE, snapshot(None, age=None))])
    assert (one.is_listed, one.expires_at) == (True, NOW - HOUR + 5 * DAY)


def test_with_its_app_every_snapshot_is_gone_and_artifacts_stay() -> None:
    forgotten = VolumeRows(OLD, None, is_forgotten=True)
    candidates = found([forgotten], [known(OLD, snapshot("vs_1"))], [artifact()], is_app_gone=True)
    assert [(one.kind, one.is_restorable) for one in candidates] == [
        (CandidateKind.SNAPSHOT, False),
        (CandidateKind.ARTIFACT, True),
    ]


def test_a_listed_snapshot_past_its_retention_may_still_be_restored_and_says_so() -> None:
    (one,) = found([listed(LIVE, snapshot("vs_1", age=6 * DAY))])
    assert one.is_restorable
    assert one.notes == ("its retention is over: Fly may remove it at any time",)


def test_copies_of_an_artifact_are_one_candidate_and_the_deepest_verified_one_speaks_for_it() -> None:
    shallow = replace(artifact(store="shelf"), verified_level="manifest", verified_at=NOW)
    deep = replace(artifact(store="offsite"), verified_level="bytes", verified_at=NOW - DAY)
    opened = replace(shallow, contents_verified_at=NOW - 2 * DAY)
    odd = replace(artifact(store="attic"), verified_level="word of a later version")
    (one,) = found(artifacts=[shallow, deep, odd])
    assert (one.places, one.verified_level, one.verified_at) == (("attic", "offsite", "shelf"), "bytes", NOW - DAY)
    (one,) = found(artifacts=[opened, deep, odd])
    assert (one.verified_level, one.verified_at) == ("contents", NOW - 2 * DAY)


def test_a_bad_copy_does_not_spoil_a_good_one() -> None:
    leaving = replace(artifact(store="attic"), leaving_at=NOW)
    (one,) = found(artifacts=[artifact(store="shelf", is_failed=True), artifact(store="offsite"), leaving])
    assert one.is_restorable
    assert one.places == ("offsite",)
    assert one.notes == (
        "consistency snapshot",
        "the copy in shelf failed its verification",
        "the copy in attic is being removed",
    )


def test_an_artifact_without_a_good_copy_says_what_is_wrong() -> None:
    (failed,) = found(artifacts=[artifact(is_failed=True)])
    assert failed.why_not == "it failed its last verification in offsite"
    (leaving,) = found(artifacts=[replace(artifact(), leaving_at=NOW)])
    assert leaving.why_not == "it is being removed"


def test_what_was_read_live_beside_an_open_database_is_doubted_and_not_refused() -> None:
    (one,) = found(artifacts=[artifact(consistency=Consistency.LIVE, open_databases=("a.db-wal",))])
    assert one.is_restorable
    assert not one.is_safe_choice
    assert "a.db-wal" in (one.doubt or "")


def test_a_degraded_artifact_counts_what_changed() -> None:
    made = artifact()
    changed = (ChangedFile("a", "vanished"),)
    manifest = replace(made.manifest, outcome=ArtifactOutcome.DEGRADED, changed=changed)
    (one,) = found(artifacts=[replace(made, manifest=manifest)])
    assert "degraded: 1 file changed or vanished while it was read" in one.notes


def test_what_was_read_over_a_while_may_hold_contents_of_its_end() -> None:
    live = artifact()
    (one,) = found(artifacts=[live])
    assert (one.as_of_at, one.until_at) == (live.manifest.started_at, live.manifest.ended_at)
    origin = replace(live.manifest.origin, source="snapshot")
    (still,) = found(artifacts=[replace(live, manifest=replace(live.manifest, origin=origin))])
    assert still.until_at == still.as_of_at


def test_a_pinned_artifact_says_so() -> None:
    (one,) = found(artifacts=[artifact()], pins=[Pin(ExportId("20260301T040000Z"), "why", NOW, "ann")])
    assert one.is_pinned


def test_a_backup_that_was_drilled_itself_is_proven_by_that_and_others_by_their_kind() -> None:
    proofs = [drilled("vs_2", kind="snapshot", age=2 * DAY), drilled("vs_3", kind="snapshot", age=DAY)]
    rows = [snapshot("vs_1", age=HOUR), snapshot("vs_2", age=3 * DAY)]
    first, second, third = found([listed(LIVE, *rows)], artifacts=[artifact(age=9 * DAY)], proofs=proofs)
    assert first.proof is not None
    assert second.proof is not None
    assert (first.proof.is_own, first.proof.at) == (False, NOW - DAY)
    assert (second.proof.is_own, second.proof.at) == (True, NOW - 2 * DAY)
    assert third.proof is None  # a snapshot's drill says nothing of artifacts


def test_a_backup_whose_own_drill_failed_is_doubted_until_a_later_one_passes() -> None:
    failed = drilled("vs_1", kind="snapshot", age=2 * HOUR, reason="json: nothing there")
    rows = [listed(LIVE, snapshot("vs_1", age=3 * HOUR))]
    (one,) = found(rows, proofs=[failed, drilled("vs_0", kind="snapshot", age=DAY)])
    assert one.doubt == "its drill of 2026-03-02 10:00 UTC failed: json: nothing there"
    assert one.proof is not None
    assert one.proof.has_later_failure
    (again,) = found(rows, proofs=[failed, drilled("vs_1", kind="snapshot", age=HOUR)])
    assert again.doubt is None
    assert again.proof is not None
    assert not again.proof.has_later_failure


def test_a_list_that_could_not_be_read_is_named() -> None:
    failing = VolumeRows(OLD, None, failure="502")
    assert unread_volumes([failing, listed(LIVE), VolumeRows(OLD, None, is_forgotten=True)]) == (failing,)
