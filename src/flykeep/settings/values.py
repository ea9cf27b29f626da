"""What a configuration means, in the domain's own types. bootstrap unpacks it; nothing below bootstrap sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr

from flykeep.domain.drill import DrillMeans
from flykeep.domain.errors import ConfigError
from flykeep.domain.ids import AppName
from flykeep.domain.policy import Encryption, Policy, Schedule, TargetRule
from flykeep.domain.scratch import ScratchRule
from flykeep.domain.stores import StoreTraits
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.settings.model import FileModel
from flykeep.settings.origins import Origins
from flykeep.settings.secret_reader import SecretReader


class Level(StrEnum):
    """How much a problem matters: an error refuses the configuration."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration; `origin` is `file:line`, a variable's name, or None."""

    level: Level
    key: str
    message: str
    origin: str | None = None
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.origin}: " if self.origin else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{where}{self.key}: {self.message}.{hint}" if self.key else f"{where}{self.message}.{hint}"


class InvalidSettingsError(ConfigError):
    """The configuration was refused; `problems` holds every reason found in one reading."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class FlySettings:
    """Base URLs carry no `/v1` and no trailing slash."""

    org: str
    ssh_port: int
    flaps_base_url: str
    api_base_url: str


@dataclass(frozen=True, slots=True)
class ScratchSettings:
    app: str
    max_volume_gb: int
    max_workers: int
    regions: tuple[str, ...]
    is_in_target_app: bool

    @property
    def rule(self) -> ScratchRule:
        app = None if self.is_in_target_app else AppName(self.app)
        return ScratchRule(app, self.max_volume_gb, self.max_workers, self.regions)


@dataclass(frozen=True, slots=True)
class StateSettings:
    """`directory` holds locks and the daemon's own keys."""

    url: str | None
    url_secret: str | None
    directory: Path


@dataclass(frozen=True, slots=True)
class HttpSettings:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """A store without its credentials: `order` reads them when it is called."""

    name: str
    type: StoreType
    prefix: str = ""
    path: str | None = None
    bucket: str | None = None
    endpoint: str | None = None
    region: str = "auto"
    is_path_style: bool = True
    access_key_id_secret: str | None = None
    secret_access_key_secret: str | None = None
    server_side_encryption: str | None = None
    kms_key_id: str | None = None
    data_storage_class: str | None = None
    traits: StoreTraits = field(default_factory=StoreTraits)

    def order(self, secrets: SecretReader) -> StoreOrder:
        """How a process opens this store; raises ConfigError naming a secret that is not set."""
        return StoreOrder(
            name=self.name,
            type=self.type,
            prefix=self.prefix,
            path=self.path,
            bucket=self.bucket,
            endpoint=self.endpoint,
            region=self.region,
            is_path_style=self.is_path_style,
            access_key_id=secrets.value(self.access_key_id_secret) if self.access_key_id_secret else None,
            secret_access_key=secrets.value(self.secret_access_key_secret) if self.secret_access_key_secret else None,
            server_side_encryption=self.server_side_encryption,
            kms_key_id=self.kms_key_id,
            data_storage_class=self.data_storage_class,
            is_locking=self.traits.is_lock_required,
        )


@dataclass(frozen=True, slots=True)
class EncryptionSettings:
    encryption: Encryption
    recipients: tuple[str, ...]
    identity_secret: str | None


class Compression(StrEnum):
    AUTO = "auto"
    FRUGAL = "frugal"
    PARALLEL = "parallel"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """`image` None means that no worker Machines can be made."""

    image: str | None
    compression: Compression
    level: int
    deadline: timedelta
    stall_timeout: timedelta


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """`schedule` None means that only people prune."""

    schedule: Schedule | None
    max_delete_share: float


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    max_parallel_runs: int
    jitter: timedelta
    check: Schedule
    drain_timeout: timedelta


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """`schedule` None means that nothing is verified unasked, and that nothing is overdue."""

    schedule: Schedule | None
    budget_bytes: int
    max_age: timedelta | None


@dataclass(frozen=True, slots=True)
class NotifierSettings:
    """`table` is what the plugin's own model validates: the raw keys without `type`."""

    name: str
    type: str
    table: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DrillSettings:
    """`trusted_signers` are the public keys of drills elsewhere; `directory` is where artifacts are restored here."""

    trusted_signers: tuple[str, ...]
    directory: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration. `policies` holds presets too."""

    fly: FlySettings
    scratch: ScratchSettings
    state: StateSettings
    http: HttpSettings
    stores: Mapping[str, StoreSettings]
    encryption: EncryptionSettings
    worker: WorkerSettings
    drill: DrillSettings
    retention: RetentionSettings
    verify: VerifySettings
    daemon: DaemonSettings
    notifiers: tuple[NotifierSettings, ...]
    policies: Mapping[str, Policy]
    targets: tuple[TargetRule, ...]
    secrets: SecretReader = field(repr=False)
    source: FileModel = field(repr=False)
    origins: Origins = field(repr=False)

    def fly_token(self) -> SecretStr:
        """Raises ConfigError where no token is set."""
        return self.secrets.fly_token()

    def state_url(self) -> SecretStr:
        """The database URL as configured, before it is mapped to a driver; it may hold a password."""
        if self.state.url_secret:
            return self.secrets.read(self.state.url_secret)
        assert self.state.url is not None  # resolution gives one of the two
        return SecretStr(self.state.url)

    def store_order(self, name: str) -> StoreOrder:
        """Raises ConfigError for a store that is not configured, or whose secrets are not set."""
        store = self.stores.get(name)
        if store is None:
            raise ConfigError(f"no store is called {name!r}", hint=f"Configured stores: {', '.join(self.stores)}.")
        return store.order(self.secrets)

    @property
    def hidden_stores(self) -> frozenset[str]:
        """Those that a worker machine cannot see."""
        return frozenset(name for name, store in self.stores.items() if not store.traits.is_visible_to_workers)

    @property
    def drill_means(self) -> DrillMeans:
        """By what a restore can be rehearsed here."""
        opens = self.encryption.identity_secret is not None or self.encryption.encryption is Encryption.NONE
        return DrillMeans(has_machines=self.worker.image is not None, opens_artifacts=opens and bool(self.stores))

    def identity(self) -> SecretStr | None:
        """The age identity that opens data, where one is configured."""
        name = self.encryption.identity_secret
        return self.secrets.read(name) if name else None
