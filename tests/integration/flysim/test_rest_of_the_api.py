"""What else clients of Fly call: apps, secrets, tokens, settings, machines' lives, GraphQL's other operations."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from flykeep.testing.flysim.faults import Fault, FaultKind
from tests.integration.flysim.simulated import MEANT_WRONG, Rig, rig


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


async def test_an_app_is_made_listed_and_deleted_with_all_it_has(fly: Rig) -> None:
    body = {"name": "made-by-hand", "org_slug": "personal"}
    made = await fly.http.post("/apps", json=body, params={"wait": "true"})
    taken = await fly.http.post("/apps", json=body)
    listed = (await fly.http.get("/apps", params={"org_slug": "personal"})).json()
    volume = await fly.http.post("/apps/made-by-hand/volumes", json={"name": "scratch", "region": "iad"})

    deleted = await fly.http.delete("/apps/made-by-hand")

    assert (made.status_code, taken.status_code, taken.json()["status"]) == (201, 422, "name_taken")
    assert "made-by-hand" in {app["name"] for app in listed["apps"]}
    assert "foreign-app" not in {app["name"] for app in listed["apps"]}
    assert (volume.json()["size_gb"], deleted.status_code) == (3, 202)
    assert (await fly.http.get("/apps/made-by-hand")).status_code == 404
    assert volume.json()["id"] not in fly.sim.world.volumes


async def test_deleting_an_app_with_a_machine_loses_its_snapshots(fly: Rig) -> None:
    volume = fly.sim.world.find_volume("wiki", "wiki_data")
    snapshot = volume.snapshots[0].id

    await fly.http.delete("/apps/wiki")

    body = {"name": "scratch", "region": "iad", "size_gb": 1, "snapshot_id": snapshot}
    assert (await fly.http.post("/apps/my-crocbot/volumes", json=body)).status_code == 404


async def test_another_organization_is_not_found(fly: Rig) -> None:
    assert (await fly.http.get("/orgs/another-org/volumes")).status_code == 404
    assert (await fly.http.get("/apps", params={"org_slug": "another-org"})).status_code == 404


async def test_secrets_are_set_one_by_one_and_together(fly: Rig) -> None:
    one = await fly.http.post("/apps/wiki/secrets/ONE", json={"value": "1"})
    many = await fly.http.post("/apps/wiki/secrets", json={"values": {"TWO": "2", "ONE": None}})
    two = await fly.http.get("/apps/wiki/secrets/TWO")
    gone = await fly.http.get("/apps/wiki/secrets/ONE")
    removed = await fly.http.delete("/apps/wiki/secrets/TWO")

    assert (one.status_code, one.json()["version"], many.json()["version"]) == (201, 1, 2)
    assert [secret["name"] for secret in many.json()["secrets"]] == ["TWO"]
    assert (two.status_code, gone.status_code, removed.json()) == (200, 404, {"version": 3})


async def test_a_token_describes_itself_and_mints_one_for_an_app(fly: Rig) -> None:
    current = (await fly.http.get("/tokens/current")).json()["tokens"][0]
    minted = (await fly.http.post("/apps/wiki/deploy_token", json={"expiry": "1h"})).json()["token"]
    mine = (await fly.http.get("/tokens/current", headers={"authorization": minted})).json()["tokens"][0]

    assert (current["org_slug"], current["apps"], mine["apps"]) == ("personal", [], ["wiki"])
    assert minted.startswith("FlyV1 fm2_")


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        ({"action": "r", "app_name": "wiki"}, 200),
        ({"action": "rw", "app_name": "wiki"}, 403),
        ({"action": "r", "app_name": "foreign-app"}, 403),
    ],
)
async def test_fly_tells_what_a_token_permits(fly: Rig, access: dict[str, Any], expected: int) -> None:
    reader = fly.sim.world.add_grant(is_read_only=True)
    header = "FlyV1 " + ",".join(reader.macaroons)

    answer = await fly.http.post("/tokens/authorize", json={"header": header, "access": access})
    stranger = await fly.http.post("/tokens/authorize", json={"header": "FlyV1 fm2_x", "access": access})

    assert (answer.status_code, stranger.status_code) == (expected, 401)


async def test_a_volume_is_updated_extended_and_forked(fly: Rig) -> None:
    path = f"/apps/my-crocbot/volumes/{fly.volume.id}"
    settings = await fly.http.put(path, json={"snapshot_retention": 14, "auto_backup_enabled": False})
    refused = await fly.http.put(path, json={"snapshot_retention": 61})
    grown = await fly.http.put(f"{path}/extend", json={"size_gb": 2})
    shrunk = await fly.http.put(f"{path}/extend", json={"size_gb": 1})
    body = {"name": "forked", "region": "iad", "source_volume_id": fly.volume.id}
    forked = (await fly.http.post("/apps/my-crocbot/volumes", json=body)).json()
    nothing = await fly.http.post("/apps/my-crocbot/volumes", json=body | {"source_volume_id": "vol_none"})

    assert (settings.json()["snapshot_retention"], settings.json()["auto_backup_enabled"]) == (14, False)
    assert (refused.status_code, shrunk.status_code, nothing.status_code) == (400, 400, 404)
    assert (grown.json()["volume"]["size_gb"], grown.json()["needs_restart"]) == (2, False)
    assert (forked["state"], forked["size_gb"]) == ("hydrating", 2)
    copy = fly.sim.world.volumes[forked["id"]].directory / "crocbot.json"
    assert copy.read_bytes() == (fly.volume.directory / "crocbot.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "status"), [({"name": "Bad-Name"}, 422), ({"size_gb": 501}, 400), ({"snapshot_id": "vs_none"}, 404)]
)
async def test_a_volume_that_cannot_be_is_refused(fly: Rig, change: dict[str, Any], status: int) -> None:
    body = {"name": "scratch", "region": "iad", "size_gb": 1} | change

    assert (await fly.http.post("/apps/wiki/volumes", json=body)).status_code == status


async def test_a_pending_snapshot_cannot_be_restored(fly: Rig) -> None:
    pending = (await fly.http.post(fly.snapshots)).json()["Msg"]["backup"]["graph_id"]
    body = {"name": "scratch", "region": "iad", "size_gb": 1, "snapshot_id": pending}

    assert (await fly.http.post("/apps/my-crocbot/volumes", json=body)).status_code == 422


async def test_a_snapshot_answer_may_lack_its_id_and_a_conflict_may_strike(fly: Rig) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.SNAPSHOT_CONFLICT), Fault(kind=FaultKind.NO_GRAPH_ID))

    conflict, unnamed = await fly.http.post(fly.snapshots), await fly.http.post(fly.snapshots)

    assert conflict.status_code == 409
    assert "graph_id" not in unnamed.json()["Msg"]["backup"]


async def test_a_machine_lives_through_its_states(fly: Rig) -> None:
    path = fly.machine_path
    version = fly.machine.version
    answers = [
        await fly.http.post(f"{path}/{verb}")
        for verb in ("suspend", "start", "restart", "cordon", "uncordon", "stop", "start")
    ]
    fly.sim.world.stop_machine(fly.machine)
    signalled = await fly.http.post(f"{path}/signal", json={"signal": "SIGTERM"})
    assert fly.machine.config["stop_config"]["timeout"] == 10_000_000_000  # as Go reads it back; requests want text
    changes = {"image": "registry.fly.io/app:deployment-02", "stop_config": {"timeout": "10s"}}
    config = dict(fly.machine.config) | changes
    stale = await fly.http.post(path, json={"config": config, "current_version": "01OTHER"})
    updated = await fly.http.post(path, json={"config": config, "current_version": version, "skip_launch": True})
    versions = (await fly.http.get(f"{path}/versions")).json()

    assert [answer.status_code for answer in answers] == [200] * 7
    assert answers[1].json()["previous_state"] == "suspended"
    assert (signalled.status_code, stale.status_code, updated.status_code) == (412, 409, 200)
    assert updated.json()["state"] == "stopped"
    assert [row["version"] for row in versions] == [updated.json()["version"], version]


async def test_machines_are_listed_by_state_and_summary(fly: Rig) -> None:
    await fly.http.delete(fly.machine_path, params={"force": "true"})
    alive = (await fly.http.get("/apps/my-crocbot/machines")).json()
    every = (await fly.http.get("/apps/my-crocbot/machines", params={"include_deleted": "true"})).json()
    query = {"summary": "true", "state": "started", "region": "iad"}
    brief = (await fly.http.get("/apps/wiki/machines", params=query)).json()

    assert (alive, [row["state"] for row in every]) == ([], ["destroyed"])
    assert "config" not in brief[0]
    assert (await fly.http.get("/apps/wiki/machines", params={"region": "ams"})).json() == []


async def test_a_machine_that_may_not_be_is_refused(fly: Rig) -> None:
    config = {"image": "alpine"}
    fly.sim.world.set_host_status("wiki", "unreachable")
    sick = fly.sim.world.find_volume("wiki", "wiki_data")
    sick.attached_machine_id = None
    bodies = [
        ("wiki", {"config": config | {"mounts": [{"volume": sick.id, "path": "/data"}]}}),
        ("wiki", {"config": config | {"mounts": [{"volume": "a", "path": "/a"}, {"volume": "b", "path": "/b"}]}}),
    ]

    seen = [(await fly.http.post(f"/apps/{app}/machines", json=body)).status_code for app, body in bodies]

    assert seen == [412, 400]


async def test_a_machine_that_is_not_launched_stays_created_and_may_be_leased_from_birth(fly: Rig) -> None:
    body = {"config": {"image": "alpine"}, "skip_launch": True, "lease_ttl": 30}
    made = (await fly.http.post("/apps/wiki/machines", json=body)).json()
    path = f"/apps/wiki/machines/{made['id']}"
    seen = [(await fly.http.get(path)).json().get("state") for _ in range(4)]

    assert seen == [None, "created", "created", "created"]
    assert (await fly.http.post(f"{path}/start")).status_code == 409
    nonce = {"fly-machine-lease-nonce": made["nonce"]}
    assert (await fly.http.post(f"{path}/start", headers=nonce)).json()["previous_state"] == "created"
    assert (await fly.http.delete(f"{path}/lease")).status_code == 400


async def test_metadata_is_replaced_and_guarded_by_its_version(fly: Rig) -> None:
    path = f"{fly.machine_path}/metadata"
    other = await fly.http.put(path, json={"metadata": {"a": "1"}, "machine_version": "01OTHER"})
    mine = await fly.http.put(path, json={"metadata": {"a": "1", "b": ""}, "machine_version": fly.machine.version})
    seen = (await fly.http.get(path)).json()
    await fly.http.delete(f"{path}/a")

    assert (other.status_code, mine.status_code, seen) == (412, 204, {"a": "1"})
    assert (await fly.http.get(f"{path}/a")).status_code == 404


async def test_the_inventory_is_filtered(fly: Rig) -> None:
    await fly.clock.advance(timedelta(hours=1))
    moment = fly.clock.now()
    await fly.clock.advance(timedelta(seconds=1))
    fly.sim.world.stop_machine(fly.machine)
    queries = [{"updated_after": moment.isoformat()}, {"state": "stopped"}, {"region": "ams"}, {"summary": "true"}]

    pages = [(await fly.http.get("/orgs/personal/machines", params=query)).json()["machines"] for query in queries]

    assert [len(page) for page in pages] == [1, 2, 0, 5]
    assert "config" not in pages[3][0]


async def test_the_other_graphql_operations_answer(fly: Rig) -> None:
    answer = await fly.graphql(
        """query ($id: ID!) {
          volume(id: $id) { id state snapshots { nodes { id size } } }
          organizations { nodes { slug loggedCertificates { nodes { cert } } sshCertificate } }
          viewer { email ... on Macaroon { name } }
          nearestRegion(wireguardGateway: true) { code }
          platform { regions { code } }
          app(name: "my-crocbot") { secrets { name } hostname }
        }""",
        id=fly.volume.id,
    )

    data = answer["data"]
    assert len(data["volume"]["snapshots"]["nodes"]) == 3
    assert data["organizations"]["nodes"][0]["sshCertificate"].startswith("ssh-ed25519 ")
    assert data["nearestRegion"] == {"code": "fra"}
    assert len(data["app"]["secrets"]) == 2


async def test_graphql_takes_a_snapshot_and_mints_a_token(fly: Rig) -> None:
    taken = await fly.graphql(
        "mutation ($input: CreateVolumeSnapshotInput!) { createVolumeSnapshot(input: $input) { volume { id } } }",
        input={"volumeId": fly.volume.id},
    )
    minted = await fly.graphql(
        """mutation ($input: CreateLimitedAccessTokenInput!) {
          createLimitedAccessToken(input: $input) { limitedAccessToken { tokenHeader } }
        }""",
        input={
            "name": "n",
            "organizationId": "org_personal_node",
            "profile": "deploy",
            "profileParams": {"app_id": "wiki"},
        },
    )

    assert taken["data"]["createVolumeSnapshot"]["volume"]["id"] == fly.volume.id
    assert len(fly.volume.snapshots) == 4
    token = minted["data"]["createLimitedAccessToken"]["limitedAccessToken"]["tokenHeader"]
    assert (await fly.http.get("/apps/my-crocbot", headers={"authorization": token})).status_code == 403


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"organizationId": "org_other"}, "NOT_FOUND"),
        ({"validHours": 73}, "UNPROCESSABLE"),
        ({"publicKey": "not a key"}, "UNPROCESSABLE"),
        ({"appNames": ["foreign-app"]}, "UNAUTHORIZED"),
    ],
)
async def test_a_certificate_is_refused_to_whom_it_does_not_belong(fly: Rig, change: dict[str, Any], code: str) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDN/bDMOmcgPkT0oGsRU4rT3bq0l4iFqX3pcGmyZVEt4"
    wanted = {"organizationId": "org_personal_node", "publicKey": key, "validHours": 1} | change

    answer = await fly.graphql(
        "mutation ($input: IssueCertificateInput!) { issueCertificate(input: $input) { certificate } }", input=wanted
    )

    assert answer["errors"][0]["extensions"]["code"] == code


async def test_what_is_absent_is_said_to_be_absent(fly: Rig) -> None:
    volume = await fly.graphql('{ volume(id: "vol_none") { id } }')
    organization = await fly.graphql('{ organization(slug: "another-org") { id } }')
    machine = await fly.http.get("/apps/wiki/machines/none")
    gone = fly.volume
    fly.sim.world.remove_volume(gone)

    assert {volume["errors"][0]["extensions"]["code"], organization["errors"][0]["extensions"]["code"]} == {"NOT_FOUND"}
    assert machine.status_code == 404
    assert (await fly.http.get(f"/apps/my-crocbot/volumes/{gone.id}")).status_code == 404


@pytest.mark.parametrize(
    "text", ["{ app(", "fragment F on App { id }", "{ ...F } fragment F on Queries { __typename }"]
)
async def test_graphql_text_of_any_kind_gets_an_answer(fly: Rig, text: str) -> None:
    answer = await fly.http.post(f"{fly.sim.api_base_url}/graphql", json={"query": text}, headers=MEANT_WRONG)

    assert answer.status_code == 200


async def test_what_is_not_json_is_refused(fly: Rig) -> None:
    answer = await fly.http.post("/apps/wiki/volumes", content=b"{", headers=MEANT_WRONG)

    assert (answer.status_code, answer.headers["x-flysim-judge"]) == (400, "refused")


async def test_a_hanging_answer_never_comes(fly: Rig) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.HANG, action="app.get"))

    with pytest.raises(httpx.ReadTimeout):
        await fly.http.get("/apps/wiki", timeout=0.05)


async def test_a_host_can_be_lost_between_two_requests(fly: Rig) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.HOST_UNREACHABLE, action="snapshot.create", app="my-crocbot"))

    assert (await fly.http.post(fly.snapshots)).status_code == 503
    assert (await fly.http.get(fly.machine_path)).json()["host_status"] == "unreachable"
    assert (await fly.http.post(f"{fly.machine_path}/start")).status_code == 503
