"""`flykeep restore TARGET`: bring its data back beside the old; `restore resume|undo|finalize RUN` end one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.acting import LOCAL, act, report
from flykeep.cli.asking import confirm
from flykeep.cli.candidates import choice_document, chosen, list_candidates, print_choice
from flykeep.cli.context import Common, print_document, with_application
from flykeep.cli.restore_copy import LAUNCH, SIZE, TO, WITH_CONFIG, CopyWish, copy_to_app
from flykeep.cli.restore_plan import plan_document, print_plan, print_result
from flykeep.cli.restore_token import asked_token, is_for_want_of_rights
from flykeep.cli.targets import find_lineage
from flykeep.domain.candidates import CandidateKind
from flykeep.domain.choosing import Choice
from flykeep.domain.errors import NotFoundError, UsageError
from flykeep.domain.ids import RunId, SnapshotId
from flykeep.domain.policy import JobKind
from flykeep.domain.restore_phases import ENDINGS
from flykeep.domain.run import Run, RunRequest
from flykeep.domain.target import Lineage

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_QUESTIONS = {
    "resume": "Go on with restore {run} of {target}?",
    "undo": "Bring {target} back to the machine and volume it had before restore {run}, and remove the new ones?",
    "finalize": "Remove for good the machine and volume that restore {run} of {target} replaced?",
}


@dataclass(frozen=True, slots=True)
class RestoreWish:
    """What the person asked for beside the target."""

    snapshot: str | None
    artifact: str | None
    size_gb: int | None
    reason: str | None
    is_plan: bool
    is_agreed: bool
    is_local: bool

    @property
    def is_listing(self) -> bool:
        return self.snapshot is None and self.artifact is None

    def request(self, choice: Choice) -> RunRequest:
        """The run that is submitted for it."""
        is_snapshot = choice.candidate.kind is CandidateKind.SNAPSHOT
        return RunRequest(
            reason=self.reason,
            snapshot_id=SnapshotId(choice.id) if is_snapshot else None,
            export_id=None if is_snapshot else choice.id,
            size_gb=self.size_gb,
        )


def register(app: typer.Typer) -> None:
    @app.command()
    def restore(
        ctx: typer.Context,
        target: Annotated[
            str,
            typer.Argument(
                metavar="TARGET", help="app/volume or app/volume@machine; or `resume`, `undo` or `finalize`."
            ),
        ],
        run: Annotated[
            str | None, typer.Argument(metavar="[RUN]", help="After `resume`, `undo` or `finalize`: the restore's run.")
        ] = None,
        snapshot: Annotated[
            str | None, typer.Option("--snapshot", metavar="ID|latest|TIME", help="Restore this snapshot.")
        ] = None,
        artifact: Annotated[
            str | None, typer.Option("--artifact", metavar="ID|latest|TIME", help="Restore this artifact.")
        ] = None,
        to: TO = None,
        with_config: WITH_CONFIG = False,
        launch: LAUNCH = False,
        size: SIZE = None,
        plan: Annotated[bool, typer.Option("--plan", help="Show every call in order, and stop.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        reason: Annotated[str | None, typer.Option(help="Why it is done; kept with the run.")] = None,
        local: LOCAL = False,
        token_file: Annotated[
            Path | None,
            typer.Option(
                "--token-file",
                metavar="FILE",
                help="A Fly token for this one run, which this process then executes; it is stored nowhere.",
            ),
        ] = None,
    ) -> None:
        """Bring a target's data back; without a source, list what it could be restored from.

        A new volume and machine are made beside the old ones, looked at, and put in their place; the old machine stays,
        stopped, on the old volume until `restore finalize RUN`.
        """
        wish = RestoreWish(snapshot, artifact, size, reason, plan, yes, local or token_file is not None)

        async def action(application: Application, options: Common) -> int:
            if target in ENDINGS:
                if run is None or not wish.is_listing or to or plan:
                    raise UsageError(f"`restore {target}` takes the run of a restore", hint="See `flykeep runs`.")
                return await _end(application, options, target, RunId(run), wish)
            if run is not None:
                raise UsageError(f"{target!r} is not {', '.join(ENDINGS)}", hint="A RUN follows these words only.")
            lineage = await find_lineage(application, target)
            if wish.is_listing:
                return await list_candidates(application, options, lineage)
            choice = await chosen(application, lineage, snapshot=snapshot, artifact=artifact)
            if to or with_config or launch:
                copied = CopyWish(to, with_config, launch, size, reason, plan, yes, wish.is_local)
                return await copy_to_app(application, options, lineage, choice, copied)
            return await _restore(application, options, lineage, choice, wish)

        with_application(ctx, action, token_file=token_file)


async def _restore(
    application: Application, options: Common, lineage: Lineage, choice: Choice, wish: RestoreWish
) -> int:
    request = wish.request(choice)
    if wish.is_plan or not wish.is_agreed:
        planned = await application.restores.planner.plan(lineage, request)
        if wish.is_plan and options.is_json:
            print_document({"choice": choice_document(choice), "plan": plan_document(planned)})
            return 0
        print_choice(options, choice, now=application.clock.now())
        print_plan(options, planned)
    if wish.is_plan:
        return 0
    confirm(f"Restore {lineage.label}?", is_yes=wish.is_agreed)
    run, code = await _carried_out(application, options, lineage, request, wish)
    report(run, options, extra={"choice": choice_document(choice), "restore_id": request.of_run or run.id})
    if not options.is_json:
        print_result(options, run)
    return code


async def _end(application: Application, options: Common, ending: str, run_id: RunId, wish: RestoreWish) -> int:
    lineage = await _lineage_of(application, run_id)
    confirm(_QUESTIONS[ending].format(run=run_id, target=lineage.label), is_yes=wish.is_agreed)
    request = RunRequest(reason=wish.reason, ending=ending, of_run=run_id)
    run, code = await _carried_out(application, options, lineage, request, wish)
    report(run, options, extra={"restore_id": run_id})
    if not options.is_json:
        print_result(options, run)
    return code


async def _carried_out(
    application: Application, options: Common, lineage: Lineage, request: RunRequest, wish: RestoreWish
) -> tuple[Run, int]:
    """See it through; where the standing token may not do it, a person may give another one for this once."""
    run, code = await act(
        application, options, kind=JobKind.RESTORE, lineage=lineage, request=request, is_local=wish.is_local
    )
    token = asked_token() if is_for_want_of_rights(run) else None
    if token is None:
        return run, code
    from flykeep.bootstrap import open_application  # noqa: PLC0415 - heavy, and rarely needed

    async with open_application(application.settings, token=token) as other:
        again = await _again(other, run, request)
        return await act(other, options, kind=JobKind.RESTORE, lineage=lineage, request=again, is_local=True)


async def _again(application: Application, run: Run, request: RunRequest) -> RunRequest:
    """What goes on where a run stopped; where it made nothing, the same once more."""
    if request.ending is not None:
        return request
    try:
        record = await application.restores.log.record(run.id)
    except NotFoundError:
        return request
    return RunRequest(reason=request.reason, ending="resume", of_run=record.run_id)


async def _lineage_of(application: Application, run_id: RunId) -> Lineage:
    async with application.catalog.transaction() as tx:
        run = await tx.run(run_id)
        lineages = {lineage.id: lineage for lineage in await tx.lineages(include_retired=True)}
    if run is None or run.kind is not JobKind.RESTORE or run.lineage_id not in lineages:
        raise NotFoundError(f"there is no restore {run_id}", hint="`flykeep runs` lists them.")
    return lineages[run.lineage_id]
