"""Gathers what retention has to know of every copy, asks the rules, and has the stores confirm what they say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import StoreError
from flykeep.domain.ids import ExportId, LineageId
from flykeep.domain.lineages import rule_of
from flykeep.domain.policy import KeepRule, TargetRule, keep_rule_of
from flykeep.domain.prune import PlannedCopy
from flykeep.domain.retention import Candidate, CopyPlan, Fate, plan_retention
from flykeep.domain.target import Lineage
from flykeep.jobs.agreement import Agreement
from flykeep.jobs.pins import held_by, pinned_in
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.store import Store


@dataclass(frozen=True, slots=True)
class _Copy:
    """One target's artifacts in one store, and the rule for them; `why_unruled` where there is none."""

    lineage: Lineage
    label: str
    store: str
    candidates: tuple[Candidate, ...]
    keep: KeepRule
    timezone: str
    why_unruled: str | None


@dataclass(frozen=True, slots=True)
class RetentionPlanner:
    catalog: Catalog
    clock: Clock
    stores: Mapping[str, Store]
    agreement: Agreement
    rules: tuple[TargetRule, ...]
    max_delete_share: float

    async def expected(self, lineage_id: LineageId | None = None) -> tuple[PlannedCopy, ...]:
        """What the catalog alone says will happen next; no store is asked."""
        return tuple(self._planned(copy, self.max_delete_share) for copy in await self._copies(lineage_id))

    async def plan(
        self, lineage_id: LineageId | None = None, *, max_delete_share: float | None = None
    ) -> tuple[PlannedCopy, ...]:
        """What would be removed now, each removal and what it relies on confirmed by its store."""
        share = self.max_delete_share if max_delete_share is None else max_delete_share
        return tuple([await self._confirmed(copy, share) for copy in await self._copies(lineage_id)])

    async def _copies(self, lineage_id: LineageId | None) -> list[_Copy]:
        async with self.catalog.transaction() as tx:
            lineages = tuple(await tx.lineages(include_retired=True))
            pins = {pin.export_id: pin.reason for pin in await tx.pins()}
            held = {
                lineage.id: await tx.artifacts(lineage.id) for lineage in lineages if lineage_id in {None, lineage.id}
            }
        grouped: dict[tuple[LineageId, str], list[Candidate]] = {}
        for owner, artifacts in held.items():  # not whose the manifest says: a rebuilt catalog may know better
            for artifact in artifacts:
                candidate = Candidate(artifact, pins.get(artifact.export_id))
                grouped.setdefault((owner, artifact.store), []).append(candidate)
        known = {lineage.id: lineage for lineage in lineages}
        return sorted(
            (
                self._copy(known[owner], lineages, store, tuple(candidates))
                for (owner, store), candidates in grouped.items()
            ),
            key=lambda copy: (copy.label, copy.lineage.id, copy.store),
        )

    def _copy(
        self, lineage: Lineage, everyone: tuple[Lineage, ...], store: str, candidates: tuple[Candidate, ...]
    ) -> _Copy:
        rule = rule_of(lineage, self.rules)
        keep = keep_rule_of(rule.policy, store) if rule and not lineage.is_retired else KeepRule()
        why = None
        if lineage.is_retired:
            why = "the target is retired: `flykeep retire --erase` removes what is left of it"
        elif rule is None:
            why = "no target of the configuration matches it any more"
        elif keep.is_empty:
            why = f"policy {rule.policy.name} has no keep rule for copies in {store}"
        zone = rule.policy.timezone if rule else "UTC"
        return _Copy(lineage, lineage.label_among(everyone), store, candidates, keep, zone, why)

    def _planned(self, copy: _Copy, share: float) -> PlannedCopy:
        plan = plan_retention(
            copy.candidates, copy.keep, timezone=copy.timezone, max_delete_share=share, now=self.clock.now()
        )
        if copy.why_unruled is not None:
            plan = replace(plan, refusal=copy.why_unruled)
        return PlannedCopy(copy.lineage, copy.label, copy.store, plan, is_ruled=copy.why_unruled is None)

    async def _confirmed(self, copy: _Copy, share: float) -> PlannedCopy:
        """Plan again until the store agrees with everything that a removal rests on."""
        planned = self._planned(copy, share)
        if not planned.plan.removals:
            return planned
        store = self.stores.get(copy.store)
        if store is None:
            return self._planned(_differing(copy, _everywhere(copy, "its store is not configured any more")), share)
        try:
            copy = _differing(copy, await self.agreement.listed(store, _standing(copy)))
            copy = _held(copy, await pinned_in(store), held_by(store))
        except StoreError as error:
            return self._planned(
                _differing(copy, _everywhere(copy, f"the store can't be read: {error.message}")), share
            )
        read: set[ExportId] = set()
        while True:
            planned = self._planned(copy, share)
            unread = [one for one in _relied_on(planned.plan) if one.export_id not in read]
            if not unread:
                return planned
            read |= {one.export_id for one in unread}
            found = {one.export_id: await self.agreement.mismatch(store, one) for one in unread}
            copy = _differing(copy, {export_id: why for export_id, why in found.items() if why is not None})


def _standing(copy: _Copy) -> list[Artifact]:
    return [one.artifact for one in copy.candidates if one.artifact.leaving_at is None]


def _everywhere(copy: _Copy, why: str) -> Mapping[ExportId, str]:
    return {artifact.export_id: why for artifact in _standing(copy)}


def _differing(copy: _Copy, mismatches: Mapping[ExportId, str]) -> _Copy:
    return replace(
        copy,
        candidates=tuple(replace(one, mismatch=mismatches.get(one.id, one.mismatch)) for one in copy.candidates),
    )


def _held(copy: _Copy, pinned: frozenset[ExportId], why: str) -> _Copy:
    held = tuple(replace(one, pin=one.pin or why) if one.id in pinned else one for one in copy.candidates)
    return replace(copy, candidates=held)


def _relied_on(plan: CopyPlan) -> Iterable[Artifact]:
    """What goes, and the restorable ones that stay for it; nothing where nothing goes."""
    going = plan.removals
    return [*going, *(one for one in plan.of(Fate.KEEP) if one.satisfies_rpo)] if going else ()
