"""The JSON lines between a worker and whoever launched it.

To the worker: one order. From it: `progress` lines, `entry` lines of an index, and at the end one `result` or one
`failure`. Lines are ASCII; paths that are not UTF-8 travel as surrogate escapes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from flykeep.domain.artifact import IndexEntry
from flykeep.domain.artifact_index import decode_entry, encode_entry
from flykeep.domain.errors import FlykeepError, WorkerError
from flykeep.ports.cleaning import CleanOrder, CleanResult
from flykeep.ports.importing import ImportOrder, ImportResult, PlaceOrder, PlaceResult
from flykeep.ports.inspecting import InspectOrder, InspectResult
from flykeep.ports.store_trial import TrialOrder, TrialResult
from flykeep.ports.worker import (
    DrillResult,
    ExportResult,
    ExtractResult,
    Order,
    Progress,
    ReachResult,
    VerifyResult,
)

_ENTRY_PREFIX = b'{"type":"entry","entry":'


@dataclass(frozen=True, slots=True)
class ProgressLine:
    progress: Progress
    type: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class ExportedLine:
    result: ExportResult
    kind: Literal["export"] = "export"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class VerifiedLine:
    result: VerifyResult
    kind: Literal["verify"] = "verify"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class IndexedLine:
    """All entries were reported: an index that ends without this was cut short."""

    result: int
    kind: Literal["index"] = "index"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class ExtractedLine:
    result: ExtractResult
    kind: Literal["extract"] = "extract"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class ReachedLine:
    result: ReachResult
    kind: Literal["reach"] = "reach"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class DrilledLine:
    result: DrillResult
    kind: Literal["drill"] = "drill"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class FailureLine:
    code: str
    message: str
    hint: str
    exit_code: int
    facts: Mapping[str, str] = field(default_factory=dict)
    type: Literal["failure"] = "failure"

    @classmethod
    def of(cls, error: FlykeepError) -> FailureLine:
        return cls(
            code=error.code,
            message=error.message,
            hint=error.next_step,
            exit_code=error.exit_code,
            facts=dict(error.facts),
        )


@dataclass(frozen=True, slots=True)
class ImportedLine:
    result: ImportResult
    kind: Literal["import"] = "import"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class PlacedLine:
    result: PlaceResult
    kind: Literal["place"] = "place"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class CleanedLine:
    result: CleanResult
    kind: Literal["clean"] = "clean"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class TriedLine:
    result: TrialResult
    kind: Literal["trial"] = "trial"
    type: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class InspectedLine:
    result: InspectResult
    kind: Literal["inspect"] = "inspect"
    type: Literal["result"] = "result"


AnyOrder = Order | ImportOrder | PlaceOrder | CleanOrder | TrialOrder | InspectOrder
ResultLine = (
    ExportedLine
    | VerifiedLine
    | IndexedLine
    | ExtractedLine
    | ReachedLine
    | DrilledLine
    | ImportedLine
    | PlacedLine
    | CleanedLine
    | TriedLine
    | InspectedLine
)
Line = ProgressLine | ResultLine | FailureLine

_RESULTS = Annotated[ResultLine, Field(discriminator="kind")]


@functools.cache
def _orders() -> TypeAdapter[AnyOrder]:
    """Built where it is needed, and only there: a worker never reads lines, nor its launcher orders."""
    return TypeAdapter(Annotated[AnyOrder, Field(discriminator="kind")])


@functools.cache
def _lines() -> TypeAdapter[Line]:
    return TypeAdapter(Annotated[ProgressLine | _RESULTS | FailureLine, Field(discriminator="type")])


def encode_order(order: AnyOrder) -> bytes:
    """One line, newline included. It holds secrets: write it to the worker's standard input only."""
    return json.dumps(asdict(order)).encode() + b"\n"


def decode_order(line: bytes) -> AnyOrder:
    """Raises WorkerError, without a word of the order's content."""
    try:
        return _orders().validate_python(json.loads(line))
    except ValidationError as error:
        places = ", ".join(".".join(map(str, flaw["loc"])) for flaw in error.errors(include_input=False))
    except ValueError:
        places = "it is not JSON"
    raise WorkerError(f"the work order cannot be read: {places}", hint="Launcher and worker must be of one version.")


def encode_line(line: Line) -> bytes:
    """One line, newline included."""
    return json.dumps(asdict(line), separators=(",", ":")).encode() + b"\n"


def encode_entry_line(entry: IndexEntry) -> bytes:
    """One line, newline included."""
    return _ENTRY_PREFIX + encode_entry(entry).rstrip(b"\n") + b"}\n"


def decode_line(line: bytes) -> Line | IndexEntry:
    """Raises WorkerError for anything else than a report."""
    if line.startswith(_ENTRY_PREFIX):
        return decode_entry(line.rstrip()[len(_ENTRY_PREFIX) : -1])
    try:
        return _lines().validate_python(json.loads(line))
    except ValueError as error:
        raise WorkerError("the worker spoke nonsense") from error
