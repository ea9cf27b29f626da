"""Every status, body and broken wire becomes the error it stands for."""

from datetime import timedelta

import httpx
import pytest

from flykeep.domain.errors import (
    FlyCapacityError,
    FlyConflictError,
    FlyError,
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyNameTakenError,
    FlyNotFoundError,
    FlyPreconditionError,
    FlyRateLimitedError,
    FlyUnauthorizedError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
)
from tests.unit.adapters.fly.wired import (
    APP,
    FLAPS,
    MACHINE,
    MACHINE_URL,
    REQUEST_ID,
    SNAPSHOTS,
    VOLUME,
    Wired,
    json_answer,
    text_answer,
)

_HTML = "<html><head><title>502 Bad Gateway</title></head></html>"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": "invalid_argument: bad volume"}, FlyInvalidRequestError),
        (400, {"error": "not_found: no such volume"}, FlyNotFoundError),
        (400, {"error": "deadline_exceeded: too slow"}, FlyUnavailableError),
        (400, {"error": "unavailable: try later"}, FlyUnavailableError),
        (401, {"error": "Authenticate: token validation error"}, FlyUnauthorizedError),
        (401, {"error": "not_found: hidden"}, FlyUnauthorizedError),
        (403, {"error": "unauthorized"}, FlyForbiddenError),
        (404, {"error": "app not found"}, FlyNotFoundError),
        (408, {"error": "deadline_exceeded: machine failed to reach desired state"}, FlyUnavailableError),
        (409, {"error": "aborted: lease currently held"}, FlyConflictError),
        (409, {"error": "already_exists: unique machine name violation, machine ID m1 has it"}, FlyNameTakenError),
        (409, {"error": "already_exists: something else"}, FlyConflictError),
        (409, {"error": "failed_precondition: volume already claimed"}, FlyPreconditionError),
        (412, {"error": "failed_precondition: wrong state"}, FlyPreconditionError),
        (412, {"error": "insufficient resources"}, FlyCapacityError),
        (412, {"error": "aborted: insufficient luck"}, FlyConflictError),
        (418, {"message": "no coffee"}, FlyError),
        (422, {"error": "Name has already been taken", "status": "name_taken"}, FlyNameTakenError),
        (429, {"error": "rate limit exceeded"}, FlyRateLimitedError),
        (302, {}, FlyUnexpectedAnswerError),
        (500, {"error": "failed_precondition: says who"}, FlyUnavailableError),
        (503, {}, FlyUnavailableError),
        (504, None, FlyUnavailableError),
    ],
)
async def test_a_status_becomes_its_error_with_the_request_id(
    status: int, body: object, expected: type[FlyError]
) -> None:
    wired = Wired()
    wired.answers("POST", SNAPSHOTS, *[json_answer(body, status=status) for _ in range(5)])

    with pytest.raises(FlyError) as caught:
        await wired.client.request_snapshot(APP, VOLUME)

    assert type(caught.value) is expected
    assert caught.value.status == status
    assert caught.value.request_id == REQUEST_ID
    assert caught.value.facts["request_id"] == REQUEST_ID
    assert caught.value.facts["volume"] == VOLUME
    if isinstance(body, dict) and "error" in body:
        assert body["error"] in str(caught.value)
    if isinstance(body, dict) and "status" in body:
        assert caught.value.facts["fly_status"] == body["status"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", "without saying why"), (_HTML, "a web page"), ("upstream\n\n  gone", "upstream gone"), ("{not json", "why")],
)
async def test_a_body_that_is_no_json_still_makes_a_readable_error(text: str, shown: str) -> None:
    wired = Wired()
    wired.answers("POST", SNAPSHOTS, text_answer(text, status=502))

    with pytest.raises(FlyUnavailableError) as caught:
        await wired.client.request_snapshot(APP, VOLUME)

    assert shown in str(caught.value)
    assert "<" not in str(caught.value)
    assert caught.value.request_id == REQUEST_ID


async def test_an_answer_without_a_request_id_has_none() -> None:
    wired = Wired()
    wired.answers("POST", SNAPSHOTS, httpx.Response(403, json={"error": "unauthorized"}))

    with pytest.raises(FlyForbiddenError) as caught:
        await wired.client.request_snapshot(APP, VOLUME)

    assert caught.value.request_id is None


async def test_a_very_long_refusal_is_cut() -> None:
    wired = Wired()
    wired.answers("POST", SNAPSHOTS, json_answer({"error": "x" * 10_000}, status=400))

    with pytest.raises(FlyInvalidRequestError) as caught:
        await wired.client.request_snapshot(APP, VOLUME)

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("broken", "shown"),
    [
        (httpx.ConnectError("refused"), "cannot be reached"),
        (httpx.ConnectTimeout("slow"), "cannot be reached"),
        (httpx.ReadTimeout("slow"), "in time"),
        (httpx.ReadError("reset"), "broke"),
        (httpx.RemoteProtocolError("half"), "broke"),
        (httpx.DecodingError("garbage"), "broke"),
        (TimeoutError(), "in time"),
    ],
)
async def test_a_broken_wire_is_an_unknown_outcome(broken: Exception, shown: str) -> None:
    wired = Wired()
    route = wired.answers("POST", SNAPSHOTS, broken)

    with pytest.raises(FlyUnavailableError, match=shown) as caught:
        await wired.client.request_snapshot(APP, VOLUME)

    assert route.call_count == 1
    assert caught.value.__cause__ is broken


async def test_a_redirect_is_not_followed_for_the_token_belongs_to_one_host() -> None:
    wired = Wired()
    wired.answers("GET", MACHINE_URL, json_answer({}, status=307, headers={"location": "https://elsewhere.test/"}))
    elsewhere = wired.router.get("https://elsewhere.test/").respond(200)

    with pytest.raises(FlyUnexpectedAnswerError):
        await wired.client.machine(APP, MACHINE)

    assert not elsewhere.called


# -- asking again


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_listing_is_read_again_after_a_fault(status: int) -> None:
    wired = Wired()
    route = wired.answers("GET", SNAPSHOTS, text_answer("", status=status), json_answer([]))

    assert await wired.client.snapshots(APP, VOLUME) == ()
    assert route.call_count == 2
    assert wired.waited_s >= 1


async def test_waits_between_attempts_double_and_the_attempts_end() -> None:
    wired = Wired()
    route = wired.answers("GET", SNAPSHOTS, *[text_answer("", status=503) for _ in range(5)])

    with pytest.raises(FlyUnavailableError):
        await wired.client.snapshots(APP, VOLUME)

    assert route.call_count == 5
    assert wired.waited_s == 1 + 2 + 4 + 8


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 422])
async def test_a_refusal_is_not_asked_again(status: int) -> None:
    wired = Wired()
    route = wired.answers("GET", SNAPSHOTS, json_answer({"error": "no"}, status=status))

    with pytest.raises(FlyError):
        await wired.client.snapshots(APP, VOLUME)

    assert route.call_count == 1


@pytest.mark.parametrize("answer", [text_answer("", status=503), text_answer("", status=408), httpx.ReadError("reset")])
async def test_a_snapshot_is_never_asked_for_twice_on_an_unknown_outcome(answer: httpx.Response | Exception) -> None:
    wired = Wired()
    route = wired.answers("POST", SNAPSHOTS, answer)

    with pytest.raises(FlyUnavailableError):
        await wired.client.request_snapshot(APP, VOLUME)

    assert route.call_count == 1


async def test_a_snapshot_is_asked_for_again_after_a_rate_limit_which_refuses_before_any_effect() -> None:
    wired = Wired()
    route = wired.answers(
        "POST",
        SNAPSHOTS,
        json_answer({"error": "rate limit exceeded"}, status=429, headers={"retry-after": "17"}),
        json_answer({"Msg": {"backup": {"graph_id": "vs_1", "state": "prepare"}}}),
    )

    assert (await wired.client.request_snapshot(APP, VOLUME)).graph_id == "vs_1"
    assert route.call_count == 2
    assert wired.waited_s == 17


async def test_a_command_is_never_run_twice_on_an_unknown_outcome() -> None:
    wired = Wired()
    route = wired.answers("POST", f"{MACHINE_URL}/exec", text_answer("", status=503))

    with pytest.raises(FlyUnavailableError):
        await wired.client.execute(APP, MACHINE, ("sync",), within=timedelta(seconds=5))

    assert route.call_count == 1


async def test_a_date_in_retry_after_is_waited_for() -> None:
    wired = Wired()
    later = (wired.started_at + timedelta(seconds=40)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    wired.answers("GET", SNAPSHOTS, json_answer({}, status=429, headers={"retry-after": later}), json_answer([]))

    await wired.client.snapshots(APP, VOLUME)

    assert wired.waited_s == 40


@pytest.mark.parametrize("header", ["soon", "", "-3", "nan", "1e400"])
async def test_a_retry_after_that_says_nothing_is_backed_off_by_our_own_rule(header: str) -> None:
    wired = Wired()
    wired.answers("GET", SNAPSHOTS, json_answer({}, status=429, headers={"retry-after": header}), json_answer([]))

    await wired.client.snapshots(APP, VOLUME)

    assert 1 <= wired.waited_s <= 20


async def test_a_wait_longer_than_anybody_has_time_for_is_an_error_that_names_it() -> None:
    wired = Wired()
    route = wired.answers("GET", SNAPSHOTS, json_answer({}, status=429, headers={"retry-after": "86400"}))

    with pytest.raises(FlyRateLimitedError) as caught:
        await wired.client.snapshots(APP, VOLUME)

    assert route.call_count == 1
    assert caught.value.retry_after == timedelta(days=1)
    assert wired.waited_s == 0


async def test_one_apps_rate_limit_holds_its_other_requests_too() -> None:
    wired = Wired()
    limited = json_answer({}, status=429, headers={"retry-after": "30"})
    wired.answers("GET", f"{FLAPS}/v1/apps/{APP}/volumes/{VOLUME}", *[limited] * 5)
    other = wired.answers(
        "GET", f"{FLAPS}/v1/apps/{APP}/volumes/vol_other", json_answer({"id": "v", "state": "created"})
    )

    with pytest.raises(FlyRateLimitedError):
        await wired.client.volume(APP, VOLUME)
    waited_s = wired.waited_s
    await wired.client.volume(APP, "vol_other")  # type: ignore[arg-type]

    assert other.called
    assert wired.waited_s - waited_s == 30
