"""What is asked of Fly for temporary things, and what its answers and silences become."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from flykeep.adapters.fly.scratch import FlyScratch
from flykeep.domain.errors import (
    FlyCapacityError,
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyNotFoundError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
)
from flykeep.domain.ids import RunId, SnapshotId
from flykeep.ports.scratch import Guest, ScratchVolume, WorkerMachine
from tests.unit.adapters.fly.wired import APP, FLAPS, MACHINE, MACHINE_URL, VOLUME, Wired, json_answer, text_answer

VOLUMES_URL = f"{FLAPS}/v1/apps/{APP}/volumes"
MACHINES_URL = f"{FLAPS}/v1/apps/{APP}/machines"
GUEST = Guest("shared", 1, 512)
VOLUME_SPEC = ScratchVolume(APP, "fk_run_1", "fra", 3, SnapshotId("vs_1"), GUEST, "image@sha256:00")
MACHINE_SPEC = WorkerMachine(
    APP,
    "flykeep-worker-run-1",
    "fra",
    "image@sha256:00",
    GUEST,
    VOLUME,
    "/snapshot",
    ("flykeep", "stand"),
    RunId("run"),
)
VOLUME_ROW = {"id": VOLUME, "name": "fk_run_1", "state": "restoring", "region": "fra", "size_gb": 3}
MACHINE_ROW = {"id": MACHINE, "name": "flykeep-worker-run-1", "state": "created", "region": "fra"}


def scratch_of(wired: Wired) -> FlyScratch:
    return FlyScratch(wired.client, clock=wired.clock)


def sent(route: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(route.calls.last.request.content)
    return body


async def test_a_volume_has_its_own_name_and_size_in_any_zone_without_snapshots_of_its_own() -> None:
    wired = Wired()
    route = wired.answers("POST", VOLUMES_URL, json_answer(VOLUME_ROW))
    made = await scratch_of(wired).create_volume(VOLUME_SPEC)
    assert (made.id, made.app, made.name, made.state) == (VOLUME, APP, "fk_run_1", "restoring")
    guest = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512}
    assert sent(route) == {
        "name": "fk_run_1",
        "region": "fra",
        "size_gb": 3,
        "snapshot_id": "vs_1",
        "encrypted": True,
        "require_unique_zone": False,
        "auto_backup_enabled": False,
        "compute": guest,
        "compute_image": "image@sha256:00",
    }


async def test_a_machine_gets_no_secrets_no_services_no_name_and_no_deploys() -> None:
    wired = Wired()
    route = wired.answers("POST", MACHINES_URL, json_answer(MACHINE_ROW))
    assert (await scratch_of(wired).create_machine(MACHINE_SPEC)).id == MACHINE
    assert sent(route) == {
        "name": "flykeep-worker-run-1",
        "region": "fra",
        "skip_secrets": True,
        "skip_service_registration": True,
        "config": {
            "image": "image@sha256:00",
            "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512},
            "init": {"exec": ["flykeep", "stand"]},
            "processes": [{"exec": ["flykeep", "stand"], "ignore_app_secrets": True}],
            "env": {},
            "metadata": {"fly_process_group": "flykeep_worker", "flykeep_run": "run"},
            "restart": {"policy": "no"},
            "auto_destroy": False,
            "services": [],
            "dns": {"skip_registration": True},
            "mounts": [{"volume": VOLUME, "path": "/snapshot"}],
        },
    }


async def test_what_is_made_without_a_snapshot_or_a_volume_names_none() -> None:
    wired = Wired()
    volume = wired.answers("POST", VOLUMES_URL, json_answer(VOLUME_ROW))
    machine = wired.answers("POST", MACHINES_URL, json_answer(MACHINE_ROW))
    await scratch_of(wired).create_volume(replace(VOLUME_SPEC, snapshot_id=None))
    await scratch_of(wired).create_machine(replace(MACHINE_SPEC, volume_id=None))
    assert "snapshot_id" not in sent(volume)
    assert "mounts" not in sent(machine)["config"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (409, {"error": "aborted: could not reserve resource for machine: insufficient memory available to fulfill"}),
        (409, {"error": "aborted: insufficient resources available to fulfill request"}),
        (412, {"error": "insufficient resources to create new machine with existing volume 'vol_1'"}),
        (422, {"error": "no", "status": "volume_placement_capacity"}),
        (503, {"error": "no", "status": "insufficient_capacity"}),
    ],
)
async def test_want_of_room_is_told_from_every_other_refusal(status: int, body: object) -> None:
    wired = Wired()
    wired.answers("POST", VOLUMES_URL, json_answer(body, status=status))
    wired.answers("POST", MACHINES_URL, json_answer(body, status=status))
    for call in (scratch_of(wired).create_volume(VOLUME_SPEC), scratch_of(wired).create_machine(MACHINE_SPEC)):
        with pytest.raises(FlyCapacityError) as caught:
            await call
        assert caught.value.facts["app"] == APP


LOST = (httpx.ReadError("reset"), text_answer("<html>", status=502), text_answer("not json", status=200))
CREATIONS: dict[str, tuple[str, dict[str, str], Callable[[FlyScratch], Awaitable[Any]]]] = {
    "volume": (VOLUMES_URL, VOLUME_ROW, lambda fly: fly.create_volume(VOLUME_SPEC)),
    "machine": (MACHINES_URL, MACHINE_ROW, lambda fly: fly.create_machine(MACHINE_SPEC)),
}


@pytest.mark.parametrize("kind", CREATIONS)
@pytest.mark.parametrize("lost", LOST, ids=["reset", "502", "unreadable"])
async def test_after_a_lost_answer_the_name_is_looked_for_and_nothing_is_made_twice(kind: str, lost: Any) -> None:
    url, row, create = CREATIONS[kind]
    wired = Wired()
    posts = wired.answers("POST", url, lost)
    foreign = row | {"id": "another", "name": "another"}
    wired.answers("GET", url, json_answer([foreign]), json_answer([foreign, row]))
    assert (await create(scratch_of(wired))).id == row["id"]
    assert posts.call_count == 1


@pytest.mark.parametrize("kind", CREATIONS)
async def test_a_name_that_does_not_appear_leaves_the_outcome_unknown(kind: str) -> None:
    url, row, create = CREATIONS[kind]
    wired = Wired()
    posts = wired.answers("POST", url, text_answer("", status=504))
    gone = row | {"state": "pending_destroy" if kind == "volume" else "destroyed"}
    wired.answers("GET", url, *[json_answer([gone]) for _ in range(3)])
    with pytest.raises(FlyUnavailableError):
        await create(scratch_of(wired))
    assert posts.call_count == 1


async def test_a_refusal_is_not_looked_into() -> None:
    wired = Wired()
    wired.answers("POST", VOLUMES_URL, json_answer({"error": "unauthorized"}, status=403))
    with pytest.raises(FlyForbiddenError):
        await scratch_of(wired).create_volume(VOLUME_SPEC)


async def test_volumes_that_fly_is_about_to_destroy_are_left_out() -> None:
    wired = Wired()
    wired.answers("GET", VOLUMES_URL, json_answer([VOLUME_ROW, VOLUME_ROW | {"id": "x", "state": "pending_destroy"}]))
    assert [one.id for one in await scratch_of(wired).app_volumes(APP)] == [VOLUME]


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_volume_that_vanished_counts_as_deleted(status: int) -> None:
    wired = Wired()
    wired.answers("DELETE", f"{VOLUMES_URL}/{VOLUME}", json_answer({"error": "no volume"}, status=status))
    wired.answers("GET", VOLUMES_URL, json_answer([]))
    await scratch_of(wired).delete_volume(APP, VOLUME)


async def test_a_refused_delete_of_a_volume_that_is_there_is_an_error() -> None:
    wired = Wired()
    wired.answers("DELETE", f"{VOLUMES_URL}/{VOLUME}", json_answer({"error": "why ever"}, status=422))
    wired.answers("GET", VOLUMES_URL, json_answer([VOLUME_ROW]))
    with pytest.raises(FlyInvalidRequestError, match="why ever"):
        await scratch_of(wired).delete_volume(APP, VOLUME)


async def test_a_delete_whose_answer_was_lost_is_sent_again() -> None:
    wired = Wired()
    gone = json_answer({"error": "machine not found"}, status=404)
    route = wired.answers("DELETE", MACHINE_URL, text_answer("", status=502), gone)
    await scratch_of(wired).destroy_machine(APP, MACHINE)
    assert [call.request.url.params["force"] for call in route.calls] == ["true", "true"]


async def test_a_machine_that_is_not_found_yet_is_waited_for_and_one_that_never_is_is_an_error() -> None:
    wired = Wired()
    absent = {"error": "machine not found"}
    wired.answers("GET", f"{MACHINE_URL}/wait", json_answer(absent, status=404), json_answer({"state": "started"}))
    assert await scratch_of(wired).wait_for_state(APP, MACHINE, "started", within=timedelta(minutes=5))
    for within, outcome in ((timedelta(seconds=30), False), (timedelta(minutes=5), None)):
        wired = Wired()
        wired.answers("GET", f"{MACHINE_URL}/wait", *[json_answer(absent, status=404) for _ in range(40)])
        waiting = scratch_of(wired).wait_for_state(APP, MACHINE, "started", within=within)
        if outcome is None:
            with pytest.raises(FlyNotFoundError):
                await waiting
        else:
            assert await waiting is outcome


async def test_what_is_given_to_a_command_stands_in_no_error() -> None:
    wired = Wired()
    route = wired.answers("POST", f"{MACHINE_URL}/exec", text_answer("nonsense", status=200))
    with pytest.raises(FlyUnexpectedAnswerError) as caught:
        await scratch_of(wired).execute_with_input(
            APP, MACHINE, ("cat",), stdin="a-very-secret-order", within=timedelta(seconds=30)
        )
    assert sent(route) == {"command": ["cat"], "timeout": 30, "stdin": "a-very-secret-order"}
    assert "secret" not in str(caught.value)
    with pytest.raises(FlyInvalidRequestError, match="60000") as refused:
        await scratch_of(wired).execute_with_input(
            APP, MACHINE, ("cat",), stdin="secret " * 10_000, within=timedelta(seconds=30)
        )
    assert "secret" not in str(refused.value)
    assert route.call_count == 1
