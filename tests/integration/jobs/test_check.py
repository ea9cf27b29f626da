"""A check over the wire: every finding at least once, and nothing claimed that was not read."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flykeep.adapters.codecs.sealing import open_sealed
from flykeep.domain.errors import StoreError
from flykeep.domain.findings import Compliance, Finding, FindingCode, Verdict
from flykeep.domain.ids import AppName, OwnerId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, Run, RunRequest, RunState, Slot, Step
from flykeep.domain.target import recovery_lineage
from flykeep.jobs.recover_log import APP_ASKED, RECOVERING
from flykeep.ports.catalog import Pause
from flykeep.ports.store import ObjectInfo
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.model import Snapshot
from tests.integration.jobs.workplace import APP, HOUR, TARGET, Workplace, one_volume, workplace
from tests.unit.domain import builders

DAY = timedelta(days=1)
STATE = "_state/latest.json.zst.age"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Workplace]:
    async with workplace(tmp_path) as opened:
        yield opened


async def only_verdict(at: Workplace) -> Compliance:
    (verdict,) = (await at.check()).verdicts
    return verdict


async def finding(at: Workplace, code: FindingCode) -> Finding:
    found = {one.code: one for one in (await at.check()).findings}
    assert code in found, sorted(found)
    return found[code]


def stuck(at: Workplace) -> Snapshot:
    """A snapshot that Fly lists as running, without an instant, for ever."""
    pending = at.sim.world.add_snapshot(at.volume, age=timedelta(0))
    pending.settled_status, pending.is_stuck = None, True
    return pending


async def test_an_app_that_stayed_half_built_is_found(at: Workplace) -> None:
    now, run_id = at.clock.now(), RunId("r1")
    run = Run(
        run_id,
        JobKind.RECOVER,
        recovery_lineage(AppName("wiki")),
        Slot.manual(run_id),
        RunState.PENDING,
        now,
        now,
        RunRequest(to_app=AppName("wiki")),
    )
    detail = json.dumps({"app": "wiki", "name": "wiki", "org": "personal"})
    async with at.application.catalog.transaction() as tx:
        await tx.add_run(run)
        await tx.claim(run_id, owner_id=OwnerId("test"), now=now)
        for number, name in enumerate((RECOVERING, APP_ASKED), 1):
            await tx.add_step(Step(run_id, number, name, now, detail))
        await tx.finish(run_id, outcome=Outcome(RunState.INTERRUPTED), now=now)
    assert (await finding(at, FindingCode.RECOVER_HALF_DONE)).next_step == "flykeep recover wiki --secrets FILE"


async def test_a_volume_as_its_policy_wants_it_is_healthy(at: Workplace) -> None:
    report = await at.check()
    (verdict,) = report.verdicts
    assert (verdict.label, verdict.verdict) == (TARGET, Verdict.HEALTHY)
    assert report.findings == ()
    assert report.is_conclusive
    assert verdict.restorable_as_of == at.clock.now() - 6 * HOUR


# -- every finding


async def test_a_volume_without_any_snapshot_is_found_after_its_grace(tmp_path: Path) -> None:
    async with workplace(tmp_path, scenario=one_volume(ages_hours=())) as at:
        assert await at.found() == {FindingCode.SNAPSHOT_MISSING}
    async with workplace(tmp_path, scenario=one_volume(ages_hours=(), age_days=1.0)) as at:
        assert await at.found() == set()
        await at.pass_time(3 * HOUR)
        assert await at.found() == {FindingCode.SNAPSHOT_MISSING}


async def test_a_snapshot_older_than_the_policy_allows_is_stale(at: Workplace) -> None:
    await at.pass_time(20 * HOUR)
    assert await at.found() == set()
    await at.pass_time(timedelta(minutes=1))
    stale = await finding(at, FindingCode.SNAPSHOT_STALE)
    assert stale.last_good_at == at.clock.now() - 26 * HOUR - timedelta(minutes=1)
    assert stale.next_step == f"flykeep snapshot {TARGET}"


async def test_a_pending_snapshot_without_an_instant_ages_from_the_check_that_saw_it_first(at: Workplace) -> None:
    pending = stuck(at)
    assert await at.found() == set()
    await at.pass_time(2 * HOUR)
    assert await at.found() == set()
    await at.pass_time(timedelta(minutes=1))
    assert await at.found() == {FindingCode.SNAPSHOT_PENDING_TOO_LONG}
    pending.settled_status = "created"
    assert await at.found() == set()


async def test_the_next_pending_snapshot_starts_at_zero_again(at: Workplace) -> None:
    first = stuck(at)
    await at.check()
    await at.pass_time(HOUR)
    first.settled_status = "created"
    await at.check()
    stuck(at)
    await at.check()
    await at.pass_time(HOUR + timedelta(minutes=30))
    assert await at.found() == set()


async def test_when_the_list_cannot_be_read_the_age_of_a_pending_snapshot_is_kept(at: Workplace) -> None:
    stuck(at)
    await at.check()
    await at.pass_time(HOUR)
    at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action="snapshot.list", status=403))
    assert (await only_verdict(at)).verdict is Verdict.UNKNOWN
    await at.pass_time(HOUR + timedelta(minutes=1))
    assert await at.found() == {FindingCode.SNAPSHOT_PENDING_TOO_LONG}


async def test_a_status_nobody_knows_is_named(at: Workplace) -> None:
    at.sim.world.add_snapshot(at.volume, age=HOUR, status="mystified")
    assert "'mystified'" in (await finding(at, FindingCode.SNAPSHOT_STATUS_UNKNOWN)).summary


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"auto_backup_enabled": False}, FindingCode.SNAPSHOTS_AUTOMATIC_OFF),
        ({"snapshot_retention": 2}, FindingCode.SNAPSHOT_RETENTION_LOW),
        ({"state": "failed_to_mount"}, FindingCode.VOLUME_STATE),
        ({"host_status": "unreachable"}, FindingCode.VOLUME_HOST),
    ],
)
async def test_what_is_wrong_with_the_volume_itself_is_found(
    tmp_path: Path, changes: dict[str, Any], code: FindingCode
) -> None:
    async with workplace(tmp_path, scenario=one_volume(**changes)) as at:
        assert await at.found() == {code}
        assert (await only_verdict(at)).verdict is Verdict.UNHEALTHY


async def test_a_volume_that_is_gone_is_found_with_what_can_still_be_restored(at: Workplace) -> None:
    await at.check()
    newest = at.volume.snapshots[-1].id
    at.sim.world.remove_volume(at.volume)
    gone = await finding(at, FindingCode.VOLUME_GONE)
    assert f"--snapshot-id {newest}" in gone.next_step
    assert gone.last_good_at is not None


async def test_a_volume_missing_from_an_incomplete_inventory_is_not_gone(at: Workplace) -> None:
    await at.check()
    at.sim.world.remove_volume(at.volume)
    at.arm(Fault(kind=FaultKind.ERROR_REGIONS, action="org.volumes"))
    report = await at.check()
    assert [one.code for one in report.findings] == [FindingCode.FLY_INCOMPLETE]
    (verdict,) = report.verdicts
    assert (verdict.verdict, verdict.is_conclusive) == (Verdict.UNKNOWN, False)
    assert not report.is_conclusive


async def test_a_volume_nobody_protects_and_a_target_without_a_volume_are_found(tmp_path: Path) -> None:
    def edit(text: str) -> str:
        return text.replace(f'match = "{TARGET}"', 'match = "my-crocbot/other"')

    async with workplace(tmp_path, edit=edit) as at:
        report = await at.check()
        found = {one.code: one for one in report.findings}
        assert set(found) == {FindingCode.VOLUME_UNPROTECTED, FindingCode.TARGET_MATCHES_NOTHING}
        assert found[FindingCode.VOLUME_UNPROTECTED].subject.volume_id == at.volume.id
        assert report.verdicts == ()


async def test_an_export_that_was_never_made_is_found_when_it_is_due(at: Workplace) -> None:
    await at.check()
    await at.pass_time(8 * DAY + HOUR)
    at.sim.world.add_snapshot(at.volume, age=HOUR)
    assert await at.found() == {FindingCode.EXPORT_MISSING}


async def test_an_old_export_is_stale_and_an_unrestorable_one_does_not_renew_it(at: Workplace) -> None:
    await at.pass_time(20 * DAY)
    at.sim.world.add_snapshot(at.volume, age=HOUR)
    lineage, age = await at.lineage(), at.clock.now() - builders.NOW
    old = builders.artifact("20260201T040000Z", age=9 * DAY - age)
    failed = builders.artifact("20260301T040000Z", age=DAY - age, is_failed=True)
    async with at.application.catalog.transaction() as tx:
        for artifact in (old, failed):
            origin = replace(artifact.manifest.origin, lineage_id=lineage.id)
            await tx.record_artifact(replace(artifact, manifest=replace(artifact.manifest, origin=origin)))
    assert await at.found() == {FindingCode.EXPORT_STALE, FindingCode.ARTIFACT_FAILED}


async def test_a_failed_run_is_found_until_the_next_one_succeeds(at: Workplace) -> None:
    await at.lineage()
    at.arm(Fault(kind=FaultKind.SNAPSHOT_STATUS, action="snapshot.create", text="failed"))
    failed = await at.run(JobKind.SNAPSHOT)
    found = await finding(at, FindingCode.RUN_FAILED)
    assert failed.id in found.summary
    await at.run(JobKind.SNAPSHOT)
    assert await at.found() == set()


async def test_a_fly_that_does_not_answer_claims_neither_fine_nor_stale(at: Workplace) -> None:
    await at.check()
    await at.pass_time(HOUR)
    at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action="org.machines", times=0))
    report = await at.check()
    assert [one.code for one in report.findings] == [FindingCode.FLY_UNREACHABLE]
    (verdict,) = report.verdicts
    assert (verdict.verdict, verdict.is_conclusive) == (Verdict.UNKNOWN, False)
    assert "the last verdict, healthy at" in (verdict.reason or "")
    assert not report.is_conclusive


async def test_an_age_that_nobody_can_prove_any_more_is_found_during_an_outage(at: Workplace) -> None:
    await at.check()
    at.arm(Fault(kind=FaultKind.RESET_BEFORE, action="org.volumes", times=0))
    await at.pass_time(19 * HOUR)
    assert await at.found() == {FindingCode.FLY_UNREACHABLE}
    await at.pass_time(2 * HOUR)
    assert await at.found() == {FindingCode.FLY_UNREACHABLE, FindingCode.RPO_UNPROVEN}


async def test_a_dead_fly_before_anything_was_known_judges_nobody(at: Workplace) -> None:
    at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action="org.*", times=0, status=401))
    report = await at.check()
    assert report.verdicts == ()
    assert [one.code for one in report.findings] == [FindingCode.FLY_UNREACHABLE]


async def test_one_target_that_cannot_be_read_is_unknown_and_says_why(at: Workplace) -> None:
    await at.check()
    at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action="snapshot.list", status=403, text="unauthorized"))
    verdict = await only_verdict(at)
    assert verdict.verdict is Verdict.UNKNOWN
    assert "unauthorized" in (verdict.reason or "")


# -- lineages, pauses


async def test_a_host_migration_between_two_checks_keeps_the_lineage_and_its_snapshots(at: Workplace) -> None:
    before, old = await only_verdict(at), at.volume
    moved = at.sim.world.migrate(old)
    after = await only_verdict(at)
    assert after.lineage_id == before.lineage_id
    assert after.verdict is Verdict.HEALTHY
    assert after.newest_snapshot_at == before.newest_snapshot_at
    assert (await at.lineage()).volume_ids == (old.id, moved.id)


async def test_a_former_volume_that_fly_has_forgotten_is_no_error(at: Workplace) -> None:
    await at.check()
    old = at.volume
    at.sim.world.add_snapshot(at.sim.world.migrate(old), age=HOUR)
    old.state = "destroyed"
    verdict = await only_verdict(at)
    assert verdict.verdict is Verdict.HEALTHY
    assert verdict.newest_snapshot_at == at.clock.now() - HOUR


async def test_a_paused_target_is_neither_judged_nor_forgotten(at: Workplace) -> None:
    lineage, now = await at.lineage(), at.clock.now()
    async with at.application.catalog.transaction() as tx:
        await tx.pause(Pause(lineage.id, now + 30 * HOUR, "moving house", now))
    await at.pass_time(28 * HOUR)
    verdict = await only_verdict(at)
    assert (verdict.verdict, verdict.findings, verdict.is_conclusive) == (Verdict.PAUSED, (), False)
    assert "moving house" in (verdict.reason or "")
    await at.pass_time(3 * HOUR)
    assert await at.found() == {FindingCode.SNAPSHOT_STALE}


async def test_a_lineage_whose_target_left_the_configuration_is_not_judged(tmp_path: Path) -> None:
    async with workplace(tmp_path) as at:
        await at.check()
        unmatched = replace(at.application.check, rules=())
        report = await at.driven(unmatched.evaluate())
        assert report.verdicts == ()
        assert [one.code for one in report.findings] == [FindingCode.VOLUME_UNPROTECTED]
        at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action="org.*", times=0, status=401))
        assert (await at.driven(unmatched.evaluate())).verdicts == ()


async def test_a_detached_volume_is_judged_without_a_machine(at: Workplace) -> None:
    at.volume.attached_machine_id = None
    at.machine.config["mounts"] = []
    assert (await only_verdict(at)).verdict is Verdict.HEALTHY


# -- what is remembered for the day of the disaster


async def saved_config(at: Workplace) -> dict[str, object]:
    lineage = await at.lineage()
    async with at.application.catalog.transaction() as tx:
        text = await tx.machine_config(lineage.id)
    assert text is not None
    document: dict[str, object] = json.loads(text)
    return document


async def test_a_machines_configuration_is_saved_whole(at: Workplace) -> None:
    await at.check()
    assert (await saved_config(at))["guest"] == at.machine.config["guest"]
    at.machine.config["env"] = {"NEW": "1"}
    await at.check()
    assert (await saved_config(at))["env"] == {"NEW": "1"}


@pytest.mark.parametrize("trouble", ["host", "error"])
async def test_a_configuration_that_fly_does_not_give_whole_leaves_the_saved_one(at: Workplace, trouble: str) -> None:
    await at.check()
    before = await saved_config(at)
    at.machine.config["env"] = {"NEW": "1"}
    if trouble == "host":
        at.sim.world.set_host_status(APP, "unreachable")
    else:
        at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action="machine.get", times=0, status=403))
    await at.check()
    assert await saved_config(at) == before


async def test_only_a_complete_answer_counts_as_having_seen_fly(at: Workplace) -> None:
    await at.check()
    seen = at.clock.now()
    await at.pass_time(HOUR)
    at.arm(Fault(kind=FaultKind.ERROR_REGIONS, action="org.volumes"))
    await at.check()
    async with at.application.catalog.transaction() as tx:
        assert await tx.fly_seen_at() == seen


async def test_the_run_keeps_what_was_found(at: Workplace) -> None:
    await at.pass_time(21 * HOUR)
    run = await at.run(JobKind.CHECK)
    assert run.state is RunState.SUCCEEDED
    assert run.outcome is not None
    assert json.loads(run.outcome.result_json) == {
        "targets": 1,
        "verdicts": {"unhealthy": 1},
        "findings": [f"snapshot.stale {TARGET}"],
        "is_conclusive": True,
    }


# -- the state document in the store


def state_file(at: Workplace) -> Path:
    return at.sim.directory / "store" / STATE


def opened_state(at: Workplace) -> dict[str, Any]:
    lines = (at.sim.directory / "age-identity.txt").read_text().splitlines()
    secret = next(line for line in lines if line.startswith("AGE-SECRET-KEY-"))
    document: dict[str, Any] = json.loads(open_sealed(state_file(at).read_bytes(), identity=secret))
    return document


async def test_the_state_document_holds_what_a_rebuild_needs_and_opens_with_the_operators_identity(
    at: Workplace,
) -> None:
    run = await at.run(JobKind.CHECK)
    assert "state renewed" in await at.step_names(run)
    document = opened_state(at)
    (lineage,) = document["lineages"]
    assert lineage["volume_ids"] == [at.volume.id]
    assert [row["id"] for row in lineage["snapshots"]] == [at.volume.snapshots[-1].id]
    assert lineage["machine_config"]["guest"] == at.machine.config["guest"]
    assert at.volume.id.encode() not in state_file(at).read_bytes()


async def test_the_state_document_is_written_again_only_when_it_has_changed(at: Workplace) -> None:
    await at.run(JobKind.CHECK)
    first = state_file(at).read_bytes()
    await at.pass_time(HOUR)
    quiet = await at.run(JobKind.CHECK)
    assert state_file(at).read_bytes() == first
    assert "state renewed" not in await at.step_names(quiet)
    added = at.sim.world.add_snapshot(at.volume, age=timedelta(0))
    await at.run(JobKind.CHECK)
    (lineage,) = opened_state(at)["lineages"]
    assert lineage["snapshots"][0]["id"] == added.id


async def test_a_lineage_without_a_saved_configuration_is_in_the_state_document_too(at: Workplace) -> None:
    at.volume.attached_machine_id = None
    at.machine.config["mounts"] = []
    await at.run(JobKind.CHECK)
    (lineage,) = opened_state(at)["lineages"]
    assert lineage["machine_config"] is None


class BrokenStore:
    """A store that refuses every write until it is mended."""

    name = "broken"

    def __init__(self) -> None:
        self.is_broken = True
        self.written: list[str] = []

    async def put(self, key: str, data: bytes) -> None:
        if self.is_broken:
            raise StoreError("the disk is full")
        self.written.append(key)

    async def list(self, _prefix: str) -> list[ObjectInfo]:
        if self.is_broken:
            raise StoreError("the disk cannot be read")
        return []


async def test_a_store_that_refuses_the_state_document_fails_the_check_and_not_the_other_store(at: Workplace) -> None:
    broken = BrokenStore()
    stores = at.application.check.state_writer.stores
    assert isinstance(stores, dict)
    offsite = stores.pop("offsite")
    stores.update(broken=broken, offsite=offsite)  # the broken one first
    await at.pass_time(21 * HOUR)
    run = await at.run(JobKind.CHECK)
    assert run.state is RunState.FAILED
    assert run.outcome is not None
    assert run.outcome.failure is not None
    assert run.outcome.failure.facts == (("store", "broken"),)
    assert state_file(at).exists()
    assert await at.open_codes() == ["snapshot.stale"], "people are told whatever the store does"
    broken.is_broken = False
    assert (await at.run(JobKind.CHECK)).state is RunState.SUCCEEDED
    assert broken.written == [STATE], "what was refused is written as soon as it can be"


async def test_retention_that_never_runs_is_found_and_a_run_of_it_resolves_that(tmp_path: Path) -> None:
    async with workplace(tmp_path) as at:
        lineage = await at.lineage()
        old = builders.artifact(age=timedelta(days=1))
        origin = replace(old.manifest.origin, lineage_id=lineage.id)
        async with at.application.catalog.transaction() as tx:
            await tx.record_artifact(replace(old, manifest=replace(old.manifest, origin=origin)))
        assert FindingCode.RETENTION_NOT_RUN not in await at.found()
        await at.pass_time(timedelta(days=3))
        assert FindingCode.RETENTION_NOT_RUN in await at.found()

        assert (await at.run(JobKind.PRUNE)).state is RunState.SUCCEEDED

        assert FindingCode.RETENTION_NOT_RUN not in await at.found()
