"""What every job is handed: its run, its target, and a way to say what it does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from flykeep.domain.policy import TargetRule
from flykeep.domain.run import Run, Step
from flykeep.domain.target import Lineage
from flykeep.ports.catalog import Catalog, Transaction
from flykeep.ports.clock import Clock
from flykeep.ports.worker import Progress


def ignore_progress(_: Progress) -> None:
    """Nobody looks."""


@dataclass(slots=True)
class Journal:
    """Writes a run's steps to the catalog before they happen, so that what a dead process was about to do is known."""

    run: Run
    catalog: Catalog
    clock: Clock
    on_step: Callable[[Step], None] | None = None
    _number: int = 0

    async def step(self, name: str, /, **detail: str | int | None) -> None:
        """Journal one step; commits at once, in a transaction of its own."""
        async with self.catalog.transaction() as tx:
            step = await self.add(tx, name, **detail)
        if self.on_step:
            self.on_step(step)

    async def add(self, tx: Transaction, name: str, /, **detail: str | int | None) -> Step:
        """Journal one step within the caller's transaction, for what must be decided and written at once."""
        self._number += 1
        known = {key: value for key, value in detail.items() if value is not None}
        step = Step(
            run_id=self.run.id,
            number=self._number,
            name=name,
            at=self.clock.now(),
            detail=json.dumps(known, ensure_ascii=False) if known else "",
        )
        await tx.add_step(step)
        return step


@dataclass(frozen=True, slots=True)
class TargetWork:
    """One run for one target."""

    run: Run
    lineage: Lineage
    rule: TargetRule
    journal: Journal
    on_progress: Callable[[Progress], None] = field(default=ignore_progress)


@dataclass(frozen=True, slots=True)
class OrgWork:
    """One run for the whole organization."""

    run: Run
    journal: Journal
