"""What restores send to Fly in production: each change once, with the lease that allows it."""

import json

import httpx
import pytest

from flykeep.adapters.fly.production import FlyProduction
from flykeep.adapters.fly.saved_config import sendable
from flykeep.domain.errors import FlyPreconditionError, FlyUnavailableError
from flykeep.domain.ids import AppName
from flykeep.ports.fly import Lease
from flykeep.ports.production import ProductionMachine, ProductionVolume
from tests.unit.adapters.fly.wired import APP, FLAPS, MACHINE, MACHINE_URL, Wired, json_answer

NONCE = "0123456789abcdef"
LEASE = Lease(APP, MACHINE, NONCE)
SPEC = ProductionMachine(AppName(APP), "quiet-river-1", "iad", '{"image":"a"}', min_secrets_version=4, is_cordoned=True)
VOLUME_SPEC = ProductionVolume(AppName(APP), "crocbot_data", "iad", 2, None, None, None, None)


def production(wired: Wired) -> FlyProduction:
    return FlyProduction(wired.client, clock=wired.clock)


@pytest.fixture
def wired() -> Wired:
    return Wired()


@pytest.mark.parametrize("status", [408, 500, 502, 503])
async def test_a_change_of_unknown_outcome_is_sent_once(wired: Wired, status: int) -> None:
    fly = production(wired)
    for url, call in (
        (f"{FLAPS}/v1/apps/{APP}/volumes", lambda: fly.make_volume(VOLUME_SPEC)),
        (f"{FLAPS}/v1/apps/{APP}/machines", lambda: fly.make_machine(SPEC)),
        (MACHINE_URL, lambda: fly.update_machine(LEASE, "{}", is_launched=False)),
        (f"{MACHINE_URL}/start", lambda: fly.start_machine(LEASE)),
        (f"{MACHINE_URL}/stop", lambda: fly.stop_machine(LEASE)),
        (f"{MACHINE_URL}/cordon", lambda: fly.cordon_machine(LEASE)),
        (f"{MACHINE_URL}/uncordon", lambda: fly.uncordon_machine(LEASE)),
    ):
        route = wired.router.post(url).mock(return_value=httpx.Response(status, text="later"))
        with pytest.raises(FlyUnavailableError) as failed:
            await call()
        assert route.call_count == 1
        assert NONCE not in str(failed.value)


async def test_the_holder_shows_its_lease_and_a_machine_is_made_from_the_saved_config(wired: Wired) -> None:
    fly = production(wired)
    cordon = wired.router.post(f"{MACHINE_URL}/cordon").mock(return_value=json_answer({"ok": True}))
    made = wired.router.post(f"{FLAPS}/v1/apps/{APP}/machines").mock(
        return_value=json_answer({"id": MACHINE, "state": "created"})
    )
    await fly.cordon_machine(LEASE)
    await fly.make_machine(SPEC)
    assert cordon.calls.last.request.headers["fly-machine-lease-nonce"] == NONCE
    assert json.loads(made.calls.last.request.content) == {
        "name": "quiet-river-1",
        "region": "iad",
        "config": {"image": "a"},
        "skip_launch": True,
        "skip_service_registration": True,
        "min_secrets_version": 4,
    }


@pytest.mark.parametrize(("state", "is_fine"), [("stopped", True), ("stopping", True), ("replacing", False)])
async def test_a_refused_stop_is_fine_for_a_machine_that_stops(wired: Wired, state: str, *, is_fine: bool) -> None:
    fly = production(wired)
    wired.router.post(f"{MACHINE_URL}/stop").mock(
        return_value=json_answer({"error": "failed_precondition: wrong state"}, status=412)
    )
    wired.router.get(MACHINE_URL).mock(return_value=json_answer({"id": MACHINE, "state": state}))
    if is_fine:
        await fly.stop_machine(LEASE)
    else:
        with pytest.raises(FlyPreconditionError):
            await fly.stop_machine(LEASE)


def test_durations_that_fly_shows_as_nanoseconds_are_sent_as_texts_and_nothing_else_is_changed() -> None:
    check = {"type": "http", "interval": 15 * 10**9, "timeout": 2_500_000_000, "grace_period": "5s", "port": 80}
    saved = {
        "image": "a",
        "env": {"timeout": "10"},
        "guest": {"memory_mb": 512},
        "stop_config": {"signal": "SIGINT", "timeout": 1_500_001},
        "checks": {"alive": check},
        "services": [{"internal_port": 80, "checks": [{"interval": 10**10}]}, {"internal_port": 81}],
        "containers": [{"healthchecks": [{"interval": 10}]}],
    }
    expected = json.loads(json.dumps(saved))
    expected["stop_config"]["timeout"] = "1500001ns"
    expected["checks"]["alive"] |= {"interval": "15s", "timeout": "2500ms"}
    expected["services"][0]["checks"] = [{"interval": "10s"}]
    assert sendable(json.dumps(saved)) == expected
    assert sendable('{"image":"a"}') == {"image": "a"}
