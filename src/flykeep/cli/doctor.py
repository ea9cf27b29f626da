"""`flykeep doctor`: try everything online that a backup will need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import print_indented
from flykeep.domain.documents import plain
from flykeep.domain.errors import NotFoundError
from flykeep.domain.store_trial import StepState, StoreTrialReport
from flykeep.jobs.doctor import Examined

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_MARKS = {
    StepState.OK: ("ok  ", "green"),
    StepState.WARNING: ("warn", "yellow"),
    StepState.FAILED: ("FAIL", "bold red"),
    StepState.UNKNOWN: ("?   ", "yellow"),
}


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(
        ctx: typer.Context,
        store: Annotated[str | None, typer.Option(help="Try this store alone, and all it will be asked for.")] = None,
    ) -> None:
        """Try token, apps, SSH, stores and notifiers; exit 3 where something would fail."""

        async def action(application: Application, options: Common) -> int:
            if store is None:
                found = [_Line.of(one) for one in await application.doctor.examine()]
                return _tell(options, found, left=())
            if store not in application.stores:
                configured = ", ".join(application.stores) or "none"
                raise NotFoundError(f"there is no store {store!r}", hint=f"Configured: {configured}.")
            report = await application.doctor.try_store(store)
            return _tell(options, _lines_of(report), left=report.left)

        with_application(ctx, action)


@dataclass(frozen=True, slots=True)
class _Line:
    """One thing that was tried, as both outputs show it."""

    subject: str
    state: StepState
    detail: str
    error: str | None
    hint: str | None

    @classmethod
    def of(cls, one: Examined) -> _Line:
        state = StepState.OK if one.error is None else StepState.FAILED
        return cls(one.subject, state, one.detail, one.error, one.hint)


def _lines_of(report: StoreTrialReport) -> list[_Line]:
    lines = []
    for step in report.steps:
        is_failed = step.state is StepState.FAILED
        detail, error = ("", step.detail) if is_failed else (step.detail, None)
        lines.append(_Line(f"store {report.store}: {step.name}", step.state, detail, error, step.hint))
    return lines


def _tell(options: Common, lines: Sequence[_Line], *, left: Sequence[str]) -> int:
    is_healthy = all(line.state is not StepState.FAILED for line in lines)
    if options.is_json:
        print_document({"is_healthy": is_healthy, "examined": plain(list(lines)), "left": list(left)})
    else:
        _print(console(options), lines, left)
    return 0 if is_healthy else 3


def _print(out: Console, lines: Sequence[_Line], left: Sequence[str]) -> None:
    for line in lines:
        mark, style = _MARKS[line.state]
        out.print(mark, style=style, end=" ")
        out.print(f"{line.subject}: {line.error or line.detail}", markup=False)
        if line.hint:
            print_indented(out, f"next: {line.hint}", by=5)
    for key in left:
        out.print(f"left there, for it could not be removed: {key}", markup=False)
