"""A restore's plan and its result, for a person and as a document."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from rich.text import Text

from flykeep.cli.context import Common, console
from flykeep.domain.documents import Plain, plain
from flykeep.domain.restore_phases import RestorePhase
from flykeep.domain.restore_plan import RestorePlan
from flykeep.domain.run import Run
from flykeep.domain.wording import took


def plan_document(plan: RestorePlan) -> dict[str, Plain]:
    """A plan as the JSON contract shows it."""
    beginning = plan.beginning
    return {
        "app": beginning.app,
        "volume_name": beginning.volume_name,
        "old_volume_id": beginning.volume_id,
        "old_machine_id": beginning.machine_id,
        "machine_name": beginning.machine_name,
        "snapshot_id": beginning.snapshot_id,
        "export_id": beginning.export_id,
        "as_of": plain(beginning.as_of),
        "regions": plain(beginning.regions),
        "size_gb": beginning.size_gb,
        "guest": plain(plan.guest),
        "calls": plain(plan.calls),
        "notes": plain(plan.notes),
        "prepared_in": plan.prepared_in,
        "down_for": plan.down_for,
        "cost": plan.cost,
        "is_probed": plan.is_probed,
    }


def print_plan(options: Common, plan: RestorePlan) -> None:
    """Every call in order; what is down is marked."""
    out, beginning = console(options), plan.beginning
    out.print(Text(f"restore of {beginning.app}/{beginning.volume_name}", style="bold"))
    for number, call in enumerate(plan.calls, start=1):
        line = Text(f"  {number:2}. {call.what}")
        if call.is_down:
            line.append("  [down]", style="bold red")
        out.print(line)
        out.print(Text(f"      {call.request}", style="dim"))
    out.print(f"  prepared beside the running machine in: {plan.prepared_in}", markup=False)
    out.print(f"  down for: {plan.down_for}", markup=False)
    out.print(f"  cost: {plan.cost}", markup=False)
    for note in plan.notes:
        out.print(Text(f"  {note}", style="yellow"))


def print_result(options: Common, run: Run) -> None:
    """What the target runs on now, and what can be done next."""
    result: dict[str, Any] = json.loads(run.outcome.result_json) if run.outcome else {}
    if "restore_id" not in result:
        return
    out, phase = console(options), result["phase"]
    said = {
        RestorePhase.RESTORED: f"{result['source']} is back, on volume {result['volume_id']} and machine "
        f"{result['machine_id']}; the application is {result['health']}",
        RestorePhase.CHECKING: f"{result['source']} is on volume {result['volume_id']}, and machine "
        f"{result['machine_id']} is {result['health']}; no traffic reaches it",
        RestorePhase.OVER: "nothing of it is left to decide",
    }
    out.print(f"restore {result['restore_id']}: {said.get(phase, phase)}", markup=False)
    if result["down_s"] is not None:
        out.print(f"  it was down for {took(timedelta(seconds=result['down_s']))}", markup=False)
    if phase == RestorePhase.RESTORED:
        old = result["old_machine_id"] or "no machine"
        out.print(f"  kept: {old}, stopped, on {result['old_volume_id']}", markup=False)
    if result["detail"]:
        out.print(Text(f"  {result['detail']}", style="yellow"))
    if result["next_step"]:
        out.print(f"  {result['next_step']}", markup=False)
