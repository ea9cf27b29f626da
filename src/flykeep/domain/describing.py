"""When an app is read again, what is kept of a reading, and what is wrong where one is not complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from flykeep.domain.app_description import (
    PROCESS_GROUP_KEY,
    AppDescription,
    DescribedAddress,
    DescribedMachine,
    DescribedSecret,
    DescribedVolume,
    pinned_config,
)
from flykeep.domain.compliance_org import OrgCompliance
from flykeep.domain.findings import Finding, FindingCode, Severity
from flykeep.domain.fly import GONE_MACHINE_STATES, App, Inventory, Machine, Volume
from flykeep.domain.ids import AppName
from flykeep.domain.restore_config import is_fenced
from flykeep.domain.scratch import MACHINE_PREFIX, is_temporary
from flykeep.domain.subjects import app_subject

READ_AGAIN_AFTER = timedelta(hours=6)
"""Secrets, addresses and certificates change without a trace in the inventory."""
FOUND_AFTER = timedelta(days=2)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class AppReading:
    """What Fly said of one app; None for a part that it did not say."""

    app: App | None
    machines: tuple[Machine, ...]
    volumes: tuple[Volume, ...]
    secrets: tuple[DescribedSecret, ...] | None
    addresses: tuple[DescribedAddress, ...] | None
    certificates: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class DescriptionState:
    """How far an app is described: `failure` says why the newest reading was not complete."""

    app: AppName
    description: AppDescription | None
    failure: str | None
    failing_since_at: datetime | None


def fingerprint(inventory: Inventory, app: AppName) -> str:
    """What the inventory shows of an app: while it stays the same, a description does not hurry."""
    machines = sorted((one.id, one.instance_id, one.name) for one in _machines(inventory.machines) if one.app == app)
    volumes = sorted(
        (one.id, one.size_gb, one.attached_machine_id or "", one.snapshot_retention_days or 0)
        for one in volumes_of(inventory, app)
    )
    return hashlib.sha256(json.dumps([machines, volumes]).encode()).hexdigest()


def volumes_of(inventory: Inventory, app: AppName) -> tuple[Volume, ...]:
    """The app's own volumes: neither those on their way out nor those made for one run."""
    return tuple(
        one for one in inventory.volumes if one.app == app and not one.is_leaving and not is_temporary(one.name)
    )


def describe(
    app: AppName, reading: AppReading, last: AppDescription | None, *, org: str, now: datetime
) -> AppDescription:
    """The description that `reading` makes of an app; what it lacks is kept from `last`, or named as a gap.

    Nothing incomplete is taken: of a machine without its whole configuration the last whole one stays. So do the
    machines of an app that has none now: it was taken apart, or is just being rebuilt. What a restore has replaced and
    keeps until it is finalized is no part of it: rebuilt, it would run beside what replaced it.
    """
    replaced = {one.id for one in reading.machines if is_fenced(one.config_json)}
    volumes = (_described(one) for one in reading.volumes if one.attached_machine_id not in replaced)
    gaps: list[str] = []
    network = reading.app.network if reading.app else None
    if reading.app is None:
        network = last.network if last else None
        gaps += [] if last else ["network"]
    described = AppDescription(
        app=app,
        org=(reading.app.org if reading.app else None) or org,
        network=network,
        machines=_described_machines(reading.machines, last, gaps),
        volumes=tuple(sorted(volumes, key=lambda one: (one.name, one.id))),
        secrets=_kept(reading.secrets, last.secrets if last else None, "secrets", gaps),
        addresses=_kept(reading.addresses, last.addresses if last else None, "addresses", gaps),
        certificates=_kept(reading.certificates, last.certificates if last else None, "certificates", gaps),
        described_at=now,
    )
    described = replace(described, gaps=tuple(gaps))
    is_same = last is not None and described.is_same_but_for_time(last)
    return last if last is not None and is_same else described


def _kept(read: tuple[_T, ...] | None, last: tuple[_T, ...] | None, part: str, gaps: list[str]) -> tuple[_T, ...]:
    if read is not None:
        return read
    if last is None:
        gaps.append(part)
    return last or ()


def _described_machines(
    machines: Sequence[Machine], last: AppDescription | None, gaps: list[str]
) -> tuple[DescribedMachine, ...]:
    known = {one.id: one for one in last.machines} if last else {}
    if last is not None and not _machines(machines):
        return last.machines
    found: list[DescribedMachine] = []
    for machine in _machines(machines):
        described = _described_machine(machine) or known.get(machine.id)
        if described is None:
            gaps.append(f"machine {machine.name}")
        else:
            found.append(described)
    return tuple(sorted(found, key=lambda one: (one.name, one.id)))


def _machines(machines: Iterable[Machine]) -> list[Machine]:
    return [
        one
        for one in machines
        if one.state not in GONE_MACHINE_STATES
        and not one.name.startswith(MACHINE_PREFIX)
        and not is_fenced(one.config_json)
    ]


def _described_machine(machine: Machine) -> DescribedMachine | None:
    if machine.config_json is None:
        return None
    metadata = json.loads(machine.config_json).get("metadata") or {}
    group = metadata.get(PROCESS_GROUP_KEY)
    config = pinned_config(machine.config_json, machine.image)
    return DescribedMachine(machine.id, machine.name, machine.region, group, config)


def _described(volume: Volume) -> DescribedVolume:
    return DescribedVolume(
        id=volume.id,
        name=volume.name,
        size_gb=volume.size_gb,
        region=volume.region,
        machine_id=volume.attached_machine_id,
        retention_days=volume.snapshot_retention_days,
        is_automatic_snapshot_on=volume.is_automatic_snapshot_on,
    )


def with_undescribed(org: OrgCompliance, states: Iterable[DescriptionState], *, now: datetime) -> OrgCompliance:
    """The same with the apps of which something is not known, or was not read for too long."""
    found = tuple(finding for state in states if (finding := _finding(state, now=now)))
    return replace(org, findings=(*org.findings, *found)) if found else org


def _finding(state: DescriptionState, *, now: datetime) -> Finding | None:
    since_at = state.failing_since_at or now
    described, reason = state.description, state.failure or "Fly did not say"
    if described is None:
        summary = f"What {state.app} consists of is not known, so it could not be rebuilt: {reason}"
    elif described.gaps:
        summary = f"Of {state.app} is not known: {', '.join(described.gaps)} ({reason})"
    elif state.failure is not None and now - since_at > FOUND_AFTER:
        summary = f"{state.app} is described as it was at {described.described_at:%Y-%m-%d %H:%M} UTC: {reason}"
    else:
        return None
    return Finding(
        code=FindingCode.APP_UNDESCRIBED,
        severity=Severity.WARNING,
        subject=app_subject(state.app),
        summary=summary,
        since_at=since_at,
        last_good_at=described.described_at if described else None,
        next_step="flykeep doctor",
    )
