"""What a fake Fly must do at least: the twelve points of the facts flykeep is built on, asked over plain HTTP."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from flykeep.testing.flysim.faults import Fault, FaultKind
from tests.integration.flysim.simulated import MEANT_WRONG, Rig, quiet, rig


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


async def statuses(fly: Rig) -> list[str]:
    return [row["status"] for row in (await fly.http.get(fly.snapshots)).json()]


# 1: who may ask


@pytest.mark.parametrize("header", [None, "", "fm2_abc", "Bearer nonsense", "Basic fm2_abc", "FlyV1 fm2_stranger"])
async def test_a_request_without_a_known_token_is_answered_401(fly: Rig, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    async with httpx.AsyncClient(
        base_url=fly.sim.flaps_base_url, headers=headers, trust_env=False, verify=False
    ) as stranger:
        rest = await stranger.get("/v1/apps/my-crocbot")
        graphql = await stranger.post("/graphql", json={"query": "{ viewer { email } }"})

    assert (rest.status_code, graphql.status_code) == (401, 401)
    assert rest.json() == {"error": "Authenticate: token validation error"}


@pytest.mark.parametrize("scheme", ["Bearer", "FlyV1", "bearer", "FLYV1 FlyV1", "Bearer FlyV1"])
async def test_both_schemes_open_the_door(fly: Rig, scheme: str) -> None:
    macaroons = fly.sim.token.removeprefix("FlyV1 ")

    answer = await fly.http.get("/apps/my-crocbot", headers={"authorization": f"{scheme} {macaroons}"})

    assert answer.status_code == 200


async def test_half_a_token_does_not_open_the_door(fly: Rig) -> None:
    half = fly.sim.token.split(",")[0]

    assert (await fly.http.get("/apps/my-crocbot", headers={"authorization": half})).status_code == 401


async def test_an_expired_token_is_answered_401(fly: Rig) -> None:
    grant = fly.sim.world.add_grant(lifetime=timedelta(hours=1))
    headers = {"authorization": "FlyV1 " + ",".join(grant.macaroons)}
    assert (await fly.http.get("/apps/my-crocbot", headers=headers)).status_code == 200

    await fly.clock.advance(timedelta(hours=1))

    assert (await fly.http.get("/apps/my-crocbot", headers=headers)).status_code == 401


async def test_an_app_of_another_organization_is_answered_403_and_an_absent_one_404(fly: Rig) -> None:
    foreign = await fly.http.get("/apps/foreign-app/volumes")
    absent = await fly.http.get("/apps/no-such-app/volumes")

    assert (foreign.status_code, foreign.json()) == (403, {"error": "unauthorized"})
    assert (absent.status_code, absent.json()) == (404, {"error": "app not found"})


async def test_a_read_only_token_reads_and_does_not_write(fly: Rig) -> None:
    grant = fly.sim.world.add_grant(is_read_only=True)
    headers = {"authorization": "FlyV1 " + ",".join(grant.macaroons)}

    assert (await fly.http.get(fly.snapshots, headers=headers)).status_code == 200
    assert (await fly.http.post(fly.snapshots, headers=headers)).status_code == 403


async def test_a_token_for_one_app_sees_only_that_app(fly: Rig) -> None:
    grant = fly.sim.world.add_grant(apps=frozenset({"wiki"}))
    headers = {"authorization": "FlyV1 " + ",".join(grant.macaroons)}

    inventory = (await fly.http.get("/orgs/personal/volumes", headers=headers)).json()

    assert {row["app_name"] for row in inventory["volumes"]} == {"wiki"}
    assert (await fly.http.get("/apps/my-crocbot", headers=headers)).status_code == 403


async def test_every_answer_names_its_request(fly: Rig) -> None:
    answers = [await fly.http.get("/apps/my-crocbot"), await fly.http.get("/apps/no-such-app")]

    names = [answer.headers["fly-request-id"] for answer in answers]

    assert len(set(names)) == 2


async def test_what_authorizes_is_not_kept(fly: Rig) -> None:
    await fly.http.get("/apps/my-crocbot")
    await fly.http.post("/tokens/authorize", json={"header": fly.sim.token, "access": {"action": "r"}})

    kept = "".join(request.to_json() for request in fly.sim.requests)

    assert fly.sim.token.removeprefix("FlyV1 ") not in kept
    assert "<redacted>" in kept


# 2: volume lists


async def test_the_volume_list_holds_a_soft_deleted_volume_and_one_on_a_lost_host(fly: Rig) -> None:
    rows = (await fly.http.get("/apps/my-crocbot/volumes")).json()

    assert sum(row["state"] == "pending_destroy" and row["host_status"] == "ok" for row in rows) == 1
    assert sum(row["host_status"] == "unreachable" for row in rows) == 1
    assert sum(row["state"] == "created" for row in rows) == 1


async def test_the_inventory_of_an_organization_comes_in_pages(fly: Rig) -> None:
    seen: list[str] = []
    query: dict[str, Any] = {"limit": "3"}
    while True:
        page = (await fly.http.get("/orgs/personal/volumes", params=query)).json()
        assert len(page["volumes"]) <= 3
        seen += [row["id"] for row in page["volumes"]]
        if not page["next_cursor"]:
            break
        query["cursor"] = page["next_cursor"]

    assert sorted(seen) == sorted(v.id for v in fly.sim.world.volumes.values())


async def test_an_incomplete_inventory_says_which_regions_are_missing(fly: Rig) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.ERROR_REGIONS, action="org.machines", regions=("iad",)))

    incomplete = (await fly.http.get("/orgs/personal/machines")).json()
    complete = (await fly.http.get("/orgs/personal/machines")).json()

    assert (incomplete["machines"], incomplete["error_regions"]) == ([], ["iad"])
    assert (len(complete["machines"]), complete["error_regions"]) == (5, [])


# 3: snapshots


async def test_a_snapshot_waits_then_runs_then_is_created(fly: Rig) -> None:
    before = len(await statuses(fly))
    backup = (await fly.http.post(fly.snapshots, json={})).json()["Msg"]["backup"]

    seen = [(await fly.http.get(fly.snapshots)).json()[before] for _ in range(3)]

    assert [row["status"] for row in seen] == ["waiting", "running", "created"]
    assert seen[0]["id"] == ""
    assert "created_at" not in seen[0]
    assert seen[2]["id"] == backup["graph_id"]
    assert datetime.fromisoformat(seen[2]["created_at"]) == fly.clock.now()
    assert backup["volume_id"].isdigit()
    assert backup["state"] == "prepare"


async def test_a_snapshot_is_also_done_after_a_while(fly: Rig) -> None:
    await fly.http.post(fly.snapshots)

    await fly.clock.advance(timedelta(minutes=1))

    assert (await statuses(fly))[-1] == "created"


async def test_a_second_snapshot_at_the_same_time_is_refused(fly: Rig) -> None:
    assert (await fly.http.post(fly.snapshots)).status_code == 200

    assert (await fly.http.post(fly.snapshots)).status_code == 409


async def test_a_stuck_snapshot_never_ends(fly: Rig) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.SNAPSHOT_STUCK, action="snapshot.create"))
    await fly.http.post(fly.snapshots)

    await fly.clock.advance(timedelta(days=1))
    seen = [(await statuses(fly))[-1] for _ in range(5)]

    assert seen[-1] == "running"
    assert "created" not in seen


async def test_a_snapshot_can_end_in_a_status_nobody_knows(fly: Rig) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.SNAPSHOT_STATUS, action="snapshot.create", text="exploded"))
    await fly.http.post(fly.snapshots)

    seen = [(await statuses(fly))[-1] for _ in range(3)]

    assert seen[-1] == "exploded"


async def test_snapshots_disappear_when_their_retention_ends(fly: Rig) -> None:
    before = len(await statuses(fly))

    await fly.clock.advance(timedelta(days=5, hours=-40))

    assert before == 3
    assert len(await statuses(fly)) == 2


# 4: volumes from snapshots


async def newest_snapshot(fly: Rig) -> str:
    rows = (await fly.http.get(fly.snapshots)).json()
    newest: str = max(rows, key=lambda row: row["created_at"])["id"]
    return newest


async def test_a_volume_smaller_than_its_snapshot_is_refused(fly: Rig) -> None:
    fly.volume.snapshots[-1].volume_size_bytes = 11 * 1024**3
    body = {"name": "scratch", "region": "iad", "size_gb": 10, "snapshot_id": fly.volume.snapshots[-1].id}

    answer = await fly.http.post("/apps/my-crocbot/volumes", json=body)

    assert answer.status_code == 422
    assert answer.json()["error"] == "volume size (10 GiB) is smaller than the snapshot size (11 GiB)"


async def test_a_restored_volume_holds_the_bytes_of_its_snapshot(fly: Rig) -> None:
    original = (fly.volume.directory / "crocbot.json").read_bytes()
    snapshot = await newest_snapshot(fly)
    (fly.volume.directory / "crocbot.json").write_text("damaged")
    body = {"name": "scratch", "region": "iad", "size_gb": 1, "snapshot_id": snapshot}

    made = (await fly.http.post("/apps/my-crocbot/volumes", json=body)).json()
    seen = [(await fly.http.get(f"/apps/my-crocbot/volumes/{made['id']}")).json()["state"] for _ in range(3)]

    assert made["state"] == "restoring"
    assert seen == ["restoring", "created", "created"]
    restored = fly.sim.world.volumes[made["id"]].directory
    assert (restored / "crocbot.json").read_bytes() == original
    assert (restored / "credentials" / "telegram.json").stat().st_mode & 0o777 == 0o600


# 5: deleting volumes


async def test_a_volume_is_deleted_only_once_its_machine_is_long_gone(fly: Rig) -> None:
    path, machine = f"/apps/my-crocbot/volumes/{fly.volume.id}", fly.machine
    refused = await fly.http.delete(path)
    assert refused.status_code == 412
    assert refused.json()["error"] == f"failed_precondition: volume is currently bound to machine: {machine.id}"
    assert (await fly.http.delete(fly.machine_path)).status_code == 412
    assert (await fly.http.delete(f"/apps/my-crocbot/machines/{machine.id}?force=true")).json() == {"ok": True}

    answers = [(await fly.http.delete(path)).status_code for _ in range(2)]

    assert answers == [412, 200]
    rows = (await fly.http.get("/apps/my-crocbot/volumes")).json()
    assert next(row["state"] for row in rows if path.endswith(row["id"])) == "pending_destroy"


# 6: machines


async def create_machine(fly: Rig, **changes: Any) -> dict[str, Any]:
    body = {"name": "worker", "region": "iad", "config": {"image": "alpine"} | changes}
    answer = await fly.http.post("/apps/my-crocbot/machines", json=body)
    assert answer.status_code == 200
    made: dict[str, Any] = answer.json()
    return made


async def test_a_new_machine_is_created_then_hidden_once_then_seen(fly: Rig) -> None:
    made = await create_machine(fly)
    path = f"/apps/my-crocbot/machines/{made['id']}"

    first, second = await fly.http.get(path), await fly.http.get(path)

    assert made["state"] == "created"
    assert (first.status_code, first.json()) == (404, {"error": "machine not found"})
    assert second.status_code == 200


async def test_waiting_is_bounded_to_a_minute(fly: Rig) -> None:
    answer = await fly.http.get(f"{fly.machine_path}/wait", params={"state": "started", "timeout": "61"})

    assert answer.status_code == 400
    assert "value must be inside range [1s, 1m0s]" in answer.json()["error"]


async def test_waiting_in_vain_ends_in_408(fly: Rig) -> None:
    waiting = asyncio.create_task(fly.http.get(f"{fly.machine_path}/wait", params={"state": "stopped", "timeout": "2"}))
    await fly.until_somebody_sleeps()
    await fly.clock.advance(timedelta(seconds=3))

    answer = await waiting

    assert answer.status_code == 408
    assert answer.json()["error"].startswith("deadline_exceeded: machine failed to reach desired state")


async def test_waiting_for_a_state_already_reached_answers_at_once(fly: Rig) -> None:
    answer = await fly.http.get(f"{fly.machine_path}/wait", params={"state": "started", "timeout": "1"})

    assert answer.status_code == 200
    assert answer.json()["state"] == "started"


async def test_waiting_for_the_destruction_of_a_destroyed_machine_is_404(fly: Rig) -> None:
    path = fly.machine_path
    await fly.http.delete(path, params={"force": "true"})

    answer = await fly.http.get(f"{path}/wait", params={"state": "destroyed", "timeout": "1"})

    assert answer.status_code == 404


async def test_a_machine_runs_its_command_on_its_volume_and_tells_how_it_ended(fly: Rig) -> None:
    body = {"name": "drill", "region": "iad", "size_gb": 1, "snapshot_id": await newest_snapshot(fly)}
    volume = (await fly.http.post("/apps/my-crocbot/volumes", json=body)).json()["id"]
    await fly.http.get(f"/apps/my-crocbot/volumes/{volume}")
    mounts = [{"volume": volume, "path": "/restored"}]
    mounted = "/restored" if fly.sim.world.sees_mounts else "$MOUNT"
    command = ["sh", "-c", f"cat {mounted}/crocbot.json > {mounted}/copy && exit 4"]
    made = await create_machine(fly, mounts=mounts, init={"exec": command}, restart={"policy": "no"})
    path = f"/apps/my-crocbot/machines/{made['id']}"

    state = ""
    for _ in range(500):
        state = (await fly.http.get(path)).json().get("state", "")
        if state == "stopped":
            break
        await asyncio.sleep(0.02)

    assert state == "stopped"
    events = (await fly.http.get(f"{path}/events", params={"limit": "5"})).json()
    assert events[0]["type"] == "exit"
    assert events[0]["request"]["exit_event"]["exit_code"] == 4
    directory = fly.sim.world.volumes[volume].directory
    assert (directory / "copy").read_bytes() == (directory / "crocbot.json").read_bytes()


async def test_a_claimed_volume_cannot_be_claimed_again(fly: Rig) -> None:
    body = {"config": {"image": "alpine", "mounts": [{"volume": fly.volume.id, "path": "/data"}]}}

    answer = await fly.http.post("/apps/my-crocbot/machines", json=body)

    assert (answer.status_code, answer.json()["error"]) == (412, "volume already claimed")


async def test_the_mounted_volume_cannot_be_changed_by_an_update(fly: Rig) -> None:
    body = {"config": {"image": "alpine", "mounts": [{"volume": "vol_other", "path": "/data"}]}}

    answer = await fly.http.post(fly.machine_path, json=body)

    assert answer.status_code == 400
    assert "can't update the attached volume" in answer.json()["error"]


async def test_metadata_changes_without_a_new_version(fly: Rig) -> None:
    version, path = fly.machine.version, f"{fly.machine_path}/metadata"

    assert (await fly.http.post(f"{path}/fly_backup_run", json={"value": "r1"})).status_code == 204
    assert (await fly.http.patch(path, json={"metadata": {"fly_process_group": None}})).status_code == 204

    assert (await fly.http.get(f"{path}/fly_backup_run")).json() == {"value": "r1"}
    assert (await fly.http.get(path)).json() == {"fly_platform_version": "v2", "fly_backup_run": "r1"}
    assert fly.machine.version == version


# 7: sick hosts


async def test_a_machine_on_a_lost_host_has_only_an_incomplete_configuration(fly: Rig) -> None:
    fly.sim.world.set_host_status("my-crocbot", "unreachable")

    document = (await fly.http.get(fly.machine_path)).json()

    assert "config" not in document
    assert document["host_status"] == "unreachable"
    assert "mounts" not in document["incomplete_config"]
    assert (await fly.http.post(fly.snapshots)).status_code == 503


# 9: leases


async def test_a_lease_is_wrapped_and_exclusive(fly: Rig) -> None:
    path = f"{fly.machine_path}/lease"
    assert (await fly.http.get(path)).status_code == 404
    first = await fly.http.post(path, json={"ttl": 30, "description": "restore"})
    second = await fly.http.post(path, json={"ttl": 30})

    assert (first.status_code, first.json()["status"]) == (201, "success")
    assert second.status_code == 409
    assert f"aborted: machine ID {fly.machine.id} lease currently held by" in second.json()["error"]
    nonce = {"fly-machine-lease-nonce": first.json()["data"]["nonce"]}
    assert (await fly.http.post(path, json={"ttl": 60}, headers=nonce)).status_code == 201
    assert (await fly.http.post(f"{fly.machine_path}/stop")).status_code == 409
    assert (await fly.http.post(f"{fly.machine_path}/stop", headers=nonce)).status_code == 200
    assert (await fly.http.delete(path, headers=nonce)).json() == {"status": "success", "data": {"ok": True}}


async def test_a_lease_ends_by_itself(fly: Rig) -> None:
    path = f"{fly.machine_path}/lease"
    await fly.http.post(path, json={"ttl": 30})

    await fly.clock.advance(timedelta(seconds=30))

    assert (await fly.http.get(path)).status_code == 404
    assert (await fly.http.post(path, params={"ttl": "30"})).status_code == 201


# 10: limits and failures


async def test_the_fourth_request_in_a_second_is_refused(tmp_path: Path) -> None:
    async with rig(tmp_path, quiet(rate_limits=True)) as fly:
        burst = [await fly.http.get("/apps/my-crocbot/volumes") for _ in range(4)]
        other_app = await fly.http.get("/apps/wiki/volumes")
        other_action = await fly.http.get("/apps/my-crocbot/machines")
        await fly.clock.advance(timedelta(seconds=1))
        later = [(await fly.http.get("/apps/my-crocbot/volumes")).status_code for _ in range(2)]

        assert [answer.status_code for answer in burst] == [200, 200, 200, 429]
        assert "retry-after" not in burst[-1].headers
        assert (other_app.status_code, other_action.status_code) == (200, 200)
        assert later == [200, 429]


async def test_a_machine_may_be_looked_at_ten_times_at_once(tmp_path: Path) -> None:
    async with rig(tmp_path, quiet(rate_limits=True, retry_after_seconds=7)) as fly:
        burst = [await fly.http.get(fly.machine_path) for _ in range(11)]

        assert [answer.status_code for answer in burst] == [200] * 10 + [429]
        assert burst[-1].headers["retry-after"] == "7"


@pytest.mark.parametrize("seconds", [None, 3])
async def test_a_scripted_limit_comes_with_and_without_retry_after(fly: Rig, seconds: int | None) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.RATE_LIMITED, action="app.get", retry_after_s=seconds))

    answer = await fly.http.get("/apps/my-crocbot")

    assert answer.status_code == 429
    assert answer.headers.get("retry-after") == (None if seconds is None else "3")
    assert (await fly.http.get("/apps/my-crocbot")).status_code == 200


async def test_the_edge_answers_html(fly: Rig) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.HTML_502, after=1))

    answers = [await fly.http.get("/apps/my-crocbot") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 502, 200]
    assert answers[1].text.startswith("<html>")


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        (FaultKind.RESET_BEFORE, 0),
        (FaultKind.RESET_AFTER, 1),
        (FaultKind.ERROR_BEFORE, 0),
        (FaultKind.ERROR_AFTER, 1),
    ],
)
async def test_a_failure_strikes_before_or_after_the_effect(fly: Rig, kind: FaultKind, made: int) -> None:
    before = len(fly.volume.snapshots)
    fly.sim.faults.add(Fault(kind=kind, action="snapshot.create", status=500))

    if kind in {FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER}:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await fly.http.post(fly.snapshots)
    else:
        assert (await fly.http.post(fly.snapshots)).status_code == 500

    assert len(fly.volume.snapshots) - before == made


async def test_a_slow_body_arrives_when_its_time_has_come(fly: Rig) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.SLOW_BODY, action="app.get", duration_s=20))
    asking = asyncio.create_task(fly.http.get("/apps/my-crocbot"))
    await fly.until_somebody_sleeps()
    assert not asking.done()

    await fly.clock.advance(timedelta(seconds=20))

    assert (await asking).json()["name"] == "my-crocbot"


@pytest.mark.parametrize(
    ("action", "path", "body", "status"),
    [
        ("volume.create", "/apps/wiki/volumes", {"name": "v", "region": "iad"}, 422),
        ("machine.create", "/apps/wiki/machines", {"config": {"image": "alpine"}}, 409),
    ],
)
async def test_capacity_can_run_out(fly: Rig, action: str, path: str, body: dict[str, Any], status: int) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.CAPACITY, action=action))

    answer = await fly.http.post(path, json=body)

    assert answer.status_code == status
    assert answer.json()["status"] in {"insufficient_capacity", "volume_placement_capacity"}


# 11: migration


async def test_a_migration_changes_the_volume_and_keeps_the_machine(fly: Rig) -> None:
    old, machine = fly.volume, fly.machine
    address = machine.private_ip
    fly.sim.faults.add(Fault(kind=FaultKind.MIGRATION, action="volume.list", app="my-crocbot"))

    rows = (await fly.http.get("/apps/my-crocbot/volumes")).json()

    live = [row for row in rows if row["state"] == "created"]
    assert [row["attached_machine_id"] for row in live] == [machine.id]
    assert live[0]["id"] != old.id
    seen = (await fly.http.get(fly.machine_path)).json()
    assert seen["private_ip"] != address
    assert seen["config"]["mounts"][0]["volume"] == live[0]["id"]
    assert (await fly.http.get(fly.snapshots)).json() == []
    assert len((await fly.http.get(f"/apps/my-crocbot/volumes/{old.id}/snapshots")).json()) == 3
    assert (fly.volume.directory / "crocbot.json").read_bytes() == (old.directory / "crocbot.json").read_bytes()


# 12: GraphQL (SSH has a module of its own)


async def test_graphql_errors_come_with_http_200(fly: Rig) -> None:
    absent = await fly.graphql('{ app(name: "no-such-app") { id } }')
    foreign = await fly.graphql('{ app(name: "foreign-app") { id } }')
    fly.sim.faults.add(Fault(kind=FaultKind.GRAPHQL_ERROR, action="graphql.app", text="Down for maintenance"))
    broken = await fly.graphql('{ app(name: "my-crocbot") { id } }')

    assert absent["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    assert foreign["errors"][0]["extensions"]["code"] == "UNAUTHORIZED"
    assert broken == {
        "data": None,
        "errors": [{"message": "Down for maintenance", "extensions": {"code": "SERVER_ERROR"}}],
    }


async def test_graphql_tells_the_organization_of_an_app(fly: Rig) -> None:
    answer = await fly.graphql(
        "query ($name: String) { app(name: $name) { organization { id slug } volumes { nodes { id usedBytes } } } }",
        name="my-crocbot",
    )

    app = answer["data"]["app"]
    assert app["organization"]["slug"] == "personal"
    assert fly.volume.id in {node["id"] for node in app["volumes"]["nodes"]}
    by_slug = await fly.graphql('{ organization(slug: "personal") { id } }')
    assert by_slug["data"]["organization"]["id"] == app["organization"]["id"]


async def test_an_unknown_operation_is_refused(fly: Rig) -> None:
    answer = await fly.http.get("/apps/my-crocbot/snapshots", headers=MEANT_WRONG)

    assert answer.status_code == 404
    assert answer.headers["x-flysim-judge"] == "refused"


async def test_secrets_show_names_and_digests_only(fly: Rig) -> None:
    await fly.http.post("/apps/wiki/secrets", json={"values": {"KEY": "hush-hush"}})

    answer = await fly.http.get("/apps/wiki/secrets")

    assert [set(row) for row in answer.json()["secrets"]] == [{"name", "digest", "created_at", "updated_at"}]
    assert "hush-hush" not in answer.text + "".join(request.to_json() for request in fly.sim.requests)


async def test_the_seeded_snapshot_ages_are_those_of_the_scenario(fly: Rig) -> None:
    wiki = fly.sim.world.find_volume("wiki", "wiki_data")
    rows = (await fly.http.get(f"/apps/wiki/volumes/{wiki.id}/snapshots")).json()

    newest = max(datetime.fromisoformat(row["created_at"]) for row in rows)

    assert fly.clock.now().astimezone(UTC) - newest == timedelta(hours=40)
