"""Plans: what a job is going to do, with its reasons, or why it will not."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flykeep.domain.errors import RefusalError
from flykeep.domain.fly import HostStatus, Machine, Volume
from flykeep.domain.policy import TargetRule
from flykeep.domain.run import RunRequest

SNAPSHOT_MOUNT = "/snapshot"
"""Where a worker machine has the volume made from a snapshot."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What decides between the sources. `obstacle` says why no snapshot can be read although workers are configured.

    `open_databases` are the SQLite side files that the last live read of the same volume met.
    """

    has_workers: bool = False
    obstacle: str | None = None
    open_databases: tuple[str, ...] = ()


NO_WORKERS = SourceFacts()


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """`directory` is where the volume is mounted in `machine`; paths are globs from there.

    With the source `snapshot` the machine is where the volume is attached, if it is, and is never asked for anything.
    """

    source: str
    machine: Machine | None
    directory: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    stores: tuple[str, ...]
    expected_bytes: int | None
    is_partial: bool
    reasons: tuple[str, ...]


def plan_export(
    rule: TargetRule,
    *,
    volume: Volume,
    machine: Machine | None,
    request: RunRequest,
    facts: SourceFacts = NO_WORKERS,
) -> ExportPlan:
    """Raises RefusalError, naming the reason and the next step, where nothing restorable could come of it."""
    asked = request.source if request.source not in {None, "auto"} else rule.policy.export.source
    source, reason = _source(asked or "auto", facts, machine, rule)
    stores = tuple(copy.store for copy in rule.policy.copies)
    if not stores:
        raise RefusalError(
            f"policy {rule.policy.name!r} names no store to export to",
            hint=f"Add [[policies.{rule.policy.name}.copies]] with the name of a store.",
        )
    if source == "snapshot":
        usable, directory = machine, SNAPSHOT_MOUNT
        refuse_leaving(volume)
    else:
        usable = _reachable(volume, machine)
        directory = mount_directory(rule, volume=volume, machine=usable)
    include = request.paths or rule.include
    return ExportPlan(
        source=source,
        machine=usable,
        directory=directory,
        include=include,
        exclude=rule.exclude,
        stores=stores,
        expected_bytes=None if include else volume.used_bytes,
        is_partial=bool(request.paths) and request.paths != rule.include,
        reasons=(reason, f"{len(include)} paths asked for" if include else "the whole volume"),
    )


def _source(wanted: str, facts: SourceFacts, machine: Machine | None, rule: TargetRule) -> tuple[str, str]:
    if wanted == "ssh":
        return "ssh", "ssh: asked for"
    if wanted == "snapshot":
        _refuse_without_workers(facts)
        return "snapshot", "snapshot: asked for"
    if not facts.has_workers:
        return "ssh", "ssh: without [worker] image no snapshot can be read"
    if facts.obstacle is None:
        return "snapshot", "snapshot: it leaves production alone and is of one point in time"
    doubt = _doubt_about_ssh(facts, machine, rule)
    if doubt is not None:
        raise RefusalError(
            f"no snapshot can be read ({facts.obstacle}), and over ssh {doubt}",
            hint="Remove the obstacle, or insist with --source ssh.",
        )
    return "ssh", f"ssh: {facts.obstacle}"


def _refuse_without_workers(facts: SourceFacts) -> None:
    if not facts.has_workers:
        raise RefusalError(
            "a snapshot is read by a worker machine, and no image is configured for it",
            hint="Set [worker] image, or use --source ssh with a started machine.",
        )
    if facts.obstacle is not None:
        raise RefusalError(
            f"no snapshot can be read: {facts.obstacle}", hint="Use --source ssh, or remove the obstacle."
        )


def _doubt_about_ssh(facts: SourceFacts, machine: Machine | None, rule: TargetRule) -> str | None:
    """Why a live read would likely be cut short or be worth nothing."""
    if machine is not None and may_stop_by_itself(machine):
        return f"Fly may stop machine {machine.id} while it is read, for its services stop when idle"
    hook = rule.hooks.before_export
    if facts.open_databases and not (hook and hook.makes_consistent):
        return f"it would not count: SQLite had uncommitted side files last time ({facts.open_databases[0]})"
    return None


def may_stop_by_itself(machine: Machine) -> bool:
    """Whether Fly's proxy stops or suspends the machine when it is idle; False where its configuration is unknown."""
    services = json.loads(machine.config_json or "{}").get("services") or []
    return any(service.get("autostop") not in {None, False, "off"} for service in services)


def _reachable(volume: Volume, machine: Machine | None) -> Machine:
    facts = {"app": volume.app, "volume": volume.id}
    refuse_leaving(volume)
    if machine is None:
        raise RefusalError(
            "no machine mounts the volume, and the ssh source reads from a started machine",
            hint="Use --source snapshot, which needs [worker] image, or attach it to a machine.",
            facts=facts,
        )
    if HostStatus.UNREACHABLE in {machine.host_status, volume.host_status}:
        raise RefusalError("the host is unreachable, so nothing can be read from it", facts=facts)
    if not machine.is_started:
        raise RefusalError(
            f"machine {machine.id} is {machine.state}, and the ssh source reads from a started machine",
            hint=f"Use --source snapshot, or start it with `fly machine start {machine.id} -a {machine.app}`.",
            facts=facts,
        )
    return machine


def refuse_leaving(volume: Volume) -> None:
    """Raises RefusalError for a volume that is being destroyed."""
    if volume.is_leaving:
        raise RefusalError(f"the volume is {volume.state}", facts={"app": volume.app, "volume": volume.id})


def mount_directory(rule: TargetRule, *, volume: Volume, machine: Machine) -> str:
    """Where the machine has the volume. Raises RefusalError where that is unknown or contradicts the configuration."""
    mounted = next((mount.path for mount in machine.mounts if mount.volume_id == volume.id), None)
    if mounted and rule.mount and mounted.rstrip("/") != rule.mount.rstrip("/"):
        raise RefusalError(
            f"the configuration says {rule.mount}, but machine {machine.id} mounts the volume at {mounted}",
            hint="Correct `mount` of this target; flykeep will not guess which tree holds the data.",
            facts={"app": volume.app, "volume": volume.id},
        )
    directory = mounted or rule.mount
    if not directory:
        raise RefusalError(
            f"nothing tells where machine {machine.id} mounts the volume",
            hint="Set `mount` for this target.",
            facts={"app": volume.app, "volume": volume.id},
        )
    return directory
