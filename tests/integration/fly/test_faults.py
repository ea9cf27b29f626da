"""What the client makes of a Fly that misbehaves, over real HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.fly.client import Access, FlyClient
from flykeep.adapters.fly.http import WireTimeouts
from flykeep.domain.errors import (
    FlyConflictError,
    FlyError,
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyPreconditionError,
    FlyRateLimitedError,
    FlyUnauthorizedError,
    FlyUnavailableError,
)
from flykeep.domain.fly import HostStatus
from flykeep.domain.ids import MachineId, VolumeId
from flykeep.ports.clock import Clock
from flykeep.testing.clock import ManualClock
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Scenario, Seed, VolumeSpec
from tests.integration.fly.simulated_fly import APP, OTHER_APP, SimulatedFly, client_of, simulated_fly

_SOON = timedelta(seconds=20)


@pytest.fixture
async def simulated(tmp_path: Path) -> AsyncIterator[SimulatedFly]:
    async with simulated_fly(tmp_path) as running:
        yield running


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - the simulator sets no event
            await asyncio.sleep(0.002)


def _client(
    simulated: SimulatedFly, *, clock: Clock | None = None, token: str | None = None
) -> contextlib.aclosing[FlyClient]:
    return contextlib.aclosing(client_of(simulated.sim, clock=clock or simulated.clock, token=token))


def _snapshot_count(simulated: SimulatedFly) -> int:
    return len(simulated.volume.snapshots)


# -- rate limits


async def test_many_listings_of_one_app_go_out_at_flys_pace_and_none_is_refused(tmp_path: Path) -> None:
    clock = ManualClock()
    async with simulated_fly(tmp_path, sim_clock=clock) as simulated, _client(simulated, clock=clock) as fly:
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(fly.snapshots(APP, simulated.volume_id))
            for answered in range(3, 10):
                await _until(lambda answered=answered: len(simulated.sim.requests) == answered)
                await clock.advance(timedelta(seconds=0.99))
                assert len(simulated.sim.requests) == answered
                await clock.advance(timedelta(seconds=0.01))

        assert [request.status for request in simulated.sim.requests] == [200] * 10


@pytest.mark.parametrize(("retry_after_s", "least_s"), [(None, 1), (25, 25)])
async def test_a_rate_limit_is_waited_out(simulated: SimulatedFly, retry_after_s: int | None, least_s: int) -> None:
    fault = Fault(kind=FaultKind.RATE_LIMITED, action="snapshot.list", times=2, retry_after_s=retry_after_s)
    simulated.arm(fault)

    assert await simulated.fly.snapshots(APP, simulated.volume_id)
    assert simulated.asked("snapshot.list") == 3
    assert simulated.clock.monotonic() >= 2 * least_s


async def test_a_snapshot_is_asked_for_again_after_a_rate_limit(simulated: SimulatedFly) -> None:
    before = _snapshot_count(simulated)
    simulated.arm(Fault(kind=FaultKind.RATE_LIMITED, action="snapshot.create", retry_after_s=3))

    request = await simulated.fly.request_snapshot(APP, simulated.volume_id)

    assert _snapshot_count(simulated) == before + 1
    assert request.graph_id == simulated.volume.snapshots[-1].id


async def test_an_endless_rate_limit_is_an_error_in_the_end(simulated: SimulatedFly) -> None:
    simulated.arm(Fault(kind=FaultKind.RATE_LIMITED, action="snapshot.list", times=0))

    with pytest.raises(FlyRateLimitedError) as caught:
        await simulated.fly.snapshots(APP, simulated.volume_id)

    assert caught.value.request_id
    assert simulated.asked("snapshot.list") == 5


# -- faults before and after the effect


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.ERROR_BEFORE,
        FaultKind.ERROR_AFTER,
        FaultKind.HTML_502,
        FaultKind.RESET_BEFORE,
        FaultKind.RESET_AFTER,
    ],
)
async def test_a_listing_survives_every_passing_fault(simulated: SimulatedFly, kind: FaultKind) -> None:
    simulated.arm(Fault(kind=kind, action="org.volumes", times=2))

    inventory = await simulated.fly.inventory()

    assert inventory.is_complete
    assert simulated.volume_id in {volume.id for volume in inventory.volumes}
    assert simulated.sim.faults.struck(kind) == 2


@pytest.mark.parametrize(
    ("kind", "is_made"),
    [
        (FaultKind.ERROR_BEFORE, False),
        (FaultKind.HTML_502, False),
        (FaultKind.RESET_BEFORE, False),
        (FaultKind.ERROR_AFTER, True),
        (FaultKind.RESET_AFTER, True),
    ],
)
async def test_a_snapshot_with_an_unknown_outcome_is_asked_for_once_and_found_by_looking(
    simulated: SimulatedFly, kind: FaultKind, is_made: bool
) -> None:
    before = {row.id for row in await simulated.fly.snapshots(APP, simulated.volume_id)}
    simulated.arm(Fault(kind=kind, action="snapshot.create"))

    with pytest.raises(FlyUnavailableError):
        await simulated.fly.request_snapshot(APP, simulated.volume_id)

    rows = await simulated.fly.snapshots(APP, simulated.volume_id)
    assert simulated.asked("snapshot.create") == 1
    assert bool([row for row in rows if row.id not in before]) is is_made


async def test_an_answer_that_names_no_graph_id_sends_the_caller_to_the_list(simulated: SimulatedFly) -> None:
    simulated.arm(Fault(kind=FaultKind.NO_GRAPH_ID, action="snapshot.create"))

    assert (await simulated.fly.request_snapshot(APP, simulated.volume_id)).graph_id is None


async def test_a_second_snapshot_at_once_is_a_conflict(simulated: SimulatedFly) -> None:
    await simulated.fly.request_snapshot(APP, simulated.volume_id)

    with pytest.raises(FlyConflictError) as caught:
        await simulated.fly.request_snapshot(APP, simulated.volume_id)

    assert caught.value.request_id


async def test_a_body_that_stops_half_way_is_a_timeout_and_is_read_again(tmp_path: Path) -> None:
    """The simulator's clock stands still, so that the second half of its body never comes."""
    timeouts = WireTimeouts(connect_s=5, read_s=0.3, long_read_s=0.3)
    async with simulated_fly(tmp_path, sim_clock=ManualClock(), timeouts=timeouts) as simulated:
        simulated.arm(Fault(kind=FaultKind.SLOW_BODY, action="snapshot.list"))

        assert await simulated.fly.snapshots(APP, simulated.volume_id)
        assert simulated.asked("snapshot.list") == 2


@pytest.mark.parametrize("kind", [FaultKind.SLOW_BODY, FaultKind.HANG])
async def test_a_snapshot_whose_answer_never_comes_is_an_unknown_outcome(tmp_path: Path, kind: FaultKind) -> None:
    timeouts = WireTimeouts(connect_s=5, read_s=0.2, long_read_s=0.2)
    async with simulated_fly(tmp_path, sim_clock=ManualClock(), timeouts=timeouts) as simulated:
        simulated.arm(Fault(kind=kind, action="snapshot.create"))

        with pytest.raises(FlyUnavailableError, match="in time"):
            await simulated.fly.request_snapshot(APP, simulated.volume_id)

        assert simulated.sim.faults.struck(kind) == 1


async def test_a_body_that_trickles_for_ever_ends_at_the_limit_of_the_whole(simulated: SimulatedFly) -> None:
    is_over = asyncio.Event()

    async def trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        is_over.set()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        simulated.sim.flaps_base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        timeouts = WireTimeouts(connect_s=0.2, read_s=0.1, long_read_s=0.1)
        async with contextlib.aclosing(client_of(simulated.sim, clock=simulated.clock, timeouts=timeouts)) as fly:
            with pytest.raises(FlyUnavailableError, match="in time"):
                await fly.request_snapshot(APP, VolumeId("vol_1"))
        await asyncio.wait_for(is_over.wait(), timeout=60)


async def test_a_fly_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    async with simulated_fly(tmp_path) as simulated:
        volume_id = simulated.volume_id

    async with _client(simulated) as fly:
        with pytest.raises(FlyUnavailableError, match="cannot be reached"):
            await fly.request_snapshot(APP, volume_id)


# -- regions and hosts that do not answer


@pytest.mark.parametrize("listing", ["org.machines", "org.volumes"])
async def test_a_region_that_does_not_answer_is_never_read_as_empty(simulated: SimulatedFly, listing: str) -> None:
    simulated.arm(Fault(kind=FaultKind.ERROR_REGIONS, action=listing, regions=("iad",)))

    inventory = await simulated.fly.inventory()

    assert inventory.incomplete_regions == ("iad",)
    assert not inventory.is_complete
    assert (await simulated.fly.inventory()).is_complete


async def test_a_machine_on_a_sick_host_has_no_config_to_recreate_it_from(simulated: SimulatedFly) -> None:
    simulated.sim.world.set_host_status(APP, "unreachable")

    machine = await simulated.fly.machine(APP, simulated.machine_id)
    volume = await simulated.fly.volume(APP, simulated.volume_id)

    assert machine.config_json is None
    assert machine.host_status is HostStatus.UNREACHABLE
    assert volume.host_status is HostStatus.UNREACHABLE
    assert volume.used_bytes is None


async def test_an_inventory_of_many_pages_is_whole(tmp_path: Path) -> None:
    app = AppSpec(
        name=APP,
        machines=(MachineSpec(name="m", volume="v1"),),
        volumes=tuple(VolumeSpec(name=f"v{number}", seed=Seed(kind="empty")) for number in range(2100)),
    )
    async with simulated_fly(tmp_path, scenario=Scenario(apps=(app,))) as simulated:
        inventory = await simulated.fly.inventory()

        assert {volume.name for volume in inventory.volumes} == {f"v{number}" for number in range(2100)}
        assert simulated.asked("org.volumes") == 3


# -- commands


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.LEASE_HELD, FlyConflictError),
        (FaultKind.EXEC_DEADLINE, FlyUnavailableError),
        (FaultKind.EXEC_TOO_LARGE, FlyInvalidRequestError),
        (FaultKind.ERROR_AFTER, FlyUnavailableError),
        (FaultKind.RESET_AFTER, FlyUnavailableError),
    ],
)
async def test_a_command_is_sent_once_and_its_refusal_told_apart(
    simulated: SimulatedFly, kind: FaultKind, expected: type[FlyError]
) -> None:
    simulated.arm(Fault(kind=kind, action="machine.exec"))

    with pytest.raises(expected):
        await simulated.fly.execute(APP, simulated.machine_id, ("true",), within=_SOON)

    assert simulated.asked("machine.exec") == 1


async def test_a_command_refused_by_a_rate_limit_is_sent_again(simulated: SimulatedFly) -> None:
    simulated.arm(Fault(kind=FaultKind.RATE_LIMITED, action="machine.exec"))

    assert (await simulated.fly.execute(APP, simulated.machine_id, ("true",), within=_SOON)).is_success


# -- waiting and metadata


async def test_waiting_for_a_state_that_is_there_returns_and_for_another_ends_in_time(simulated: SimulatedFly) -> None:
    await simulated.fly.wait_machine(APP, simulated.machine_id, "started", _SOON)
    with pytest.raises(FlyPreconditionError, match="stopped"):
        await simulated.fly.wait_machine(APP, simulated.machine_id, "stopped", timedelta(seconds=90))

    assert [request.query["timeout"] for request in simulated.sim.requests][:2] == ["20", "60"]


async def test_a_vanished_machine_is_destroyed(simulated: SimulatedFly) -> None:
    await simulated.fly.wait_machine(APP, MachineId("00000000000000"), "destroyed", _SOON)


async def test_metadata_that_was_set_is_read_back(simulated: SimulatedFly) -> None:
    await simulated.fly.set_machine_metadata(APP, simulated.machine_id, key="flykeep_run", value="01H")

    assert (await simulated.fly.machine_metadata(APP, simulated.machine_id))["flykeep_run"] == "01H"


# -- tokens


async def test_a_token_fly_does_not_know_is_unauthorized_on_both_apis(simulated: SimulatedFly) -> None:
    async with _client(simulated, token="fm2_lJPEstranger") as stranger:
        for call in (stranger.token_info(), stranger.inventory(), stranger.issue_certificate(APP, "ssh-ed25519 AAAA")):
            with pytest.raises(FlyUnauthorizedError):
                await call
        with pytest.raises(FlyUnauthorizedError):
            await stranger.may(Access(action="r", org_slug=simulated.sim.org))


async def test_a_token_tells_what_it_may_do_without_doing_it(simulated: SimulatedFly) -> None:
    token = "FlyV1 " + ",".join(simulated.sim.world.add_grant(apps=frozenset({APP}), is_read_only=True).macaroons)
    org = simulated.sim.org

    async with _client(simulated, token=token) as reader:
        assert await reader.may(Access(action="r", org_slug=org, app=APP, volume_id=simulated.volume_id))
        assert not await reader.may(Access(action="rw", org_slug=org, app=APP))
        assert not await reader.may(Access(action="r", org_slug=org, app=OTHER_APP))
        with pytest.raises(FlyForbiddenError):
            await reader.request_snapshot(APP, simulated.volume_id)
        assert (await reader.token_info())[0].apps == (APP,)
    assert await simulated.fly.may(Access(action="rwcdC", org_slug=org, app=APP, mutation="issueCertificate"))
    assert not [request for request in simulated.sim.requests if request.is_judged_refused]


async def test_the_organization_is_looked_up_once_for_certificates_asked_for_at_the_same_time(
    simulated: SimulatedFly,
) -> None:
    key = simulated.sim.authority.organization_key
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(simulated.fly.issue_certificate(APP, key))

    assert simulated.asked("graphql.app") == 1
    assert simulated.asked("graphql.issueCertificate") == 3


async def test_a_passing_fault_of_graphql_is_waited_out(simulated: SimulatedFly) -> None:
    simulated.arm(Fault(kind=FaultKind.GRAPHQL_ERROR, action="graphql.issueCertificate"))

    line = await simulated.fly.issue_certificate(APP, simulated.sim.authority.organization_key)

    assert line.startswith("ssh-ed25519-cert-v01@openssh.com ")
