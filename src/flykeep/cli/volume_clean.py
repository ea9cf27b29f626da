"""`flykeep volume clean TARGET`: what its rules name, and its removal."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flykeep.cli.acting import LOCAL, act, report
from flykeep.cli.asking import confirm, person
from flykeep.cli.context import Common, console, with_application
from flykeep.cli.render import bytes_text, count_text, duration_text
from flykeep.cli.targets import TARGET_HELP, find_lineage, rule_for_lineage
from flykeep.domain.cleaning import rule_texts, rules_to_apply
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest, RunState
from flykeep.domain.target import Lineage
from flykeep.domain.volume_care import VolumeAct

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_DONE = {RunState.SUCCEEDED, RunState.DEGRADED}
_SHOWN = 5


def register(group: typer.Typer) -> None:
    @group.command()
    def clean(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)],
        apply: Annotated[bool, typer.Option("--apply", help="Do it; without it the files are only listed.")] = False,
        snapshot: Annotated[
            bool, typer.Option("--snapshot", help="With --apply: take a snapshot first, where the last is too old.")
        ] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        local: LOCAL = False,
    ) -> None:
        """Show which files the target's `clean` rules name; with --apply remove them, where a snapshot holds them."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target)
            rule = rule_for_lineage(application, lineage)
            shown = rule_texts(rule)
            rules_to_apply(rule, shown)
            dry = RunRequest(volume_act=VolumeAct.CLEAN.value, paths=shown)
            if not apply:
                return await _run(application, options, lineage, dry, is_local=local, is_last=True)
            if not yes:
                code = await _run(application, options, lineage, dry, is_local=local, is_last=False)
                if code not in {0, 9}:
                    return code
            confirm(f"Remove these files of {lineage.label} for good?", is_yes=yes)
            request = RunRequest(
                volume_act=VolumeAct.CLEAN.value,
                paths=shown,
                is_applied=True,
                is_snapshot_first=snapshot,
                actor=person(),
            )
            return await _run(application, options, lineage, request, is_local=local, is_last=True)

        with_application(ctx, action)


async def _run(
    application: Application,
    options: Common,
    lineage: Lineage,
    request: RunRequest,
    *,
    is_local: bool,
    is_last: bool,
) -> int:
    run, code = await act(
        application, options, kind=JobKind.VOLUME, lineage=lineage, request=request, is_local=is_local
    )
    if is_last or run.state not in _DONE:
        report(run, options)
    if run.outcome is not None and run.state in _DONE and not (options.is_json and is_last):
        _print(options, run, is_last=is_last)
    return code


def _print(options: Common, run: Run, *, is_last: bool) -> None:
    assert run.outcome is not None
    out, result = console(options), json.loads(run.outcome.result_json)
    for rule in result["rules"]:
        _print_rule(options, rule)
    for trouble in result["troubles"]:
        out.print(f"not looked into: {trouble}", style="yellow", markup=False)
    if not result["applied"]:
        if is_last:
            out.print("nothing was removed; add --apply to do it")
        return
    files = count_text(result["removed"], "file")
    freed = f"{files} removed, {bytes_text(result['freed_bytes'])} freed; snapshot {result['snapshot_id']} holds them"
    out.print(freed, markup=False)
    for kept in result["kept"][:_SHOWN]:
        out.print(f"  left: {kept['path']!r}: {kept['why']}", style="yellow", markup=False)
    if result["kept_count"] > _SHOWN:
        out.print(f"  {result['kept_count']} left in all", style="yellow")


def _print_rule(options: Common, rule: dict[str, Any]) -> None:
    out = console(options)
    age = duration_text(timedelta(seconds=rule["older_than_s"]))
    text = f"{rule['glob']}, not changed for {age}: {count_text(rule['files'], 'file')}"
    if rule["files"]:
        text += f", {bytes_text(rule['content_bytes'])}, changed from {rule['oldest_at']} to {rule['newest_at']}"
    out.print(text, markup=False)
    for path in rule["sample"][:_SHOWN]:
        out.print(f"  {path!r}", style="dim", markup=False)
    if rule["files"] > _SHOWN:
        out.print(f"  and {rule['files'] - _SHOWN} more", style="dim")
