"""Secrets by name, from a variable or a file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flykeep.domain.errors import ConfigError
from flykeep.settings import SecretReader, Settings

PLANTED = "hunter2-planted-secret"

Load = Callable[..., Settings]


def test_a_variable_wins_over_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n", encoding="utf-8")
    environ = {"KEY_FILE": str(tmp_path / "secret")}
    assert SecretReader(environ).value("KEY") == "from the file"
    assert SecretReader({**environ, "KEY": "from the variable"}).value("KEY") == "from the variable"


def test_a_missing_secret_names_its_variable() -> None:
    with pytest.raises(ConfigError, match="the secret OFFSITE_KEY is not set") as missing:
        SecretReader({"OFFSITE_KEY": ""}).read("OFFSITE_KEY")
    assert "OFFSITE_KEY_FILE" in missing.value.next_step


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xff"])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match="KEY_FILE"):
        SecretReader({"KEY_FILE": str(tmp_path / "secret")}).read("KEY")


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    reader = SecretReader({"KEY_FILE": str(tmp_path / "nowhere")})
    assert not reader.is_set("KEY")
    with pytest.raises(ConfigError, match="KEY_FILE"):
        reader.read("KEY")


def test_the_token_is_looked_for_as_flyctl_does(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n", encoding="utf-8")
    both = SecretReader({"FLY_API_TOKEN": "api", "FLY_ACCESS_TOKEN": "access"})
    assert both.fly_token().get_secret_value() == "access"
    file = SecretReader({"FLY_API_TOKEN": "api", "FLY_ACCESS_TOKEN_FILE": str(tmp_path / "token")})
    assert file.fly_token().get_secret_value() == "from a file"
    assert SecretReader({"FLY_API_TOKEN": "api"}).fly_token().get_secret_value() == "api"
    with pytest.raises(ConfigError, match="FLY_API_TOKEN"):
        SecretReader({}).fly_token()


def test_secrets_are_read_only_when_a_store_is_opened(load: Load) -> None:
    settings = load()
    with pytest.raises(ConfigError, match="OFFSITE_KEY_ID"):
        settings.store_order("offsite")
    opened = load(environ={"OFFSITE_KEY_ID": "id", "OFFSITE_KEY": PLANTED}).store_order("offsite")
    assert opened.secret_access_key == PLANTED
    assert PLANTED not in repr(opened)
    with pytest.raises(ConfigError, match="no store is called 'other'"):
        settings.store_order("other")


def test_an_identity_is_read_only_where_one_is_named(load: Load, good: str) -> None:
    assert load().identity() is None
    named = load(good.replace("[encryption]", '[encryption]\nidentity_secret = "IDENTITY"'), {"IDENTITY": PLANTED})
    identity = named.identity()
    assert identity is not None
    assert identity.get_secret_value() == PLANTED
    assert PLANTED not in repr(identity)


def test_no_repr_shows_a_secret(load: Load) -> None:
    environ = dict.fromkeys(("OFFSITE_KEY_ID", "OFFSITE_KEY", "APPRISE_URL", "FLY_API_TOKEN"), PLANTED)
    settings = load(environ=environ)
    shown = f"{settings!r} {settings.secrets!r} {settings.fly_token()!r} {settings.secrets.read('OFFSITE_KEY')}"
    assert PLANTED not in shown
