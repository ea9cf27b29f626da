"""What a policy says of a volume itself: its settings, its state, its host, its absence."""

from __future__ import annotations

from datetime import datetime, timedelta

from flykeep.domain.compliance_snapshot import newest_restorable_at
from flykeep.domain.disk_usage import FULL_SHARE, used_share
from flykeep.domain.findings import Finding, FindingCode, Severity, Subject
from flykeep.domain.fly import HostStatus, Machine, Volume, VolumeSnapshot
from flykeep.domain.policy import Policy
from flykeep.domain.target import Lineage

# A volume passes through these after its creation; `extending` may come at any time and ends by itself.
TRANSIENT_STATES = frozenset({"creating", "restoring", "enabling_remote_export", "hydrating"})
ORDINARY_STATES = frozenset({"created", "extending"})
TRANSIENT_LIMIT = timedelta(hours=2)

_GIB = 2**30


def volume_findings(
    subject: Subject, volume: Volume, machine: Machine | None, *, policy: Policy, now: datetime
) -> list[Finding]:
    """Every wrong fact about the volume's settings, state and host; what Fly did not say is no finding."""
    found = (
        _automatic_off(subject, volume, policy=policy, now=now),
        _retention_low(subject, volume, policy=policy, now=now),
        _odd_state(subject, volume, now=now),
        _sick_host(subject, volume, machine, now=now),
        _full(subject, volume, now=now),
    )
    return [finding for finding in found if finding is not None]


def gone_finding(subject: Subject, lineage: Lineage, snapshots: tuple[VolumeSnapshot, ...]) -> Finding:
    """A volume that a complete inventory no longer holds."""
    newest = max((row for row in snapshots if row.is_restorable and row.created_at), key=_instant, default=None)
    rebuilt = f"if its app was rebuilt by hand, flykeep adopt {subject.label} VOLUME_ID"
    meant = f"if it was meant, remove its target from the configuration or run flykeep pause {subject.label}"
    return Finding(
        code=FindingCode.VOLUME_GONE,
        severity=Severity.CRITICAL,
        subject=subject,
        summary=f"Volume {lineage.volume_id} no longer exists. Its snapshots expire by its retention.",
        since_at=lineage.last_seen_at,
        last_good_at=newest_restorable_at(snapshots),
        next_step="; ".join(([_new_volume(lineage, newest)] if newest else []) + [rebuilt, meant]),
    )


def _new_volume(lineage: Lineage, snapshot: VolumeSnapshot) -> str:
    """Fly refuses a volume smaller than the snapshot's and makes one of 1 GB unless told."""
    size_gb = max(1, -(-snapshot.volume_size_bytes // _GIB))
    return f"fly volumes create {lineage.volume_name} --app {lineage.app} --snapshot-id {snapshot.id} --size {size_gb}"


def _automatic_off(subject: Subject, volume: Volume, *, policy: Policy, now: datetime) -> Finding | None:
    if not policy.snapshot.is_automatic_wanted or volume.is_automatic_snapshot_on is not False:
        return None
    return Finding(
        code=FindingCode.SNAPSHOTS_AUTOMATIC_OFF,
        severity=Severity.WARNING,
        subject=subject,
        summary="Fly's automatic daily snapshots are switched off.",
        since_at=now,
        last_good_at=None,
        next_step=f"flykeep volume retention {subject.label} --automatic on",
    )


def _retention_low(subject: Subject, volume: Volume, *, policy: Policy, now: datetime) -> Finding | None:
    wanted, actual = policy.snapshot.retention_days, volume.snapshot_retention_days
    if wanted is None or actual is None or actual >= wanted:
        return None
    return Finding(
        code=FindingCode.SNAPSHOT_RETENTION_LOW,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"Fly keeps snapshots for {actual} days; the policy wants {wanted}.",
        since_at=now,
        last_good_at=None,
        next_step=f"flykeep volume retention {subject.label} --days {wanted}",
    )


def _odd_state(subject: Subject, volume: Volume, *, now: datetime) -> Finding | None:
    if volume.state in ORDINARY_STATES:
        return None
    is_transient = volume.state in TRANSIENT_STATES
    if is_transient and now - volume.created_at <= TRANSIENT_LIMIT:
        return None
    return Finding(
        code=FindingCode.VOLUME_STATE,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"The volume's state is {volume.state!r}, not 'created'.",
        since_at=volume.created_at + TRANSIENT_LIMIT if is_transient else now,
        last_good_at=None,
        next_step=f"fly volumes show {volume.id} --app {volume.app}",
    )


def _sick_host(subject: Subject, volume: Volume, machine: Machine | None, *, now: datetime) -> Finding | None:
    # Listings often leave the host's status out, so only an outspoken "unreachable" is a fact.
    is_machine_lost = machine is not None and machine.host_status is HostStatus.UNREACHABLE
    if volume.host_status is not HostStatus.UNREACHABLE and not is_machine_lost:
        return None
    return Finding(
        code=FindingCode.VOLUME_HOST,
        severity=Severity.WARNING,
        subject=subject,
        summary="The volume's host is unreachable: no new snapshot can be made, those made before stay restorable.",
        since_at=now,
        last_good_at=None,
        next_step=f"fly volumes snapshots list {volume.id} --app {volume.app}; see https://status.flyio.net",
    )


def _full(subject: Subject, volume: Volume, *, now: datetime) -> Finding | None:
    share = used_share(volume)
    if share is None or share < FULL_SHARE:
        return None
    target = subject.label
    return Finding(
        code=FindingCode.VOLUME_FULL,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"The volume is {share:.0%} full: once it is, writes fail, and snapshots may fail too.",
        since_at=now,
        last_good_at=None,
        next_step=f"flykeep volume usage {target}; then flykeep volume clean {target}, "
        f"or flykeep volume extend {target} --size +1",
    )


def _instant(row: VolumeSnapshot) -> float:
    return row.created_at.timestamp() if row.created_at else 0.0
