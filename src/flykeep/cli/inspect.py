"""`flykeep inspect TARGET`: look at the live volume before restoring anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.progress import ProgressView
from flykeep.cli.render import bytes_text, count_text
from flykeep.cli.targets import TARGET_HELP, find_lineage, rule_for_lineage
from flykeep.domain.documents import Plain, plain
from flykeep.domain.ids import ExportId
from flykeep.domain.inspection import Change, ChangeTotals, ProbeState, TreeDiff
from flykeep.domain.target import Lineage
from flykeep.domain.wording import instant, printable, span
from flykeep.jobs.inspect import Inspection, Wish

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_NAMES, _ALL_NAMES = 20, 100_000
_UNHEALTHY = 3
_STYLES = {ProbeState.FAILED: "bold red", ProbeState.NOT_ASKED: "yellow", ProbeState.PASSED: ""}
_WORDS = {ProbeState.FAILED: "FAILED", ProbeState.NOT_ASKED: "not asked", ProbeState.PASSED: "passed"}


def register(app: typer.Typer) -> None:
    @app.command()
    def inspect(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)],
        artifact: Annotated[
            str | None,
            typer.Option(metavar="ID", help="Compare with this artifact; else with the newest that counts."),
        ] = None,
        digests: Annotated[
            bool, typer.Option("--digests", help="Read and compare the contents of every file, whatever its date.")
        ] = False,
    ) -> None:
        """Look at the live volume: probes, disk use, and what a restore would change. Nothing is changed.

        Exit 3 where a probe fails.
        """

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target)
            wish = Wish(ExportId(artifact) if artifact else None, digests, _ALL_NAMES if options.is_json else _NAMES)
            with ProgressView(console(options), f"inspection of {lineage.label}") as view:
                found = await application.inspect.inspect(
                    lineage, rule_for_lineage(application, lineage), wish, on_progress=view.progress
                )
            if options.is_json:
                print_document(_document(lineage, found))
            else:
                _print(console(options), application, lineage, found)
            return 0 if found.is_healthy else _UNHEALTHY

        with_application(ctx, action)


def _document(lineage: Lineage, found: Inspection) -> dict[str, Plain]:
    result, artifact = found.result, found.artifact
    return {
        "target": lineage.label,
        "machine": found.machine.id,
        "volume_id": found.volume.id,
        "directory": found.directory,
        "is_healthy": found.is_healthy,
        "use": plain(result.use),
        "files": result.files,
        "directories": result.directories,
        "content_bytes": result.content_bytes,
        "troubles": plain(result.troubles),
        "probes": plain(result.probes),
        "artifact": {
            "export_id": artifact.export_id,
            "store": artifact.store,
            "at": plain(artifact.manifest.started_at),
        }
        if artifact
        else None,
        "diff": plain(result.diff),
    }


def _print(out: Console, application: Application, lineage: Lineage, found: Inspection) -> None:
    result = found.result
    where = f"{found.directory} of machine {found.machine.id}, volume {found.volume.id}"
    out.print(Text(lineage.label, style="bold").append(f"  {where}", style="not bold"))
    use = result.use
    size = f"{count_text(result.files, 'file')}, {bytes_text(result.content_bytes)}"
    disk = f"; {bytes_text(use.used_bytes)} of {bytes_text(use.total_bytes)} used" if use else ""
    out.print(f"  {size}{disk}", markup=False)
    for trouble in result.troubles:
        out.print(Text(f"  could not be read: {trouble}", style="yellow"))
    for probe in result.probes:
        style = _STYLES[probe.state]
        out.print(Text(f"  {_WORDS[probe.state]}  {probe.probe}: {probe.detail}", style=style))
    if found.artifact is None or result.diff is None:
        out.print(f"  no artifact to compare with: make one with `flykeep export {lineage.label}`", markup=False)
        return
    at = found.artifact.manifest.started_at
    age = span(application.clock.now() - at)
    out.print(f"  beside artifact {found.artifact.export_id} of {instant(at)} ({age} old)", markup=False)
    _print_diff(out, result.diff)


def _print_diff(out: Console, diff: TreeDiff) -> None:
    if diff.is_same:
        out.print(f"    nothing differs: {_total(diff.equal)} are the same")
        return
    said = (
        (Change.BROUGHT_BACK, "would come back", diff.brought_back),
        (Change.OVERWRITTEN, "would be overwritten", diff.overwritten),
        (Change.LOST, "would be lost: the artifact does not have them", diff.lost),
        (Change.OUTSIDE, "would be lost by a restore and kept by an import: not among its paths", diff.outside),
    )
    for change, words, total in said:
        if not total.entries:
            continue
        out.print(f"    {_total(total)} {words}", markup=False)
        names = [one for one in diff.names if one.change is change][:_NAMES]
        for one in names:
            out.print(Text(f"      {printable(one.path)!r}  {one.why}", style="dim"))
        if total.entries > len(names):
            out.print(f"      and {total.entries - len(names)} more: --json names them", style="dim")
    out.print(f"    {_total(diff.equal)} are the same")
    if diff.by_date:
        out.print(f"    {count_text(diff.by_date, 'file')} judged by date alone: --digests reads them", style="yellow")


def _total(total: ChangeTotals) -> str:
    noun = "entry" if total.entries == 1 else "entries"
    return f"{total.entries} {noun}, {bytes_text(total.content_bytes)}"
