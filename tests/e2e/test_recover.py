"""The app is deleted, and flykeep with it: a laptop with the key, the bucket and a token brings it back."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flykeep.bootstrap import open_application
from flykeep.cli.opening import compare_trees
from flykeep.domain.ids import AppName
from flykeep.domain.policy import JobKind
from flykeep.domain.recover_plan import RecoverWish
from flykeep.domain.run import RunRequest, RunState
from flykeep.domain.target import ORG_LINEAGE, recovery_lineage
from flykeep.jobs.recover import RecoverInputs
from flykeep.jobs.runner import Watcher
from flykeep.settings import load_settings
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Progress, Scenario, Seed, VolumeSpec
from tests.e2e.warm import WarmKit, warm_flykeep
from tests.flykit import Kit
from tests.full import full
from tests.integration.scratch.home import QuickClock

APP, NEW = "my-crocbot", "my-crocbot-2"
MAIN = f"{APP}/crocbot_data"
VALUES = {"ANTHROPIC_API_KEY": "planted-7f31c2-anthropic", "TELEGRAM_BOT_TOKEN": "planted-0b9e44 telegram"}
ENV = "planted-in-the-environment-5a"
SCENARIO = Scenario(
    rate_limits=False,
    snapshot_progress=Progress(polls=0),
    apps=(
        AppSpec(
            name=APP,
            network="crocs",
            secrets=dict.fromkeys(VALUES, "as it was"),
            addresses=("shared_v4", "v6"),
            certificates=("bot.example.com",),
            machines=(MachineSpec(name="quiet-river-1", volume="crocbot_data", env={"LICENCE": ENV}),),
            volumes=(VolumeSpec(name="crocbot_data", size_gb=2, seed=Seed(kind="crocbot", count=3)),),
        ),
        AppSpec(name="flykeep", machines=(MachineSpec(name="keeper"),)),
        AppSpec(name="flykeep-scratch"),
    ),
)


@pytest.fixture
async def lost(tmp_path: Path) -> AsyncIterator[WarmKit]:
    """A store that outlived the app and flykeep; `was` beside it is what the volume held."""
    async with warm_flykeep(tmp_path, scenario=SCENARIO) as kit:
        await check(kit)
        exported = await kit.run("export", MAIN, "--json")
        assert exported.code == 0, exported.stderr
        world = kit.sim.world
        world.copy_tree(world.find_volume(APP, "crocbot_data").directory, tmp_path / "was")
        for app in (APP, "flykeep", "flykeep-scratch"):
            world.remove_app(app)
        kit.sim.faults.add(Fault(kind=FaultKind.SSH_REFUSE, action="ssh.connect", times=0))
        signer = json.loads(next((kit.sim.directory / "store").rglob("manifest.json")).read_text())["signature"]
        shutil.rmtree(kit.sim.directory / "keys")
        for database in kit.sim.directory.rglob("flykeep.db*"):
            database.unlink()
        (kit.sim.directory / "keys").mkdir(mode=0o700)
        (kit.sim.directory / "keys" / "trusted_signers").write_text(signer["public_key"] + "\n")
        yield kit


async def check(kit: Kit) -> None:
    """One check as the daemon runs it."""
    async with open_application(load_settings(kit.config, kit.environment)) as application:
        submission = application.submission
        async with submission.submitted(JobKind.CHECK, ORG_LINEAGE, RunRequest(), is_local=True) as run:
            ended = await submission.see_through(run, watcher=Watcher())
    assert ended.state is RunState.SUCCEEDED, ended


def written(kit: WarmKit, names: list[str]) -> str:
    path = kit.directory / "f.env"
    path.write_text("".join(f'{name}="{VALUES[name]}"\n' for name in names))
    return str(path)


async def recover(kit: WarmKit, secrets: str, *words: str) -> tuple[int, dict[str, object], str]:
    identity = str(kit.sim.directory / "age-identity.txt")
    ended = await kit.run(
        "recover", APP, "--as", NEW, "--secrets", secrets, "--identity", identity, "--yes", "--json", "-v", *words
    )
    return ended.code, ended.document, ended.stdout + ended.stderr


def writes(kit: WarmKit) -> list[str]:
    return [f"{one.action} {one.app or ''}" for one in kit.sim.requests if one.method != "GET"]


async def stopped_by_a_missing_secret(kit: WarmKit) -> str:
    """Nothing but reading is asked of Fly; what was shown."""
    before = len(writes(kit))
    code, document, shown = await recover(kit, written(kit, ["ANTHROPIC_API_KEY"]))
    assert code == 4, shown
    assert "TELEGRAM_BOT_TOKEN" in json.dumps(document["error"])
    assert writes(kit)[before:] == []
    return shown


def is_brought_back(kit: WarmKit, result: dict[str, object], was: Path) -> None:
    world = kit.sim.world
    volume, machine = world.find_volume(NEW, "crocbot_data"), world.find_machine(NEW)
    assert compare_trees(was, volume.directory) > 3
    assert (volume.size_gb, volume.region, machine.name, machine.state) == (2, "iad", "quiet-river-1", "started")
    assert machine.config["env"] == {"LICENCE": ENV}
    assert "@sha256:" in machine.config["image"]
    assert machine.volume_id == volume.id
    assert {name: secret.value for name, secret in world.apps[NEW].secrets.items()} == VALUES
    assert world.apps[NEW].network == "crocs"
    assert sorted(one.kind for one in world.apps[NEW].addresses) == ["shared_v4", "v6"]
    assert world.apps[NEW].addresses[0].ip in str(result["by_hand"])
    assert "fly certs add bot.example.com -a my-crocbot-2" in str(result["by_hand"])
    assert len([one for one in world.volumes_of(NEW) if one.state == "created"]) == 1


def is_kept_secret(kit: WarmKit, shown: str) -> None:
    """No value is in an output, the database, a log or the store; what a machine's `env` held is in the database."""
    kept = [path for path in kit.sim.directory.rglob("*") if path.is_file() and "volumes" not in path.parts]
    assert any(path.name == "flykeep.db" for path in kept)
    for path in kept:
        content = path.read_bytes()
        values = [*VALUES.values()] if path.name.startswith("flykeep.db") else [*VALUES.values(), ENV]
        assert not [value for value in values if value.encode() in content], path
    assert not [value for value in (*VALUES.values(), ENV) if value in shown]


async def test_a_deleted_app_is_rebuilt_from_the_store_alone(
    lost: WarmKit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = await stopped_by_a_missing_secret(lost)
    identity = (lost.sim.directory / "age-identity.txt").read_text()
    wish = RecoverWish(AppName(APP), AppName(NEW), secrets=frozenset(VALUES))
    request = RunRequest(to_app=AppName(NEW))
    settings = load_settings(lost.config, lost.environment)
    async with open_application(settings, clock=QuickClock()) as application:
        application.recover.handed.inputs = RecoverInputs(wish, VALUES, identity)
        submission, lineage = application.submission, recovery_lineage(AppName(APP))
        async with submission.submitted(JobKind.RECOVER, lineage, request, is_local=True) as run:
            ended = await submission.see_through(run, watcher=Watcher())
    assert ended.outcome is not None
    assert ended.state is RunState.SUCCEEDED, ended.outcome
    is_brought_back(lost, json.loads(ended.outcome.result_json), tmp_path / "was")
    captured = capfd.readouterr()
    is_kept_secret(lost, shown + captured.out + captured.err)


@full("a process waits for Fly's bookkeeping on the real clock")
async def test_a_deleted_app_is_rebuilt_by_one_command(lost: WarmKit, tmp_path: Path) -> None:
    code, document, shown = await recover(lost, written(lost, list(VALUES)))
    assert code == 0, shown
    result = document["result"]
    assert isinstance(result, dict)
    is_brought_back(lost, result, tmp_path / "was")
    is_kept_secret(lost, shown)
