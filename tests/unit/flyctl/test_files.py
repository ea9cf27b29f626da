"""The files that flyctl reads: secrets, and a machine's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flykeep.testing.flyctl.arguments import UsageError, understood
from flykeep.testing.flyctl.durations import write_texts
from flykeep.testing.flyctl.machines import configuration
from flykeep.testing.flyctl.secrets_file import parsed_secrets


def test_secrets_are_lines_of_names_and_values() -> None:
    text = '# a comment\n\nA=1=2\nB="quoted # kept"\nC=bare # cut\nD="""two\n"lines" # kept"""\nE="""one"""\n'

    assert parsed_secrets(text) == {
        "A": "1=2",
        "B": "quoted # kept",
        "C": "bare",
        "D": 'two\n"lines" # kept',
        "E": "one",
    }


@pytest.mark.parametrize("text", ["no pair\n", 'A="""never\nends\n'])
def test_a_file_that_is_no_list_of_secrets_is_refused_without_its_words(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parsed_secrets(text)
    assert "no pair" not in str(refusal.value)


def made(folder: Path, *flags: str) -> dict[str, Any]:
    return configuration(understood(["machine", "run", "image", *flags]), folder)


def test_a_configuration_of_a_file_keeps_everything_but_how_it_writes_durations(tmp_path: Path) -> None:
    check = {"interval": 1_500_000_000, "timeout": "2s", "grace_period": 7}
    config = {
        "env": {"A": "1"},
        "guest": {"cpu_kind": "performance", "cpus": 2, "memory_mb": 4096},
        "stop_config": {"timeout": 10_000_000_000},
        "checks": {"http": dict(check)},
        "services": [{"internal_port": 80, "checks": [dict(check)]}, {"internal_port": 81}],
    }
    (tmp_path / "m.json").write_text(json.dumps(config))
    texts = {"interval": "1500ms", "timeout": "2s", "grace_period": "7ns"}

    assert made(tmp_path, "--machine-config", "m.json") == config | {
        "init": {},
        "dns": {},
        "stop_config": {"timeout": "10s"},
        "checks": {"http": texts},
        "services": [{"internal_port": 80, "checks": [texts]}, {"internal_port": 81}],
    }


def test_durations_are_left_out_where_there_are_none() -> None:
    config: dict[str, Any] = {}
    write_texts(config)
    assert config == {}


def test_flags_stand_above_the_file(tmp_path: Path) -> None:
    saved = '{"dns": {"nameservers": ["::1"]}, "restart": {"policy": "always"}}'
    flags = ("--restart", "on-fail", "--skip-dns-registration", "--vm-size", "performance-2x", "--vm-memory", "8192")

    config = made(tmp_path, "--machine-config", saved, *flags)

    assert config["restart"] == {"policy": "on-failure"}
    assert config["dns"] == {"nameservers": ["::1"], "skip_registration": True}
    assert config["guest"] == {"cpu_kind": "performance", "cpus": 2, "memory_mb": 8192}


@pytest.mark.parametrize(
    ("saved", "policy"), [("{}", None), ('{"auto_destroy": true}', "no"), ('{"schedule": "daily"}', "on-failure")]
)
def test_the_restart_rule_of_passing_and_scheduled_machines_is_flyctls_own(
    tmp_path: Path, saved: str, policy: str | None
) -> None:
    restart = made(tmp_path, "--machine-config", saved).get("restart")
    assert restart == ({"policy": policy} if policy else None)


@pytest.mark.parametrize(
    "flags",
    [
        ("--machine-config", "m.toml"),
        ("--machine-config", "absent.json"),
        ("--machine-config", "list.json"),
        ("--machine-config", "{broken"),
        ("--restart", "sometimes"),
        ("--vm-size", "huge"),
        ("--vm-memory", "2gb"),
    ],
)
def test_what_flyctl_would_refuse_is_refused(tmp_path: Path, flags: tuple[str, str]) -> None:
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UsageError):
        made(tmp_path, *flags)
