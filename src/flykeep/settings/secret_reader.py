"""Secrets by name: a variable of the environment, or a file that `NAME_FILE` points to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from flykeep.domain.errors import ConfigError

TOKEN_NAMES = ("FLY_ACCESS_TOKEN", "FLY_API_TOKEN")
"""In the order in which flyctl prefers them. Source: fly/fly-api.md section 1."""

_MOST_BYTES = 1 << 20


class SecretReader:
    """Reads secrets when they are asked for, and keeps none.

    A variable that is set wins over its `_FILE`; empty counts as not set. Trailing line ends are not part of a secret.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __repr__(self) -> str:
        return "SecretReader()"

    def read(self, name: str) -> SecretStr:
        """The secret called `name`; raises ConfigError naming the variable or the file, never the value."""
        value = self._find(name)
        if value is None:
            raise ConfigError(
                f"the secret {name} is not set",
                hint=f"Set the variable {name}, or {name}_FILE to a file that holds it.",
            )
        return value

    def value(self, name: str) -> str:
        """The secret in the clear, for the one place that hands it to the outside."""
        return self.read(name).get_secret_value()

    def is_set(self, name: str) -> bool:
        """Whether `read` has something to read; a file is looked for, not opened."""
        if self._environ.get(name):
            return True
        path = self._environ.get(f"{name}_FILE")
        return bool(path) and Path(path or "").is_file()

    def fly_token(self) -> SecretStr:
        """Fly's token from FLY_ACCESS_TOKEN, else FLY_API_TOKEN, each with its _FILE."""
        for name in TOKEN_NAMES:
            value = self._find(name)
            if value is not None:
                return value
        raise ConfigError(
            "no Fly token: neither FLY_ACCESS_TOKEN nor FLY_API_TOKEN is set",
            hint="Make one with `fly tokens create org` and set it as the secret FLY_API_TOKEN.",
        )

    def _find(self, name: str) -> SecretStr | None:
        value = self._environ.get(name)
        if value:
            return SecretStr(value.rstrip("\r\n"))
        path = self._environ.get(f"{name}_FILE")
        return _read_file(name, Path(path)) if path else None


def _read_file(name: str, path: Path) -> SecretStr:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        text = raw.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(
            f"the secret {name} can't be read from the file {name}_FILE names: {error.strerror}",
            hint=f"Check that {path} exists and that flykeep may read it.",
        ) from error
    except UnicodeDecodeError:
        raise ConfigError(f"the file {name}_FILE names is not text") from None
    if not text or len(raw) > _MOST_BYTES:
        raise ConfigError(f"the file {name}_FILE names is empty or too large to be a secret")
    return SecretStr(text)
