"""The plan of an import: which files go where, what happens to the application, or why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import BusyError, RefusalError
from flykeep.domain.fly import HostStatus, Machine, Volume
from flykeep.domain.imports import ImportRecord
from flykeep.domain.plans import mount_directory, refuse_leaving
from flykeep.domain.policy import TargetRule
from flykeep.domain.run import RunRequest


@dataclass(frozen=True, slots=True)
class ImportFacts:
    """What was looked up. `artifact` None means a file; `unsettled` are imports of the target that are not over."""

    volume: Volume
    machine: Machine | None
    lease_holder: str | None
    artifact: Artifact | None
    unsettled: Sequence[ImportRecord] = ()


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """`directory` is where `machine` has the volume; `source` names the archive for people."""

    machine: Machine
    directory: str
    source: str
    artifact: Artifact | None
    paths: tuple[str, ...]
    is_restarting: bool
    free_bytes: int | None
    reasons: tuple[str, ...]


def plan_import(rule: TargetRule, request: RunRequest, facts: ImportFacts) -> ImportPlan:
    """Raises RefusalError, naming the reason and the next step, where files could not come to where they belong."""
    machine = running_machine(facts.volume, facts.machine)
    directory = mount_directory(rule, volume=facts.volume, machine=machine)
    _refuse_unsettled(facts.unsettled)
    refuse_held(machine, facts.lease_holder)
    free = _free_bytes(facts.volume)
    if facts.artifact is not None:
        _refuse_artifact(facts.artifact, is_whole=not request.paths, free_bytes=free)
    return ImportPlan(
        machine=machine,
        directory=directory,
        source=f"artifact {request.export_id}" if facts.artifact else str(request.file),
        artifact=facts.artifact,
        paths=request.paths,
        is_restarting=request.is_restarting,
        free_bytes=free,
        reasons=_reasons(request, machine, directory, facts),
    )


def running_machine(volume: Volume, machine: Machine | None) -> Machine:
    """The machine that can take files, or give them back. Raises RefusalError where there is none."""
    facts = {"app": volume.app, "volume": volume.id}
    refuse_leaving(volume)
    if machine is None:
        raise RefusalError(
            "no machine mounts the volume, and files go into a running one",
            hint="Attach the volume to a machine and start it, or use `flykeep restore`.",
            facts=facts,
        )
    if HostStatus.UNREACHABLE in {machine.host_status, volume.host_status}:
        raise RefusalError(
            "the host is unreachable, so no file can go there", hint="Use `flykeep restore`.", facts=facts
        )
    if not machine.is_started:
        raise RefusalError(
            f"machine {machine.id} is {machine.state}, and files go into a running one",
            hint=f"Start it with `fly machine start {machine.id} -a {machine.app}`.",
            facts=facts,
        )
    return machine


def refuse_held(machine: Machine, holder: str | None) -> None:
    """Raises BusyError where somebody holds the machine's lease."""
    if holder is not None:
        raise BusyError(
            f"machine {machine.id} is held by {holder}, most likely a deploy",
            hint="Wait until it is over, then try again.",
            facts={"app": machine.app, "machine": machine.id},
        )


def _refuse_unsettled(unsettled: Sequence[ImportRecord]) -> None:
    """Undoing an import after another one had replaced the same files would bring back the wrong ones."""
    for record in unsettled:
        raise RefusalError(
            f"import {record.run_id} of this target is {record.phase}, and its content is still kept on the volume",
            hint=f"`flykeep import confirm {record.run_id}` drops what is kept; "
            f"`flykeep import undo {record.run_id}` goes back.",
            facts={"run": record.run_id},
        )


def _refuse_artifact(artifact: Artifact, *, is_whole: bool, free_bytes: int | None) -> None:
    if artifact.is_failed:
        raise RefusalError(
            f"artifact {artifact.export_id} failed its last verification",
            hint="Import another one, or verify it again with `flykeep artifact verify`.",
            facts={"export_id": artifact.export_id, "store": artifact.store},
        )
    needed = artifact.manifest.totals.content_bytes
    if is_whole and free_bytes is not None and needed > free_bytes:
        raise RefusalError(
            f"the volume has {free_bytes} bytes free, and the artifact holds {needed}, beside what is there",
            hint="Extend the volume, or import fewer files with --path.",
            facts={"export_id": artifact.export_id},
        )


def _free_bytes(volume: Volume) -> int | None:
    if volume.total_bytes is None or volume.used_bytes is None:
        return None
    return max(volume.total_bytes - volume.used_bytes, 0)


def _reasons(request: RunRequest, machine: Machine, directory: str, facts: ImportFacts) -> tuple[str, ...]:
    what = f"{len(request.paths)} paths of the archive" if request.paths else "all of the archive"
    found = [
        f"{what} into {directory} of machine {machine.id}",
        "files of the same path are replaced and kept beside until you confirm; all others stay",
        f"machine {machine.id} is restarted" if request.is_restarting else "the machine is not restarted",
    ]
    origin = facts.artifact.manifest.origin if facts.artifact else None
    if origin is not None and (origin.app, origin.volume_name) != (facts.volume.app, facts.volume.name):
        found.append(f"the artifact was made from {origin.app}/{origin.volume_name}, not from this target")
    doubt = facts.artifact.manifest.why_not_restorable if facts.artifact else None
    if doubt is not None:
        found.append(f"the artifact never counts as a backup: {doubt}")
    return tuple(found)
