"""`flykeep simulate`: a Fly of one's own on loopback, without an account."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from flykeep.cli.context import common, run_async


def register(app: typer.Typer) -> None:
    @app.command()
    def simulate(
        ctx: typer.Context,
        state: Annotated[Path, typer.Option(help="Where its volumes, snapshots and config.toml live; emptied first.")],
        scenario: Annotated[
            Path | None,
            typer.Option(help="A TOML file that says what Fly holds; without it the one that comes with flykeep."),
        ] = None,
        port: Annotated[int, typer.Option(min=0, max=65535, help="The port to serve on; 0 takes a free one.")] = 0,
    ) -> None:
        """Serve a simulated Fly until SIGTERM; prints one JSON line with everything a client needs."""
        raise typer.Exit(run_async(lambda: _simulate(state, scenario, port), common(ctx)))


async def _simulate(state: Path, scenario: Path | None, port: int) -> int:
    from flykeep.adapters.system import SystemClock, SystemIds  # noqa: PLC0415 - `--help` must not load the simulator
    from flykeep.testing.flysim.scenario import Scenario  # noqa: PLC0415
    from flykeep.testing.flysim.serve import FlySim  # noqa: PLC0415

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with FlySim.start(
        state_directory=state,
        clock=SystemClock(),
        ids=SystemIds(),
        scenario=Scenario.from_file(scenario) if scenario else None,
        port=port,
    ) as sim:
        sim.write_config()
        sys.stdout.write(sim.announcement().to_json() + "\n")
        sys.stdout.flush()
        await stop.wait()
    return 0
