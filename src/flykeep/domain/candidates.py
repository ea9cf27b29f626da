"""What a target could be restored from, over all the ids it has had, and what each of it is worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from flykeep.domain.artifact import Artifact, ArtifactOutcome
from flykeep.domain.fly import VolumeSnapshot
from flykeep.domain.holds import Pin
from flykeep.domain.ids import ExportId, ProofId, SnapshotId, VolumeId
from flykeep.domain.proof import Proof, RecordedProof
from flykeep.domain.wording import instant

LONGEST_RETENTION = timedelta(days=60)
"""Fly keeps no snapshot longer, whatever is set. Source: Fly's documentation of volume snapshots."""


class CandidateKind(StrEnum):
    SNAPSHOT = "snapshot"
    ARTIFACT = "artifact"


@dataclass(frozen=True, slots=True)
class CandidateProof:
    """The drill that says most of a candidate.

    `is_own` where this very backup was drilled, else one of the same kind was. `has_later_failure` where a later drill
    of that kind failed.
    """

    proof_id: ProofId
    at: datetime
    took: timedelta
    is_own: bool
    has_later_failure: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point in time that could be restored.

    `as_of_at` is when its contents were read, or began to be; nothing in it is younger than `until_at`. `places` are
    the stores that hold it, or its volume at Fly; of `volume_id` it was made. `is_listed` False is a snapshot that
    only the catalog tells of. `expires_at` None means that no retention at Fly ends it, or that it is not known.
    `why_not` says why it cannot be restored; `doubt` why it is taken only when it is named.
    """

    kind: CandidateKind
    id: str
    as_of_at: datetime
    until_at: datetime
    volume_id: VolumeId
    places: tuple[str, ...]
    size_bytes: int | None
    stored_bytes: int | None
    is_listed: bool = True
    expires_at: datetime | None = None
    verified_level: str | None = None
    verified_at: datetime | None = None
    is_pinned: bool = False
    paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    proof: CandidateProof | None = None
    doubt: str | None = None
    why_not: str | None = None

    @property
    def is_restorable(self) -> bool:
        return self.why_not is None

    @property
    def is_safe_choice(self) -> bool:
        """Whether it may be taken without being named."""
        return self.why_not is None and self.doubt is None


@dataclass(frozen=True, slots=True)
class VolumeRows:
    """What Fly lists under one volume id. `rows` None: not read. `is_forgotten`: Fly does not know the id any more."""

    volume_id: VolumeId
    rows: tuple[VolumeSnapshot, ...] | None
    is_forgotten: bool = False
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class KnownSnapshot:
    """A snapshot as the catalog remembers it."""

    volume_id: VolumeId
    snapshot: VolumeSnapshot


@dataclass(frozen=True, slots=True)
class CandidateFacts:
    """Everything known of one lineage. `is_app_gone`: its app does not exist at Fly, and so do none of its snapshots.

    `artifacts` has one entry per copy.
    """

    listed: Sequence[VolumeRows]
    recorded: Sequence[KnownSnapshot]
    artifacts: Sequence[Artifact]
    pins: Sequence[Pin]
    proofs: Sequence[RecordedProof]
    is_app_gone: bool = False


def candidates_of(facts: CandidateFacts, *, now: datetime) -> tuple[Candidate, ...]:
    """Every point of the lineage's history, newest contents first; those that cannot be restored say why."""
    drills = _Drills(facts.proofs)
    found = [*_snapshots(facts, drills, now=now), *_artifacts(facts, drills)]
    return tuple(sorted(found, key=lambda one: (one.as_of_at, one.kind, one.id), reverse=True))


def unread_volumes(listed: Iterable[VolumeRows]) -> tuple[VolumeRows, ...]:
    """The volume ids whose snapshots could not be read: there may be more than is known."""
    return tuple(one for one in listed if one.failure is not None)


# snapshots


def _snapshots(facts: CandidateFacts, drills: _Drills, *, now: datetime) -> list[Candidate]:
    found: dict[SnapshotId, Candidate] = {}
    for volume in facts.listed:
        for row in volume.rows or ():
            if row.id is not None and row.created_at is not None:
                found[row.id] = _snapshot(row, row.id, row.created_at, volume.volume_id, drills, now=now)
    listed = {volume.volume_id: volume for volume in facts.listed}
    for known in facts.recorded:
        row, volume_id = known.snapshot, known.volume_id
        if row.id is None or row.created_at is None or row.id in found:
            continue
        lost = _why_lost(known, row.created_at, listed.get(volume_id), is_app_gone=facts.is_app_gone, now=now)
        found[row.id] = _snapshot(row, row.id, row.created_at, volume_id, drills, now=now, is_listed=False, lost=lost)
    return list(found.values())


def _snapshot(
    row: VolumeSnapshot,
    snapshot_id: SnapshotId,
    created_at: datetime,
    volume_id: VolumeId,
    drills: _Drills,
    *,
    now: datetime,
    is_listed: bool = True,
    lost: str | None = None,
) -> Candidate:
    expires_at = created_at + timedelta(days=row.retention_days) if row.retention_days else None
    why_not = lost or (None if row.is_restorable else f"its status at Fly is {row.status!r}, not 'created'")
    notes: list[str] = []
    if not is_listed and why_not is None:
        notes.append("known from the catalog only: Fly was not seen to list it now")
    if expires_at is not None and expires_at <= now and why_not is None:
        notes.append("its retention is over: Fly may remove it at any time")
    return Candidate(
        kind=CandidateKind.SNAPSHOT,
        id=snapshot_id,
        as_of_at=created_at,
        until_at=created_at,
        volume_id=volume_id,
        places=(volume_id,),
        size_bytes=row.volume_size_bytes or None,
        stored_bytes=row.size_bytes or None,
        is_listed=is_listed,
        expires_at=expires_at,
        notes=tuple(notes),
        proof=drills.proof(CandidateKind.SNAPSHOT, snapshot_id),
        doubt=drills.doubt(CandidateKind.SNAPSHOT, snapshot_id),
        why_not=why_not,
    )


def _why_lost(
    known: KnownSnapshot, created_at: datetime, volume: VolumeRows | None, *, is_app_gone: bool, now: datetime
) -> str | None:
    """Why a snapshot that Fly does not list is gone; None where it may still be there."""
    if is_app_gone:
        return "its app does not exist any more, and Fly removes an app's snapshots with it"
    if volume is not None and volume.rows is not None:
        return f"Fly does not list it under {volume.volume_id} any more"
    days = known.snapshot.retention_days
    if created_at + (timedelta(days=days) if days else LONGEST_RETENTION) <= now:
        return f"its retention of {days} d is over" if days else "it is older than Fly keeps any snapshot"
    return None


# artifacts


def _artifacts(facts: CandidateFacts, drills: _Drills) -> list[Candidate]:
    copies: dict[ExportId, list[Artifact]] = {}
    for artifact in facts.artifacts:
        copies.setdefault(artifact.export_id, []).append(artifact)
    pinned = {pin.export_id for pin in facts.pins}
    return [_artifact(export_id, every, drills, is_pinned=export_id in pinned) for export_id, every in copies.items()]


def _artifact(export_id: ExportId, copies: list[Artifact], drills: _Drills, *, is_pinned: bool) -> Candidate:
    """One candidate for all copies: what is bad is one copy's fault, and another one may do."""
    good = [copy for copy in copies if not copy.is_failed and copy.leaving_at is None]
    best = max(good or copies, key=_depth)
    manifest = best.manifest
    is_of_snapshot = manifest.origin.source == "snapshot"
    return Candidate(
        kind=CandidateKind.ARTIFACT,
        id=export_id,
        as_of_at=manifest.started_at,
        until_at=manifest.started_at if is_of_snapshot else max(manifest.started_at, manifest.ended_at),
        volume_id=manifest.origin.volume_id,
        places=tuple(sorted(copy.store for copy in (good or copies))),
        size_bytes=manifest.totals.content_bytes,
        stored_bytes=best.stored_bytes,
        verified_level=None if best.is_failed else _level(best),
        verified_at=None if best.is_failed else best.contents_verified_at or best.verified_at,
        is_pinned=is_pinned,
        paths=manifest.origin.paths,
        notes=_notes(copies, best),
        proof=drills.proof(CandidateKind.ARTIFACT, export_id),
        doubt=manifest.why_not_restorable or drills.doubt(CandidateKind.ARTIFACT, export_id),
        why_not=None if good else _why_bad(copies),
    )


def _level(copy: Artifact) -> str | None:
    """The deepest that is known to have held."""
    return "contents" if copy.contents_verified_at else copy.verified_level


def _depth(copy: Artifact) -> tuple[int, float]:
    """How much is known of a copy."""
    levels = ("manifest", "bytes", "contents")
    deepest = _level(copy)
    level = levels.index(deepest) + 1 if deepest in levels else 0
    return level, copy.verified_at.timestamp() if copy.verified_at else 0.0


def _notes(copies: list[Artifact], best: Artifact) -> tuple[str, ...]:
    manifest = best.manifest
    found = [f"consistency {manifest.consistency.value}"]
    if manifest.outcome is ArtifactOutcome.DEGRADED:
        count = len(manifest.changed)
        found.append(f"degraded: {count} file{'' if count == 1 else 's'} changed or vanished while it was read")
    found += [f"the copy in {copy.store} failed its verification" for copy in copies if copy.is_failed]
    found += [f"the copy in {copy.store} is being removed" for copy in copies if copy.leaving_at is not None]
    return tuple(found)


def _why_bad(copies: list[Artifact]) -> str:
    if all(copy.leaving_at is not None for copy in copies):
        return "it is being removed"
    where = ", ".join(sorted(copy.store for copy in copies if copy.is_failed))
    return f"it failed its last verification in {where}"


# proofs


class _Drills:
    """What drills said of single backups and of their kind."""

    def __init__(self, proofs: Sequence[RecordedProof]) -> None:
        self._newest_first = sorted((one.proof for one in proofs), key=lambda one: one.ended_at, reverse=True)

    def proof(self, kind: CandidateKind, id_: str) -> CandidateProof | None:
        same_kind = [one for one in self._newest_first if one.source.kind == kind.value]
        passed = [one for one in same_kind if one.is_passed]
        own = next((one for one in passed if _is_of(one, id_)), None)
        best = own or next(iter(passed), None)
        if best is None:
            return None
        has_later_failure = any(not one.is_passed and one.ended_at > best.ended_at for one in same_kind)
        return CandidateProof(best.proof_id, best.ended_at, best.restore_took, own is not None, has_later_failure)

    def doubt(self, kind: CandidateKind, id_: str) -> str | None:
        """Why this very backup's last drill failed."""
        own = next((one for one in self._newest_first if one.source.kind == kind.value and _is_of(one, id_)), None)
        if own is None or own.is_passed:
            return None
        return f"its drill of {instant(own.ended_at)} failed: {own.reason or 'no reason given'}"


def _is_of(proof: Proof, id_: str) -> bool:
    return id_ in {proof.source.snapshot_id, proof.source.export_id}
