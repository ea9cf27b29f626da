"""Fly's answers, with every oddity seen, become facts; what is missing is never read as gone or fine."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from flykeep.adapters.fly import http
from flykeep.adapters.fly.client import FlyClient
from flykeep.domain.errors import (
    FlyConflictError,
    FlyInvalidRequestError,
    FlyNotFoundError,
    FlyPreconditionError,
    FlyUnauthorizedError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
)
from flykeep.domain.fly import HostStatus, Mount, SnapshotRequest
from flykeep.testing.clock import CountedIds, JumpingClock
from tests.unit.adapters.fly.wired import (
    APP,
    FLAPS,
    MACHINE,
    MACHINE_URL,
    REQUEST_ID,
    SNAPSHOTS,
    TOKEN,
    VOLUME,
    Wired,
    json_answer,
    text_answer,
)

_VOLUME_URL = f"{FLAPS}/v1/apps/{APP}/volumes/{VOLUME}"
_ORG = f"{FLAPS}/v1/orgs/acme"
_TOO_LARGE = "Unhandled rejection: Rejection([PayloadTooLarge, MethodNotAllowed])"


def _machine(**fields: Any) -> dict[str, Any]:
    return {
        "id": MACHINE,
        "name": "quiet-river-1",
        "state": "started",
        "region": "iad",
        "private_ip": "fdaa:0:1::3",
        "instance_id": "01H",
        "host_status": "ok",
        "unknown_field": {"is": "ignored"},
    } | fields


# -- machines and volumes


async def test_a_config_is_kept_whole_in_canonical_form() -> None:
    config = {
        "image": "é:1",
        "stop_config": {"timeout": 10_000_000_000},
        "env": {"B": "2", "A": "1"},
        "new": [None, 1.5],
    }
    mounts = [{"volume": VOLUME, "path": "/data", "name": "crocbot_data"}]
    wired = Wired()
    wired.answers("GET", MACHINE_URL, json_answer(_machine(config=config | {"mounts": mounts})))

    machine = await wired.client.machine(APP, MACHINE)

    assert machine.config_json is not None
    assert json.loads(machine.config_json) == config | {"mounts": mounts}
    assert machine.config_json.startswith('{"env":{"A":"1","B":"2"},"image":"é:1"')
    assert machine.mounts == (Mount(volume_id=VOLUME, path="/data"),)
    assert (machine.app, machine.private_ip, machine.instance_id) == (APP, "fdaa:0:1::3", "01H")


@pytest.mark.parametrize(
    ("fields", "host_status"),
    [
        ({"host_status": "unreachable"}, HostStatus.UNREACHABLE),
        ({"host_status": "unknown"}, HostStatus.UNKNOWN),
        ({"host_status": "on fire"}, HostStatus.UNKNOWN),
        ({"host_status": None}, HostStatus.UNKNOWN),
        ({"config": None}, HostStatus.OK),
        ({"config": {}}, HostStatus.OK),
    ],
)
async def test_a_config_that_may_be_incomplete_is_none(fields: dict[str, Any], host_status: HostStatus) -> None:
    wired = Wired()
    wired.answers("GET", MACHINE_URL, json_answer(_machine(config={"image": "x"}) | fields))

    machine = await wired.client.machine(APP, MACHINE)

    assert machine.config_json is None
    assert machine.host_status is host_status


async def test_an_incomplete_config_still_names_the_volume() -> None:
    partial = {"mounts": [{"volume": VOLUME, "path": "/data"}, {"name": "no volume"}, "nonsense"]}
    wired = Wired()
    wired.answers("GET", MACHINE_URL, json_answer(_machine(host_status="unreachable", incomplete_config=partial)))

    machine = await wired.client.machine(APP, MACHINE)

    assert machine.mounts == (Mount(volume_id=VOLUME, path="/data"),)
    assert machine.config_json is None


async def test_a_machine_without_a_state_is_no_answer() -> None:
    wired = Wired()
    wired.answers("GET", MACHINE_URL, json_answer({"id": MACHINE}))

    with pytest.raises(FlyUnexpectedAnswerError, match="state") as caught:
        await wired.client.machine(APP, MACHINE)

    assert caught.value.request_id == REQUEST_ID


async def test_an_apps_list_may_be_null_which_is_how_go_writes_an_empty_one() -> None:
    wired = Wired()
    wired.answers("GET", f"{FLAPS}/v1/apps/{APP}/machines", text_answer("null", status=200))

    assert await wired.client.machines(APP) == ()


async def test_a_volume_keeps_unknowns_unknown() -> None:
    wired = Wired()
    wired.answers(
        "GET",
        _VOLUME_URL,
        json_answer({"id": VOLUME, "state": "created", "attached_machine_id": "", "bytes_used": 0, "bytes_total": 0}),
    )

    volume = await wired.client.volume(APP, VOLUME)

    assert volume.attached_machine_id is None
    assert volume.used_bytes is None
    assert volume.total_bytes is None
    assert volume.is_automatic_snapshot_on is None
    assert volume.snapshot_retention_days is None
    assert volume.host_status is HostStatus.UNKNOWN
    assert volume.created_at == datetime(1970, 1, 1, tzinfo=UTC)


async def test_a_volume_is_read_whole() -> None:
    wired = Wired()
    document = {
        "id": VOLUME,
        "name": "crocbot_data",
        "state": "pending_destroy",
        "region": "ams",
        "size_gb": 3,
        "attached_machine_id": MACHINE,
        "created_at": "2026-01-02T03:04:05.123456789Z",
        "host_status": "ok",
        "auto_backup_enabled": False,
        "snapshot_retention": 14,
        "bytes_used": 5,
        "bytes_total": 9,
    }
    wired.answers("GET", _VOLUME_URL, json_answer(document))

    volume = await wired.client.volume(APP, VOLUME)

    assert (volume.name, volume.region, volume.size_gb, volume.state) == ("crocbot_data", "ams", 3, "pending_destroy")
    assert volume.is_leaving
    assert (volume.attached_machine_id, volume.used_bytes, volume.total_bytes) == (MACHINE, 5, 9)
    assert (volume.is_automatic_snapshot_on, volume.snapshot_retention_days) == (False, 14)
    assert volume.created_at == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert volume.host_status is HostStatus.OK


# -- inventories


def _row(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"vol_{number}", "app_name": "a", "name": "data", "state": "created", "region": "iad"} | fields


async def test_pages_are_joined_and_a_row_changed_meanwhile_counts_once() -> None:
    wired = Wired()
    wired.answers("GET", f"{_ORG}/machines", json_answer({"machines": []}))
    route = wired.answers(
        "GET",
        f"{_ORG}/volumes",
        json_answer({"volumes": [_row(1), _row(2)], "next_cursor": "c1"}),
        json_answer({"volumes": [_row(3), _row(1, state="pending_destroy")], "next_cursor": ""}),
    )

    inventory = await wired.client.inventory()

    assert [(volume.id, volume.state) for volume in inventory.volumes] == [
        ("vol_1", "pending_destroy"),
        ("vol_2", "created"),
        ("vol_3", "created"),
    ]
    assert [dict(call.request.url.params) for call in route.calls] == [
        {"limit": "1000"},
        {"limit": "1000", "cursor": "c1"},
    ]
    assert inventory.is_complete


async def test_silent_regions_of_either_listing_and_any_page_are_reported() -> None:
    wired = Wired()
    wired.answers(
        "GET",
        f"{_ORG}/machines",
        json_answer({"machines": None, "next_cursor": "c", "error_regions": ["ams"]}),
        json_answer({"machines": None, "error_regions": None}),
    )
    wired.answers("GET", f"{_ORG}/volumes", json_answer({"volumes": [_row(1)], "error_regions": ["gru"]}))

    inventory = await wired.client.inventory()

    assert inventory.incomplete_regions == ("ams", "gru")
    assert not inventory.is_complete


async def test_machines_of_the_inventory_never_carry_a_config() -> None:
    wired = Wired()
    row = _machine(app_name="a", config={"image": "x", "metadata": {}})
    wired.answers("GET", f"{_ORG}/machines", json_answer({"machines": [row]}))
    wired.answers("GET", f"{_ORG}/volumes", json_answer({"volumes": []}))

    (machine,) = (await wired.client.inventory()).machines

    assert machine.config_json is None
    assert machine.app == "a"


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"error": "internal"},
        {"volumes": [{"id": "vol_1", "state": "created"}]},
        {"volumes": [{"app_name": "a", "state": "created"}]},
        {"volumes": [_row(1, created_at="yesterday")]},
        {"volumes": [_row(1, created_at=1_700_000_000)]},
        [],
    ],
)
async def test_a_page_without_its_list_or_with_nameless_rows_is_no_inventory(page: Any) -> None:
    wired = Wired()
    wired.answers("GET", f"{_ORG}/machines", json_answer({"machines": []}))
    wired.answers("GET", f"{_ORG}/volumes", json_answer(page))

    with pytest.raises(FlyUnexpectedAnswerError):
        await wired.client.inventory()


async def test_a_second_page_that_fails_fails_the_whole_inventory() -> None:
    wired = Wired()
    wired.answers("GET", f"{_ORG}/machines", json_answer({"machines": []}))
    failures = [text_answer("", status=503) for _ in range(5)]
    wired.answers("GET", f"{_ORG}/volumes", json_answer({"volumes": [_row(1)], "next_cursor": "c"}), *failures)

    with pytest.raises(FlyUnavailableError):
        await wired.client.inventory()


async def test_a_cursor_that_comes_back_ends_the_reading_with_an_error() -> None:
    wired = Wired()
    wired.answers(
        "GET", f"{_ORG}/machines", *[json_answer({"machines": [], "next_cursor": c}) for c in ("a", "b", "a")]
    )

    with pytest.raises(FlyUnexpectedAnswerError, match="repeats"):
        await wired.client.inventory()


async def test_apps_are_asked_for_by_organization() -> None:
    wired = Wired()
    apps = [{"name": "one", "status": "deployed", "network": ""}, {"name": "two", "network": "own"}]
    route = wired.answers("GET", f"{FLAPS}/v1/apps", json_answer({"total_apps": 2, "apps": apps}))

    listed = await wired.client.apps()

    assert [(app.name, app.status, app.network) for app in listed] == [("one", "deployed", None), ("two", "", "own")]
    assert dict(route.calls[0].request.url.params) == {"org_slug": "acme"}


# -- snapshots


async def test_snapshots_are_sorted_and_rows_without_an_instant_come_first() -> None:
    rows = [
        {"id": "vs_old", "created_at": "2026-01-01T02:00:00+02:00", "status": "created", "size": 1},
        {"id": "", "status": "waiting", "size": 0, "retention_days": None},
        {"id": "vs_new", "created_at": "2026-01-01T01:00:00.999999999Z", "status": "created", "retention_days": 5},
        {"id": "vs_zero", "created_at": "0001-01-01T00:00:00Z", "status": "running", "retention_days": 0},
        {"id": "vs_zero_offset", "created_at": "0001-01-01T00:00:00+05:00", "status": "running"},
        {"id": "vs_failed", "created_at": "2025-01-01T00:00:00Z", "status": "exploded", "volume_size": 7},
    ]
    wired = Wired()
    wired.answers("GET", SNAPSHOTS, json_answer(rows))

    listed = await wired.client.snapshots(APP, VOLUME)

    assert [row.id for row in listed] == [None, "vs_zero", "vs_zero_offset", "vs_new", "vs_old", "vs_failed"]
    assert [row.is_restorable for row in listed] == [False, False, False, True, True, False]
    assert [row.is_pending for row in listed] == [True, True, True, False, False, False]
    assert listed[3].created_at == datetime(2026, 1, 1, 1, 0, 0, 999999, tzinfo=UTC)
    assert listed[4].created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert [row.retention_days for row in listed[1:4]] == [None, None, 5]
    assert listed[5].volume_size_bytes == 7


@pytest.mark.parametrize(
    ("row", "is_restorable"),
    [
        ({"id": "vs_1", "created_at": "2026-01-01T00:00:00Z", "digest": "a-1", "size": 9}, True),
        ({"id": "vs_1", "created_at": "2026-01-01T00:00:00Z"}, False),
        ({"id": "vs_1", "digest": "a-1"}, False),
        ({"created_at": "2026-01-01T00:00:00Z", "digest": "a-1"}, False),
        ({"id": "vs_1", "created_at": "0001-01-01T00:00:00Z", "digest": "a-1"}, False),
    ],
)
async def test_a_row_of_the_older_api_is_done_with_id_instant_and_digest(
    row: dict[str, Any], is_restorable: bool
) -> None:
    wired = Wired()
    wired.answers("GET", SNAPSHOTS, json_answer([row]))

    (snapshot,) = await wired.client.snapshots(APP, VOLUME)

    assert snapshot.is_restorable is is_restorable
    assert snapshot.is_pending is not is_restorable


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"Msg": {"backup": {"id": "123", "graph_id": "vs_1", "state": "prepare"}}},
            SnapshotRequest(graph_id="vs_1", state="prepare"),  # type: ignore[arg-type]
        ),
        ({"Msg": {"backup": {"id": 123, "state": "prepare"}}}, SnapshotRequest(graph_id=None, state="prepare")),
        ({"ok": True}, SnapshotRequest(graph_id=None, state="unknown")),
        ([], SnapshotRequest(graph_id=None, state="unknown")),
    ],
)
async def test_a_snapshot_request_names_the_graph_id_or_says_that_the_list_must_be_read(
    body: Any, expected: SnapshotRequest
) -> None:
    wired = Wired()
    wired.answers("POST", SNAPSHOTS, json_answer(body))

    assert await wired.client.request_snapshot(APP, VOLUME) == expected


async def test_an_empty_answer_to_a_snapshot_request_is_still_an_acceptance() -> None:
    wired = Wired()
    wired.answers("POST", SNAPSHOTS, httpx.Response(200))

    assert (await wired.client.request_snapshot(APP, VOLUME)).graph_id is None


# -- commands


async def _execute(wired: Wired, answer: httpx.Response, *command: str, seconds: float = 5) -> Any:
    wired.answers("POST", f"{MACHINE_URL}/exec", answer)
    return await wired.client.execute(APP, MACHINE, command or ("true",), within=timedelta(seconds=seconds))


async def test_a_command_is_sent_as_arguments_with_its_time_limit() -> None:
    wired = Wired()
    result = await _execute(
        wired, json_answer({"exit_code": 3, "stdout": "o", "stderr": "e"}), "sh", "-c", "x", seconds=4.2
    )

    assert (result.exit_code, result.stdout, result.stderr) == (3, "o", "e")
    assert json.loads(wired.router.calls[0].request.content) == {"command": ["sh", "-c", "x"], "timeout": 5}


async def test_an_absent_exit_code_is_zero() -> None:
    result = await _execute(
        Wired(), httpx.Response(200, content=b"{}", headers={"content-type": "application/octet-stream"})
    )

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


async def test_a_command_killed_by_a_signal_did_not_succeed() -> None:
    result = await _execute(Wired(), json_answer({"exit_signal": 9}))

    assert result.exit_code == 137
    assert not result.is_success


@pytest.mark.parametrize(
    "answer", [text_answer(_TOO_LARGE, status=200), json_answer({"stdout": _TOO_LARGE, "exit_code": 0})]
)
async def test_a_refusal_dressed_as_success_is_an_error(answer: httpx.Response) -> None:
    with pytest.raises(FlyInvalidRequestError, match="too large") as caught:
        await _execute(Wired(), answer)

    assert caught.value.request_id == REQUEST_ID


@pytest.mark.parametrize("answer", [json_answer({"error": "who knows"}), text_answer("", status=200), json_answer([])])
async def test_an_answer_that_is_no_result_is_not_a_success(answer: httpx.Response) -> None:
    with pytest.raises(FlyUnexpectedAnswerError):
        await _execute(Wired(), answer)


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (408, "deadline_exceeded: request canceled", FlyUnavailableError),
        (409, "aborted: machine ID lease currently held by x", FlyConflictError),
        (412, "failed_precondition: machine not started", FlyPreconditionError),
        (400, "timeout must not exceed 60 seconds", FlyInvalidRequestError),
    ],
)
async def test_refusals_of_a_command_are_told_apart(status: int, text: str, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        await _execute(Wired(), json_answer({"error": text}, status=status))


@pytest.mark.parametrize(
    ("command", "seconds"), [((), 5), (("true",), 61), (("echo", "x" * 15_000), 5), (("true",) * 5000, 5)]
)
async def test_what_fly_would_not_take_is_refused_before_it_is_sent(command: tuple[str, ...], seconds: float) -> None:
    wired = Wired()

    with pytest.raises(FlyInvalidRequestError):
        await wired.client.execute(APP, MACHINE, command, within=timedelta(seconds=seconds))

    assert wired.router.calls.call_count == 0


# -- waiting


async def test_waiting_is_repeated_in_steps_fly_accepts() -> None:
    wired = Wired()
    expiry = json_answer({"error": "deadline_exceeded: machine failed to reach desired state"}, status=408)
    route = wired.answers("GET", f"{MACHINE_URL}/wait", expiry, expiry, json_answer({"ok": True, "state": "stopped"}))

    await wired.client.wait_machine(APP, MACHINE, "stopped", timedelta(minutes=5))

    assert [dict(call.request.url.params) for call in route.calls] == [{"state": "stopped", "timeout": "60"}] * 3


async def test_a_wait_ends_at_its_own_limit() -> None:
    wired = Wired()

    async def expire(request: httpx.Request) -> httpx.Response:
        await wired.clock.sleep(timedelta(seconds=int(request.url.params["timeout"])))
        return json_answer({"error": "deadline_exceeded: no"}, status=408)

    route = wired.router.get(f"{MACHINE_URL}/wait").mock(side_effect=expire)

    with pytest.raises(FlyPreconditionError, match="stopped within 90 s"):
        await wired.client.wait_machine(APP, MACHINE, "stopped", timedelta(seconds=90))

    assert [call.request.url.params["timeout"] for call in route.calls] == ["60", "30"]


async def test_a_machine_that_is_not_found_is_destroyed_and_nothing_else() -> None:
    wired = Wired()
    wired.answers("GET", f"{MACHINE_URL}/wait", *[json_answer({"error": "machine not found"}, status=404)] * 2)

    await wired.client.wait_machine(APP, MACHINE, "destroyed", timedelta(seconds=5))
    with pytest.raises(FlyNotFoundError):
        await wired.client.wait_machine(APP, MACHINE, "started", timedelta(seconds=5))


# -- metadata, tokens


async def test_metadata_is_read_and_set_key_by_key() -> None:
    wired = Wired()
    wired.answers("GET", f"{MACHINE_URL}/metadata", json_answer({"a": "1"}))
    route = wired.answers("POST", f"{MACHINE_URL}/metadata/my%2Fkey", httpx.Response(204))

    assert await wired.client.machine_metadata(APP, MACHINE) == {"a": "1"}
    await wired.client.set_machine_metadata(APP, MACHINE, key="my/key", value="v")

    assert json.loads(route.calls[0].request.content) == {"value": "v"}


async def test_a_token_tells_what_it_may_see() -> None:
    wired = Wired()
    rows = [{"org_slug": "acme", "apps": ["b", "a"]}, {"organization": "other", "apps": None}]
    wired.answers("GET", f"{FLAPS}/v1/tokens/current", json_answer({"tokens": rows}))

    first, second = await wired.client.token_info()

    assert (first.org_slug, first.apps) == ("acme", ("a", "b"))
    assert (second.org_slug, second.apps) == ("other", ())


@pytest.mark.parametrize("token", ["", "FlyV1 ", "fm2_a b"])
async def test_no_usable_token_is_said_without_asking(token: str) -> None:
    wired = Wired(token=token)

    with pytest.raises(FlyUnauthorizedError):
        await wired.client.token_info()

    assert wired.router.calls.call_count == 0


# -- every request


async def test_requests_carry_our_name_and_quote_their_paths() -> None:
    wired = Wired()
    route = wired.router.get(url__regex=r".*").mock(return_value=json_answer([]))

    await wired.client.snapshots("../evil?x=1", VOLUME)  # type: ignore[arg-type]

    request = route.calls[0].request
    assert request.headers["user-agent"].startswith("flykeep/")
    assert request.headers["authorization"] == TOKEN
    assert request.url.raw_path == f"/v1/apps/..%2Fevil%3Fx%3D1/volumes/{VOLUME}/snapshots".encode()


async def test_commands_and_waits_are_given_longer_to_answer_than_the_rest() -> None:
    wired = Wired()
    route = wired.router.route().mock(return_value=json_answer({"state": "started"}))

    await wired.client.execute(APP, MACHINE, ("true",), within=timedelta(seconds=60))
    await wired.client.wait_machine(APP, MACHINE, "started", timedelta(seconds=60))
    await wired.client.request_snapshot(APP, VOLUME)

    timeouts = [call.request.extensions["timeout"] for call in route.calls]
    assert [timeout["read"] for timeout in timeouts] == [75, 75, 30]
    assert {timeout["connect"] for timeout in timeouts} == {10}


async def test_an_answer_without_end_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_LARGEST_ANSWER_BYTES", 1000)
    wired = Wired()
    wired.answers("GET", SNAPSHOTS, text_answer("[" + " " * 1000 + "]", status=200))

    with pytest.raises(FlyUnexpectedAnswerError, match="larger"):
        await wired.client.snapshots(APP, VOLUME)


async def test_the_address_inside_flys_private_network_is_one_too() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return json_answer([])

    clock = JumpingClock()
    client = FlyClient(
        token=SecretStr(TOKEN),
        org="acme",
        flaps_base_url="http://_api.internal:4280/",
        clock=clock,
        ids=CountedIds(),
        transport=httpx.MockTransport(answer),
    )

    await client.snapshots(APP, VOLUME)
    await client.aclose()

    assert [str(url) for url in asked] == [f"http://_api.internal:4280/v1/apps/{APP}/volumes/{VOLUME}/snapshots"]
