"""Scenarios: small TOML files that say what a simulated Fly holds at its start."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flykeep.domain.errors import ConfigError
from flykeep.testing.flysim.faults import Fault


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Seed(_Strict):
    """What a volume holds: one of the built-in trees, or plain files, plus named texts.

    `count` is the number of plain files, or of sessions per agent in the crocbot tree.
    """

    kind: Literal["empty", "files", "crocbot", "sqlite"] = "files"
    count: int = Field(default=20, ge=0)
    bytes_each: int = Field(default=512, ge=0)
    texts: dict[str, str] = {}


class SnapshotSpec(_Strict):
    """A snapshot that exists at the start."""

    age_hours: float = Field(ge=0)
    status: str = "created"
    size_bytes: int = 4 * 1024 * 1024


class VolumeSpec(_Strict):
    """A volume that exists at the start; one that is not `protected` gets no target in the written configuration."""

    name: str
    size_gb: int = 1
    age_days: float = 60.0
    region: str | None = None
    state: str = "created"
    host_status: Literal["ok", "unknown", "unreachable"] = "ok"
    auto_backup_enabled: bool = True
    snapshot_retention: int = 5
    protected: bool = True
    seed: Seed = Seed()
    snapshots: tuple[SnapshotSpec, ...] = ()


class MachineSpec(_Strict):
    """A machine that exists at the start; `volume` names a volume of the same app."""

    name: str
    state: Literal["created", "started", "stopped", "suspended", "failed"] = "started"
    volume: str | None = None
    mount: str = "/data"
    image: str = "registry.fly.io/app:deployment-01"
    cpus: int = 1
    memory_mb: int = 256
    host_status: Literal["ok", "unknown", "unreachable"] = "ok"
    env: dict[str, str] = {}
    checks: dict[str, dict[str, Any]] = {}
    services: tuple[dict[str, Any], ...] = ()
    standbys: tuple[str, ...] = ()
    metadata: dict[str, str] = {"fly_platform_version": "v2", "fly_process_group": "app"}


class AppSpec(_Strict):
    """An app that exists at the start; an app of another organization answers 403."""

    name: str
    org: str | None = None
    network: str = "default"
    secrets: dict[str, str] = {}
    addresses: tuple[Literal["shared_v4", "v4", "v6", "private_v6"], ...] = ()
    certificates: tuple[str, ...] = ()
    machines: tuple[MachineSpec, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()


class Progress(_Strict):
    """When a new snapshot is done: after so many list calls or so much time; an absent one does not count."""

    polls: int | None = 2
    seconds: float | None = 60.0
    need: Literal["either", "both"] = "either"


class Scenario(_Strict):
    """Everything a simulated organization starts with.

    `check_polls` is how often the health checks of a machine that just started are still seen failing.
    """

    org: str = "personal"
    region: str = "iad"
    rate_limits: bool = True
    retry_after_seconds: int | None = None
    snapshot_progress: Progress = Progress()
    restore_polls: int = 1
    start_polls: int = 1
    new_machine_hidden_gets: int = 1
    new_app_hidden_gets: int = 1
    names_graph_id: bool = True
    unique_machine_names: bool = False
    check_polls: int = Field(default=0, ge=0)
    extend_needs_restart: bool = False
    apps: tuple[AppSpec, ...] = ()
    faults: tuple[Fault, ...] = ()

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """The scenario a TOML text describes; raises `ConfigError` naming the wrong key."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"scenario: {where}: {first['msg']}") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"scenario: {error}") from error

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """As `from_toml`; raises `OSError` where the file cannot be read."""
        return cls.from_toml(path.read_text(encoding="utf-8"))

    @classmethod
    def shipped(cls, name: str = "default") -> Self:
        """A scenario that comes with flykeep: `default` or `sick_host`."""
        source = resources.files("flykeep.testing.flysim").joinpath("scenarios", f"{name}.toml")
        return cls.from_toml(source.read_text(encoding="utf-8"))
