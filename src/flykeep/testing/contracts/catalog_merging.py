"""The catalog's contract for two lineages that become one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from flykeep.domain.ids import ExportId, LineageId, MachineId, OwnerId, ProofId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, RunState
from flykeep.ports.catalog import Catalog, MergeCounts, NewestSlot, Pause, Transaction
from flykeep.testing.contracts.catalog_samples import (
    LINEAGE,
    NOON,
    OTHER_LINEAGE,
    a_lineage,
    a_proof,
    a_run,
    a_snapshot,
    a_verdict,
    after,
    an_artifact,
)


async def _of_both(tx: Transaction) -> None:
    """Everything there is, of two lineages; both have a run of the slot at noon."""
    for lineage_id, number in ((LINEAGE, "1"), (OTHER_LINEAGE, "2")):
        await tx.save_lineage(a_lineage(lineage_id, app="app"))
        await tx.record_snapshot(a_snapshot(f"vs_{number}", lineage_id=lineage_id))
        await tx.record_artifact(an_artifact(f"0{number}", lineage_id=lineage_id))
        await tx.save_machine_config(
            MachineId(f"m{number}"), lineage_id=lineage_id, config_json=f'"{number}"', now=NOON
        )
        await tx.save_verdict(a_verdict(lineage_id=lineage_id))
        await tx.pause(Pause(lineage_id, None, "why", NOON))
        proof = a_proof(f"p{number}")
        await tx.record_proof(replace(proof, proof=replace(proof.proof, lineage_id=lineage_id)))
        await tx.add_run(a_run(f"r{number}", lineage_id=lineage_id, slot_at=NOON))


async def a_merged_lineage_loses_nothing_to_the_one_it_became(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await _of_both(tx)
        await tx.add_run(a_run("manual", lineage_id=OTHER_LINEAGE))
        counts = await tx.merge_lineage(OTHER_LINEAGE, into=LINEAGE)
        assert counts == MergeCounts(runs=2, snapshots=1, artifacts=1, proofs=1)
        assert {one.snapshot.id for one in await tx.recorded_snapshots(LINEAGE)} == {"vs_1", "vs_2"}
        assert {one.export_id for one in await tx.artifacts(LINEAGE)} == {"01", "02"}
        assert {one.proof.proof_id for one in await tx.proofs(LINEAGE)} == {"p1", "p2"}
        assert {one.id for one in await tx.runs(lineage_id=LINEAGE)} == {"r1", "r2", "manual"}
        assert await tx.machine_config(LINEAGE) == '"2"'
        assert [one.id for one in await tx.lineages(include_retired=True)] == [LINEAGE]
        assert [one.lineage_id for one in await tx.verdicts()] == [LINEAGE]
        assert [one.target for one in await tx.pauses(now=NOON)] == [LINEAGE]
        assert await tx.runs(lineage_id=OTHER_LINEAGE) == ()
        assert (await tx.artifact(ExportId("02")))[0].manifest.origin.lineage_id == OTHER_LINEAGE
        assert await tx.proof(ProofId("p2")) is not None


async def a_slot_of_both_stays_one_slot_with_one_attempt_more(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await _of_both(tx)
        await tx.add_run(a_run("r3", lineage_id=OTHER_LINEAGE, slot_at=NOON, kind=JobKind.EXPORT))
        await tx.add_run(a_run("r4", lineage_id=LINEAGE, slot_at=NOON, attempt=2))
        await tx.finish(RunId("r2"), outcome=Outcome(RunState.SUCCEEDED), now=after(1))
        await tx.merge_lineage(OTHER_LINEAGE, into=LINEAGE)
        found = {run.id: (run.kind, run.slot.scheduled_at, run.slot.attempt) for run in await tx.runs()}
        assert found == {
            "r1": (JobKind.SNAPSHOT, NOON, 1),
            "r2": (JobKind.SNAPSHOT, NOON, 3),
            "r3": (JobKind.EXPORT, NOON, 1),
            "r4": (JobKind.SNAPSHOT, NOON, 2),
        }
        newest = await tx.newest_slots()
        states = frozenset({RunState.PENDING, RunState.SUCCEEDED})
        assert newest[JobKind.SNAPSHOT, LINEAGE] == NewestSlot(NOON, states)
        assert not await tx.add_run(a_run("again", lineage_id=LINEAGE, slot_at=NOON))


async def a_pending_run_of_a_merged_lineage_can_still_be_claimed(catalog: Catalog) -> None:
    owner = OwnerId("owner")
    async with catalog.transaction() as tx:
        await _of_both(tx)
        await tx.merge_lineage(OTHER_LINEAGE, into=LINEAGE)
        assert await tx.claim(RunId("r2"), owner_id=owner, now=NOON)
        assert not await tx.claim(RunId("r1"), owner_id=owner, now=NOON)  # one at a time for one lineage


async def merging_what_is_unknown_changes_nothing(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await _of_both(tx)
        assert await tx.merge_lineage(LineageId("nobody"), into=LINEAGE) == MergeCounts(0, 0, 0, 0)
        assert len(await tx.lineages()) == 2


MERGE_CHECKS: tuple[Callable[[Catalog], Awaitable[None]], ...] = (
    a_merged_lineage_loses_nothing_to_the_one_it_became,
    a_slot_of_both_stays_one_slot_with_one_attempt_more,
    a_pending_run_of_a_merged_lineage_can_still_be_claimed,
    merging_what_is_unknown_changes_nothing,
)
