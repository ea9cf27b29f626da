"""Reads a configuration: the file, then the environment over it, validated whole before anything is used."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from flykeep.domain.errors import ConfigError
from flykeep.settings.assembly import assemble
from flykeep.settings.model import FileModel
from flykeep.settings.origins import PREFIX, Origins
from flykeep.settings.refusals import problems_of, unknown_key
from flykeep.settings.values import InvalidSettingsError, Settings

_MOST_BYTES = 4 << 20


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The configuration of `path`, else of FLYKEEP_CONFIG, else of the environment alone, with the environment over it.

    Reads no secret. Raises ConfigError where the file can't be read, and InvalidSettingsError, which is one, with
    every problem found: unknown keys, values that cannot be, names that lead nowhere.
    """
    file = path or (Path(environ[f"{PREFIX}CONFIG"]) if environ.get(f"{PREFIX}CONFIG") else None)
    text = _read(file) if file else ""
    document = _parse(text, file)
    origins = Origins.of(file=file, text=text, environ=environ)
    return assemble(_validate(document, environ=environ, origins=origins), origins=origins, environ=environ)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MOST_BYTES + 1)
        text = raw.decode("utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise ConfigError(
            f"the configuration {file} can't be read: {error.strerror}",
            hint="Name it with --config or FLYKEEP_CONFIG; config.example.toml is a start.",
        ) from error
    except UnicodeDecodeError:
        raise ConfigError(f"the configuration {file} is not UTF-8 text") from None
    if len(raw) > _MOST_BYTES:
        raise ConfigError(f"the configuration {file} is larger than 4 MB")
    return text


def _parse(text: str, file: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        place = f"{file}:{found.group(1)}" if found else str(file)
        reason = str(error).partition(" (at ")[0]
        # The parser's message may quote a line, and with it a secret: keep its words, drop its cause.
        raise ConfigError(f"{place}: is not valid TOML: {_without_quotes(reason)}") from None
    except RecursionError:
        raise ConfigError(f"{file}: is nested too deeply") from None


def _without_quotes(reason: str) -> str:
    return re.sub(r"('[^']{2,}'|\"[^\"]{2,}\")", "...", reason)


def _validate(document: dict[str, Any], *, environ: Mapping[str, str], origins: Origins) -> FileModel:
    strangers = tuple(
        unknown_key((name,), valid_keys=_tables_as_variables(), origin=None)
        for name in origins.unknown_variables(frozenset(FileModel.model_fields))
    )
    try:
        model = _model_over(document, environ)()
    except ValidationError as error:
        raise InvalidSettingsError((*strangers, *problems_of(error, origins))) from None  # its cause holds the input
    except SettingsError as error:
        raise ConfigError(f"a variable of the environment does not hold valid JSON: {error}") from None
    if strangers:
        raise InvalidSettingsError(strangers)
    return model


def _tables_as_variables() -> tuple[str, ...]:
    return tuple(f"{PREFIX}{name}__...".upper() for name in FileModel.model_fields)


def _model_over(document: dict[str, Any], environ: Mapping[str, str]) -> type[FileModel]:
    """The file's model, reading this document and this environment and nothing else."""

    class Environment(EnvSettingsSource):
        def _load_env_vars(self) -> Mapping[str, str | None]:
            return {name.lower(): value for name, value in environ.items()}

    class Configuration(FileModel):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: PydanticBaseSettingsSource, **__: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return Environment(settings_cls), InitSettingsSource(settings_cls, document)

    return Configuration
