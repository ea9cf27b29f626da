"""What a restore asks of Fly, call by call, as a person reads it before agreeing."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.domain.restore_config import RESTORE_KEY
from flykeep.domain.restore_phases import RestoreBeginning
from flykeep.domain.scratch import GuestSize

NEW_VOLUME, NEW_MACHINE = "NEW_VOLUME", "NEW_MACHINE"


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One request; `is_down` while the application does not answer."""

    request: str
    what: str
    is_down: bool = False


def planned_calls(beginning: RestoreBeginning, guest: GuestSize, *, has_workers: bool) -> tuple[PlannedCall, ...]:
    """Everything that changes something, in order."""
    return (*_preparing(beginning, guest, has_workers=has_workers), *_switching(beginning))


def _preparing(beginning: RestoreBeginning, guest: GuestSize, *, has_workers: bool) -> list[PlannedCall]:
    app, machines = f"/apps/{beginning.app}", f"/apps/{beginning.app}/machines"
    region, size = beginning.regions[0], f"{beginning.size_gb} GB"
    is_artifact = beginning.export_id is not None
    made_of = "empty" if is_artifact else f"from snapshot {beginning.snapshot_id}"
    calls = []
    if beginning.is_reachable and beginning.machine_id is not None:
        snapshots = f"{app}/volumes/{beginning.volume_id}/snapshots"
        calls.append(PlannedCall(f"POST {snapshots}", "safety snapshot of the volume as it is"))
    calls.append(
        PlannedCall(
            f"POST {app}/volumes",
            f"new volume {beginning.volume_name}, {region}, {size}, {made_of}, where a "
            f"{guest.cpu_kind}-{guest.cpus}x with {guest.memory_mb} MB fits",
        )
    )
    if has_workers:
        does = f"fill it from artifact {beginning.export_id} and compare" if is_artifact else "look at its contents"
        calls.append(PlannedCall(f"POST {machines}", f"worker machine on the new volume: {does}, ask the probes"))
        calls.append(PlannedCall(f"DELETE {machines}/WORKER", "the worker machine goes"))
    calls.append(
        PlannedCall(
            f"POST {machines}",
            f"new machine {beginning.machine_name}, {region}, {guest.cpu_kind}-{guest.cpus}x {guest.memory_mb} MB, "
            "from the saved configuration, on the new volume, not launched, without traffic",
        )
    )
    calls.append(PlannedCall(f"POST {machines}/{NEW_MACHINE}/lease", "hold the new machine against deploys"))
    calls.append(PlannedCall(f"POST {machines}/{NEW_MACHINE}/cordon", "no traffic to it before it is well"))
    return calls


def _switching(beginning: RestoreBeginning) -> list[PlannedCall]:
    machines, old = f"/apps/{beginning.app}/machines", beginning.machine_id
    new = f"{machines}/{NEW_MACHINE}"
    is_touched = old is not None and beginning.is_reachable
    calls = []
    if is_touched:
        calls += [
            PlannedCall(f"POST {machines}/{old}/lease", "hold the old machine against deploys"),
            PlannedCall(f"POST {machines}/{old}/cordon", "no traffic to the old machine", is_down=True),
            PlannedCall(f"POST {machines}/{old}/stop", "stop it; a suspended one is not resumed", is_down=True),
        ]
    is_down = is_touched
    calls.append(
        PlannedCall(f"POST {new}/metadata/fly_platform_version", "deploys see the new machine", is_down=is_down)
    )
    if is_touched:
        calls.append(
            PlannedCall(
                f"POST {machines}/{old}",
                "the old machine stays stopped: autostart off, Launch metadata removed",
                is_down=True,
            )
        )
    return [
        *calls,
        PlannedCall(f"POST {new}/start", "start the new machine, wait for its health checks", is_down=True),
        PlannedCall(f"POST {new}/uncordon", "traffic to the new machine"),
        PlannedCall(f"DELETE {new}/metadata/{RESTORE_KEY}", "the mark of this restore goes"),
        PlannedCall("DELETE .../lease", "let go of what was held"),
    ]
