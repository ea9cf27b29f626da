"""What people decide about single artifacts and whole targets, kept with who and why: pins, and the audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flykeep.domain.ids import ExportId


@dataclass(frozen=True, slots=True)
class Pin:
    """A person holds an artifact, in every store it is in: retention never removes it."""

    export_id: ExportId
    reason: str
    pinned_at: datetime
    pinned_by: str


class AuditAction(StrEnum):
    """What is written down for good."""

    PINNED = "pinned"
    UNPINNED = "unpinned"
    PRUNED = "pruned"
    RETIRED = "retired"
    RESUMED = "resumed"
    ERASED = "erased"
    ADOPTED = "adopted"


@dataclass(frozen=True, slots=True)
class AuditCount:
    """How many of something an action concerned: artifacts, objects, bytes."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing somebody ended or held: it stays when everything it was about is gone."""

    at: datetime
    actor: str
    action: AuditAction
    subject: str
    reason: str
    counts: tuple[AuditCount, ...] = ()
