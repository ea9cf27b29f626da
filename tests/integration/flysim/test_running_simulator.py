"""Starting, announcing, configuring and stopping a simulator."""

import json
import sqlite3
import stat
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pyrage
import pytest

from flykeep.testing.clock import CountedIds, ManualClock
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.scenario import Scenario
from flykeep.testing.flysim.serve import REQUEST_LOG_VARIABLE, FlySim
from tests.integration.flysim.simulated import Rig, quiet, rig


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def is_directory(path: str) -> bool:
    return Path(path).is_dir()


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


async def test_the_announcement_is_one_line_that_tells_a_client_everything(fly: Rig) -> None:
    line = fly.sim.announcement().to_json()

    assert "\n" not in line
    told = json.loads(line)
    assert set(told) == {"flaps_base_url", "api_base_url", "token", "org", "env", "volumes"}
    assert told["env"]["FLY_API_TOKEN"] == told["token"]
    assert told["env"]["FLY_FLAPS_BASE_URL"] == told["flaps_base_url"]
    assert told["env"]["FLY_API_BASE_URL"] == told["api_base_url"]
    assert told["env"]["FLYKEEP_CONFIG"] == str(fly.sim.directory / "config.toml")
    assert {row["app"] for row in told["volumes"]} == {"my-crocbot", "ledger-api", "wiki", "batch-jobs", "side-project"}
    for row in told["volumes"]:
        assert set(row) == {"id", "app", "name", "machine_id", "mount", "directory"}
        assert Path(row["directory"]) == fly.sim.directory / "volumes" / row["id"]
        assert is_directory(row["directory"])


async def test_the_announcement_hides_its_secrets_from_logs(fly: Rig) -> None:
    announced = fly.sim.announcement()

    assert fly.sim.token not in repr(announced)
    assert fly.sim.webhook_secret not in repr(announced)


async def test_the_configuration_names_every_secret_by_its_variable_and_protects_all_but_one(fly: Rig) -> None:
    text = fly.sim.write_config().read_text()
    config = tomllib.loads(text)
    environment = fly.sim.announcement().env

    assert config["fly"] == {"org": "personal", "ssh_port": fly.sim.ssh_port}
    assert config["state"]["url"] == f"sqlite:///{fly.sim.directory}/flykeep.db"
    assert config["state"]["url"].startswith("sqlite:////")
    assert {target["match"] for target in config["targets"]} == {
        "my-crocbot/crocbot_data",
        "ledger-api/ledger_db",
        "wiki/wiki_data",
        "batch-jobs/jobs_data",
    }
    crocbot = next(target for target in config["targets"] if target["match"].startswith("my-crocbot"))
    assert crocbot == {"match": "my-crocbot/crocbot_data", "policy": "standard", "mount": fly.machine.mount_path}
    hook = config["notifiers"]["hook"]
    assert environment[hook["url_secret"]] == f"{fly.sim.flaps_base_url}/_sim/webhook"
    assert environment[hook["signing_secret"]] == fly.sim.webhook_secret
    assert fly.sim.token not in text
    assert fly.sim.webhook_secret not in text


async def test_the_age_identity_belongs_to_the_recipient_and_is_private(fly: Rig) -> None:
    recipient = tomllib.loads(fly.sim.write_config().read_text())["encryption"]["recipients"][0]
    path = fly.sim.directory / "age-identity.txt"
    secret = next(line for line in path.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-"))

    assert str(pyrage.x25519.Identity.from_str(secret).to_public()) == recipient
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert tomllib.loads(fly.sim.write_config().read_text())["encryption"]["recipients"] == [recipient]


async def test_the_seeded_tree_is_the_one_of_the_default_scenario(fly: Rig) -> None:
    root = fly.volume.directory

    assert json.loads((root / "crocbot.json").read_text())["version"] == 3
    assert stat.S_IMODE((root / "credentials" / "telegram.json").stat().st_mode) == 0o600
    assert list(root.glob("agents/*/sessions/*.jsonl"))
    assert list(root.glob("agents/*/memory/*.md"))
    assert list(root.glob("logs/*.log"))


async def test_the_sqlite_volume_has_an_open_write_ahead_log(fly: Rig) -> None:
    directory = fly.sim.world.find_volume("ledger-api", "ledger_db").directory

    assert (directory / "ledger.db-wal").stat().st_size > 0
    with_wal = sqlite3.connect(f"file:{directory}/ledger.db?mode=ro", uri=True)
    try:
        assert with_wal.execute("SELECT count(*) FROM entry").fetchone() == (5000,)
    finally:
        with_wal.close()


async def test_no_directory_but_a_volume_bears_a_volume_id(fly: Rig) -> None:
    named = [path for path in fly.sim.directory.rglob("vol_*") if path.is_dir()]

    assert {path.parent for path in named} == {fly.sim.directory / "volumes"}


async def test_webhooks_are_kept_with_headers_and_body(fly: Rig) -> None:
    url = fly.sim.announcement().env["FLYSIM_WEBHOOK_URL"]
    fly.sim.faults.add(Fault(kind=FaultKind.ERROR_BEFORE, action="webhook", status=500))
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        refused = await client.post(url, content=b"{}")
        taken = await client.post(url, content=b'{"a": 1}', headers={"x-signature": "sha256=00"})

    assert (refused.status_code, taken.status_code) == (500, 204)
    assert [webhook.body for webhook in fly.sim.webhooks] == [b'{"a": 1}']
    assert fly.sim.webhooks[0].headers["x-signature"] == "sha256=00"
    kept = (fly.sim.directory / "webhooks.jsonl").read_text().splitlines()
    assert [json.loads(line)["body"] for line in kept] == ['{"a": 1}']


async def test_each_simulator_logs_its_requests_to_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REQUEST_LOG_VARIABLE, str(tmp_path / "log"))
    for name in ("one", "two"):
        async with rig(tmp_path / name) as fly:
            await fly.http.get("/apps/my-crocbot")

    files = sorted((tmp_path / "log").glob("*.jsonl"))

    assert len(files) == 2
    assert [json.loads(file.read_text())["path"] for file in files] == ["/v1/apps/my-crocbot"] * 2


async def test_a_restart_in_the_same_directory_is_a_fresh_fly_that_keeps_what_is_the_clients(tmp_path: Path) -> None:
    async with rig(tmp_path) as first:
        first.sim.write_config()
        identity = (tmp_path / "age-identity.txt").read_text()
        old = names(tmp_path / "volumes")
        (tmp_path / "volumes" / "vol_stray").mkdir()
    async with rig(tmp_path) as second:
        second.sim.write_config()
        assert "vol_stray" not in names(tmp_path / "volumes")
        assert len(names(tmp_path / "volumes")) == len(old)
        assert (tmp_path / "age-identity.txt").read_text() == identity


async def test_a_stopped_simulator_leaves_no_server_behind(tmp_path: Path) -> None:
    async with rig(tmp_path) as fly:
        url = fly.sim.flaps_base_url

    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/v1/apps/my-crocbot")


async def test_a_defect_of_the_simulator_is_not_hidden_behind_a_500(tmp_path: Path) -> None:
    context = rig(tmp_path)
    fly = await context.__aenter__()
    fly.volume.app = "gone"
    assert (await fly.http.get("/orgs/personal/volumes")).status_code == 500

    with pytest.raises(ExceptionGroup, match="the simulator has a defect"):
        await context.__aexit__(None, None, None)


async def test_faults_of_a_scenario_strike(tmp_path: Path) -> None:
    scenario = quiet(faults=(Fault(kind=FaultKind.HTML_502, action="app.*", times=2),))
    async with rig(tmp_path, scenario) as fly:
        seen = [(await fly.http.get("/apps/my-crocbot")).status_code for _ in range(3)]

    assert seen == [502, 502, 200]


async def test_the_sick_host_scenario_serves(tmp_path: Path) -> None:
    async with FlySim.start(
        state_directory=tmp_path, clock=ManualClock(), ids=CountedIds(), scenario=Scenario.shipped("sick_host")
    ) as sim:
        headers = {"authorization": sim.token}
        async with httpx.AsyncClient(trust_env=False, verify=False, headers=headers) as client:
            rows = (await client.get(f"{sim.flaps_base_url}/v1/apps/my-crocbot/machines")).json()

    assert [row["host_status"] for row in rows] == ["unreachable"]
    assert "config" not in rows[0]
