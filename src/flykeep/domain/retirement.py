"""Whether a target may be ended, and with erasure; what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import RefusalError
from flykeep.domain.holds import Pin
from flykeep.domain.target import Lineage


@dataclass(frozen=True, slots=True)
class Left:
    """A copy that could not be erased."""

    export_id: str
    store: str
    why: str


@dataclass(frozen=True, slots=True)
class RetireResult:
    lineage_id: str
    target: str
    is_erased: bool
    erased: int = 0
    erased_bytes: int = 0
    proofs: int = 0
    left: tuple[Left, ...] = ()


def check_erasure(
    lineage: Lineage,
    artifacts: Sequence[Artifact],
    pins: Sequence[Pin],
    *,
    reason: str | None,
    is_configured: bool,
    fly_seen_at: datetime | None,
) -> None:
    """Raise RefusalError where erasing everything of a target is likely not meant.

    A volume that still exists and that a target of the configuration matches is in use: such a target has to be retired
    first, by a command of its own.
    """
    if not (reason or "").strip():
        raise RefusalError("erasing needs a reason", hint="Add --reason; it is kept in the audit for good.")
    held = {pin.export_id for pin in pins} & {artifact.export_id for artifact in artifacts}
    if held:
        raise RefusalError(
            f"pinned artifacts are not erased: {', '.join(sorted(held))}",
            hint="Release each with `flykeep artifact unpin ID`.",
        )
    is_living = fly_seen_at is None or lineage.last_seen_at >= fly_seen_at
    if is_living and is_configured and not lineage.is_retired:
        raise RefusalError(
            f"volume {lineage.volume_id} still exists and a target of the configuration matches it",
            hint="Retire it first without --erase, or take it out of the configuration, or destroy the volume.",
            facts={"app": lineage.app, "volume": lineage.volume_id},
        )
