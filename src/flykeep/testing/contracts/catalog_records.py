"""The catalog's contract for what is recorded: backups, lineages, pauses, verdicts, incidents and the outbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from flykeep.domain.artifact import Lock
from flykeep.domain.errors import StateError
from flykeep.domain.findings import Delivery, FindingCode, Verdict
from flykeep.domain.holds import AuditAction, AuditCount, AuditEntry, Pin
from flykeep.domain.ids import AppName, ExportId, LineageId, MachineId, ProofId, RunId, SnapshotId
from flykeep.ports.catalog import Catalog, Pause, SavedDescription
from flykeep.testing.contracts.catalog_samples import (
    LINEAGE,
    NOON,
    ODD_INSTANT,
    ODD_TEXT,
    OTHER_LINEAGE,
    a_description,
    a_finding,
    a_lineage,
    a_message,
    a_proof,
    a_snapshot,
    a_verdict,
    after,
    an_artifact,
    an_incident,
)


async def snapshots_are_renewed_by_id_and_keep_the_run_that_asked_for_them(catalog: Catalog) -> None:
    pending = a_snapshot("vs_1", created_at=None, status="pending", run_id="run")
    done = replace(a_snapshot("vs_1"), seen_at=after(9))
    async with catalog.transaction() as tx:
        await tx.record_snapshot(pending)
        assert await tx.recorded_snapshot(SnapshotId("vs_1")) == pending
        await tx.record_snapshot(done)
        assert await tx.recorded_snapshot(SnapshotId("vs_1")) == replace(done, run_id=RunId("run"))
        await tx.record_snapshot(replace(done, run_id=RunId("a later run")))
        assert await tx.recorded_snapshots(LINEAGE) == (replace(done, run_id=RunId("run")),)
        assert await tx.recorded_snapshot(SnapshotId("vs_2")) is None


async def a_snapshot_seen_first_may_learn_its_run_later(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.record_snapshot(a_snapshot("vs_1"))
        await tx.record_snapshot(a_snapshot("vs_1", run_id="run"))
        assert await tx.recorded_snapshot(SnapshotId("vs_1")) == a_snapshot("vs_1", run_id="run")


async def snapshots_are_listed_newest_first(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        for number in (2, 3, 1):
            await tx.record_snapshot(a_snapshot(f"vs_{number}", created_at=after(-number)))
        await tx.record_snapshot(a_snapshot("vs_9", lineage_id=OTHER_LINEAGE))
        found = await tx.recorded_snapshots(LINEAGE)
        assert [one.snapshot.id for one in found] == ["vs_1", "vs_2", "vs_3"]


async def artifacts_come_back_exactly_and_are_renewed_by_id_and_store(catalog: Catalog) -> None:
    first, copy, second = an_artifact("01"), an_artifact("01", store="second"), an_artifact("02")
    elsewhere = an_artifact("03", lineage_id=OTHER_LINEAGE)
    verified = replace(
        first, verified_at=ODD_INSTANT, verified_level="bytes", contents_verified_at=NOON, is_failed=True
    )
    async with catalog.transaction() as tx:
        for artifact in (first, second, copy, elsewhere):
            await tx.record_artifact(artifact)
    async with catalog.transaction() as tx:
        assert await tx.artifact(ExportId("01")) == (first, copy)
        await tx.record_artifact(verified)
        assert await tx.artifact(ExportId("01")) == (verified, copy)
        assert await tx.artifact(ExportId("unknown")) == ()
        assert [one.export_id for one in await tx.artifacts()] == ["03", "02", "01", "01"]
        assert [one.export_id for one in await tx.artifacts(LINEAGE)] == ["02", "01", "01"]


async def an_artifact_may_belong_to_another_lineage_than_its_manifest_says_and_stays_there(catalog: Catalog) -> None:
    adopted = an_artifact("01", lineage_id=OTHER_LINEAGE)
    async with catalog.transaction() as tx:
        await tx.record_artifact(adopted, lineage_id=LINEAGE)
        await tx.record_artifact(replace(adopted, verified_at=NOON))
        assert await tx.artifacts(LINEAGE) == (replace(adopted, verified_at=NOON),)
        assert await tx.artifacts(OTHER_LINEAGE) == ()


async def a_removal_is_remembered_until_its_artifact_is_forgotten(catalog: Catalog) -> None:
    kept, copy = an_artifact("01"), an_artifact("01", store="second")
    async with catalog.transaction() as tx:
        await tx.record_artifact(kept)
        await tx.record_artifact(copy)
        assert await tx.begin_removal(copy.export_id, "second", now=NOON)
        assert await tx.begin_removal(copy.export_id, "second", now=after(5))
        await tx.record_artifact(replace(copy, is_failed=True))  # a verification that had begun before
    async with catalog.transaction() as tx:
        assert await tx.artifact(copy.export_id) == (kept, replace(copy, is_failed=True, leaving_at=NOON))
        assert await tx.forget_artifact(copy.export_id, "second")
        assert not await tx.forget_artifact(copy.export_id, "second")
        assert not await tx.begin_removal(copy.export_id, "second", now=NOON)
        assert await tx.artifact(copy.export_id) == (kept,)


async def what_a_store_locks_is_a_backup_again_and_says_why(catalog: Catalog) -> None:
    artifact, lock = an_artifact("01"), Lock(ODD_INSTANT, after(60), ODD_TEXT)
    async with catalog.transaction() as tx:
        await tx.record_artifact(artifact)
        await tx.begin_removal(artifact.export_id, "main", now=NOON)
        assert await tx.give_up_removal(artifact.export_id, "main", lock)
        assert await tx.artifact(artifact.export_id) == (replace(artifact, lock=lock),)
        assert not await tx.give_up_removal(artifact.export_id, "elsewhere", lock)


async def a_pin_holds_until_it_is_taken_out(catalog: Catalog) -> None:
    first, second = Pin(ExportId("01"), ODD_TEXT, after(1), "ops"), Pin(ExportId("02"), "", NOON, "")
    async with catalog.transaction() as tx:
        await tx.pin(first)
        await tx.pin(replace(second, reason="an earlier one"))
        await tx.pin(second)
        assert await tx.pins() == (second, first)
        assert await tx.unpin(ExportId("01"))
        assert not await tx.unpin(ExportId("01"))
        assert await tx.pins() == (second,)


async def the_audit_keeps_everything_in_order(catalog: Catalog) -> None:
    counts = (AuditCount("artifacts", 2), AuditCount("bytes", 2**41))
    erased = AuditEntry(ODD_INSTANT, "ops", AuditAction.ERASED, ODD_TEXT, ODD_TEXT, counts)
    async with catalog.transaction() as tx:
        await tx.add_audit(erased)
        await tx.add_audit(replace(erased, at=NOON, action=AuditAction.PINNED, counts=()))
        assert [entry.action for entry in await tx.audit()] == [AuditAction.PINNED, AuditAction.ERASED]
        assert (await tx.audit())[1] == erased
        assert len(await tx.audit(limit=1)) == 1


async def a_forgotten_lineage_leaves_no_machine_snapshot_or_verdict(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        for lineage_id, volume in ((LINEAGE, "vs_1"), (OTHER_LINEAGE, "vs_2")):
            await tx.save_lineage(a_lineage(lineage_id, app="app"))
            await tx.record_snapshot(a_snapshot(volume, lineage_id=lineage_id))
            await tx.save_machine_config(MachineId("m"), lineage_id=lineage_id, config_json="{}", now=NOON)
            await tx.save_verdict(a_verdict(lineage_id=lineage_id))
        await tx.forget_lineage(LINEAGE)
        assert await tx.recorded_snapshots(LINEAGE) == ()
        assert await tx.machine_config(LINEAGE) is None
        assert [verdict.lineage_id for verdict in await tx.verdicts()] == [OTHER_LINEAGE]
        assert len(await tx.recorded_snapshots(OTHER_LINEAGE)) == 1
        assert await tx.machine_config(OTHER_LINEAGE) == "{}"
        assert len(await tx.lineages()) == 2


async def descriptions_are_renewed_by_app_and_come_back_exactly(catalog: Catalog) -> None:
    failed = SavedDescription(AppName("b"), None, "", NOON, NOON, ODD_TEXT)
    whole = SavedDescription(AppName("a"), a_description("a"), "seen", ODD_INSTANT)
    async with catalog.transaction() as tx:
        for saved in (replace(whole, description=None), failed, whole):
            await tx.save_description(saved)
        assert await tx.descriptions() == (whole, failed)
        assert await tx.description(AppName("a")) == whole
        assert await tx.description(AppName("c")) is None


async def an_apps_description_goes_with_its_last_lineage(catalog: Catalog) -> None:
    saved = SavedDescription(AppName("app"), a_description("app"), "", NOON)
    other = SavedDescription(AppName("other"), a_description("other"), "", NOON)
    async with catalog.transaction() as tx:
        await tx.save_lineage(a_lineage(LINEAGE, app="app"))
        await tx.save_lineage(a_lineage(OTHER_LINEAGE, app="app"))
        await tx.save_description(saved)
        await tx.save_description(other)
        await tx.forget_lineage(LINEAGE)
        assert await tx.descriptions() == (saved, other)
        await tx.save_lineage(a_lineage(LINEAGE, app="app", is_retired=True))
        await tx.forget_lineage(OTHER_LINEAGE)
        assert await tx.descriptions() == (other,)


async def proofs_come_back_exactly_newest_first_and_by_outcome(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        old, failed = a_proof("p1"), a_proof("p2", ended_at=after(5), reason=ODD_TEXT)
        for proof in (failed, old, a_proof("p3", ended_at=after(1))):
            await tx.record_proof(proof)
        await tx.record_proof(replace(old, recorded_at=after(9)))
        assert await tx.proof(failed.proof.proof_id) == failed
        assert await tx.proof(ProofId("p9")) is None
        assert [one.proof.proof_id for one in await tx.proofs(LINEAGE)] == ["p2", "p3", "p1"]
        assert [one.proof.proof_id for one in await tx.proofs(LINEAGE, is_passed=True, limit=1)] == ["p3"]
        assert await tx.proofs(LINEAGE, is_passed=False) == (failed,)
        assert await tx.proof(old.proof.proof_id) == replace(old, recorded_at=after(9))
        assert await tx.proofs(OTHER_LINEAGE) == ()
        assert await tx.proof_ids() == {"p1", "p2", "p3"}
        await tx.forget_lineage(LINEAGE)
        assert await tx.proofs(LINEAGE) == ()


async def lineages_are_sorted_by_label_then_machine(catalog: Catalog) -> None:
    kept = (
        a_lineage("3", app="app-B"),
        a_lineage("1", app="app-a", machine_id="m1"),
        a_lineage("0", app="app-a", machine_id="m2"),
        a_lineage("4", app="app-a", volume="data_2"),
    )
    retired = a_lineage("5", app="app-0", is_retired=True)
    async with catalog.transaction() as tx:
        for lineage in (*reversed(kept), retired):
            await tx.save_lineage(lineage)
        assert await tx.lineages() == kept
        assert await tx.lineages(include_retired=True) == (retired, *kept)
        await tx.save_lineage(replace(kept[0], is_retired=True))
        assert await tx.lineages() == kept[1:]


async def a_machine_configuration_is_kept_when_it_differs_from_the_last(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:

        async def save(machine: str, config: str, lineage_id: LineageId = LINEAGE) -> bool:
            return await tx.save_machine_config(MachineId(machine), lineage_id=lineage_id, config_json=config, now=NOON)

        assert await tx.machine_config(LINEAGE) is None
        assert await save("m1", "{1}")
        assert not await save("m1", "{1}")
        assert await save("m1", "{2}")
        assert await save("m1", "{1}")
        assert await tx.machine_config(LINEAGE) == "{1}"
        assert await save("m1", "{3}", OTHER_LINEAGE)
        assert not await save("m1", "{1}")
        assert await save("m2", "{1}")
        assert await tx.machine_config(OTHER_LINEAGE) == "{3}"


async def a_pause_holds_until_its_end_or_until_resumed(catalog: Catalog) -> None:
    short = Pause("a", after(10), ODD_TEXT, ODD_INSTANT)
    endless = Pause("b", None, "why", after(1))
    async with catalog.transaction() as tx:
        for pause in (replace(short, until_at=after(5)), endless, short):
            await tx.pause(pause)
        assert await tx.pauses(now=after(9)) == (short, endless)
        assert await tx.pauses(now=after(10)) == (endless,)
        assert await tx.resume("b")
        assert not await tx.resume("b")
        assert await tx.pauses(now=after(10)) == ()


async def an_inconclusive_verdict_leaves_the_last_conclusive_one_standing(catalog: Catalog) -> None:
    unknown = a_verdict(at=after(1), verdict=Verdict.UNKNOWN, is_conclusive=False)
    async with catalog.transaction() as tx:
        await tx.save_verdict(unknown)
        assert await tx.verdicts() == (unknown,)
        await tx.save_verdict(a_verdict(at=after(2)))
        assert await tx.verdicts() == (a_verdict(at=after(2)),)
        await tx.save_verdict(replace(unknown, evaluated_at=after(3)))
        assert await tx.verdicts() == (a_verdict(at=after(2)),)
        await tx.save_verdict(a_verdict(at=after(4), verdict=Verdict.HEALTHY))
        assert await tx.verdicts() == (a_verdict(at=after(4), verdict=Verdict.HEALTHY),)


async def a_verdict_that_arrives_late_does_not_replace_a_newer_one(catalog: Catalog) -> None:
    newer = a_verdict(at=after(2), verdict=Verdict.HEALTHY)
    async with catalog.transaction() as tx:
        await tx.save_verdict(newer)
        await tx.save_verdict(a_verdict(at=after(1)))
        await tx.save_verdict(a_verdict(lineage_id=OTHER_LINEAGE))
        assert set(await tx.verdicts()) == {newer, a_verdict(lineage_id=OTHER_LINEAGE)}


async def fly_was_seen_at_the_latest_instant_told(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        assert await tx.fly_seen_at() is None
        for at in (ODD_INSTANT, after(5), after(4)):
            await tx.save_fly_seen(at)
        assert await tx.fly_seen_at() == after(5)


async def incidents_are_renewed_by_id_and_listed_newest_first(catalog: Catalog) -> None:
    older = an_incident("i1", opened_at=after(1), finding=a_finding(FindingCode.EXPORT_STALE))
    newer = an_incident("i0", opened_at=after(2))
    resolved = replace(
        newer,
        reminder_count=2,
        resolved_at=ODD_INSTANT,
        last_notified_at=after(7),
        acknowledged_at=after(8),
        muted_until=after(9),
    )
    async with catalog.transaction() as tx:
        await tx.save_incident(newer)
        await tx.save_incident(older)
        assert await tx.incidents() == (newer, older)
        assert await tx.incidents(limit=1) == (newer,)
        await tx.save_incident(resolved)
        assert await tx.incidents(is_open=True) == (older,)
        assert await tx.incidents(is_open=False) == (resolved,)


async def a_finding_has_one_open_incident_at_a_time(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.save_incident(replace(an_incident("i0"), resolved_at=after(1)))
        await tx.save_incident(an_incident("i1", opened_at=after(2)))
        await tx.save_incident(an_incident("i2", finding=a_finding(subject="another")))
    try:
        async with catalog.transaction() as tx:
            await tx.save_incident(an_incident("i3", opened_at=after(3)))
    except StateError:
        return
    raise AssertionError("two open incidents of one finding were stored")


async def a_message_is_enqueued_once_for_each_notifier(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        for notifier in ("log", "webhook", "log"):
            await tx.enqueue(notifier, a_message("m1"), now=NOON)
        await tx.enqueue("log", a_message("m2"), now=after(1))
        due = await tx.due_deliveries(now=after(1))
        assert [(one.notifier, one.message.id) for one in due] == [("log", "m1"), ("webhook", "m1"), ("log", "m2")]
        assert due[0] == Delivery(
            id=due[0].id,
            notifier="log",
            message=a_message("m1"),
            attempts=0,
            next_attempt_at=NOON,
            created_at=NOON,
        )
        assert len(await tx.due_deliveries(now=NOON)) == 2
        assert len(await tx.due_deliveries(now=after(1), limit=1)) == 1


async def a_delivered_message_is_never_due_or_enqueued_again(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.enqueue("log", a_message("m1"), now=NOON)
        (delivery,) = await tx.due_deliveries(now=NOON)
        await tx.delivered(delivery.id, now=after(1))
        await tx.delivery_failed(delivery.id, error="too late", next_attempt_at=after(2), now=after(1))
        await tx.enqueue("log", a_message("m1"), now=after(3))
        assert await tx.due_deliveries(now=after(9)) == ()


async def a_failed_delivery_is_due_later_until_it_is_given_up(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.enqueue("log", a_message("m1"), now=NOON)
        (delivery,) = await tx.due_deliveries(now=NOON)
        await tx.delivery_failed(delivery.id, error=ODD_TEXT, next_attempt_at=after(5), now=NOON)
        assert await tx.due_deliveries(now=after(4)) == ()
        (again,) = await tx.due_deliveries(now=after(5))
        assert again == replace(delivery, attempts=1, next_attempt_at=after(5), last_error=ODD_TEXT)
        await tx.delivery_failed(delivery.id, error="gone", next_attempt_at=None, now=after(5))
        assert await tx.due_deliveries(now=after(9999)) == ()


RECORD_CHECKS: tuple[Callable[[Catalog], Awaitable[None]], ...] = (
    snapshots_are_renewed_by_id_and_keep_the_run_that_asked_for_them,
    a_snapshot_seen_first_may_learn_its_run_later,
    snapshots_are_listed_newest_first,
    artifacts_come_back_exactly_and_are_renewed_by_id_and_store,
    an_artifact_may_belong_to_another_lineage_than_its_manifest_says_and_stays_there,
    a_removal_is_remembered_until_its_artifact_is_forgotten,
    what_a_store_locks_is_a_backup_again_and_says_why,
    a_pin_holds_until_it_is_taken_out,
    the_audit_keeps_everything_in_order,
    a_forgotten_lineage_leaves_no_machine_snapshot_or_verdict,
    descriptions_are_renewed_by_app_and_come_back_exactly,
    an_apps_description_goes_with_its_last_lineage,
    proofs_come_back_exactly_newest_first_and_by_outcome,
    lineages_are_sorted_by_label_then_machine,
    a_machine_configuration_is_kept_when_it_differs_from_the_last,
    a_pause_holds_until_its_end_or_until_resumed,
    an_inconclusive_verdict_leaves_the_last_conclusive_one_standing,
    a_verdict_that_arrives_late_does_not_replace_a_newer_one,
    fly_was_seen_at_the_latest_instant_told,
    incidents_are_renewed_by_id_and_listed_newest_first,
    a_finding_has_one_open_incident_at_a_time,
    a_message_is_enqueued_once_for_each_notifier,
    a_delivered_message_is_never_due_or_enqueued_again,
    a_failed_delivery_is_due_later_until_it_is_given_up,
)
