"""Plans: what a job is going to do, with its reasons, or why it will not."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.domain.errors import RefusalError
from flykeep.domain.fly import HostStatus, Machine, Volume
from flykeep.domain.policy import TargetRule
from flykeep.domain.run import RunRequest


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """`directory` is where the volume is mounted in `machine`; paths are globs from there."""

    source: str
    machine: Machine
    directory: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    stores: tuple[str, ...]
    expected_bytes: int | None
    is_partial: bool
    reasons: tuple[str, ...]


def plan_export(rule: TargetRule, *, volume: Volume, machine: Machine | None, request: RunRequest) -> ExportPlan:
    """Raises RefusalError, naming the reason and the next step, where nothing restorable could come of it."""
    source, reason = _source(request.source or rule.policy.export.source)
    stores = tuple(copy.store for copy in rule.policy.copies)
    if not stores:
        raise RefusalError(
            f"policy {rule.policy.name!r} names no store to export to",
            hint=f"Add [[policies.{rule.policy.name}.copies]] with the name of a store.",
        )
    usable = _reachable(volume, machine)
    directory = _directory(rule, volume=volume, machine=usable)
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


def _source(wanted: str) -> tuple[str, str]:
    if wanted == "snapshot":
        raise RefusalError(
            "exports from snapshots are not available yet", hint="Use --source ssh with a started machine."
        )
    if wanted == "auto":
        return "ssh", "ssh: the only source this version has"
    return "ssh", "ssh: asked for"


def _reachable(volume: Volume, machine: Machine | None) -> Machine:
    facts = {"app": volume.app, "volume": volume.id}
    if volume.is_leaving:
        raise RefusalError(f"the volume is {volume.state}", facts=facts)
    if machine is None:
        raise RefusalError(
            "no machine mounts the volume, and the ssh source reads from a started machine",
            hint="Attach it to a machine, or rely on snapshots until exports from snapshots are available.",
            facts=facts,
        )
    if HostStatus.UNREACHABLE in {machine.host_status, volume.host_status}:
        raise RefusalError("the host is unreachable, so nothing can be read from it", facts=facts)
    if not machine.is_started:
        raise RefusalError(
            f"machine {machine.id} is {machine.state}, and the ssh source reads from a started machine",
            hint=f"Start it with `fly machine start {machine.id} -a {machine.app}`, then export again.",
            facts=facts,
        )
    return machine


def _directory(rule: TargetRule, *, volume: Volume, machine: Machine) -> str:
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
