"""The care of a volume as a person does it, against the simulator: usage, cleaning, more room, retention."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from flykeep.testing.flysim.model import Machine, Volume
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Scenario, Seed, SnapshotSpec, VolumeSpec
from tests.e2e.warm import WarmKit, warm_flykeep
from tests.flykit import Ended

pytestmark = pytest.mark.asyncio(loop_scope="module")

TARGET = "my-crocbot/crocbot_data"
RULES = 'clean = [{ glob = "agents/*/sessions/*.jsonl", older_than = "30d" }]\n'
SCENARIO = Scenario(
    rate_limits=False,
    extend_needs_restart=True,
    apps=(
        AppSpec(
            name="my-crocbot",
            machines=(MachineSpec(name="quiet-river-1", volume="crocbot_data"),),
            volumes=(
                VolumeSpec(
                    name="crocbot_data",
                    seed=Seed(kind="crocbot", count=3),
                    snapshots=(SnapshotSpec(age_hours=30), SnapshotSpec(age_hours=6)),
                ),
            ),
        ),
    ),
)
ODD = (b"-rf x\ny.jsonl", b"with space.jsonl", b"\xff.jsonl")


@dataclass
class Story:
    """One volume that was nearly full, step by step; `files` is what it held after each."""

    kit: WarmKit
    told: dict[str, Ended] = field(default_factory=dict)
    files: dict[str, set[bytes]] = field(default_factory=dict)
    old: set[bytes] = field(default_factory=set)
    starts_after_extension: int = 0

    @property
    def volume(self) -> Volume:
        return self.kit.sim.world.find_volume("my-crocbot", "crocbot_data")

    @property
    def machine(self) -> Machine:
        return self.kit.sim.world.find_machine("my-crocbot")

    @property
    def starts(self) -> int:
        return sum(event.type == "start" for event in self.machine.events)

    async def tell(self, name: str, *words: str) -> None:
        self.told[name] = await self.kit.run("volume", *words)
        self.files[name] = files_of(self.volume.directory)

    def code(self, name: str) -> int:
        return self.told[name].code

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.told[name].document


def files_of(directory: Path) -> set[bytes]:
    base = os.fsencode(directory)
    return {os.path.relpath(folder + b"/" + name, base) for folder, _, names in os.walk(base) for name in names}


def age(path: bytes, days: float, story: Story) -> None:
    changed_s = story.kit.sim.world.now().timestamp() - days * 86_400
    os.utime(path, (changed_s, changed_s))


def plant(story: Story) -> set[bytes]:
    """Old sessions with odd names beside young ones; returns the paths that the rule names."""
    sessions = b"agents/main/sessions/"
    base = os.fsencode(story.volume.directory) + b"/"
    old = {sessions + name for name in ODD} | {sessions + b"2026000.jsonl"}
    for path in old | {sessions + b"old.txt", b"old.jsonl"}:
        with open(base + path, "ab") as file:  # noqa: PTH123 - paths are bytes
            file.write(b"x" * 100)
        age(base + path, 40, story)
    (story.volume.directory / "agents/ops/sessions/link.jsonl").symlink_to("/etc/passwd")
    return old


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    async with warm_flykeep(tmp_path_factory.mktemp("volume"), scenario=SCENARIO) as kit:
        made = Story(kit)
        kit.edit('match = "my-crocbot/crocbot_data"\n', f'match = "my-crocbot/crocbot_data"\n{RULES}')
        await tell(made)
        yield made


async def tell(story: Story) -> None:
    story.old = plant(story)
    await story.tell("usage", "usage", TARGET)
    await story.tell("dry run", "clean", TARGET, "--json")
    await story.tell("refused", "clean", TARGET, "--apply", "--yes", "--json")
    story.kit.sim.world.add_snapshot(story.volume, age=timedelta(minutes=50))
    await story.tell("cleaned", "clean", TARGET, "--apply", "--yes", "--json")
    await story.tell("extended", "extend", TARGET, "--size", "+1", "--yes", "--json")
    story.starts_after_extension = story.starts
    await story.tell("restarted", "extend", TARGET, "--size", "2", "--restart", "--yes", "--json")
    await story.tell("kept", "retention", TARGET, "--days", "9", "--automatic", "off", "--json")
    story.machine.state = "stopped"
    await story.tell("stopped", "usage", TARGET, "--json")
    story.machine.state = "started"


class TestUsage:
    async def test_flys_numbers_stand_beside_those_of_the_machine(self, story: Story) -> None:
        told = story.told["usage"].stdout

        assert story.code("usage") == 0
        assert f"{TARGET}: {story.volume.id}, 1 GB in iad" in told
        assert re.search(r"Fly says: .* of 1\.0 GiB used", told)
        assert re.search(r"df: .* used \(.*%\), .* free for the application; .* inodes", told)
        assert "It does not grow by itself" in told
        assert "kept for 5 days; Fly's daily ones: on" in told
        assert f"cleaning: 1 rule: flykeep volume clean {TARGET}" in told
        assert re.search(r" KiB +agents/main$", told, re.MULTILINE)

    async def test_a_stopped_machine_is_said_and_flys_numbers_are_shown(self, story: Story) -> None:
        told = story["stopped"]

        assert (story.code("stopped"), told["disk"]) == (0, None)
        assert told["silence"] == f"machine {story.machine.id} is stopped"
        assert told["used_bytes"] > 0


class TestClean:
    async def test_a_dry_run_shows_what_would_go_and_takes_nothing(self, story: Story) -> None:
        [rule] = story["dry run"]["result"]["rules"]

        assert story.code("dry run") == 0
        assert (rule["glob"], rule["files"]) == ("agents/*/sessions/*.jsonl", len(story.old))
        assert story.files["dry run"] == story.files["usage"]

    async def test_nothing_goes_without_a_snapshot_of_the_last_hour(self, story: Story) -> None:
        assert story.code("refused") == 4
        assert "without a snapshot of the last hour" in story["refused"]["error"]["message"]
        assert f"flykeep snapshot {TARGET}" in story["refused"]["error"]["hint"]
        assert story.files["refused"] == story.files["usage"]

    async def test_exactly_what_the_rule_names_is_freed_and_counted(self, story: Story) -> None:
        result = story["cleaned"]["result"]
        [rule] = result["rules"]

        assert story.code("cleaned") == 0, story.told["cleaned"].stderr
        assert story.files["refused"] - story.files["cleaned"] == story.old
        assert story.files["cleaned"] <= story.files["refused"]
        assert (result["removed"], result["freed_bytes"]) == (len(story.old), rule["content_bytes"])
        assert result["snapshot_id"] in {snapshot.id for snapshot in story.volume.snapshots}

    async def test_a_living_daemon_cleans_for_whoever_asks(self, story: Story) -> None:
        path = os.fsencode(story.volume.directory) + b"/agents/main/sessions/2026001.jsonl"
        age(path, 50, story)
        async with story.kit.daemon() as daemon:
            ended = await story.kit.run("volume", "clean", TARGET, "--apply", "--yes")
            await daemon.logged("run.ended", kind="volume", state="succeeded")

        assert ended.code == 0, ended.stderr
        assert "1 file removed" in ended.stdout
        assert b"agents/main/sessions/2026001.jsonl" not in files_of(story.volume.directory)


class TestExtend:
    async def test_the_volume_grows_and_a_restart_is_said_and_not_done(self, story: Story) -> None:
        result = story["extended"]["result"]

        assert story.code("extended") == 9
        assert (result["from_gb"], result["to_gb"], result["monthly_cents"]) == (1, 2, 15)
        assert (result["restart_missing"], story.starts_after_extension) == (True, 1)
        assert "$0.15 more a month" in story.told["extended"].stderr

    async def test_the_restart_is_done_under_the_machines_lease(self, story: Story) -> None:
        asked = [one.action for one in story.kit.sim.requests]

        assert story.code("restarted") == 0, story.told["restarted"].stderr
        assert (story.starts, story["restarted"]["result"]["restart_missing"]) == (
            story.starts_after_extension + 1,
            False,
        )
        held, done, free = (asked.index(one) for one in ("lease.acquire", "machine.restart", "lease.release"))
        assert held < done < free
        assert asked.count("volume.extend") == 1


class TestRetention:
    async def test_days_and_automatic_snapshots_change_what_they_say(self, story: Story) -> None:
        result = story["kept"]["result"]
        assert story.code("kept") == 0
        assert (result["from_days"], result["to_days"], result["automatic_after"]) == (5, 9, False)
        assert (story.volume.snapshot_retention, story.volume.is_auto_backup_enabled) == (9, False)

    async def test_only_snapshots_taken_afterwards_are_kept_that_long(self, story: Story) -> None:
        world, volume = story.kit.sim.world, story.volume
        before = {snapshot.id: snapshot.retention_days for snapshot in volume.snapshots}
        assert set(before.values()) == {5}
        later = world.add_snapshot(volume, age=timedelta(0))
        assert later.retention_days == 9
        assert before.items() <= {snapshot.id: snapshot.retention_days for snapshot in volume.snapshots}.items()
