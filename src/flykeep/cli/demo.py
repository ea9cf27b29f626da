"""`flykeep demo`: the main job against the simulator, with every claim checked."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flykeep.cli.acting import act
from flykeep.cli.context import Common, common, console, print_document, run_async
from flykeep.cli.render import bytes_text, print_indented, print_table
from flykeep.cli.targets import find_lineage
from flykeep.cli.verdicts import STYLES, print_findings
from flykeep.domain.artifact import Artifact
from flykeep.domain.documents import plain
from flykeep.domain.errors import IntegrityError
from flykeep.domain.findings import FindingCode, MessageKind
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest, RunState

if TYPE_CHECKING:
    from flykeep.bootstrap import Application
    from flykeep.jobs.check import CheckReport
    from flykeep.settings import Settings
    from flykeep.testing.flysim.scenario import Scenario
    from flykeep.testing.flysim.serve import FlySim

_MAIN = "my-crocbot/crocbot_data"


class Sabotage(StrEnum):
    """What the demo may break on purpose, to show that it is found."""

    ARTIFACT = "artifact"


def register(app: typer.Typer) -> None:
    @app.command()
    def demo(
        ctx: typer.Context,
        serve: Annotated[bool, typer.Option("--serve", help="Leave simulator and daemon running afterwards.")] = False,
        sabotage: Annotated[Sabotage | None, typer.Option(help="Flip one stored byte before it is compared.")] = None,
    ) -> None:
        """Show snapshot, export, check and alert on a simulated Fly; exit 0 only if every comparison held."""
        options = common(ctx)
        raise typer.Exit(run_async(lambda: _demo(options, is_serving=serve, sabotage=sabotage), options))


async def _demo(options: Common, *, is_serving: bool, sabotage: Sabotage | None) -> int:
    from flykeep.adapters.system import SystemClock, SystemIds  # noqa: PLC0415 - only this verb needs all of it
    from flykeep.bootstrap import open_application  # noqa: PLC0415
    from flykeep.cli.logs import configure_logs  # noqa: PLC0415
    from flykeep.settings import load_settings  # noqa: PLC0415
    from flykeep.testing.flysim.serve import FlySim  # noqa: PLC0415

    configure_logs(is_verbose=options.is_verbose)
    with _directory() as directory:
        async with FlySim.start(
            state_directory=directory / "fly", clock=SystemClock(), ids=SystemIds(), scenario=_scenario()
        ) as sim:
            config = sim.write_config()
            settings = _without_log(load_settings(config, sim.environment()))
            async with open_application(settings) as application:
                show = _Show(sim, application, options, console(options), directory)
                proof = await show.perform(sabotage)
                if options.is_json:
                    print_document({name: plain(value) for name, value in asdict(proof).items()})
                if is_serving:
                    await show.serve()
    return 0


def _scenario() -> Scenario:
    """The shipped one, with snapshots that finish at the first look: nobody wants to watch a poll."""
    from flykeep.testing.flysim.scenario import Progress, Scenario  # noqa: PLC0415 - only this verb needs it

    return Scenario.shipped().model_copy(update={"snapshot_progress": Progress(polls=0)})


@dataclass(frozen=True, slots=True)
class Proof:
    """What the demo has shown, and compared."""

    is_proven: bool
    export_id: str
    found: tuple[str, ...]
    delivered: tuple[str, ...]
    opened_with: str
    compared_entries: int


def _without_log(settings: Settings) -> Settings:
    """The log notifier's lines would run through the show."""
    return replace(settings, notifiers=tuple(one for one in settings.notifiers if one.type != "log"))


@contextmanager
def _directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="flykeep-demo-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Show:
    """The demo's acts, in order; each raises where what it claims does not hold."""

    sim: FlySim
    application: Application
    options: Common
    out: Console
    directory: Path

    async def perform(self, sabotage: Sabotage | None) -> Proof:
        self._act("1  What the organization holds")
        await self._inventory()
        self._act("2  A check finds what is wrong, and tells")
        report = await self._check()
        _require_findings(report)
        self._show_message(MessageKind.OPENED, FindingCode.SNAPSHOT_STALE)
        self._act("3  The fix: a snapshot of the stale volume")
        stale = next(f for f in report.findings if f.code is FindingCode.SNAPSHOT_STALE).subject.label
        await self._run(JobKind.SNAPSHOT, stale)
        self._act(f"4  An export of {_MAIN}, straight from its machine")
        artifact = await self._export()
        self._act("5  The artifact, opened without flykeep and compared with the volume")
        tools, count = await self._compare(artifact, sabotage)
        self._act("6  The next check resolves the incident")
        await self._check()
        self._show_message(MessageKind.RESOLVED, FindingCode.SNAPSHOT_STALE)
        self.out.print()
        self.out.print("every comparison held", style="bold green")
        return Proof(
            is_proven=True,
            export_id=artifact.export_id,
            found=tuple(finding.code.value for finding in report.findings),
            delivered=tuple(str(json.loads(webhook.body)["title"]) for webhook in self.sim.webhooks),
            opened_with=tools,
            compared_entries=count,
        )

    async def serve(self) -> None:
        """Leave a living flykeep behind until Ctrl-C."""
        from flykeep.daemon.assembly import run_daemon  # noqa: PLC0415 - only here

        self.out.print(f"serving; in another terminal, with FLYKEEP_CONFIG={self.directory}/fly/config.toml and")
        for name in ("FLY_API_TOKEN", "FLY_FLAPS_BASE_URL", "FLY_API_BASE_URL"):
            self.out.print(f"  export {name}='{self.sim.environment()[name]}'", markup=False, soft_wrap=True)
        await run_daemon(self.application)

    def _act(self, title: str) -> None:
        self.out.print()
        self.out.print(title, style="bold cyan")

    async def _inventory(self) -> None:
        inventory = await self.application.fly.inventory()
        machines = {machine.id: machine for machine in inventory.machines}
        rows = []
        for volume in inventory.volumes:
            if volume.is_leaving:
                continue
            machine = machines.get(volume.attached_machine_id) if volume.attached_machine_id else None
            state = f"{machine.name} {machine.state}" if machine else "no machine"
            rows.append((f"{volume.app}/{volume.name}", volume.id, f"{volume.size_gb} GB", state))
        print_table(self.out, "volume", "id", "size", "machine", rows=rows)

    async def _check(self) -> CheckReport:
        report = await self.application.check.evaluate()
        await self.application.alerting.record(report.verdicts, report.org, check_id=self.application.ids.run_id())
        await self.application.outbox.deliver_due()
        now = self.application.clock.now()
        for verdict in report.verdicts:
            self.out.print(f"{verdict.verdict.value:<10}", style=STYLES[verdict.verdict], end=" ")
            self.out.print(verdict.label, markup=False)
            print_findings(self.out, verdict.findings, now=now)
        print_findings(self.out, report.org.findings, now=now)
        return report

    async def _run(self, kind: JobKind, target: str) -> Run:
        lineage = await find_lineage(self.application, target)
        run, _ = await act(
            self.application,
            self.options,
            kind=kind,
            lineage=lineage,
            request=RunRequest(reason="demo"),
            is_local=True,
        )
        failure = run.outcome.failure if run.outcome else None
        if run.state is not RunState.SUCCEEDED:
            raise IntegrityError(f"the {kind.value} of {target} ended as {run.state.value}: {failure}")
        return run

    async def _export(self) -> Artifact:
        await self._run(JobKind.EXPORT, _MAIN)
        async with self.application.catalog.transaction() as tx:
            artifact = (await tx.artifacts())[0]
        manifest = artifact.manifest
        self.out.print(
            f"artifact {artifact.export_id}: {manifest.totals.files} files, "
            f"{bytes_text(manifest.totals.content_bytes)} read, "
            f"{bytes_text(sum(part.size_bytes for part in manifest.data))} stored, {manifest.outcome.value}"
        )
        return artifact

    async def _compare(self, artifact: Artifact, sabotage: Sabotage | None) -> tuple[str, int]:
        from flykeep.cli.opening import compare_trees, open_artifact  # noqa: PLC0415 - only here

        store = self.sim.directory / "store"
        if sabotage is Sabotage.ARTIFACT:
            _flip_a_byte(store / artifact.manifest.data[0].key)
            self.out.print("sabotage: one byte of the stored artifact was flipped", style="yellow")
        await self.application.verify.verify(artifact, level="bytes")
        target = self.directory / "restored"
        tools = await asyncio.to_thread(open_artifact, artifact, store, self.sim.directory / "age-identity.txt", target)
        volume = next(row for row in self.sim.announcement().volumes if f"{row.app}/{row.name}" == _MAIN)
        count = await asyncio.to_thread(compare_trees, Path(volume.directory), target)
        self.out.print(f"opened with {tools}")
        self.out.print(f"{count} entries are the same, byte for byte, with their modes, owners and times")
        return tools, count

    def _show_message(self, kind: MessageKind, code: FindingCode) -> None:
        """Show the delivery that the simulator's webhook sink received; raises where none arrived."""
        for webhook in self.sim.webhooks:
            message = json.loads(webhook.body)
            if message.get("kind") == kind.value and message.get("code") == code.value:
                self.out.print()
                self.out.print(f"the webhook received: {message['title']}", style="bold", markup=False)
                for line in filter(None, str(message["body"]).splitlines()):
                    print_indented(self.out, line, by=2)
                return
        raise IntegrityError(f"no {kind.value} message for {code.value} was delivered")


def _require_findings(report: CheckReport) -> None:
    found = {finding.code for finding in report.findings}
    missing = {FindingCode.SNAPSHOT_STALE, FindingCode.VOLUME_UNPROTECTED} - found
    if missing:
        raise IntegrityError(f"the check did not find {', '.join(sorted(missing))}")


def _flip_a_byte(path: Path) -> None:
    with path.open("r+b") as stored:
        stored.seek(path.stat().st_size // 2)
        byte = stored.read(1)
        stored.seek(-1, 1)
        stored.write(bytes([byte[0] ^ 1]))
