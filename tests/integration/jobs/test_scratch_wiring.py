"""What bootstrap makes of [worker] and [scratch], on the simulator's own configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flykeep.bootstrap import Application, open_application
from flykeep.domain.policy import JobKind
from flykeep.domain.scratch import ScratchRule
from flykeep.jobs.export import ExportJob
from flykeep.jobs.locating import Located
from flykeep.jobs.runbook import WithRunbook
from flykeep.jobs.snapshot_source import SnapshotSource
from flykeep.settings import load_settings
from flykeep.testing.clock import CountedIds, ManualClock
from flykeep.testing.flysim.config_file import ConfigTarget, config_text
from tests.integration.jobs.scratch_world import ScratchWorld

RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
ENVIRON = {
    "FLY_API_TOKEN": "none",
    "FLYSIM_WEBHOOK_URL": "http://127.0.0.1:1/",
    "FLYSIM_WEBHOOK_SECRET": "none",
}


def source_of(application: Application) -> SnapshotSource | None:
    located = application.runner.jobs.for_target[JobKind.EXPORT]
    assert isinstance(located, Located)
    assert isinstance(located.job, WithRunbook)
    assert isinstance(located.job.job, ExportJob)
    return located.job.job.snapshots


async def opened(directory: Path, extra: str = "", *, without: str = "") -> tuple[SnapshotSource | None, Any]:
    path = directory / "config.toml"
    target = ConfigTarget("shop", "shop_data", "/data")
    text = config_text(org="acme", ssh_port=22, directory=directory, recipient=RECIPIENT, targets=[target])
    path.write_text(text.replace(without, "") + extra)
    clock = ManualClock()
    settings = load_settings(path, ENVIRON)
    async with open_application(settings, clock=clock, ids=CountedIds(), scratch=ScratchWorld(clock)) as application:
        sweep = application.reconcile.scratch
        assert sweep is not None
        return source_of(application), sweep.app


async def test_an_image_gives_exports_the_snapshot_source(tmp_path: Path) -> None:
    source, swept = await opened(tmp_path)
    assert source is not None
    assert source.rule == ScratchRule(source.rule.app, 100, 2)
    assert (source.rule.app, swept) == ("flykeep-scratch", "flykeep-scratch")
    assert source.scratch.image.endswith("@sha256:" + "5" * 64)


async def test_a_folder_of_the_daemons_own_is_hidden_from_workers_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    source, _ = await opened(tmp_path)
    assert source is not None
    assert source.hidden_stores == frozenset()  # the simulator says that it shows it
    source, _ = await opened(tmp_path, without="visible_to_workers = true\n")
    assert source is not None
    assert source.hidden_stores == {"offsite"}


async def test_the_targets_own_app_is_used_only_where_it_is_written_out(tmp_path: Path) -> None:
    source, swept = await opened(tmp_path, "\n[scratch]\nin_target_app = true\n")
    assert source is not None
    assert (source.rule.app, swept) == (None, None)


async def test_without_an_image_there_is_no_such_source_and_leftovers_are_still_removed(tmp_path: Path) -> None:
    line = f'image = "registry.fly.io/flykeep@sha256:{"5" * 64}"\n'
    assert await opened(tmp_path, without=line) == (None, None)
