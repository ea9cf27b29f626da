"""The app of temporary things as Fly tells of it, and what a lost answer to its making becomes."""

import json
from typing import Any

import httpx
import pytest

from flykeep.adapters.fly.premises import FlyPremises
from flykeep.domain.errors import FlyForbiddenError, FlyNameTakenError, FlyUnavailableError
from flykeep.domain.ids import AppName
from tests.unit.adapters.fly.wired import FLAPS, Wired, json_answer, text_answer

SCRATCH = AppName("flykeep-scratch")
APPS_URL = f"{FLAPS}/v1/apps"
ROW = {"name": SCRATCH, "status": "pending", "network": SCRATCH}
TAKEN = {"error": "Name has already been taken", "status": "name_taken"}


def premises_of(wired: Wired) -> FlyPremises:
    return FlyPremises(wired.client, org="acme")


async def test_it_is_made_in_the_organization_with_a_network_of_its_own() -> None:
    wired = Wired()
    route = wired.answers("POST", APPS_URL, text_answer("", status=201))
    await premises_of(wired).create_app(SCRATCH, network=SCRATCH)
    assert json.loads(route.calls.last.request.content) == {"name": SCRATCH, "org_slug": "acme", "network": SCRATCH}


@pytest.mark.parametrize("answer", [json_answer(TAKEN, status=422), text_answer("", status=502), httpx.ReadError("x")])
async def test_one_of_ours_that_is_there_after_all_is_fine(answer: Any) -> None:
    wired = Wired()
    posts = wired.answers("POST", APPS_URL, answer)
    wired.answers("GET", APPS_URL, json_answer({"apps": [ROW]}))
    await premises_of(wired).create_app(SCRATCH, network=SCRATCH)
    assert posts.call_count == 1


async def test_somebody_elses_app_of_that_name_and_a_list_that_cannot_be_read_leave_the_first_error() -> None:
    wired = Wired()
    wired.answers("POST", APPS_URL, json_answer(TAKEN, status=422), text_answer("", status=502))
    wired.answers("GET", APPS_URL, json_answer({"apps": []}), json_answer({}, status=403))
    with pytest.raises(FlyNameTakenError, match="taken"):
        await premises_of(wired).create_app(SCRATCH, network=SCRATCH)
    with pytest.raises(FlyUnavailableError):
        await premises_of(wired).create_app(SCRATCH, network=SCRATCH)


async def test_names_of_secrets_are_read_and_nothing_else_of_them() -> None:
    wired = Wired()
    rows = [{"name": "B", "digest": "d", "value": "never"}, {"name": "A", "digest": "d"}]
    wired.answers("GET", f"{APPS_URL}/{SCRATCH}/secrets", json_answer({"secrets": rows}))
    assert await premises_of(wired).secret_names(SCRATCH) == ("A", "B")


async def test_leave_is_asked_for_without_doing_anything() -> None:
    wired = Wired()
    route = wired.answers(
        "POST", f"{FLAPS}/v1/tokens/authorize", json_answer({}), json_answer({"error": "unauthorized"}, status=403)
    )
    assert await premises_of(wired).may_make_in(SCRATCH)
    assert not await premises_of(wired).may_read(SCRATCH)
    asked = [json.loads(call.request.content)["access"] for call in route.calls]
    assert [(one["action"], one["app_name"], one["org_slug"]) for one in asked] == [
        ("c", SCRATCH, "acme"),
        ("r", SCRATCH, "acme"),
    ]


async def test_an_app_of_somebody_else_is_told_from_one_of_ours() -> None:
    wired = Wired()
    wired.answers("GET", f"{APPS_URL}/{SCRATCH}", json_answer(ROW), json_answer({"error": "unauthorized"}, status=403))
    assert (await premises_of(wired).app(SCRATCH)).network == SCRATCH
    with pytest.raises(FlyForbiddenError):
        await premises_of(wired).app(SCRATCH)
