"""No secret reaches a worker machine's environment, configuration, files or log: its order comes on standard input."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from flykeep.adapters.fly.scratch import FlyScratch
from flykeep.adapters.launchers.fly_machine import FlyMachineWorkers
from flykeep.adapters.system import SystemClock
from flykeep.testing.flysim.processes import HOME_VARIABLE
from flykeep.testing.flysim.program import WORKER_IMAGE
from flykeep.testing.flysim.scenario import AppSpec
from tests.e2e.planted import Found
from tests.full import full
from tests.integration.scratch.home import SCRATCH_APP, SHOP, SHOP_SECRETS, Home, ended_well, home
from tests.s3_standin import S3Standin

FLYKEEPS = {
    "FLY_API_TOKEN": "fm2_pl4nted+token/of+flykeep==0123456789",
    "OFFSITE_KEY_ID": "AKPLANTEDKEYID77XQ",
    "OFFSITE_KEY": "pl4nted/St0re+Secret/key==0123456789",
    "AGE_IDENTITY": "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ",
}
PLANTED = FLYKEEPS | SHOP_SECRETS
TEMPTED = SHOP.model_copy(
    update={
        "apps": (
            *(app for app in SHOP.apps if app.name != SCRATCH_APP),
            AppSpec(name="my-flykeep", secrets=FLYKEEPS),
            AppSpec(name=SCRATCH_APP, secrets=PLANTED),  # where none should be; they must not come through even so
        )
    }
)
BUCKET = """type = "s3"
bucket = "b"
endpoint = "{endpoint}"
access_key_id_secret = "OFFSITE_KEY_ID"
secret_access_key_secret = "OFFSITE_KEY"
"""


class Onlooker:
    """Looks all the time at every process that belongs to a machine of the simulator, and at every file they made."""

    def __init__(self, fly: Home) -> None:
        self._machines = fly.sim.directory / "machines"
        self._is_over = threading.Event()
        self.seen: dict[str, bytes] = {}

    @contextmanager
    def looking(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(0.02):
            self._look_at_processes()
            self._look_at_files()

    def _look_at_processes(self) -> None:
        entry = f"{HOME_VARIABLE}={self._machines}".encode()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and entry in (environment := _read(folder / "environ")):
                self.seen[f"environment of {folder.name}"] = environment
                self.seen[f"arguments of {folder.name}"] = _read(folder / "cmdline")

    def _look_at_files(self) -> None:
        for path in self._machines.rglob("*"):
            if path.is_file():
                place = str(path)
                self.seen[place] = max(self.seen.get(place, b""), _read(path), key=len)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    "is_in_target_app",
    [pytest.param(False, marks=full("the app of its own is tempted likewise")), True],
    ids=["in the app of its own", "in the target's app"],
)
async def test_no_secret_of_flykeep_or_of_the_app_is_found_on_a_worker_machine(
    tmp_path: Path, is_in_target_app: bool
) -> None:
    store = S3Standin()
    store.start()
    edits = [
        (
            f'type = "directory"\npath = "{tmp_path}/fly/store"\nvisible_to_workers = true\n',
            BUCKET.format(endpoint=store.endpoint),
        ),
        ("[worker]", f"[scratch]\nin_target_app = {str(is_in_target_app).lower()}\n\n[worker]"),
    ]
    try:
        async with home(tmp_path, scenario=TEMPTED, edits=edits, secrets=FLYKEEPS_ENVIRONMENT) as fly:
            onlooker = Onlooker(fly)
            with onlooker.looking():
                ended_well(await fly.export())
            (machine,) = fly.workers()
            assert machine.app == ("shop" if is_in_target_app else SCRATCH_APP)
            found = Found(PLANTED | {"token": fly.sim.token, "macaroon": fly.sim.token.split(",")[1]})
            for place, content in onlooker.seen.items():
                found.search(place, content)
            found.search("configuration", json.dumps(machine.config).encode())
            found.search("requests", "".join(request.to_json() for request in fly.sim.requests).encode())
    finally:
        store.close()
    assert found.leaks == []
    assert any(place.endswith("report.jsonl") for place in found.places)
    assert any(place.endswith("/log") for place in found.places)
    assert sum(place.startswith("environment") for place in found.places) >= 2
    assert any(b"data.tar.zst.age" in content for content in onlooker.seen.values())  # it was looked at while it worked
    assert [key for key in store.contents.objects if key.endswith("manifest.json")]


FLYKEEPS_ENVIRONMENT = {name: value for name, value in FLYKEEPS.items() if name != "FLY_API_TOKEN"}


async def test_a_worker_that_finds_a_token_of_fly_in_its_environment_refuses_to_stand(tmp_path: Path) -> None:
    async with home(tmp_path, scenario=TEMPTED) as fly:
        scratch = FlyScratch(fly.application.fly, clock=SystemClock())  # type: ignore[arg-type]
        command = FlyMachineWorkers(scratch, clock=SystemClock()).command(deadline_s=600)
        body = {"config": {"image": WORKER_IMAGE, "init": {"exec": list(command)}}}
        headers = {"authorization": fly.sim.token}
        async with httpx.AsyncClient(base_url=f"{fly.sim.flaps_base_url}/v1", headers=headers, trust_env=False) as http:
            made = await http.post(f"/apps/{SCRATCH_APP}/machines", json=body)
            machine = fly.sim.world.machines[made.json()["id"]]
            async with asyncio.timeout(30):
                while machine.state != "stopped":
                    await http.get(f"/apps/{SCRATCH_APP}/machines")
                    await asyncio.sleep(0.02)
        assert (machine.events[0].request or {})["exit_event"]["exit_code"] == 4
        log = (fly.sim.directory / "machines" / machine.id / "log").read_text()
        assert "FLY_API_TOKEN" in log
        assert FLYKEEPS["FLY_API_TOKEN"] not in log
