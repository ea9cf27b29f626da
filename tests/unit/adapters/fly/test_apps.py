"""What is asked of Fly about apps, and what its odd answers become."""

import json
import traceback
from datetime import timedelta
from typing import Any

import httpx
import pytest

from flykeep.adapters.fly.apps import FlyApps
from flykeep.domain.app_description import AddressKind
from flykeep.domain.errors import (
    FlyError,
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyNameTakenError,
    FlyNotFoundError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
)
from tests.unit.adapters.fly.wired import APP, FLAPS, Wired, json_answer, text_answer

APPS_URL = f"{FLAPS}/v1/apps"
APP_URL = f"{APPS_URL}/{APP}"
ROW = {"name": APP, "status": "pending", "network": "n", "organization": {"slug": "acme"}}
PLANTED = {"NAME": "planted-value"}
NOT_THERE = {"error": "app not found"}


def apps_of(wired: Wired) -> FlyApps:
    return FlyApps(wired.client, clock=wired.clock)


def sent(route: Any) -> Any:
    return json.loads(route.calls.last.request.content)


async def test_a_new_app_is_looked_for_until_fly_knows_it() -> None:
    wired = Wired()
    route = wired.answers("POST", APPS_URL, text_answer("", status=201))
    looks = wired.answers(
        "GET", APP_URL, json_answer(NOT_THERE, status=404), json_answer({}, status=401), json_answer(ROW)
    )
    await apps_of(wired).create_app(APP, org="acme", network=None)
    assert sent(route) == {"name": APP, "org_slug": "acme"}
    assert looks.call_count == 3


async def test_an_app_that_never_appears_is_given_up() -> None:
    wired = Wired()
    wired.answers("POST", APPS_URL, text_answer("", status=201))
    wired.router.get(APP_URL).mock(return_value=json_answer(NOT_THERE, status=404))
    with pytest.raises(FlyNotFoundError):
        await apps_of(wired).create_app(APP, org="acme", network="n")
    assert timedelta(seconds=wired.waited_s) < timedelta(minutes=2)


async def test_a_create_whose_answer_is_lost_is_not_sent_again() -> None:
    wired = Wired()
    posts = wired.answers("POST", APPS_URL, httpx.ReadError("x"))
    with pytest.raises(FlyUnavailableError):
        await apps_of(wired).create_app(APP, org="acme", network=None)
    assert posts.call_count == 1


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (json_answer({}, status=403), FlyNameTakenError),
        (json_answer(NOT_THERE, status=404), FlyForbiddenError),
        (json_answer(ROW), FlyForbiddenError),
    ],
)
async def test_a_forbidden_create_is_a_taken_name_only_where_looking_says_so(
    look: httpx.Response, expected: type[FlyError]
) -> None:
    wired = Wired()
    wired.answers("POST", APPS_URL, json_answer({"error": "unauthorized"}, status=403))
    wired.answers("GET", APP_URL, look)
    with pytest.raises(expected):
        await apps_of(wired).create_app(APP, org="acme", network=None)


async def test_an_address_is_asked_for_once_and_in_its_region() -> None:
    wired = Wired()
    route = wired.answers(
        "POST", f"{APP_URL}/ip_assignments", json_answer({"ip": "37.16.1.1", "region": "ams"}), httpx.ReadError("x")
    )
    made = await apps_of(wired).assign_address(APP, AddressKind.V4, region="ams")
    assert (made.address, made.kind, made.region) == ("37.16.1.1", AddressKind.V4, "ams")
    assert sent(route) == {"type": "v4", "region": "ams"}
    with pytest.raises(FlyUnavailableError):
        await apps_of(wired).assign_address(APP, AddressKind.V4, region=None)
    assert route.call_count == 2


async def test_an_egress_address_is_known_and_a_word_that_is_no_address_is_refused() -> None:
    wired = Wired()
    rows = [{"ip": "37.16.1.2", "region": "fra", "egress": True}, {"ip": "66.241.1.1", "shared": True}]
    wired.answers("GET", f"{APP_URL}/ip_assignments", json_answer({"ips": rows}), json_answer({"ips": [{"ip": "no"}]}))
    assert [each.kind for each in await apps_of(wired).addresses(APP)] == [AddressKind.EGRESS, AddressKind.SHARED_V4]
    with pytest.raises(FlyUnexpectedAnswerError):
        await apps_of(wired).addresses(APP)


async def test_certificates_that_go_round_in_a_circle_are_refused() -> None:
    wired = Wired()
    page = json_answer({"certificates": [{"hostname": "a.example"}], "next_cursor": "c"})
    route = wired.answers("GET", f"{APP_URL}/certificates", page, page)
    with pytest.raises(FlyUnexpectedAnswerError, match="for ever"):
        await apps_of(wired).certificates(APP)
    assert "limit" not in str(route.calls.last.request.url)


@pytest.mark.parametrize(
    "answer",
    [
        json_answer({"error": "invalid_argument: 'planted-value' is too long"}, status=400),
        text_answer("planted-value", status=502),
        text_answer("planted-value", status=200),
        httpx.ReadError("reset"),
    ],
)
async def test_no_error_of_setting_secrets_names_a_value(answer: Any) -> None:
    wired = Wired()
    wired.router.post(f"{APP_URL}/secrets").mock(side_effect=[answer] * 9)
    with pytest.raises(FlyError) as caught:
        await apps_of(wired).set_secrets(APP, PLANTED)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + str(caught.value.facts)
    assert "planted-value" not in shown
    assert isinstance(caught.value, FlyInvalidRequestError | FlyUnavailableError | FlyUnexpectedAnswerError)


async def test_the_version_of_secrets_may_be_missing() -> None:
    wired = Wired()
    route = wired.answers("POST", f"{APP_URL}/secrets", json_answer({"secrets": [], "version": 7}), json_answer({}))
    assert await apps_of(wired).set_secrets(APP, {"A": "b"}) == 7
    assert sent(route) == {"values": {"A": "b"}}
    assert await apps_of(wired).set_secrets(APP, {"A": "b"}) is None
