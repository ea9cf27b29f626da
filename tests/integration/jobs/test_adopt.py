"""An adoption is one change of the catalog, made only while nothing of either lineage is at work or has changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flykeep.domain.adoption import AdoptionPlan, AdoptionWish
from flykeep.domain.errors import BusyError, RefusalError
from flykeep.domain.fly import Inventory
from flykeep.domain.holds import AuditAction, AuditCount
from flykeep.domain.ids import VolumeId
from flykeep.domain.run import RunState
from flykeep.domain.target import Lineage
from flykeep.jobs.adopt import AdoptJob
from flykeep.ports.catalog import MergeCounts
from tests.integration.jobs.parts import Parts, parts_in
from tests.unit.domain.builders import HOUR, NOW, inventory, lineage
from tests.unit.domain.test_adoption import BEGUN, ITS_MACHINE, LOST, REBUILT, RULES, TARGET


@dataclass
class Org:
    """Fly as far as an adoption asks it."""

    async def inventory(self) -> Inventory:
        return inventory(REBUILT, machines=(ITS_MACHINE,))


def job(parts: Parts) -> AdoptJob:
    fly: Any = Org()
    return AdoptJob(fly, parts.catalog, parts.clock, RULES)


async def planned(parts: Parts, *known: Lineage) -> AdoptionPlan:
    async with parts.catalog.transaction() as tx:
        await tx.save_lineage(replace(lineage("lin_1"), is_retired=True))  # what the parts begin with
        for one in known:
            await tx.save_lineage(one)
    return await job(parts).plan(TARGET, AdoptionWish(VolumeId("vol_9")))


async def test_the_lineage_goes_on_and_the_audit_tells_who_and_why(tmp_path: Path) -> None:
    async with parts_in(tmp_path) as parts:
        plan = await planned(parts, LOST, BEGUN)
        parts.lineage = BEGUN
        await parts.pending(lineage_id=BEGUN.id)
        counts = await job(parts).adopt(plan, actor="ann", reason="rebuilt")
        async with parts.catalog.transaction() as tx:
            assert await tx.lineages(include_retired=True) == (plan.after,)
            (entry, *_) = await tx.audit()
    assert counts == MergeCounts(runs=1, snapshots=0, artifacts=0, proofs=0)
    assert (entry.actor, entry.action, entry.reason) == ("ann", AuditAction.ADOPTED, "rebuilt")
    assert entry.subject == ("my-crocbot/crocbot_data (lineage lin_1, volume vol_9 after vol_1, with lineage lin_9)")
    assert AuditCount("runs", 1) in entry.counts


async def test_without_a_lineage_begun_meanwhile_nothing_is_merged(tmp_path: Path) -> None:
    async with parts_in(tmp_path) as parts:
        plan = await planned(parts, LOST)
        assert await job(parts).adopt(plan, actor="ann", reason="") == MergeCounts(0, 0, 0, 0)
        async with parts.catalog.transaction() as tx:
            assert await tx.lineages() == (plan.after,)
            assert (await tx.audit())[0].subject.endswith("volume vol_9 after vol_1)")


@pytest.mark.parametrize("busy", [LOST, BEGUN], ids=["the lost one", "the one begun"])
async def test_while_a_run_of_either_is_at_work_nothing_is_changed(tmp_path: Path, busy: Lineage) -> None:
    async with parts_in(tmp_path) as parts:
        plan = await planned(parts, LOST, BEGUN)
        await parts.pending(lineage_id=LOST.id, due_at=NOW + HOUR)
        run = await parts.claimed(lineage_id=busy.id)
        assert run.state is RunState.RUNNING
        with pytest.raises(BusyError, match=run.id):
            await job(parts).adopt(plan, actor="ann", reason="")
        async with parts.catalog.transaction() as tx:
            assert set(await tx.lineages()) == {LOST, BEGUN}
            assert not await tx.audit()


@pytest.mark.parametrize(
    "change",
    [
        replace(LOST, volume_ids=(*LOST.volume_ids, VolumeId("vol_5"))),
        replace(BEGUN, is_retired=True),
    ],
    ids=["another volume", "retired"],
)
async def test_what_changed_since_the_plan_is_planned_anew(tmp_path: Path, change: Lineage) -> None:
    async with parts_in(tmp_path) as parts:
        plan = await planned(parts, LOST, BEGUN)
        async with parts.catalog.transaction() as tx:
            await tx.save_lineage(change)
        with pytest.raises(RefusalError, match="has changed since"):
            await job(parts).adopt(plan, actor="ann", reason="")
