"""Each exit code, reached as an operator would reach it, with a next step beside it."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Progress, Scenario, Seed, SnapshotSpec, VolumeSpec
from tests.e2e.warm import warm_flykeep
from tests.flykit import Ended, Kit
from tests.full import full

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAIN = "my-crocbot/crocbot_data"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kit]:
    scenario = Scenario.shipped().model_copy(update={"snapshot_progress": Progress(polls=0)})
    async with warm_flykeep(tmp_path_factory.mktemp("exits"), scenario=scenario) as kit:
        yield kit


@pytest.fixture
def kit(shared: Kit) -> AsyncIterator[Kit]:
    """The shared simulator as it was: a test's faults and changes of the configuration end with it."""
    before = shared.config.read_text()
    yield shared
    shared.sim.faults.clear()
    shared.config.write_text(before)


def refused(ended: Ended, code: int, error: str) -> str:
    """The message of the one error document; fails unless code, name and hint are there."""
    document = ended.document
    told = document["error"]
    assert (ended.code, told["exit_code"], told["code"]) == (code, code, error), ended.stderr
    assert told["hint"].endswith((".", "?")), told["hint"]
    assert told["hint"] in ended.stderr
    return str(told["message"])


class TestUsage:
    async def test_an_unknown_target_names_the_nearest(self, kit: Kit) -> None:
        ended = await kit.run("export", "my-crocbot/crocbot_dat", "--json")

        refused(ended, 2, "usage.unknown_target")
        assert ended.document["error"]["hint"] == f"Did you mean {MAIN}?"

    async def test_an_unknown_key_of_the_configuration_is_named(self, kit: Kit) -> None:
        kit.edit("[encryption]\n", "[encryption]\nrecipient = 1\n")

        ended = await kit.run("status", "--json")

        refused(ended, 2, "config.invalid")
        assert "recipients" in ended.stderr

    @pytest.mark.parametrize(
        "words",
        [
            ("statsu",),
            ("export",),
            ("export", MAIN, "--source", "moon"),
            ("status", "--confg", "x"),
            ("pause", MAIN, "--for", "soon"),
            ("snapshot", MAIN, "--no-wait", "--local"),
        ],
        ids=" ".join,
    )
    async def test_what_cannot_be_meant_is_refused_as_one_object(self, kit: Kit, words: tuple[str, ...]) -> None:
        refused(await kit.run(*words, "--json"), 2, "usage.invalid")

    async def test_what_does_not_exist_is_said_to_be_unknown(self, kit: Kit) -> None:
        ended = await asyncio.gather(
            kit.run("runs", "nothing", "--json"),
            kit.run("artifact", "show", "nothing", "--json"),
            kit.run("incidents", "ack", "nothing", "--json"),
            kit.run("doctor", "--store", "nothing", "--json"),
        )

        for one in ended:
            refused(one, 2, "usage.not_found")


class TestRefusals:
    async def test_a_stopped_app_is_not_exported_over_ssh(self, kit: Kit) -> None:
        ended = await kit.run("export", "batch-jobs/jobs_data", "--json")

        assert (ended.code, ended.document["state"]) == (4, "refused")
        assert ended.document["error"]["hint"]

    @pytest.mark.parametrize("verb", ["snapshot", "export"])
    async def test_nothing_is_submitted_for_a_daemon_that_does_not_live(self, kit: Kit, verb: str) -> None:
        ended = await kit.run(verb, MAIN, "--no-wait", "--json")

        assert "no daemon lives" in refused(ended, 4, "refused.guard")
        assert pending_runs(kit) == 0


async def test_a_fly_that_answers_5xx_for_good_fails_a_verb_and_leaves_a_check_without_knowledge(kit: Kit) -> None:
    for action in ("snapshot.list", "org.*"):
        kit.sim.faults.add(Fault(kind=FaultKind.ERROR_BEFORE, action=action, times=0, status=503))

    listed, checked = await asyncio.gather(kit.run("snapshots", MAIN, "--json"), kit.run("check", "--json"))

    refused(listed, 5, "fly.unavailable")
    assert (checked.code, checked.document["is_conclusive"]) == (3, False)
    assert {one["code"] for one in checked.document["findings"]} >= {"fly.unreachable"}


class TestStore:
    async def test_a_dead_store_fails_an_export(self, kit: Kit) -> None:
        kit.edit(str(kit.sim.directory / "store"), str(a_file(kit) / "store"))

        ended = await kit.run("export", MAIN, "--json")

        assert (ended.code, ended.document["state"]) == (6, "failed")
        assert ended.document["error"]["code"].startswith("store.")

    async def test_a_flipped_byte_is_found_and_the_artifact_counts_no_more(self, kit: Kit) -> None:
        export_id = (await kit.run("export", MAIN, "--json")).document["export_id"]
        [data] = (kit.sim.directory / "store").glob(f"**/{export_id}/data.tar.zst.age")
        stored = bytearray(data.read_bytes())
        stored[len(stored) // 2] ^= 1
        data.write_bytes(stored)

        refused(await kit.run("artifact", "verify", export_id, "--json"), 7, "integrity.failed")

        [listed] = [
            one
            for one in (await kit.run("artifacts", MAIN, "--json")).document["artifacts"]
            if one["export_id"] == export_id
        ]
        assert (listed["is_failed"], listed["satisfies_rpo"]) == (True, False)


class TestDegraded:
    async def test_a_pin_that_a_store_does_not_take_is_degraded_and_names_the_store(self, kit: Kit) -> None:
        export_id = (await kit.run("export", MAIN, "--json")).document["export_id"]
        pins = kit.sim.directory / "store" / "_pins"
        pins.write_text("where a folder is wanted")

        ended = await kit.run("artifact", "pin", export_id, "--reason", "evidence", "--json")
        pins.unlink()

        assert (ended.code, ended.document["is_pinned"]) == (9, True)
        assert [one["store"] for one in ended.document["not_stored"]] == ["offsite"]

    async def test_a_live_database_is_exported_and_never_counts(self, kit: Kit) -> None:
        ended = await kit.run("export", "ledger-api/ledger_db")

        assert ended.code == 9
        assert "never counts as a backup" in ended.stdout

    async def test_an_export_of_some_paths_never_counts_either(self, kit: Kit) -> None:
        ended = await kit.run("export", MAIN, "--path", "crocbot.json", "--json")

        assert (ended.code, ended.document["state"]) == (9, "degraded")


class TestInterrupted:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
    async def test_a_verb_that_executes_ends_its_run_when_it_is_stopped(self, kit: Kit, number: signal.Signals) -> None:
        kit.sim.faults.add(Fault(kind=FaultKind.SNAPSHOT_STUCK, action="snapshot.create", times=0))
        process = await kit.start("snapshot", "wiki/wiki_data", "--json")
        assert process.stderr is not None
        await asyncio.wait_for(until(process.stderr, b"request snapshot"), 60)

        process.send_signal(number)
        stdout, stderr = await asyncio.wait_for(process.communicate(), 60)

        ended = Ended(process.returncode or 0, stdout.decode(), stderr.decode())
        assert ended.code == 8
        assert ended.document["error"]["code"] == "run.interrupted"
        assert "Traceback" not in ended.stderr
        [run] = (await kit.run("runs", "--limit", "1", "--json")).document["runs"]
        assert run["state"] == "interrupted"


async def doctor(kit: Kit, subject: str) -> dict[str, str]:
    """What doctor says of one subject; fails where it is content, or stops at it."""
    ended = await kit.run("doctor", "--json")
    assert ended.code == 3
    [said] = [one for one in ended.document["examined"] if one["subject"].startswith(subject)]
    assert said["error"]
    assert said["hint"]
    return dict(said)


class TestDoctor:
    async def test_a_wrong_token_is_its_own_line(self, kit: Kit) -> None:
        kit.extra["FLY_API_TOKEN"] = "FlyV1 fm2_bm90IGEgdG9rZW4="
        try:
            said = await doctor(kit, "Fly token")
        finally:
            del kit.extra["FLY_API_TOKEN"]

        assert said["error"].startswith("fly.")

    async def test_an_unreachable_machine_is_its_own_line(self, kit: Kit) -> None:
        kit.sim.faults.add(Fault(kind=FaultKind.SSH_REFUSE, action="ssh.connect", app="my-crocbot", times=0))

        assert (await doctor(kit, f"ssh {MAIN}"))["error"].startswith("ssh.")

    async def test_a_dead_store_is_its_own_line(self, kit: Kit) -> None:
        kit.edit(str(kit.sim.directory / "store"), str(a_file(kit) / "store"))

        assert (await doctor(kit, "store offsite"))["error"].startswith("store.")

    async def test_nobody_to_tell_is_its_own_line(self, kit: Kit) -> None:
        text = kit.config.read_text()
        kit.config.write_text(text[: text.index("[notifiers.log]")] + text[text.index("[policies.standard]") :])

        assert "none tells people" in (await doctor(kit, "notifiers"))["error"]


async def test_an_ambiguous_target_names_the_choices(tmp_path: Path) -> None:
    twins = tuple(
        VolumeSpec(name="data", seed=Seed(kind="empty"), snapshots=(SnapshotSpec(age_hours=1),)) for _ in range(2)
    )
    app = AppSpec(
        name="twins", machines=tuple(MachineSpec(name=f"twin-{one}", volume="data") for one in "ab"), volumes=twins
    )
    async with warm_flykeep(tmp_path, scenario=Scenario(apps=(app,))) as kit:
        ended = await kit.run("snapshot", "twins/data", "--json")

    assert "twins/data@twin-b" in refused(ended, 2, "usage.ambiguous_target")


@full("a daemon of its own")
async def test_a_living_daemon_takes_what_nobody_waits_for(tmp_path: Path) -> None:
    volume = VolumeSpec(name="data", seed=Seed(kind="empty"), snapshots=(SnapshotSpec(age_hours=1),))
    app = AppSpec(name="shop", machines=(MachineSpec(name="one", volume="data"),), volumes=(volume,))
    scenario = Scenario(apps=(app,), snapshot_progress=Progress(polls=0))
    async with warm_flykeep(tmp_path, scenario=scenario) as kit, kit.daemon():
        ended = await kit.run("snapshot", "shop/data", "--no-wait", "--json")
        run_id = ended.document["run_id"]
        async with asyncio.timeout(60):
            while not (done := (await kit.run("runs", run_id, "--json")).document)["ended_at"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    assert (ended.code, ended.document["state"]) == (0, "pending")
    assert done["state"] == "succeeded"


async def until(stream: asyncio.StreamReader, wanted: bytes) -> None:
    while wanted not in (line := await stream.readline()):
        assert line, f"no {wanted!r} before the end"


def a_file(kit: Kit) -> Path:
    """Where a folder is wanted and none can be."""
    path = kit.directory / "not-a-folder"
    path.touch()
    return path


def pending_runs(kit: Kit) -> int:
    database = kit.sim.directory / "flykeep.db"
    with sqlite3.connect(database) as connection:
        return int(connection.execute("select count(*) from runs where state = 'pending'").fetchone()[0])
