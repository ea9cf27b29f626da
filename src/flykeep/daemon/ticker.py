"""Turns slots into runs. Reads the runs table each time, so that a missed, doubled or late wake-up is harmless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from flykeep.domain.attempts import plan_retry
from flykeep.domain.cadence import jitter, plan_slots
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.lineages import primary_ids, rule_of
from flykeep.domain.policy import JobKind, Policy, Schedule, TargetRule, is_retention_wanted
from flykeep.domain.run import Outcome, Run, RunState, Slot, Step
from flykeep.domain.target import ORG_LINEAGE, STORES_LINEAGE, Lineage
from flykeep.ports.catalog import Catalog, NewestSlot, Pause, Transaction
from flykeep.ports.clock import Clock, IdSource

_TRIED_AGAIN = frozenset({RunState.FAILED, RunState.INTERRUPTED})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Duty:
    """One schedule of one lineage: what the ticker keeps filled with runs."""

    kind: JobKind
    lineage_id: LineageId
    schedule: Schedule
    watching_since: datetime
    jitter_window: timedelta


@dataclass(frozen=True, slots=True)
class Ticker:
    """Checks, reconciliations and retention concern the whole organization and start at once, without jitter."""

    catalog: Catalog
    clock: Clock
    ids: IdSource
    rules: tuple[TargetRule, ...]
    check_schedule: Schedule
    reconcile_schedule: Schedule
    jitter_window: timedelta
    prune_schedule: Schedule | None = None
    can_drill: bool = False  # whether a restore can be rehearsed here
    verify_schedule: Schedule | None = None

    async def tick(self) -> int:
        """Make every run that is due and not yet there, in one transaction; returns how many were made."""
        now = self.clock.now()
        made = 0
        async with self.catalog.transaction() as tx:
            lineages = _existing(await tx.lineages(), fly_seen_at=await tx.fly_seen_at())
            paused = {pause.target: pause for pause in await tx.pauses(now=now)}
            newest = await tx.newest_slots()
            for duty in [*self._org_duties(now), *self._target_duties(lineages)]:
                slot = newest.get((duty.kind, duty.lineage_id))
                made += await self._fill(tx, duty, slot, paused.get(duty.lineage_id), now)
        return made

    def schedules(self) -> tuple[Schedule, ...]:
        """Everything that may make a run due: when to wake."""
        wanted = [duty.schedule for duty in self._org_duties(self.clock.now())]
        for rule in self.rules:
            wanted += [duty for duty in _schedules(rule.policy, can_drill=self.can_drill) if duty is not None]
        return tuple(wanted)

    def _org_duties(self, now: datetime) -> list[Duty]:
        # A daemon that has never run checks at once: its first slot is the newest one before now.
        since = now - timedelta(days=1)
        duties = [
            Duty(JobKind.CHECK, ORG_LINEAGE, self.check_schedule, since, timedelta(0)),
            Duty(JobKind.RECONCILE, ORG_LINEAGE, self.reconcile_schedule, since, timedelta(0)),
        ]
        if self.prune_schedule is not None and is_retention_wanted(self.rules):
            duties.append(Duty(JobKind.PRUNE, ORG_LINEAGE, self.prune_schedule, since, timedelta(0)))
        if self.verify_schedule is not None:
            duties.append(Duty(JobKind.VERIFY, STORES_LINEAGE, self.verify_schedule, since, self.jitter_window))
        return duties

    def _target_duties(self, lineages: Sequence[Lineage]) -> list[Duty]:
        duties: list[Duty] = []
        primaries = primary_ids(lineages)
        for lineage in lineages:
            rule = rule_of(lineage, self.rules)
            if rule is not None:
                is_exported = rule.instances == "each" or lineage.id in primaries
                duties.extend(
                    _duties(lineage, rule, self.jitter_window, is_exported=is_exported, can_drill=self.can_drill)
                )
        return duties

    async def _fill(
        self, tx: Transaction, duty: Duty, newest: NewestSlot | None, pause: Pause | None, now: datetime
    ) -> int:
        newest_at = newest.scheduled_at if newest else None
        plan = plan_slots(duty.schedule, newest_slot=newest_at, started_watching_at=duty.watching_since, now=now)
        if newest is not None:
            for slot_at in plan.skipped:
                await self._skip(tx, duty, slot_at, now, "missed while the daemon was away; a newer slot runs")
        if plan.run is None:
            return await self._retry(tx, duty, newest, now) if newest and not pause else 0
        if pause is not None:
            await self._skip(tx, duty, plan.run, now, f"paused: {pause.reason}")
            return 0
        wait = jitter(duty.lineage_id, duty.kind, window=duty.jitter_window)
        return await self._add(tx, duty, Slot.scheduled(plan.run), due_at=max(now, plan.run + wait), now=now)

    async def _retry(self, tx: Transaction, duty: Duty, newest: NewestSlot, now: datetime) -> int:
        if not newest.states & _TRIED_AGAIN:
            return 0
        slot_runs = await tx.runs(lineage_id=duty.lineage_id, kind=duty.kind, scheduled_at=newest.scheduled_at)
        retry = plan_retry(slot_runs, now=now)
        if retry is None:
            return 0
        slot, due_at = retry
        return await self._add(tx, duty, slot, due_at=due_at, now=now)

    async def _add(self, tx: Transaction, duty: Duty, slot: Slot, *, due_at: datetime, now: datetime) -> int:
        run = Run(
            id=RunId(self.ids.run_id()),
            kind=duty.kind,
            lineage_id=duty.lineage_id,
            slot=slot,
            state=RunState.PENDING,
            requested_at=now,
            due_at=due_at,
        )
        is_new = await tx.add_run(run)
        if is_new:
            log.debug("run.planned", run=run.id, kind=duty.kind.value, slot=slot.key)
        return int(is_new)

    async def _skip(self, tx: Transaction, duty: Duty, slot_at: datetime, now: datetime, why: str) -> None:
        run = Run(
            id=RunId(self.ids.run_id()),
            kind=duty.kind,
            lineage_id=duty.lineage_id,
            slot=Slot.scheduled(slot_at),
            state=RunState.PENDING,
            requested_at=now,
            due_at=now,
        )
        if await tx.add_run(run):
            await tx.add_step(Step(run.id, 1, "skipped", now, why))
            await tx.finish(run.id, outcome=Outcome(RunState.SKIPPED), now=now)


def _existing(lineages: Sequence[Lineage], *, fly_seen_at: datetime | None) -> list[Lineage]:
    """Those the last complete inventory held: a gone volume is a finding, and its slots could only fail."""
    return [lineage for lineage in lineages if fly_seen_at is None or lineage.last_seen_at >= fly_seen_at]


def _schedules(policy: Policy, *, can_drill: bool) -> tuple[Schedule | None, ...]:
    drill = policy.drill.schedule if can_drill else None
    return policy.snapshot.schedule, policy.export.schedule, drill


def _duties(lineage: Lineage, rule: TargetRule, window: timedelta, *, is_exported: bool, can_drill: bool) -> list[Duty]:
    wanted = [(JobKind.SNAPSHOT, rule.policy.snapshot.schedule)]
    if is_exported and rule.policy.copies:
        wanted.append((JobKind.EXPORT, rule.policy.export.schedule))
    if is_exported and can_drill:
        wanted.append((JobKind.DRILL, rule.policy.drill.schedule))
    return [
        Duty(kind, lineage.id, schedule, lineage.first_seen_at, window)
        for kind, schedule in wanted
        if schedule is not None
    ]
