"""fly.toml deploys one private daemon with a volume and time to drain."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def deployment() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "fly.toml").read_text(encoding="utf-8"))


def test_only_sections_that_fly_knows_are_used(deployment: dict[str, Any]) -> None:
    known = {"app", "primary_region", "kill_signal", "kill_timeout", "build", "deploy", "env", "files", "mounts"}
    known |= {"restart", "checks", "vm"}

    assert set(deployment) == known


def test_the_state_lives_on_a_volume_and_the_config_points_there(deployment: dict[str, Any]) -> None:
    [mount] = deployment["mounts"]

    assert (mount["source"], mount["destination"]) == ("flykeep_data", "/data")


def test_the_daemon_gets_the_longest_time_to_drain_that_fly_gives(deployment: dict[str, Any]) -> None:
    assert deployment["kill_signal"] == "SIGINT"
    assert deployment["kill_timeout"] == 300


def test_nothing_is_reachable_from_outside_and_nothing_stops_an_idle_daemon(deployment: dict[str, Any]) -> None:
    assert "services" not in deployment
    assert "http_service" not in deployment
    assert deployment["restart"] == [{"policy": "always"}]


def test_the_health_check_asks_the_port_that_the_image_exposes(deployment: dict[str, Any]) -> None:
    check = deployment["checks"]["healthz"]

    assert (check["type"], check["port"], check["path"]) == ("http", 8080, "/healthz")
    assert f"EXPOSE {check['port']}" in (PROJECT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert all(isinstance(check[name], str) for name in ("interval", "timeout", "grace_period"))  # bare numbers are ms


def test_the_config_is_shipped_where_the_daemon_looks_for_it(deployment: dict[str, Any]) -> None:
    [shipped] = deployment["files"]

    assert shipped == {"guest_path": deployment["env"]["FLYKEEP_CONFIG"], "local_path": "config.toml"}
    assert f"FLYKEEP_CONFIG={shipped['guest_path']}" in (PROJECT / "Dockerfile").read_text(encoding="utf-8")


def test_no_secret_is_set_in_the_file(deployment: dict[str, Any]) -> None:
    assert set(deployment["env"]) == {"FLYKEEP_CONFIG"}


def test_a_volume_is_never_rolled_over_two_machines(deployment: dict[str, Any]) -> None:
    assert deployment["deploy"]["strategy"] == "immediate"
    assert deployment["vm"] == [{"size": "shared-cpu-1x", "memory": "512mb"}]
