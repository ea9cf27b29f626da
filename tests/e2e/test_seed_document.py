"""Each section of the page of manual procedures that flykeep replaces, performed through flykeep.

One crocbot on one simulated Fly lives through the whole page, in its order but for the disaster, which comes last. The
verbs run on a clock of their own that is faster; what they did is judged by the data.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from flykeep.testing.flysim.model import Machine, Snapshot, Volume
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Progress, Scenario, Seed, SnapshotSpec, VolumeSpec
from tests.e2e.nursery import Household, Nursery
from tests.e2e.test_recover import check as recorded_check
from tests.flykit import Ended, flykeep
from tests.integration.scratch.home import SCRATCH_APP
from tests.integration.worker.importing import compared
from tests.integration.worker.trees import Fact

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "my-crocbot"
TARGET = f"{APP}/crocbot_data"
NEWBORN = "newborn/newborn_data"
DAY = timedelta(days=1)

# The table of the section "Overview": what, where from the volume's root, and how much it matters.
TABLE = {
    "Configuration": ("crocbot.json", "Yes"),
    "Credentials": ("credentials/", "Yes"),
    "Sessions": ("agents/{}/sessions/", "Medium"),
    "Memory": ("agents/{}/memory/", "Medium"),
    "Logs": ("logs/", "Low"),
}
SECRETS = {"ANTHROPIC_API_KEY": "sk-ant-set-again", "TELEGRAM_BOT_TOKEN": "telegram-set-again"}
EXPORTED = ("crocbot.json", "credentials/", "agents/")

CONFIG = """\
include = ["crocbot.json", "credentials/**", "agents/**"]
probes = [
  { kind = "json", path = "crocbot.json" },
  { kind = "exists", path = "credentials" },
  { kind = "count", path = "agents", min_files = 1 },
]
clean = [{ glob = "agents/**/*.jsonl", older_than = "30d" }]
"""

SCENARIO = Scenario(
    rate_limits=False,
    snapshot_progress=Progress(polls=0),
    apps=(
        AppSpec(
            name=APP,
            secrets=dict.fromkeys(SECRETS, "as it was"),
            addresses=("shared_v4", "v6"),
            certificates=("bot.example.com",),
            machines=(MachineSpec(name="quiet-river-1", volume="crocbot_data", env={"NODE_ENV": "production"}),),
            volumes=(
                VolumeSpec(
                    name="crocbot_data",
                    seed=Seed(kind="crocbot", count=3),
                    snapshots=(SnapshotSpec(age_hours=54), SnapshotSpec(age_hours=30), SnapshotSpec(age_hours=6)),
                ),
            ),
        ),
        AppSpec(
            name="newborn",
            machines=(MachineSpec(name="dry-lake-1", volume="newborn_data"),),
            volumes=(VolumeSpec(name="newborn_data", age_days=2, seed=Seed(count=2)),),
        ),
        AppSpec(name=SCRATCH_APP),
    ),
)


@dataclass
class Story:
    """What was asked, what was answered, and what the crocbot's volume held after it."""

    house: Household
    told: dict[str, Ended] = field(default_factory=dict)
    seen: dict[str, dict[bytes, Fact]] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    paths: dict[str, set[str]] = field(default_factory=dict)
    first: Volume | None = None
    snapshots: list[Snapshot] = field(default_factory=list)
    is_gone: bool = False
    old: Machine | None = None
    new: Machine | None = None
    made: Volume | None = None
    kept: tuple[str, str] = ("", "")

    @property
    def directory(self) -> Path:
        return self.house.kit.directory

    @property
    def volume(self) -> Volume:
        """The one that the application runs on."""
        return self.house.sim.world.volumes[str(self.machine.volume_id)]

    @property
    def machine(self) -> Machine:
        [started] = [one for one in self.house.sim.world.machines_of(APP) if one.state == "started"]
        return started

    async def tell(self, name: str, *words: str) -> dict[str, Any]:
        self.told[name] = await self.house.verb(*words, "--json")
        self.look(name)
        return self[name]

    async def glance(self, name: str, *words: str) -> dict[str, Any]:
        """As `tell`, where the contents of files do not matter, or are not there any more."""
        self.told[name] = await self.house.verb(*words, "--json")
        root = self.volume.directory
        self.paths[name] = {str(path.relative_to(root)) for path in root.rglob("*")}
        return self[name]

    def look(self, name: str) -> None:
        self.seen[name] = compared(self.volume.directory)
        self.starts[name] = sum(event.type == "start" for event in self.machine.events)

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.told[name].document

    def done(self, *names: str) -> None:
        """Each of these verbs ended well."""
        for name in names:
            assert self.told[name].code == 0, (name, self.told[name])

    def findings(self, name: str) -> dict[str, dict[str, Any]]:
        return {finding["code"]: finding for finding in self[name]["findings"]}


def contents(files: dict[bytes, Fact]) -> dict[bytes, str]:
    """What the regular files among them hold."""
    return {path: fact.content for path, fact in files.items() if fact.kind == "-"}


def exported(files: dict[bytes, Fact]) -> dict[bytes, Fact]:
    """Of a volume's files those that leave the platform."""
    return {path: fact for path, fact in files.items() if path.startswith(tuple(map(str.encode, EXPORTED)))}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> AsyncIterator[Story]:
    async with flykeep(tmp_path_factory.mktemp("seed"), scenario=SCENARIO) as kit:
        kit.edit('match = "my-crocbot/crocbot_data"\n', f'match = "my-crocbot/crocbot_data"\n{CONFIG}')
        kit.edit("[encryption]\n", '[encryption]\nidentity_secret = "OPERATOR_IDENTITY"\n')
        identity = (kit.sim.directory / "age-identity.txt").read_text()
        kit.extra["OPERATOR_IDENTITY"] = identity.strip().splitlines()[-1]
        made = Story(Household(kit, nursery, speed=20))
        try:
            await live(made)
            yield made
        finally:
            await nursery.clear()


async def live(story: Story) -> None:
    story.first = story.volume
    story.look("before")
    await automatic_snapshots(story)
    await manual_snapshots(story)
    await export_data(story)
    await ssh_in_and_verify_first(story)
    await import_data(story)
    await backup_schedule(story)
    await monitoring(story)
    await no_snapshots_available(story)
    await volume_full(story)
    await restore_from_snapshot(story)
    await disaster(story)


# -- Overview


async def test_overview_every_row_of_the_table_is_protected_as_it_matters(story: Story) -> None:
    agents = {path.split(b"/")[1].decode() for path in story.seen["before"] if path.count(b"/") > 1}
    in_artifact = {file["path"]: file["sha256"] for file in story["files"]["files"]}
    in_snapshot = compared(story.house.sim.world.snapshot_directory(story["snapshot"]["result"]["snapshot_id"]))

    for what, (pattern, matters) in TABLE.items():
        for place in {pattern.format(agent) for agent in agents}:
            on_volume = {path for path in story.seen["before"] if path.startswith(place.encode())}
            assert on_volume, what
            assert on_volume <= in_snapshot.keys(), what
            files = {path.decode() for path in on_volume & contents(story.seen["before"]).keys()}
            assert files
            assert files.issubset(in_artifact) is (matters != "Low"), what
    assert in_artifact["crocbot.json"] == story.seen["before"][b"crocbot.json"].content


# -- Automatic Snapshots


async def automatic_snapshots(story: Story) -> None:
    await story.tell("snapshots", "snapshots", TARGET)
    await story.tell("usage", "volume", "usage", TARGET)
    await story.tell("check", "check", TARGET)
    await story.tell("longer", "volume", "retention", TARGET, "--days", "14")


async def test_automatic_snapshots_are_listed_judged_by_age_and_kept_longer_where_that_is_wanted(story: Story) -> None:
    story.done("snapshots", "usage", "check", "longer")
    rows = [row["snapshot"] for row in story["snapshots"]["snapshots"]]
    instants = [datetime.fromisoformat(row["created_at"]) for row in rows]

    assert [row["id"] for row in rows] == [one.id for one in reversed(story.snapshots[:3])]
    assert instants == sorted(instants, reverse=True)
    assert (story["usage"]["retention_days"], story["usage"]["automatic_snapshots"]) == (5, True)
    assert story["check"]["targets"][0]["newest_snapshot_at"] == rows[0]["created_at"]
    assert (story["longer"]["result"]["from_days"], story["longer"]["result"]["to_days"]) == (5, 14)
    assert {one.retention_days for one in story.snapshots[:3]} == {5}


# -- Manual Snapshots


async def manual_snapshots(story: Story) -> None:
    await story.tell("snapshot", "snapshot", TARGET, "--reason", "before fly deploy")
    story.snapshots = [*story.volume.snapshots]


async def test_manual_snapshots_hold_what_the_volume_held_before_a_risky_step(story: Story) -> None:
    story.done("snapshot")
    made = story["snapshot"]["result"]["snapshot_id"]
    [snapshot] = [one for one in story.snapshots if one.id == made]

    assert compared(story.house.sim.world.snapshot_directory(made)) == story.seen["before"]
    assert (snapshot.settled_status, snapshot.retention_days) == ("created", 14)


# -- Restore from Snapshot, Option 1: create new volume from snapshot; and Troubleshooting: Snapshot restore fails


async def restore_from_snapshot(story: Story) -> None:
    wanted = story["snapshot"]["result"]["snapshot_id"]
    spoil(story)
    await story.tell("listed", "restore", TARGET)
    await story.tell("planned", "restore", TARGET, "--snapshot", wanted, "--plan")
    story.old = story.machine
    restored = await story.tell("restored", "restore", TARGET, "--snapshot", wanted, "--yes")
    story.new, story.made = story.machine, story.volume
    story.kept = (story.old.state, story.house.sim.world.volumes[str(story.old.volume_id)].state)
    await story.tell("finalized", "restore", "finalize", restored["restore_id"], "--yes")


async def test_restore_from_snapshot_option_1_a_new_volume_takes_the_place_of_the_spoiled_one(story: Story) -> None:
    story.done("listed", "planned", "restored", "finalized")
    wanted, old, new = story["snapshot"]["result"]["snapshot_id"], story.old, story.new
    assert old is not None
    assert new is not None
    result = story["restored"]["result"]

    assert wanted in {one["id"] for one in story["listed"]["candidates"]}
    assert story.seen["restored"] == story.seen["before"]
    assert (new.name, new.region, new.config["env"]) == (old.name, old.region, old.config["env"])
    assert (new.id, new.volume_id) == (result["machine_id"], result["volume_id"])
    assert new.volume_id != old.volume_id
    assert story.kept == ("stopped", "created"), "the old machine and volume stay until a person decides"
    assert story.first is not None
    assert (old.state, story.first.id, story.first.state) == ("destroyed", old.volume_id, "pending_destroy")
    assert story.seen["finalized"] == story.seen["before"]


async def test_troubleshooting_snapshot_restore_fails_the_region_is_that_of_the_snapshot(story: Story) -> None:
    first, made = story.first, story.made
    assert first is not None
    assert made is not None

    assert story["planned"]["plan"]["regions"][0] == first.region
    assert (made.region, made.name) == (first.region, first.name)
    assert made.size_gb >= story["planned"]["plan"]["size_gb"] >= 1


# -- Restore from Snapshot, Option 2: SSH in and verify first


def spoil(story: Story) -> None:
    (story.volume.directory / "crocbot.json").write_text("{ spoiled")
    shutil.rmtree(story.volume.directory / "credentials")


async def ssh_in_and_verify_first(story: Story) -> None:
    spoil(story)
    await story.tell("assessed", "inspect", TARGET)


async def test_restore_from_snapshot_option_2_the_damage_is_assessed_first(story: Story) -> None:
    assert story.told["assessed"].code == 3
    failed = {one["probe"].split()[0] for one in story["assessed"]["probes"] if one["state"] == "failed"}
    names = {name["path"]: name["change"] for name in story["assessed"]["diff"]["names"]}
    lost = {path.decode() for path in story.seen["before"] if path.startswith(b"credentials")}

    assert len([one for one in story["assessed"]["probes"] if one["state"] == "failed"]) == 2, failed
    assert lost <= {path for path, change in names.items() if change == "brought_back"}
    assert names["crocbot.json"] == "overwritten"
    assert story.seen["assessed"].keys() == story.seen["before"].keys() - set(map(str.encode, lost))


# -- Export Data (Manual Backup)


async def export_data(story: Story) -> None:
    export_id = (await story.tell("export", "export", TARGET, "--source", "ssh"))["export_id"]
    await story.tell("files", "artifact", "files", export_id)
    await story.tell(
        "fetched", "artifact", "get", export_id, "--path", ".", "--to", str(story.directory / "crocbot-backup")
    )


async def test_export_data_the_critical_files_leave_the_platform_and_nobody_else_reads_them(story: Story) -> None:
    story.done("export", "files", "fetched")
    fetched = compared(story.directory / "crocbot-backup")
    wanted = exported(story.seen["before"])

    assert len(wanted) > 20
    assert contents(exported(fetched)) == contents(wanted)
    secret = json.loads((story.directory / "crocbot-backup/credentials/telegram.json").read_text())["token"]
    store = story.house.sim.directory / "store"
    assert not [path for path in store.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


# -- Import Data (Manual Restore)


async def import_data(story: Story) -> None:
    tarball = story.directory / "backup.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        for name in ("crocbot.json", "credentials", "agents"):
            archive.add(story.directory / "crocbot-backup" / name, name)
    run = (await story.tell("tarball", "import", TARGET, str(tarball), "--yes"))["import_id"]
    await story.tell("kept", "import", "confirm", run, "--yes")
    (story.volume.directory / "crocbot.json").write_text("{ spoiled again")
    export_id = story["export"]["export_id"]
    one = ("--artifact", export_id, "--path", "crocbot.json", "--yes")
    run = (await story.tell("one file", "import", TARGET, *one))["import_id"]
    await story.tell("one kept", "import", "confirm", run, "--yes")


@pytest.mark.parametrize("way", ["tarball", "one file"])
async def test_import_data_brings_the_files_back_and_restarts(story: Story, way: str) -> None:
    story.done("tarball", "kept", "one file", "one kept")
    before, after = exported(story.seen["before"]), exported(story.seen[way])

    assert contents(after) == contents(before)
    order = ["assessed", "tarball", "kept", "one file"]
    assert story.starts[way] == story.starts[order[order.index(way) - 1]] + 1
    assert [path for path in story.seen["one kept"] if path.startswith(b".flykeep")] == []
    assert {path for path in story.seen[way] if path.startswith(b"logs/")} == {
        path for path in story.seen["before"] if path.startswith(b"logs/")
    }


# -- Backup Schedule Recommendations


async def backup_schedule(story: Story) -> None:
    """The table's four rows: production, development, critical data, and what goes before a migration."""
    policies = "".join(f'\n[[targets]]\nmatch = "x/{name}"\npolicy = "{name}"\n' for name in ("development", "weekly"))
    weekly = '\n[policies.weekly]\nextends = "critical"\n[[policies.weekly.copies]]\nstore = "offsite"\n'
    text = story.house.kit.config.read_text()
    story.house.kit.config.write_text(text + weekly + policies)
    await story.tell("config", "config", "show")
    story.house.kit.config.write_text(text)
    await story.tell("checkpoint", "checkpoint", TARGET, "--reason", "before migrating")


async def test_backup_schedule_recommendations_are_policies_and_a_checkpoint(story: Story) -> None:
    values = {entry["key"]: entry["value"] for entry in story["config"]["settings"]}

    assert values["policies.standard.snapshot.automatic"] is True
    assert (values["policies.development.snapshot.cron"], values["policies.development.alarming"]) == (None, False)
    assert values["policies.weekly.export.cron"] == "0 4 * * 0"
    assert values["policies.weekly.export.max_age"] == "8d"
    story.done("config", "checkpoint")
    result = story["checkpoint"]["result"]
    assert story["checkpoint"]["is_go"] is True
    assert story.first is not None
    assert result["snapshot_id"] in {snapshot.id for snapshot in story.first.snapshots}
    manifests = (story.house.sim.directory / "store").rglob("manifest.json")
    assert result["export_id"] in {path.parent.name for path in manifests}


# -- Monitoring Backup Health


async def monitoring(story: Story) -> None:
    for snapshot in story.volume.snapshots:
        snapshot.requested_at -= 2 * DAY
    await story.tell("too old", "check", TARGET)
    for snapshot in story.volume.snapshots:
        snapshot.requested_at += 2 * DAY
    await story.tell("drill", "drill", TARGET, "--from", "snapshot")


async def test_monitoring_backup_health_ages_are_judged_and_a_test_restore_is_cleaned_up(story: Story) -> None:
    story.done("check", "drill")
    assert story.told["too old"].code == 3
    assert "snapshot.stale" in story.findings("too old")
    proof = story["drill"]["proof"]
    assert (proof["outcome"], proof["source"]["kind"]) == ("passed", "snapshot")
    world = story.house.sim.world
    assert {volume.state for volume in world.volumes_of(SCRATCH_APP)} == {"pending_destroy"}
    assert {machine.state for machine in world.machines_of(SCRATCH_APP)} == {"destroyed"}


# -- Troubleshooting: No snapshots available


async def no_snapshots_available(story: Story) -> None:
    await story.tell("none", "check", NEWBORN)
    await story.tell("first", "snapshot", NEWBORN)
    await story.tell("one", "check", NEWBORN)


async def test_troubleshooting_no_snapshots_available_one_is_taken_by_hand(story: Story) -> None:
    assert "flykeep snapshot" in story.findings("none")["snapshot.missing"]["next_step"]
    story.done("first")
    assert "snapshot.missing" not in story.findings("one")
    [row] = story["one"]["targets"]
    assert row["newest_snapshot_at"] == story["first"]["result"]["created_at"]


# -- Troubleshooting: Volume full


async def volume_full(story: Story) -> None:
    session = story.volume.directory / "agents" / "main" / "sessions" / "huge.jsonl"
    with session.open("wb") as file:
        file.truncate(990 << 20)
    changed_s = (story.house.sim.world.now() - 40 * DAY).timestamp()
    os.utime(session, (changed_s, changed_s))
    await story.glance("full", "check", TARGET)
    await story.glance("filled by", "volume", "usage", TARGET)
    await story.glance("cleaned", "volume", "clean", TARGET, "--apply", "--yes")
    await story.glance("roomy", "check", TARGET)
    await story.glance("extended", "volume", "extend", TARGET, "--size", "2", "--yes")


async def test_troubleshooting_volume_full_old_sessions_go_or_it_grows(story: Story) -> None:
    finding = story.findings("full")["volume.full"]
    for verb in ("usage", "clean", "extend"):
        assert f"flykeep volume {verb} {TARGET}" in finding["next_step"]
    story.done("filled by", "cleaned", "extended")
    assert story["filled by"]["used_bytes"] > 0.9 * story["filled by"]["total_bytes"]
    assert story["cleaned"]["result"]["rules"][0]["sample"] == ["agents/main/sessions/huge.jsonl"]
    assert story.paths["filled by"] - story.paths["cleaned"] == {"agents/main/sessions/huge.jsonl"}
    assert story.paths["cleaned"] <= story.paths["filled by"]
    assert story["cleaned"]["result"]["freed_bytes"] == 990 << 20
    assert "volume.full" not in story.findings("roomy")
    assert story.first is not None
    assert story.first.size_gb == 2


# -- Disaster Recovery Checklist


def secrets_file(story: Story, *names: str) -> str:
    path = story.directory / "secrets.env"
    path.write_text("".join(f"{name}={SECRETS[name]}\n" for name in names))
    return str(path)


async def disaster(story: Story) -> None:
    await recorded_check(story.house.kit)
    world = story.house.sim.world
    world.remove_app(APP)
    words = ("recover", APP, "--yes", "--secrets")
    story.told["a secret is missing"] = await story.house.verb(
        *words, secrets_file(story, "TELEGRAM_BOT_TOKEN"), "--json"
    )
    story.is_gone = APP not in world.apps
    await story.tell("recovered", *words, secrets_file(story, *SECRETS))


async def test_disaster_recovery_checklist_the_app_comes_back_with_its_data_and_secrets(story: Story) -> None:
    assert (story.told["a secret is missing"].code, story.is_gone) == (4, True)
    story.done("recovered")
    before, after = exported(story.seen["before"]), exported(story.seen["recovered"])
    world = story.house.sim.world

    assert story.first is not None
    assert story.volume.id != story.first.id
    assert contents(after) == contents(before)
    assert {name: secret.value for name, secret in world.apps[APP].secrets.items()} == SECRETS
    machine = story.machine
    assert (machine.name, machine.state, machine.volume_id) == ("quiet-river-1", "started", story.volume.id)
    assert machine.config["env"] == {"NODE_ENV": "production"}
    assert "DNS" in str(story["recovered"]["result"]["by_hand"])
