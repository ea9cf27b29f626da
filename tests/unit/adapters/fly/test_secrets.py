"""The token reaches Fly and nothing else: no error, repr, log or traceback names it."""

import logging
import traceback
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from flykeep.adapters.fly.client import Access, FlyClient
from flykeep.domain.errors import FlyError
from tests.unit.adapters.fly.wired import APP, MACHINE, SECRETS, TOKEN, VOLUME, Wired, json_answer, text_answer

_ECHOES = [
    json_answer({"error": f"invalid_argument: token {TOKEN} is bad"}, status=400),
    json_answer({"message": f"{'x' * 290}{SECRETS[0]} at the cut"}, status=403),
    json_answer({"error": "no", "status": SECRETS[0]}, status=422),
    text_answer(f"Authorization: {TOKEN}", status=502),
    text_answer(f"<html>{TOKEN}</html>", status=502),
    text_answer(f'{{"half": "{TOKEN}', status=500),
    text_answer(TOKEN, status=200),
    json_answer({"state": {"echo": TOKEN}, "id": TOKEN, "machines": TOKEN, "volumes": [TOKEN], "tokens": TOKEN}),
    json_answer({"errors": [{"message": TOKEN, "extensions": {"code": TOKEN}}]}),
    httpx.ReadError("reset"),
]
_CALLS: list[Callable[[FlyClient], Awaitable[Any]]] = [
    lambda fly: fly.inventory(),
    lambda fly: fly.apps(),
    lambda fly: fly.machine(APP, MACHINE),
    lambda fly: fly.snapshots(APP, VOLUME),
    lambda fly: fly.request_snapshot(APP, VOLUME),
    lambda fly: fly.execute(APP, MACHINE, ("true",), within=timedelta(seconds=1)),
    lambda fly: fly.token_info(),
    lambda fly: fly.may(Access(action="r", org_slug="acme")),
    lambda fly: fly.issue_certificate(APP, "ssh-ed25519 AAAA"),
]


@pytest.mark.parametrize("echo", range(len(_ECHOES)))
async def test_a_token_that_fly_echoes_is_in_no_error_and_no_log(echo: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    failures = 0
    for call in _CALLS:
        wired = Wired()
        answer = _ECHOES[echo]
        wired.router.route().mock(
            side_effect=answer if isinstance(answer, Exception) else lambda _request, answer=answer: answer
        )
        try:
            result = await call(wired.client)
        except FlyError as error:
            failures += 1
            shown = "".join(traceback.format_exception(error)) + repr(error) + repr(dict(error.facts)) + error.next_step
        else:
            shown = repr(result)
        assert not [secret for secret in SECRETS if secret in shown]
        assert not [secret for secret in SECRETS if secret[:12] in shown]

    assert failures >= 6
    assert not [secret for secret in SECRETS if secret in caplog.text]


def test_a_client_never_shows_its_token() -> None:
    client = Wired().client

    shown = repr(client) + repr(vars(client)) + repr(vars(client._http)) + repr(vars(client._api))

    assert not [secret for secret in SECRETS if secret in shown]
    assert "acme" in repr(client)


async def test_a_token_with_letters_no_header_takes_is_refused_without_showing_it() -> None:
    wired = Wired(token="fm2_sécret")

    with pytest.raises(FlyError) as caught:
        await wired.client.apps()

    assert "sécret" not in "".join(traceback.format_exception(caught.value))
