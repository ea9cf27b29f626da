"""`flykeep restore TARGET --to APP`: what it will do, the question, and what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from flykeep.cli.acting import act, report
from flykeep.cli.asking import confirm
from flykeep.cli.candidates import choice_document, print_choice
from flykeep.cli.context import Common, console, print_document
from flykeep.domain.candidates import CandidateKind
from flykeep.domain.choosing import Choice
from flykeep.domain.documents import plain
from flykeep.domain.errors import UsageError
from flykeep.domain.ids import AppName, SnapshotId
from flykeep.domain.policy import JobKind
from flykeep.domain.restore_copy import CopyPlan
from flykeep.domain.run import Run, RunRequest
from flykeep.domain.target import Lineage

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


TO = Annotated[
    str | None, typer.Option("--to", metavar="APP", help="Copy into this app instead; the target is only read.")
]
WITH_CONFIG = Annotated[
    bool, typer.Option("--with-config", help="With --to: make the machine too, from the target's configuration.")
]
LAUNCH = Annotated[bool, typer.Option("--launch", help="With --with-config: start that machine.")]
SIZE = Annotated[int | None, typer.Option("--size", metavar="GB", min=1, help="How big the new volume is to be.")]


@dataclass(frozen=True, slots=True)
class CopyWish:
    """What the person asked for beside the source."""

    app: str | None
    is_with_config: bool = False
    is_launching: bool = False
    size_gb: int | None = None
    reason: str | None = None
    is_plan: bool = False
    is_agreed: bool = False
    is_local: bool = False

    def request(self, choice: Choice) -> RunRequest:
        """The run that is submitted for it."""
        is_snapshot = choice.candidate.kind is CandidateKind.SNAPSHOT
        return RunRequest(
            reason=self.reason,
            snapshot_id=SnapshotId(choice.id) if is_snapshot else None,
            export_id=None if is_snapshot else choice.id,
            to_app=AppName(self.app) if self.app else None,
            size_gb=self.size_gb,
            is_with_config=self.is_with_config,
            is_launching=self.is_launching,
        )


async def copy_to_app(
    application: Application, options: Common, lineage: Lineage, choice: Choice, wish: CopyWish
) -> int:
    """Plan, ask, copy; raises what planning raises before anything is made."""
    if wish.app is None:
        raise UsageError("--with-config and --launch are for copies", hint="Name the other app: --to APP.")
    if wish.is_launching and not wish.is_with_config:
        raise UsageError("--launch starts the machine of a copy, and none is made", hint="Add --with-config.")
    request = wish.request(choice)
    if wish.is_plan or not wish.is_agreed:
        planned = await application.copies.planner.plan(lineage, request)
        if wish.is_plan and options.is_json:
            print_document({"choice": choice_document(choice), "plan": plain(planned.plan)})
            return 0
        print_choice(options, choice, now=application.clock.now())
        _print_plan(options, planned.plan)
    if wish.is_plan:
        return 0
    confirm(f"Copy {lineage.label} into {wish.app}?", is_yes=wish.is_agreed)
    run, code = await act(
        application, options, kind=JobKind.RESTORE, lineage=lineage, request=request, is_local=wish.is_local
    )
    report(run, options, extra={"choice": choice_document(choice)})
    if not options.is_json:
        _print_result(options, run)
    return code


def _print_plan(options: Common, plan: CopyPlan) -> None:
    out = console(options)
    out.print(Text(f"copy of {plan.target} into {plan.app}; nothing of {plan.target} is touched", style="bold"))
    for number, call in enumerate(plan.calls, start=1):
        out.print(f"  {number}. {call}", markup=False)
    for note in plan.notes:
        out.print(Text(f"  {note}", style="yellow"))


def _print_result(options: Common, run: Run) -> None:
    result: dict[str, Any] = json.loads(run.outcome.result_json) if run.outcome else {}
    if "volume_id" not in result:
        return
    out = console(options)
    where = f"{result['volume_id']} ({result['size_gb']} GB in {result['region']})"
    out.print(f"{result['source']} is in volume {where} of {result['app']}", markup=False)
    if found := result["report"]:
        out.print(f"  {found['files']} files; {_compared(found)}", markup=False)
    if machine := result["machine"]:
        out.print(f"  machine {machine['name']} ({machine['machine_id']}) mounts it: {machine['state']}", markup=False)
    for flaw in result["flaws"]:
        out.print(Text(f"  {flaw}", style="bold red"))
    for note in result["notes"]:
        out.print(Text(f"  {note}", style="yellow"))


def _compared(found: dict[str, Any]) -> str:
    failed = sum(not probe["is_passed"] for probe in found["probes"])
    asked = f"{len(found['probes']) - failed} of {len(found['probes'])} probes passed"
    if not found["compared_with"]:
        return f"{asked}, compared with nothing"
    return f"{asked}, compared with artifact {found['compared_with']}"
