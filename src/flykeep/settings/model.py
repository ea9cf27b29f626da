"""The configuration file as it is written: every table and key with its meaning.

Source of `flykeep config schema` and of docs/reference/settings.md. Values leave this module through `resolution`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from flykeep.settings.fields import (
    AbsolutePath,
    Bind,
    Cron,
    Duration,
    HttpUrl,
    Image,
    KeyPrefix,
    Name,
    Recipient,
    SecretName,
    StateUrl,
    Table,
)
from flykeep.settings.model_drills import DrillSettingsTable
from flykeep.settings.model_policies import PolicyTable, TargetTable

LITERAL_SECRET_KEYS = frozenset(
    {"url", "urls", "token", "password", "passphrase", "secret", "key", "api_key", "access_key", "identity"}
    | {"access_key_id", "secret_access_key", "secret_key", "signing_key", "fly_api_token", "credentials"}
)
"""Keys nobody may write out; each has a twin that ends in `_secret` and names a variable."""


class FlyTable(Table):
    org: str = Field(min_length=1, description="Slug of the Fly organization whose volumes are kept.")
    ssh_port: int = Field(22, ge=1, le=65535, description="Port of the machines' SSH server on the private network.")


class ScratchTable(Table):
    app: str = Field("flykeep-scratch", min_length=1, description="App without secrets for workers and drills.")
    max_volume_gb: int = Field(100, ge=1, le=500, description="Largest temporary volume flykeep may create.")
    max_workers: int = Field(2, ge=1, le=50, description="Temporary machines alive at the same time.")
    regions: tuple[str, ...] = Field(
        (), description="Regions to try, in this order, where the volume's own has no room for a temporary machine."
    )
    in_target_app: bool = Field(
        False, description="Put them into the target's own app instead: only where Fly refuses another app's snapshot."
    )


class StateTable(Table):
    url: StateUrl | None = Field(None, description="Database: sqlite:////absolute/path, or postgresql:// by secret.")
    url_secret: SecretName | None = Field(None, description="Variable holding the database URL, password included.")
    directory: AbsolutePath | None = Field(
        None, description="Folder for locks and the daemon's own keys; else beside the SQLite file, or /data."
    )

    @model_validator(mode="after")
    def _one_url(self) -> StateTable:
        if self.url and self.url_secret:
            raise ValueError("has both url and url_secret: keep one")
        return self


class HttpTable(Table):
    bind: Bind = Field("[::]:8080", description="Where /healthz and /readyz answer.")


class S3StoreTable(Table):
    type: Literal["s3"] = Field(description="An S3-compatible bucket.")
    bucket: str = Field(min_length=1, description="Name of the bucket.")
    endpoint: HttpUrl | None = Field(None, description="Base URL of the service; unset means AWS.")
    region: str = Field("auto", description="Region for signatures; `auto` suits R2 and Tigris.")
    prefix: KeyPrefix = Field("", description="Path in the bucket under which everything is kept.")
    path_style: bool = Field(True, description="Address the bucket in the path, not in the host name.")
    access_key_id_secret: SecretName | None = Field(None, description="Variable holding the access key id.")
    secret_access_key_secret: SecretName | None = Field(None, description="Variable holding the secret access key.")
    sse: Literal["AES256", "aws:kms"] | None = Field(
        None, description="Ask the store to encrypt each object at rest; unset leaves it to the bucket's own default."
    )
    sse_kms_key_id: str | None = Field(None, min_length=1, description='Which KMS key, with `sse = "aws:kms"`.')
    storage_class: Literal["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"] | None = Field(
        None,
        description="Class of data objects alone; index and manifest stay in the bucket's own. Classes that are not "
        "read at once are refused: every artifact is read back.",
    )
    object_lock: Literal["none", "required"] = Field(
        "none", description="`required`: the bucket's default retention must lock what is written; `doctor` tries it."
    )
    deletes: Literal["allowed", "refused"] = Field(
        "allowed", description="Whether the key may delete; where it may not, the bucket's own rules end artifacts."
    )
    on_platform: bool | None = Field(
        None, description="The bucket is lost together with the Fly account. Unset: true for Tigris by way of Fly."
    )

    @model_validator(mode="after")
    def _kms_key_is_used(self) -> S3StoreTable:
        if self.sse_kms_key_id is not None and self.sse != "aws:kms":
            raise ValueError('has sse_kms_key_id, which needs sse = "aws:kms"')
        return self

    @model_validator(mode="after")
    def _both_keys(self) -> S3StoreTable:
        if (self.access_key_id_secret is None) != (self.secret_access_key_secret is None):
            raise ValueError("needs both access_key_id_secret and secret_access_key_secret, or neither")
        return self


class DirectoryStoreTable(Table):
    type: Literal["directory"] = Field(description="A folder of the machine flykeep runs on.")
    path: AbsolutePath = Field(description="The folder; it must exist on a disk of its own to be worth anything.")
    prefix: KeyPrefix = Field("", description="Path below the folder under which everything is kept.")
    on_platform: bool = Field(False, description="The folder is on a Fly volume: lost together with the account.")
    visible_to_workers: bool = Field(
        False,
        description="Worker machines have the same folder at the same path: never so on Fly, so in the simulator.",
    )


StoreTable = Annotated[S3StoreTable | DirectoryStoreTable, Field(discriminator="type")]


class EncryptionTable(Table):
    encryption: Literal["age", "none"] = Field("age", description='"none" must be written out to store in the clear.')
    recipients: tuple[Recipient, ...] = Field((), description="age X25519 public keys; each of them opens artifacts.")
    identity_secret: SecretName | None = Field(
        None, description="Variable holding an age identity, for verifying contents; absent by default."
    )


class WorkerTable(Table):
    image: Image | None = Field(
        None, description="flykeep's own image, pinned by digest, for worker Machines; with it exports read snapshots."
    )
    compression: Literal["auto", "frugal", "parallel"] = Field(
        "auto", description="Threads for compression; `auto` is frugal on one core or 512 MB."
    )
    level: int = Field(3, ge=1, le=19, description="zstd level.")
    deadline: Duration = Field("12h", validate_default=True, description="A worker ends itself after this long.")
    stall_timeout: Duration = Field("2m", validate_default=True, description="No byte moving for this long ends it.")


class RetentionTable(Table):
    cron: Cron = Field(
        "20 2 * * *", description='When old artifacts are removed by the keep rules, in UTC; "never": by hand only.'
    )
    max_delete_share: float = Field(
        0.5, gt=0, le=1, description="Part of a target's artifacts in one store that may go at once."
    )


class VerifyTable(Table):
    """Stored artifacts are read again by turns, those first that nobody looked at for longest."""

    cron: Cron = Field("30 3 * * 0", description='When artifacts are verified, in UTC; "never": by hand only.')
    budget_gb: int = Field(20, ge=1, description="How much may be read each time; one artifact at least.")
    max_age: Duration = Field(
        "90d", validate_default=True, description="An artifact not verified for this long is a finding."
    )


class DaemonTable(Table):
    max_parallel_runs: int = Field(2, ge=1, le=64, description="Runs executed at the same time.")
    jitter: Duration = Field("5m", validate_default=True, description="Slots start up to this much later, by lineage.")
    check_every: str = Field("15m", description="How often ages are checked: a duration that divides a day, or cron.")
    drain_timeout: Duration = Field(
        "4m30s", validate_default=True, description="Time for runs to end on SIGTERM; below Fly's kill_timeout."
    )


class NotifierTable(Table):
    """Only `type` is judged here; the rest belongs to the notifier's plugin."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    type: str = Field(min_length=1, description="Which notifier: log, webhook, apprise, healthchecks or a plugin's.")

    @model_validator(mode="after")
    def _no_secret_written_out(self) -> NotifierTable:
        key = next((key for key in self.model_extra or {} if key in LITERAL_SECRET_KEYS), None)
        if key is not None:
            raise PydanticCustomError("literal_secret", "{key}", {"key": key})
        return self


def _written_out(value: object) -> object:
    """`encryption = "none"` may stand at the top of the file instead of in its table."""
    return {"encryption": value} if isinstance(value, str) else value


class FileModel(BaseSettings):
    """The whole file. Environment variables FLYKEEP_TABLE__KEY beat it."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix="FLYKEEP_",
        env_nested_delimiter="__",
        title="flykeep configuration",
    )

    fly: FlyTable = Field(description="The organization.")
    scratch: ScratchTable = Field(ScratchTable(), description="Temporary volumes and machines.")
    state: StateTable = Field(StateTable(), description="Where flykeep remembers.")
    http: HttpTable = Field(HttpTable(), description="The daemon's own health pages.")
    stores: dict[Name, StoreTable] = Field({}, description="Where artifacts live.")
    encryption: Annotated[EncryptionTable, BeforeValidator(_written_out)] = Field(
        EncryptionTable(), description="Who can open artifacts."
    )
    worker: WorkerTable = Field(WorkerTable(), description="The byte path.")
    drill: DrillSettingsTable = Field(DrillSettingsTable(), description="Rehearsed restores.")
    retention: RetentionTable = Field(RetentionTable(), description="Removing what no keep rule keeps.")
    verify: VerifyTable = Field(VerifyTable(), description="Reading stored artifacts again.")
    daemon: DaemonTable = Field(DaemonTable(), description="The loop.")
    notifiers: dict[Name, NotifierTable] = Field({}, description="Who is told.")
    policies: dict[Name, PolicyTable] = Field({}, description="What is wanted.")
    targets: tuple[TargetTable, ...] = Field((), description="Which volumes a policy is for; the first match wins.")
