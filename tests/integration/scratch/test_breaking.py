"""Worker machine, network and store go away at every step of an export: nothing is left, and nothing foreign goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flykeep.domain.errors import FlyUnavailableError
from flykeep.domain.run import Run, RunState
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Seed, SnapshotSpec, VolumeSpec
from tests.full import full, stride
from tests.integration.scratch.home import SCRATCH_APP, SHOP, Home, home
from tests.integration.scratch.look_alikes import LookAlikes
from tests.object_stores import ACCESS_KEY, SECRET_KEY, S3Server

pytestmark = pytest.mark.timeout(240)
_HURRY = 2000
_PARTS, _STORE_PARTS = 4, 6
_MOST_STEPS = 60
Breaking = Callable[[Home, int], Awaitable[bool]]


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Home]:
    async with home(tmp_path) as running:
        yield running


async def lose_the_machine(fly: Home, step: int) -> bool:
    """Its program dies before the request after `step` others to it is answered."""
    fault = Fault(kind=FaultKind.MACHINE_LOST, action="machine.[ewd]*", app=SCRATCH_APP, after=step)
    return (await _strike(fly, fault))[1]


async def lose_the_network(fly: Home, step: int) -> bool:
    """Nothing gets through after `step` requests, until the export has given up."""
    fault = Fault(kind=FaultKind.RESET_BEFORE, after=step, times=0)
    fly.sim.faults.add(fault)
    watching = asyncio.create_task(_hurry_once(fly, fault.kind))
    try:
        with contextlib.suppress(FlyUnavailableError):  # without the inventory there is no run
            await fly.act()
    finally:
        watching.cancel()
        fly.clock.hurry()
    is_met = fly.sim.faults.struck(fault.kind) > 0
    fly.sim.faults.clear()
    return is_met


async def lose_an_answer(fly: Home, step: int) -> bool:
    """What was asked for happens, and its answer never arrives."""
    run, is_met = await _strike(fly, Fault(kind=FaultKind.RESET_AFTER, after=step))
    assert run.state is RunState.SUCCEEDED or is_met
    return is_met


async def _strike(fly: Home, fault: Fault) -> tuple[Run, bool]:
    fly.sim.faults.add(fault)
    run = await fly.act()
    is_met = fly.sim.faults.struck(fault.kind) > 0
    fly.sim.faults.clear()
    return run, is_met


async def _hurry_once(fly: Home, kind: FaultKind) -> None:
    while not fly.sim.faults.struck(kind):  # noqa: ASYNC110 - the simulator sets no event
        await asyncio.sleep(0.02)
    fly.clock.hurry(_HURRY)


BREAKINGS: dict[str, tuple[Breaking, int]] = {
    "the worker machine": (lose_the_machine, 1),
    "the network": (lose_the_network, 9),
    "an answer": (lose_an_answer, 5),
}


@pytest.mark.parametrize("lost", BREAKINGS)
async def test_what_is_lost_once_leaves_nothing(fly: Home, lost: str) -> None:
    breaking, step = BREAKINGS[lost]
    planted = LookAlikes.plant(fly)
    assert await breaking(fly, step)
    await planted.assert_alone()


@full("every step of an export is broken")
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("lost", BREAKINGS)
async def test_what_is_lost_at_any_step_leaves_nothing(fly: Home, lost: str, part: int) -> None:
    breaking, _ = BREAKINGS[lost]
    planted = LookAlikes.plant(fly)
    for step in range(part, _MOST_STEPS, _PARTS * stride(3, 1)):
        is_met = await breaking(fly, step)
        try:
            await planted.assert_alone()
        except AssertionError as error:
            raise AssertionError(f"lost after {step} requests") from error
        if not is_met:
            break
    assert step > 0
    assert not is_met, "the export has more steps than were broken"


IN_PARTS = SHOP.model_copy(
    update={
        "apps": (
            *(app for app in SHOP.apps if app.name != "shop"),
            AppSpec(
                name="shop",
                machines=(MachineSpec(name="calm-sea-1", volume="shop_data"),),
                volumes=(
                    VolumeSpec(
                        name="shop_data",
                        seed=Seed(kind="files", count=24, bytes_each=512 << 10),
                        snapshots=(SnapshotSpec(age_hours=2),),
                    ),
                ),
            ),
        )
    }
)
"""Enough that nothing compresses to be uploaded in several parts."""
_METHODS = (b"PUT ", b"POST ", b"GET ", b"HEAD ", b"DELETE ")


class Line:
    """The way to a store: relays requests, and is cut when the next begins after so many."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._left: int | None = None
        self.is_cut = False
        self.has_seen_parts = False

    def cut_after(self, requests: int) -> None:
        self._left, self.is_cut = requests, False

    def mend(self) -> None:
        self._left, self.is_cut = None, False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, far_writer}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self._carry(reader, far_writer, counts=True), self._carry(far_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while data := await reader.read(1 << 16):
                self.has_seen_parts |= counts and b"?uploads" in data[:2048]
                if counts and self._left is not None and data.startswith(_METHODS):
                    self._left -= 1
                    if self._left < 0:
                        self._cut()
                        return
                writer.write(data)
                await writer.drain()

    def _cut(self) -> None:
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@contextlib.asynccontextmanager
async def home_with_a_bucket(directory: Path, server: S3Server) -> AsyncIterator[tuple[Home, Line, str]]:
    bucket = await asyncio.to_thread(server.new_bucket)
    port = urlsplit(server.endpoint).port
    assert port is not None
    line = Line(port)
    relay = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{relay.sockets[0].getsockname()[1]}"
    folder = f'type = "directory"\npath = "{directory}/fly/store"\nvisible_to_workers = true\n'
    table = f'type = "s3"\nbucket = "{bucket}"\nendpoint = "{endpoint}"\n'
    table += 'access_key_id_secret = "STORE_KEY_ID"\nsecret_access_key_secret = "STORE_KEY"\n'
    secrets = {"STORE_KEY_ID": ACCESS_KEY, "STORE_KEY": SECRET_KEY}
    try:
        async with home(directory, scenario=IN_PARTS, edits=[(folder, table)], secrets=secrets) as fly:
            yield fly, line, bucket
    finally:
        line.mend()
        line._cut()
        relay.close()


@full("every request to a store is broken")
@pytest.mark.parametrize("part", range(_STORE_PARTS))
async def test_a_store_that_goes_away_at_any_request_leaves_nothing(
    tmp_path: Path, moto_server: S3Server, part: int
) -> None:
    async with home_with_a_bucket(tmp_path, moto_server) as (fly, line, bucket):
        planted, client = LookAlikes.plant(fly), moto_server.client()
        client.put_object(Bucket=bucket, Key="shop/foreign", Body=b"x")
        client.create_multipart_upload(Bucket=bucket, Key="shop/foreign-upload")
        for requests in range(part, _MOST_STEPS, _STORE_PARTS * stride(3, 1)):
            line.cut_after(requests)
            run = await fly.act()
            is_met = line.is_cut
            line.mend()
            assert is_met or run.state is RunState.SUCCEEDED, run.outcome
            await fly.application.reconcile.reconcile(is_applied=True)
            planted.assert_alone_at_fly()
            good = tuple(one.manifest_key.rpartition("/")[0] for one in await fly.artifacts())
            keys = [row["Key"] for row in client.list_objects_v2(Bucket=bucket)["Contents"]]
            orphans = [key for key in keys if key.startswith("shop/") and not key.startswith(good)]
            assert orphans == ["shop/foreign"], f"lost after {requests} requests"
            uploads = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
            assert [row["Key"] for row in uploads] == ["shop/foreign-upload"]
            if not is_met:
                break
        assert line.has_seen_parts
        assert not is_met, "the export has more requests than were broken"
