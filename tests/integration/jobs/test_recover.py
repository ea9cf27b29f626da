"""A lost app is rebuilt once and whole, whatever breaks on the way; and refused before anything is changed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flykeep.adapters.codecs.sealing import AgeSealer
from flykeep.adapters.db.engine import open_catalog
from flykeep.domain.agreement import Comparison, Difference
from flykeep.domain.errors import (
    FlyCapacityError,
    FlyError,
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyNameTakenError,
    FlyNotFoundError,
    FlyPreconditionError,
    FlyUnavailableError,
    IntegrityError,
    NotFoundError,
    RefusalError,
)
from flykeep.domain.ids import AppName, LineageId, MachineId, VolumeId
from flykeep.domain.probes import ProbeOutcome
from flykeep.domain.recover_findings import HalfRecovery
from flykeep.domain.run import RunState
from flykeep.jobs.recover_log import APP_MADE, VOLUME_DROPPED, half_recoveries
from flykeep.jobs.statefile import StateWriter
from flykeep.testing.memory_platform import MemoryFault
from tests.full import full, stride
from tests.integration.jobs.drill_world import FINE
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.recover_world import (
    CACHE,
    DATA,
    IDENTITY,
    LOST,
    MAIN,
    NEW,
    STANDBY,
    RecoverParts,
    described,
    recover_parts,
)
from tests.integration.jobs.scratch_world import DiedError
from tests.integration.worker.artifacts import OPERATOR

LOST_ANSWER = FlyUnavailableError("the answer was lost")


@pytest.fixture
async def made(parts: Parts) -> RecoverParts:
    return await recover_parts(parts)


def machines(made: RecoverParts, name: AppName = NEW) -> dict[str, Any]:
    found = [one for one in made.fly.servers.values() if one.app == name and one.state != "destroyed"]
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


def contents(made: RecoverParts, name: AppName = NEW) -> dict[str, str]:
    found = [one for one in made.fly.disks.values() if one.volume.app == name and not one.volume.is_leaving]
    assert len({one.volume.name for one in found}) == len(found)
    return {one.volume.name: one.contents for one in found}


def assert_rebuilt(made: RecoverParts, name: AppName = NEW) -> None:
    """Everything once, and nothing else."""
    assert contents(made, name) == {"cache": "", "crocbot_data": "crocs"}
    found = machines(made, name)
    assert set(found) == {"croc-1", "a-standby"}
    main, standby = found["croc-1"], found["a-standby"]
    assert (main.state, standby.state) == ("started", "created")
    disk = made.fly.disks[main.volume_id]
    assert (disk.contents, disk.volume.attached_machine_id) == ("crocs", main.id)
    assert main.config["mounts"][0]["path"] == "/data"
    assert main.metadata == {"fly_process_group": "app", "fly_platform_version": "v2"}
    assert standby.config["standbys"] == [main.id]
    kept = made.apps.kept[name]
    assert kept.values == made.secrets
    assert sorted(address.kind for address in kept.addresses) == ["shared_v4", "v6"]
    assert kept.app.network == "crocs"


async def test_an_app_comes_back_with_everything_in_its_new_place(made: RecoverParts) -> None:
    outcome = await made.recover()
    assert outcome.state is RunState.SUCCEEDED
    assert_rebuilt(made)
    result = json.loads(outcome.result_json)
    assert [(one["name"], one["health"]) for one in result["machines"]] == [
        ("croc-1", "running"),
        ("a-standby", "waiting"),
    ]
    assert result["secrets"] == ["BOT_TOKEN"]
    assert any("cache (vol_9) has no backup that is left: it will be EMPTY" in text for text in result["warnings"])
    assert any("egress" in text for text in result["warnings"])
    assert any("fly certs add bot.example.com -a my-crocbot-2" in text for text in result["by_hand"])
    disk = made.fly.disks[machines(made)["croc-1"].volume_id]
    assert (disk.volume.snapshot_retention_days, disk.volume.size_gb) == (14, 3)
    (order,) = made.workers.inner.seen
    assert order.restore is not None
    assert order.restore.identity == IDENTITY
    assert "planted-value" not in repr(outcome) + repr(await made.step_names())


async def test_what_is_over_is_not_gone_on_with(made: RecoverParts) -> None:
    await made.recover()
    with pytest.raises(RefusalError, match="there is an app my-crocbot-2 already"):
        await made.recover()


@pytest.mark.parametrize("name", [LOST, NEW])
async def test_a_death_at_the_very_last_step_is_gone_on_from(made: RecoverParts, name: AppName) -> None:
    made.is_dying_last = True
    await made.recover(name=name)
    made.is_dying_last = False
    outcome = await made.recover(name=name)
    assert outcome.state is RunState.SUCCEEDED
    assert_rebuilt(made, name)
    assert "this goes on with what an earlier, interrupted recovery made" in outcome.result_json
    with pytest.raises(RefusalError):
        await made.recover(name=name)


async def test_a_recovery_into_the_empty_shell_of_its_app_is_gone_on_with(made: RecoverParts) -> None:
    made.apps.exists(LOST)
    made.fly.faults = [MemoryFault("make_machine", LOST_ANSWER)]
    with pytest.raises(FlyUnavailableError):
        await made.recover(name=LOST)
    outcome = await made.recover(name=LOST)
    assert outcome.state is RunState.SUCCEEDED
    assert contents(made, LOST) == {"cache": "", "crocbot_data": "crocs"}


async def half(made: RecoverParts) -> tuple[HalfRecovery, ...]:
    async with made.parts.catalog.transaction() as tx:
        return await half_recoveries(tx)


async def test_a_half_built_app_is_found_until_it_is_whole(made: RecoverParts) -> None:
    assert await half(made) == ()
    good, made.secrets = made.secrets, {"OTHER": "x"}
    with pytest.raises(RefusalError):
        await made.recover()
    assert await half(made) == ()  # it asked Fly for nothing
    made.secrets = good
    made.fly.faults = [MemoryFault("make_machine", LOST_ANSWER)]
    with pytest.raises(FlyUnavailableError):
        await made.recover()
    (found,) = await half(made)
    assert (found.app, found.name, found.org) == (LOST, NEW, "personal")
    assert found.made == {disk.volume.id for disk in made.fly.disks.values()}
    async with made.begun(NEW):
        assert await half(made) == ()  # somebody works on it
    await made.recover()
    assert await half(made) == ()


# -- before anything is changed


def assert_untouched(made: RecoverParts) -> None:
    assert made.apps.kept.keys() <= {LOST, NEW}
    assert not [call for call, _ in made.apps.asked if call != "app"]
    assert not {"make_volume", "make_machine", "create_machine"} & set(made.fly.calls)


async def test_a_missing_secret_stops_it(made: RecoverParts) -> None:
    made.secrets = {"OTHER": "x"}
    with pytest.raises(RefusalError, match="lacks secrets that the app had: BOT_TOKEN"):
        await made.recover()
    assert_untouched(made)


async def test_an_app_that_lives_is_no_lost_one(made: RecoverParts) -> None:
    made.apps.exists(LOST)
    made.fly.add_volume("crocbot_data", contents="alive", app=LOST)
    with pytest.raises(RefusalError, match="it is not lost") as refused:
        await made.recover()
    assert "flykeep restore" in refused.value.next_step
    assert_untouched(made)


@pytest.mark.parametrize("is_foreign", [True, False])
async def test_a_name_of_somebody_elses_is_left_alone(made: RecoverParts, is_foreign: bool) -> None:
    if is_foreign:
        made.apps.foreign = frozenset({NEW})
    else:
        made.apps.exists(NEW)
    with pytest.raises(RefusalError) as refused:
        await made.recover()
    assert "--as NAME" in refused.value.next_step
    assert_untouched(made)


async def test_what_could_not_be_filled_is_refused(made: RecoverParts) -> None:
    made.hidden = frozenset({"offsite", "shelf"})
    with pytest.raises(RefusalError, match="crocbot_data cannot be filled: store 'shelf' is a folder"):
        await made.recover()
    made.hidden, made.identity = frozenset(), None
    with pytest.raises(RefusalError, match="cannot be filled: this artifact is encrypted"):
        await made.recover()
    made.identity, made.has_worker_image = IDENTITY, False
    with pytest.raises(RefusalError, match=r"no \[worker\] image is configured"):
        await made.recover()
    made.has_worker_image, made.stores = True, ("elsewhere",)
    with pytest.raises(RefusalError, match="no configured store holds artifact"):
        await made.recover()
    assert_untouched(made)


async def test_without_secrets_in_hand_nothing_is_begun(made: RecoverParts) -> None:
    async with made.begun(NEW) as work:
        with pytest.raises(RefusalError, match="in the hands of the process"):
            await made.job.run(work)
    assert_untouched(made)


async def test_nothing_to_rebuild_is_refused(made: RecoverParts) -> None:
    await made.save(described(made.parts, machines=(), volumes=(), gaps=("machines",)))
    with pytest.raises(RefusalError, match="nothing is known of its machines and volumes"):
        await made.recover()


# -- where it comes from


async def test_an_empty_database_reads_the_stores_first(made: RecoverParts, tmp_path: Any) -> None:
    to, keys = (str(OPERATOR.to_public()),), made.parts.keys
    stores: Any = made.parts.stores
    await StateWriter(made.parts.catalog, stores, AgeSealer(), keys.signer, to, "personal").write()
    async with open_catalog(f"sqlite+aiosqlite:///{tmp_path / 'fresh.db'}") as catalog:
        made.parts.catalog = catalog
        made.identity = None
        with pytest.raises(NotFoundError, match="offsite: state document not opened"):
            await made.recover()
        made.identity = str(OPERATOR)
        assert (await made.recover()).state is RunState.SUCCEEDED
        assert_rebuilt(made)


async def test_a_surviving_snapshot_goes_before_an_artifact(made: RecoverParts) -> None:
    made.apps.exists(LOST)
    lost = made.fly.add_volume("crocbot_data", contents="crocs", size_gb=5, app=LOST)
    snapshot_id = made.fly.add_snapshot(lost)
    made.fly.shots[snapshot_id].volume_id = VolumeId("vol_1")
    lost.volume = replace(lost.volume, state="pending_destroy")
    outcome = await made.recover(name=LOST)
    assert outcome.state is RunState.SUCCEEDED
    assert made.workers.inner.seen == []
    disk = made.fly.disks[machines(made, LOST)["croc-1"].volume_id]
    assert (disk.contents, disk.volume.size_gb) == ("crocs", 5)
    assert APP_MADE not in await made.step_names()  # an empty shell of it was there
    async with made.parts.catalog.transaction() as tx:
        (lineage,) = await tx.lineages()
    assert lineage.volume_ids[-1] == disk.volume.id
    assert (lineage.machine_id, lineage.volume_ids[0]) == (machines(made, LOST)["croc-1"].id, "vol_1")


async def test_under_another_name_the_lineage_waits_for_a_person(made: RecoverParts) -> None:
    await made.recover()
    async with made.parts.catalog.transaction() as tx:
        (lineage,) = await tx.lineages()
    assert (lineage.app, lineage.volume_ids) == (LOST, ("vol_1",))


async def test_a_description_with_a_later_volume_id_finds_its_lineage_by_machine_or_name(made: RecoverParts) -> None:
    moved = replace(DATA, id=VolumeId("vol_77"))
    config = MAIN.config_json.replace("vol_1", "vol_77")
    await made.save(
        described(made.parts, volumes=(moved, CACHE), machines=(replace(MAIN, config_json=config), STANDBY))
    )
    await made.recover()
    assert_rebuilt(made)
    await made.save(described(made.parts, volumes=(replace(moved, machine_id=MachineId("mx")),), machines=()))
    await made.recover(name=AppName("third"))
    assert contents(made, AppName("third")) == {"crocbot_data": "crocs"}


async def test_bare_leaves_the_machines_to_a_deploy(made: RecoverParts) -> None:
    outcome = await made.recover(is_bare=True)
    assert contents(made) == {"cache": "", "crocbot_data": "crocs"}
    assert machines(made) == {}
    assert "machines: fly deploy -a my-crocbot-2" in json.loads(outcome.result_json)["by_hand"]


async def test_an_app_without_secrets_asks_for_none(made: RecoverParts) -> None:
    await made.save(described(made.parts, secrets=(), network="default"))
    made.secrets = {}
    await made.recover()
    assert "set_secrets" not in [call for call, _ in made.apps.asked]
    assert made.apps.kept[NEW].app.network == "default"


# -- what Fly answers


async def test_a_region_without_room_makes_way_for_the_next(made: RecoverParts) -> None:
    made.fly.full_regions = {"fra"}
    with pytest.raises(FlyCapacityError):
        await made.recover()
    made.regions = ("ams",)
    assert (await made.recover()).state is RunState.SUCCEEDED
    main = machines(made)["croc-1"]
    assert (main.region, made.fly.disks[main.volume_id].volume.region) == ("ams", "ams")


@pytest.mark.parametrize("call", ["make_volume", "make_machine"])
async def test_a_lost_answer_is_settled_by_looking(made: RecoverParts, call: str) -> None:
    made.fly.faults = [MemoryFault(call, LOST_ANSWER, is_after=True)]
    assert (await made.recover()).state is RunState.SUCCEEDED
    assert_rebuilt(made)


@pytest.mark.parametrize("call", ["make_volume", "make_machine"])
async def test_what_is_not_found_is_asked_for_again_by_the_next_run_only(made: RecoverParts, call: str) -> None:
    made.fly.faults = [MemoryFault(call, LOST_ANSWER)]
    with pytest.raises(FlyUnavailableError):
        await made.recover()
    assert (await made.recover()).state is RunState.SUCCEEDED
    assert_rebuilt(made)


async def test_a_name_that_is_taken_is_changed_and_told(made: RecoverParts) -> None:
    made.fly.faults = [MemoryFault("make_machine", FlyNameTakenError("unique machine name violation"))]
    await made.recover()
    assert set(machines(made)) == {"croc-1-recovered", "a-standby"}
    made.fly.faults = [MemoryFault("make_machine", FlyNameTakenError("unique machine name violation"), times=0)]
    with pytest.raises(FlyNameTakenError):
        await made.recover(name=AppName("third"))


@pytest.mark.parametrize("error", [FlyInvalidRequestError("no image"), FlyNotFoundError("no image")])
async def test_an_image_that_is_gone_has_a_way_on(made: RecoverParts, error: FlyError) -> None:
    made.fly.faults = [MemoryFault("make_machine", error)]
    with pytest.raises(type(error)) as failed:
        await made.recover()
    assert "--no-machines, then `fly deploy -a my-crocbot-2`" in failed.value.next_step
    await made.recover(is_bare=True)
    assert contents(made) == {"cache": "", "crocbot_data": "crocs"}


async def test_a_machine_that_is_not_well_leaves_it_degraded(made: RecoverParts) -> None:
    made.fly.failing_checks = {"alive"}
    config = json.loads(MAIN.config_json) | {"checks": {"alive": {"type": "tcp"}}}
    await made.save(described(made.parts, machines=(replace(MAIN, config_json=json.dumps(config)), STANDBY)))
    outcome = await made.recover()
    assert outcome.state is RunState.DEGRADED
    health = {one["name"]: one["health"] for one in json.loads(outcome.result_json)["machines"]}
    assert "check alive is critical" in health["croc-1"]


async def test_a_machine_that_cannot_be_asked_leaves_it_degraded(made: RecoverParts) -> None:
    made.fly.faults = [MemoryFault("machine_checks", FlyForbiddenError("not yours"), times=0)]
    outcome = await made.recover()
    assert outcome.state is RunState.DEGRADED
    assert "not yours" in outcome.result_json


async def test_a_machine_not_found_for_a_moment_is_waited_for(made: RecoverParts) -> None:
    made.fly.faults = [MemoryFault("machine_checks", FlyNotFoundError("machine not found"))]
    assert (await made.recover()).state is RunState.SUCCEEDED
    made.fly.faults = [MemoryFault("machine_checks", FlyNotFoundError("machine not found"), times=0)]
    assert (await made.recover(name=AppName("third"))).state is RunState.DEGRADED


@pytest.mark.parametrize(("autostop", "state"), [("stop", RunState.SUCCEEDED), ("off", RunState.DEGRADED)])
async def test_only_a_machine_that_may_stop_itself_may_be_stopped(
    made: RecoverParts, autostop: str, state: RunState
) -> None:
    config = json.loads(MAIN.config_json) | {"services": [{"autostop": autostop}]}
    await made.save(described(made.parts, machines=(replace(MAIN, config_json=json.dumps(config)),)))

    def stop(_call: str, _is_after: bool) -> None:
        for server in made.fly.servers.values():
            server.state = "stopped" if server.name == "croc-1" else server.state

    made.fly.watchers.append(stop)
    assert (await made.recover()).state is state


async def test_the_app_that_a_lost_answer_hid_is_ours(made: RecoverParts) -> None:
    made.apps.lose_answer = True
    assert (await made.recover()).state is RunState.SUCCEEDED
    assert_rebuilt(made)


async def test_an_app_that_was_not_made_is_asked_for_again(made: RecoverParts) -> None:
    made.apps.failures["create_app"] = LOST_ANSWER
    with pytest.raises(FlyUnavailableError):
        await made.recover()
    del made.apps.failures["create_app"]
    await made.recover()
    assert_rebuilt(made)


async def test_a_name_that_was_taken_meanwhile_is_somebody_elses(made: RecoverParts) -> None:
    made.apps.failures["create_app"] = FlyNameTakenError("taken")
    with pytest.raises(FlyNameTakenError):
        await made.recover()
    # Asked for before, so it may have come about since: looking says that it is not ours.
    made.apps.later_foreign = True
    with pytest.raises(FlyNameTakenError):
        await made.recover()


async def test_an_app_that_came_about_late_is_ours(made: RecoverParts) -> None:
    made.apps.failures["create_app"] = LOST_ANSWER
    with pytest.raises(FlyUnavailableError):
        await made.recover()
    del made.apps.failures["create_app"]
    made.apps.is_there_after_all = True
    await made.recover()
    assert_rebuilt(made)


async def test_an_address_whose_answer_was_lost_is_not_asked_for_twice(made: RecoverParts) -> None:
    made.apps.lose_address = True
    await made.recover()
    assert_rebuilt(made)
    made.apps.failures["assign_address"] = LOST_ANSWER
    with pytest.raises(FlyUnavailableError):
        await made.recover(name=AppName("third"))


# -- filling


async def test_a_volume_that_is_not_the_artifact_is_thrown_away_by_the_next_run(made: RecoverParts) -> None:
    good = made.workers.inner.result
    made.workers.inner.result = replace(
        good, comparison=Comparison(1, 0, 0, 0, 1, first=(Difference("a", "is missing"),))
    )
    with pytest.raises(IntegrityError) as failed:
        await made.recover()
    assert "`flykeep artifact verify" in failed.value.next_step
    made.workers.inner.result = replace(good, probes=(ProbeOutcome("x", is_passed=False, detail="no"),))
    with pytest.raises(IntegrityError, match="is not to be used"):
        await made.recover()
    assert machines(made) == {}
    made.workers.inner.result = good
    await made.recover()
    assert_rebuilt(made)
    assert (await made.step_names()).count(VOLUME_DROPPED) == 2


async def test_a_volume_that_stays_attached_or_unfinished_is_given_up_in_time(made: RecoverParts) -> None:
    made.fly.looks_until_usable = 10_000_000
    made.apps.exists(LOST)
    lost = made.fly.add_volume("crocbot_data", contents="crocs", size_gb=3, app=LOST)
    made.fly.shots[made.fly.add_snapshot(lost)].volume_id = VolumeId("vol_1")
    lost.volume = replace(lost.volume, state="pending_destroy")
    began = made.parts.clock.now()
    with pytest.raises(FlyUnavailableError, match="still 'restoring'"):
        await made.recover(name=LOST)
    assert timedelta(hours=1) <= made.parts.clock.now() - began < timedelta(hours=2)


async def test_a_half_filled_volume_that_a_stranger_holds_is_left_alone(made: RecoverParts) -> None:
    made.workers.inner.result = replace(made.workers.inner.result, comparison=None)
    with pytest.raises(IntegrityError):
        await made.recover()
    disk = next(one for one in made.fly.disks.values() if one.volume.name == "crocbot_data")
    made.fly.add_machine("strange", disk)
    began = made.parts.clock.now()
    with pytest.raises(FlyPreconditionError):
        await made.recover()
    assert timedelta(minutes=3) <= made.parts.clock.now() - began < timedelta(minutes=5)
    assert not disk.volume.is_leaving


async def test_volumes_of_one_name_are_told_apart(made: RecoverParts) -> None:
    """Each of two machines mounts a volume called crocbot_data; only one of them was ever exported."""
    twin = replace(DATA, id=VolumeId("vol_2"), machine_id=MachineId("m2"))
    config = MAIN.config_json.replace("vol_1", "vol_2")
    second = replace(MAIN, id=MachineId("m2"), name="croc-2", config_json=config)
    await made.save(described(made.parts, volumes=(DATA, twin), machines=(MAIN, second)))
    other = replace(made.parts.lineage, id=LineageId("lin_2"), machine_id=twin.machine_id, volume_ids=(twin.id,))
    async with made.parts.catalog.transaction() as tx:
        await tx.save_lineage(other)
    made.fly.faults = [MemoryFault("make_volume", LOST_ANSWER, is_after=True, times=2)]
    assert (await made.recover()).state is RunState.SUCCEEDED
    found = machines(made)
    held = {name: made.fly.disks[server.volume_id].contents for name, server in found.items()}
    assert held == {"croc-1": "crocs", "croc-2": ""}
    assert len([one for one in made.fly.disks.values() if one.volume.app == NEW]) == 2


# -- whatever dies


@pytest.mark.parametrize("call", ["make_volume", "make_machine", "create_machine", "delete_volume"])
async def test_an_effect_whose_process_died_before_the_answer_is_found(made: RecoverParts, call: str) -> None:
    if call == "delete_volume":
        good, made.workers.inner.result = made.workers.inner.result, replace(FINE, comparison=None)
        with pytest.raises(IntegrityError):
            await made.recover()
        made.workers.inner.result = good

    def die(called: str, is_after: bool) -> None:
        if called == call and is_after:
            raise DiedError

    for _ in range(2):  # what is made, is made by somebody who dies of it
        made.fly.watchers = [die]
        with pytest.raises(DiedError):
            await made.recover()
    made.fly.watchers = []
    assert (await made.recover()).state is RunState.SUCCEEDED
    assert_rebuilt(made)


async def test_an_app_whose_maker_died_is_gone_on_with(made: RecoverParts) -> None:
    made.apps.dies = True
    with pytest.raises(DiedError):
        await made.recover()
    made.apps.dies = False
    await made.recover()
    assert_rebuilt(made)


async def walked(made: RecoverParts, *, every: int, start: int = 1) -> int:
    """Let the process die at every so many of its moments, go on with another one, and look at what there is."""
    at, deaths = start, 0
    while True:
        name = AppName(f"croc-{at}")
        made.reaper.at, made.reaper.seen = at, 0
        has_died = False
        try:
            await made.recover(name=name)
        except* DiedError:  # some die in a group of tasks
            has_died = True
        made.reaper.at = None
        if not has_died:
            return deaths
        deaths += 1
        assert (await made.recover(name=name)).state is RunState.SUCCEEDED, at
        assert_rebuilt(made, name)
        at += every


async def test_a_process_that_dies_is_gone_on_with_and_nothing_is_made_twice(made: RecoverParts) -> None:
    assert await walked(made, every=13) > 8


@full("a recovery for each moment at which one can die")
@pytest.mark.parametrize("start", [1, 2, 3])
async def test_a_process_may_die_at_every_moment(made: RecoverParts, start: int) -> None:
    every = 3 * stride(4, 4)
    assert await walked(made, every=every, start=start) > 120 // every
