"""Fly's answers as they come over the wire.

Fields Fly adds are ignored. What is absent stays absent, and what a listing must have is required: an answer without
its list is no empty list. Source: Fly's OpenAPI document, fly-go's types, and the oddities third parties reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from flykeep.adapters.fly.errors import Answer, Call, unexpected

T = TypeVar("T")


def _instant(value: object) -> object:
    """Go's RFC 3339: nanoseconds or none, Z or an offset; its zero time and an empty string mean no instant."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError("an instant must be a string")  # noqa: TRY004 - pydantic turns ValueError into its own
    at = datetime.fromisoformat(value.strip())
    if at.year <= 1:  # checked first: the zero time with an offset has no UTC twin
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)


def _list(value: object) -> object:
    """Go writes an empty list as null."""
    return [] if value is None else value


def _text(value: object) -> object:
    return "" if value is None else value


def _whole(value: object) -> object:
    return 0 if value is None or value == "" else value


Instant = Annotated[datetime | None, BeforeValidator(_instant)]
Text = Annotated[str, BeforeValidator(_text)]
Whole = Annotated[int, BeforeValidator(_whole)]
Rows = Annotated[list[T], BeforeValidator(_list)]


class _Wire(BaseModel):
    # Input never stands in an error: an answer may echo a token.
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _Organization(_Wire):
    slug: Text = ""


class WireApp(_Wire):
    name: str
    status: Text = ""
    network: str | None = None
    organization: _Organization | None = None


class WireApps(_Wire):
    apps: Rows[WireApp]


class WireSecret(_Wire):
    """A name and a digest; a value is never asked for, and where one came it would not be read."""

    name: str
    digest: Text = ""


class WireSecrets(_Wire):
    secrets: Rows[WireSecret]


class WireSecretsVersion(_Wire):
    version: int | None = None


class WireAddress(_Wire):
    ip: str
    region: Text = ""
    is_shared: bool | None = Field(default=None, alias="shared")
    is_egress: bool | None = Field(default=None, alias="egress")


class WireAddresses(_Wire):
    ips: Rows[WireAddress]


class _Certificate(_Wire):
    hostname: str


class WireCertificates(_Wire):
    certificates: Rows[_Certificate]
    next_cursor: str | None = None


class _ImageRef(_Wire):
    registry: Text = ""
    repository: Text = ""
    digest: Text = ""


class WireMachine(_Wire):
    """`config` is kept as it came: what a machine is recreated from must not lose a field flykeep does not know."""

    id: str
    app_name: Text = ""
    name: Text = ""
    state: str
    region: Text = ""
    private_ip: str | None = None
    host_status: str | None = None
    instance_id: str | None = None
    version: str | None = None
    image_ref: _ImageRef | None = None
    config: dict[str, Any] | None = None
    incomplete_config: dict[str, Any] | None = None


class _Check(_Wire):
    name: Text = ""
    status: Text = ""
    output: Text = ""


class WireChecks(_Wire):
    """The part of a machine that its health checks are."""

    checks: Rows[_Check] = []


class _Lease(_Wire):
    nonce: Text = Field(default="", repr=False)
    owner: Text = ""


class WireLease(_Wire):
    """The published description shows leases unwrapped; the wire wraps them."""

    data: _Lease


class WireVolume(_Wire):
    id: str
    app_name: Text = ""
    name: Text = ""
    state: str
    region: Text = ""
    size_gb: Whole = 0
    attached_machine_id: str | None = None
    created_at: Instant = None
    host_status: str | None = None
    auto_backup_enabled: bool | None = None
    snapshot_retention: int | None = None
    bytes_used: Whole = 0
    bytes_total: Whole = 0


class WireExtension(_Wire):
    """Fly leaves out what is false."""

    volume: WireVolume
    needs_restart: bool = False


class WireMachinePage(_Wire):
    machines: Rows[WireMachine]
    next_cursor: str | None = None
    error_regions: Rows[str] = []


class WireVolumePage(_Wire):
    volumes: Rows[WireVolume]
    next_cursor: str | None = None
    error_regions: Rows[str] = []


class WireSnapshot(_Wire):
    id: str | None = None
    status: str | None = None
    created_at: Instant = None
    size: Whole = 0
    volume_size: Whole = 0
    retention_days: int | None = None
    digest: str | None = None


class _Backup(_Wire):
    id: str | int | None = None
    graph_id: str | None = None
    state: Text = ""


class _BackupMessage(_Wire):
    backup: _Backup


class WireSnapshotRequest(_Wire):
    Msg: _BackupMessage


class WireExec(_Wire):
    """Go omits what is zero or empty, so an absent exit code is 0; `error` marks what is no result at all."""

    exit_code: Whole = 0
    exit_signal: Whole = 0
    stdout: Text = ""
    stderr: Text = ""
    error: str | None = None


class WireWait(_Wire):
    state: Text = ""


class WireToken(_Wire):
    org_slug: Text = ""
    organization: Text = ""
    apps: Rows[str] = []


class WireTokens(_Wire):
    tokens: Rows[WireToken]


class _GraphOrganization(_Wire):
    id: str


class _GraphApp(_Wire):
    organization: _GraphOrganization


class WireOrganization(_Wire):
    app: _GraphApp


class _GraphCertificate(_Wire):
    certificate: str


class WireCertificate(_Wire):
    issueCertificate: _GraphCertificate  # noqa: N815 - Fly's name


class _GraphExtensions(_Wire):
    code: str | None = None


class WireGraphError(_Wire):
    message: Text = ""
    extensions: _GraphExtensions | None = None


class WireGraph(_Wire):
    errors: Rows[WireGraphError] = []
    data: dict[str, Any] | None = None


MACHINES: TypeAdapter[list[WireMachine]] = TypeAdapter(Rows[WireMachine], config=ConfigDict(hide_input_in_errors=True))
VOLUMES: TypeAdapter[list[WireVolume]] = TypeAdapter(Rows[WireVolume], config=ConfigDict(hide_input_in_errors=True))
SNAPSHOTS: TypeAdapter[list[WireSnapshot]] = TypeAdapter(
    Rows[WireSnapshot], config=ConfigDict(hide_input_in_errors=True)
)
METADATA: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str], config=ConfigDict(hide_input_in_errors=True))


def parse(shape: type[T] | TypeAdapter[T], *, answer: Answer, call: Call) -> T:
    """The body as its shape; raises FlyUnexpectedAnswerError where it is another."""
    try:
        return _adapter(shape).validate_json(answer.body)
    except ValidationError as error:
        raise unexpected(_shape_fault(error), answer=answer, call=call) from error


def parse_value(shape: type[T], value: Mapping[str, Any], *, answer: Answer, call: Call) -> T:
    """A part of the body as its shape; raises FlyUnexpectedAnswerError where it is another."""
    try:
        return _adapter(shape).validate_python(value)
    except ValidationError as error:
        raise unexpected(_shape_fault(error), answer=answer, call=call) from error


def _adapter(shape: type[T] | TypeAdapter[T]) -> TypeAdapter[T]:
    return shape if isinstance(shape, TypeAdapter) else TypeAdapter(shape)


def _shape_fault(error: ValidationError) -> str:
    """Where the answer is not what Fly documents; places only, never what stands there."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if any(detail["type"] == "json_invalid" for detail in details):
        return "is not JSON"
    places = sorted({".".join(str(part) for part in detail["loc"][:4]) or "the whole" for detail in details})
    return f"does not have the documented shape at {', '.join(places[:3])}"
