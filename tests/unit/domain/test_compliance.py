"""What is said of one lineage, and what is not said where nothing is known."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.artifact import Consistency
from flykeep.domain.compliance import LineageFacts, PauseFact, evaluate
from flykeep.domain.findings import Compliance, Finding, FindingCode, Severity, Verdict
from flykeep.domain.fly import HostStatus, VolumeSnapshot
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.policy import CopyRule, ExportRule, JobKind, Policy, SnapshotRule, TargetRule
from flykeep.domain.presets import DEVELOPMENT, PRODUCTION
from flykeep.domain.run import Failure, Outcome, Run, RunState, Slot
from tests.unit.domain.builders import DAY, HOUR, NOW, artifact, lineage, machine, snapshot, volume

POLICY = replace(PRODUCTION, copies=(CopyRule("offsite"),))
AGED = frozenset({FindingCode.SNAPSHOT_STALE, FindingCode.SNAPSHOT_MISSING})


def facts(**changes: Any) -> LineageFacts:
    fields: dict[str, Any] = {
        "lineage": lineage(),
        "label": "my-crocbot/crocbot_data",
        "volume": volume(),
        "machine": machine(),
        "snapshots": (snapshot(age=6 * HOUR),),
        "artifacts": (artifact(age=DAY),),
    }
    return LineageFacts(**(fields | changes))


def judge(policy: Policy = POLICY, *, now: datetime = NOW, **changes: Any) -> Compliance:
    return evaluate(facts(**changes), TargetRule("*/*", policy), now=now)


def codes(compliance: Compliance) -> set[FindingCode]:
    return {finding.code for finding in compliance.findings}


def only(compliance: Compliance) -> Finding:
    (finding,) = compliance.findings
    return finding


def test_a_lineage_that_is_as_wanted_is_healthy_and_says_as_of_when_it_is_restorable() -> None:
    healthy = judge()
    assert (healthy.verdict, healthy.findings, healthy.is_conclusive) == (Verdict.HEALTHY, (), True)
    assert (healthy.newest_snapshot_at, healthy.newest_export_at) == (NOW - 6 * HOUR, NOW - DAY)
    assert healthy.restorable_as_of == NOW - 6 * HOUR


class TestSnapshotAge:
    def test_a_stale_snapshot_is_wrong_since_it_passed_its_age(self) -> None:
        stale = judge(snapshots=(snapshot(age=40 * HOUR), snapshot("older", age=60 * HOUR)))
        finding = only(stale)
        assert stale.verdict is Verdict.UNHEALTHY
        assert (finding.code, finding.severity) == (FindingCode.SNAPSHOT_STALE, Severity.CRITICAL)
        assert (finding.since_at, finding.last_good_at) == (NOW - 10 * HOUR, NOW - 40 * HOUR)
        assert finding.next_step == "flykeep snapshot my-crocbot/crocbot_data"
        assert finding.summary == "The newest restorable snapshot is 40 h old; the policy allows 30 h."

    def test_a_snapshot_of_exactly_its_age_is_fine(self) -> None:
        assert judge(snapshots=(snapshot(age=30 * HOUR),)).findings == ()

    @pytest.mark.parametrize("status", ["waiting", "running", "failed", "odd"])
    def test_only_restorable_snapshots_count(self, status: str) -> None:
        assert FindingCode.SNAPSHOT_STALE in codes(
            judge(snapshots=(snapshot("new", age=HOUR, status=status), snapshot(age=40 * HOUR)))
        )

    def test_an_old_volume_without_any_snapshot_is_a_finding(self) -> None:
        finding = only(judge(snapshots=()))
        assert (finding.code, finding.severity) == (FindingCode.SNAPSHOT_MISSING, Severity.CRITICAL)
        assert finding.since_at == NOW - 30 * DAY + POLICY.new_volume_grace

    def test_a_new_volume_has_its_grace(self) -> None:
        grace = POLICY.new_volume_grace
        assert judge(snapshots=(), volume=volume(created_at=NOW - grace)).findings == ()
        assert codes(judge(snapshots=(), volume=volume(created_at=NOW - grace - timedelta(seconds=1)))) == {
            FindingCode.SNAPSHOT_MISSING
        }

    def test_where_no_age_is_wanted_none_is_judged(self) -> None:
        policy = replace(POLICY, snapshot=replace(POLICY.snapshot, max_age=None))
        assert judge(policy, snapshots=()).findings == ()

    def test_a_missing_snapshot_still_tells_of_the_last_good_export(self) -> None:
        assert only(judge(snapshots=())).last_good_at == NOW - DAY


class TestUnfinishedSnapshots:
    def test_a_snapshot_pending_too_long_is_a_finding(self) -> None:
        finding = only(judge(snapshots=(snapshot("p", age=3 * HOUR, status="running"), snapshot())))
        assert (finding.code, finding.severity) == (FindingCode.SNAPSHOT_PENDING_TOO_LONG, Severity.WARNING)
        assert (finding.since_at, finding.last_good_at) == (NOW - HOUR, NOW - HOUR)

    def test_a_young_pending_snapshot_is_fine(self) -> None:
        assert judge(snapshots=(snapshot("p", age=HOUR, status="running"), snapshot())).findings == ()

    def test_a_pending_row_without_an_instant_is_dated_by_when_it_was_first_seen(self) -> None:
        rows = (snapshot(None, age=None, status="waiting"), snapshot())
        assert judge(snapshots=rows).findings == ()
        assert codes(judge(snapshots=rows, pending_seen_at=NOW - 3 * HOUR)) == {FindingCode.SNAPSHOT_PENDING_TOO_LONG}

    def test_a_status_nobody_knows_is_a_finding_that_names_it(self) -> None:
        finding = only(judge(snapshots=(snapshot("x", age=HOUR, status="defrosting"), snapshot(age=2 * HOUR))))
        assert (finding.code, finding.severity) == (FindingCode.SNAPSHOT_STATUS_UNKNOWN, Severity.WARNING)
        assert "'defrosting'" in finding.summary
        assert finding.since_at == NOW - HOUR

    def test_an_odd_row_without_an_instant_is_dated_by_the_check(self) -> None:
        assert only(judge(snapshots=(snapshot(None, age=None, status="odd"), snapshot()))).since_at == NOW

    def test_an_odd_row_older_than_a_good_snapshot_is_forgotten(self) -> None:
        assert judge(snapshots=(snapshot("x", age=2 * HOUR, status="failed"), snapshot(age=HOUR))).findings == ()

    def test_an_odd_row_counts_where_there_is_no_good_one(self) -> None:
        young = volume(created_at=NOW - HOUR)
        assert codes(judge(snapshots=(snapshot("x", status="failed"),), volume=young)) == {
            FindingCode.SNAPSHOT_STATUS_UNKNOWN
        }


class TestVolume:
    @pytest.mark.parametrize(
        ("changes", "code", "step"),
        [
            ({"is_automatic_snapshot_on": False}, FindingCode.SNAPSHOTS_AUTOMATIC_OFF, "--automatic on"),
            ({"snapshot_retention_days": 4}, FindingCode.SNAPSHOT_RETENTION_LOW, "--days 5"),
            ({"state": "recovering"}, FindingCode.VOLUME_STATE, "fly volumes show vol_1"),
            ({"state": "hydrating"}, FindingCode.VOLUME_STATE, "fly volumes show vol_1"),
            ({"host_status": HostStatus.UNREACHABLE}, FindingCode.VOLUME_HOST, "snapshots list vol_1"),
            ({"used_bytes": 90, "total_bytes": 100}, FindingCode.VOLUME_FULL, "flykeep volume clean my-crocbot/"),
            ({"used_bytes": 99, "total_bytes": 100}, FindingCode.VOLUME_FULL, "flykeep volume extend my-crocbot/"),
        ],
    )
    def test_a_wrong_fact_is_a_warning_with_a_command(
        self, changes: dict[str, Any], code: FindingCode, step: str
    ) -> None:
        finding = only(judge(volume=volume(**changes)))
        assert (finding.code, finding.severity) == (code, Severity.WARNING)
        assert step in finding.next_step
        assert finding.last_good_at == NOW - 6 * HOUR

    @pytest.mark.parametrize(
        "changes",
        [
            {"is_automatic_snapshot_on": None},
            {"snapshot_retention_days": None},
            {"snapshot_retention_days": 5},
            {"state": "extending"},
            {"host_status": HostStatus.UNKNOWN},
        ],
    )
    def test_what_fly_did_not_say_or_what_is_ordinary_is_no_finding(self, changes: dict[str, Any]) -> None:
        assert judge(volume=volume(**changes)).findings == ()

    @pytest.mark.parametrize("state", ["creating", "restoring", "enabling_remote_export", "hydrating"])
    def test_a_young_volume_may_still_be_made_ready(self, state: str) -> None:
        assert judge(volume=volume(state=state, created_at=NOW - 2 * HOUR)).findings == ()

    def test_settings_nobody_asked_for_are_not_judged(self) -> None:
        policy = Policy("own", snapshot=SnapshotRule(max_age=30 * HOUR))
        own = volume(is_automatic_snapshot_on=False, snapshot_retention_days=1)
        assert judge(policy, volume=own).findings == ()

    def test_a_machine_on_a_lost_host_is_told_as_its_volume(self) -> None:
        assert codes(judge(machine=machine(host_status=HostStatus.UNREACHABLE))) == {FindingCode.VOLUME_HOST}
        assert judge(machine=None).findings == ()


class TestGone:
    def test_a_known_volume_that_a_complete_inventory_lacks_is_gone(self) -> None:
        gone = judge(volume=None, machine=None)
        finding = only(gone)
        assert (finding.code, finding.severity) == (FindingCode.VOLUME_GONE, Severity.CRITICAL)
        assert (finding.since_at, finding.last_good_at) == (NOW - HOUR, NOW - 6 * HOUR)
        assert finding.next_step.startswith(
            "fly volumes create crocbot_data --app my-crocbot --snapshot-id vs_1 --size 1; if its app was rebuilt by "
        )
        assert gone.is_conclusive

    @pytest.mark.parametrize(("size_bytes", "size_gb"), [(0, 1), (3 * 2**30, 3), (3 * 2**30 + 1, 4)])
    def test_the_volume_to_make_is_large_enough_for_the_snapshot(self, size_bytes: int, size_gb: int) -> None:
        row = replace(snapshot(), volume_size_bytes=size_bytes)
        assert f"--size {size_gb};" in only(judge(volume=None, snapshots=(row,))).next_step

    def test_a_gone_volume_whose_snapshots_cannot_be_read_keeps_what_was_proven(self) -> None:
        gone = judge(volume=None, snapshots=None, proven_snapshot_at=NOW - 9 * HOUR)
        assert gone.newest_snapshot_at == NOW - 9 * HOUR
        assert only(gone).next_step.startswith(
            "if its app was rebuilt by hand, flykeep adopt my-crocbot/crocbot_data VOLUME_ID; if it was meant, "
        )

    def test_a_volume_that_an_incomplete_inventory_lacks_is_unknown(self) -> None:
        unknown = judge(volume=None, is_inventory_complete=False)
        assert (unknown.verdict, unknown.findings, unknown.is_conclusive) == (Verdict.UNKNOWN, (), False)


class TestExports:
    def test_a_stale_export_is_a_warning(self) -> None:
        finding = only(judge(artifacts=(artifact(age=9 * DAY),)))
        assert (finding.code, finding.severity) == (FindingCode.EXPORT_STALE, Severity.WARNING)
        assert (finding.since_at, finding.last_good_at) == (NOW - DAY, NOW - 9 * DAY)
        assert finding.next_step == "flykeep export my-crocbot/crocbot_data"

    def test_the_newest_copy_of_any_store_counts(self) -> None:
        copies = (artifact("a", age=9 * DAY, store="offsite"), artifact("b", age=DAY, store="second"))
        judged = judge(artifacts=copies)
        assert judged.newest_export_at == NOW - DAY
        assert codes(judged) == {FindingCode.EXPORT_COPY_MISSING}  # not stale, but not where the policy wants it

    def test_a_lineage_known_long_enough_without_an_export_is_a_warning(self) -> None:
        assert codes(judge(artifacts=())) == {FindingCode.EXPORT_MISSING}
        assert judge(artifacts=(), lineage=lineage(first_seen_at=NOW - 8 * DAY)).findings == ()

    @pytest.mark.parametrize("policy", [PRODUCTION, replace(POLICY, export=ExportRule())], ids=["no store", "no age"])
    def test_exports_are_judged_only_where_a_store_and_an_age_are_set(self, policy: Policy) -> None:
        assert judge(policy, artifacts=()).findings == ()

    @pytest.mark.parametrize(("instances", "expected"), [("primary", set()), ("each", {FindingCode.EXPORT_MISSING})])
    def test_a_replica_needs_no_export_of_its_own_where_the_primary_is_exported(
        self, instances: str, expected: set[FindingCode]
    ) -> None:
        rule = TargetRule("*/*", POLICY, instances=instances)
        assert codes(evaluate(facts(artifacts=(), is_primary=False), rule, now=NOW)) == expected
        assert codes(evaluate(facts(artifacts=()), rule, now=NOW)) == {FindingCode.EXPORT_MISSING}

    def test_an_export_read_beside_an_open_sqlite_wal_does_not_count(self) -> None:
        live = artifact("live", age=HOUR, consistency=Consistency.LIVE, open_databases=("app.db-wal",))
        found = judge(artifacts=(live, artifact("good", age=DAY)))
        finding = only(found)
        assert (finding.code, finding.severity) == (FindingCode.EXPORT_NOT_RESTORABLE, Severity.WARNING)
        assert "app.db-wal" in finding.summary
        assert finding.last_good_at == found.newest_export_at == NOW - DAY

    def test_a_live_export_alone_leaves_the_export_missing_too(self) -> None:
        live = artifact("live", age=HOUR, consistency=Consistency.LIVE, open_databases=("app.db-wal",))
        assert codes(judge(artifacts=(live,))) == {FindingCode.EXPORT_NOT_RESTORABLE, FindingCode.EXPORT_MISSING}

    def test_an_export_that_failed_its_verification_does_not_count(self) -> None:
        finding = only(judge(artifacts=(artifact("bad", age=HOUR, is_failed=True), artifact("good", age=DAY))))
        assert finding.code is FindingCode.ARTIFACT_FAILED
        assert finding.next_step.startswith("flykeep artifact verify bad")

    def test_an_old_live_export_below_a_good_one_is_forgotten(self) -> None:
        live = artifact("live", age=DAY, consistency=Consistency.LIVE, open_databases=("app.db-wal",))
        assert judge(artifacts=(live, artifact("good", age=HOUR))).findings == ()


def run(kind: JobKind, state: RunState, *, age: timedelta, message: str | None = None) -> Run:
    failure = Failure("fly.conflict", message, "hint", 5) if message else None
    return Run(
        id=RunId(f"run-{kind}"),
        kind=kind,
        lineage_id=LineageId("lin_1"),
        slot=Slot("x"),
        state=state,
        requested_at=NOW - age,
        due_at=NOW - age,
        ended_at=NOW - age + timedelta(minutes=1),
        outcome=Outcome(state, failure=failure),
    )


class TestRuns:
    def test_a_failed_last_run_is_a_warning_in_the_words_of_its_error(self) -> None:
        finding = only(judge(last_runs=(run(JobKind.SNAPSHOT, RunState.FAILED, age=HOUR, message="a lease is held"),)))
        assert (finding.code, finding.severity) == (FindingCode.RUN_FAILED, Severity.WARNING)
        assert finding.summary.endswith("snapshot run run-snapshot failed: a lease is held.")
        assert (finding.next_step, finding.last_good_at) == ("flykeep runs run-snapshot", NOW - 6 * HOUR)

    def test_several_failed_kinds_are_one_finding_led_by_the_newest(self) -> None:
        failed = (
            run(JobKind.EXPORT, RunState.INTERRUPTED, age=HOUR),
            run(JobKind.SNAPSHOT, RunState.FAILED, age=2 * HOUR, message="no"),
        )
        finding = only(judge(last_runs=failed))
        assert finding.next_step == "flykeep runs run-export"
        assert "was interrupted" in finding.summary
        assert finding.since_at == NOW - 2 * HOUR + timedelta(minutes=1)
        assert finding.last_good_at == NOW - DAY

    @pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.DEGRADED, RunState.SKIPPED, RunState.CANCELLED])
    def test_other_ends_are_no_finding(self, state: RunState) -> None:
        assert judge(last_runs=(run(JobKind.SNAPSHOT, state, age=HOUR),)).findings == ()

    def test_an_export_that_never_worked_has_no_last_good(self) -> None:
        young = lineage(first_seen_at=NOW - HOUR)
        failed = (run(JobKind.EXPORT, RunState.FAILED, age=HOUR, message="no"),)
        finding = only(judge(last_runs=failed, artifacts=(), lineage=young))
        assert finding.last_good_at == NOW - 6 * HOUR


class TestUnknown:
    LAST = judge()

    def unknown(self, *, later: timedelta = HOUR, policy: Policy = POLICY, **changes: Any) -> Compliance:
        changes = {"snapshots": None, "last_conclusive": self.LAST} | changes
        return judge(policy, now=NOW + later, **changes)

    def test_the_last_verdict_stands_with_its_age(self) -> None:
        unknown = self.unknown(unknown_reason="Fly answered 503")
        assert (unknown.verdict, unknown.is_conclusive, unknown.findings) == (Verdict.UNKNOWN, False, ())
        assert unknown.newest_snapshot_at == NOW - 6 * HOUR
        assert unknown.reason == (
            "Fly answered 503; the last verdict, healthy at 2026-03-02 12:00 UTC (1 h ago), stands"
        )

    def test_what_was_never_judged_says_so(self) -> None:
        assert self.unknown(last_conclusive=None).reason == "its snapshots could not be read; never judged"

    def test_an_unproven_rpo_is_critical_once_everything_proven_is_too_old(self) -> None:
        assert self.unknown(later=24 * HOUR).findings == ()
        finding = only(self.unknown(later=24 * HOUR + timedelta(seconds=1)))
        assert (finding.code, finding.severity) == (FindingCode.RPO_UNPROVEN, Severity.CRITICAL)
        assert (finding.since_at, finding.last_good_at) == (NOW + 24 * HOUR, NOW - 6 * HOUR)

    def test_a_younger_proof_in_the_catalog_or_the_store_counts(self) -> None:
        assert self.unknown(later=25 * HOUR, proven_snapshot_at=NOW).findings == ()
        assert self.unknown(later=25 * HOUR, artifacts=(artifact(age=HOUR),)).findings == ()

    def test_a_lineage_never_proven_has_the_grace_of_a_new_volume(self) -> None:
        new = {"last_conclusive": None, "artifacts": (), "lineage": lineage(first_seen_at=NOW)}
        assert self.unknown(later=30 * HOUR, **new).findings == ()
        assert "none is known" in only(self.unknown(later=31 * HOUR, **new)).summary

    def test_a_policy_of_exports_alone_is_proven_by_exports(self) -> None:
        policy = replace(POLICY, snapshot=SnapshotRule())
        assert self.unknown(later=6 * DAY, policy=policy).findings == ()
        assert codes(self.unknown(later=9 * DAY, policy=policy)) == {FindingCode.RPO_UNPROVEN}

    @pytest.mark.parametrize("policy", [DEVELOPMENT, replace(PRODUCTION, snapshot=SnapshotRule())])
    def test_a_policy_without_an_rpo_has_none_to_prove(self, policy: Policy) -> None:
        assert self.unknown(later=90 * DAY, policy=policy).findings == ()

    def test_a_policy_that_does_not_alarm_pages_nobody(self) -> None:
        assert self.unknown(later=90 * DAY, policy=replace(POLICY, is_alarming=False)).findings == ()

    @given(later=st.timedeltas(timedelta(0), timedelta(days=400)), is_seen=st.booleans())
    def test_nothing_is_ever_called_stale_or_fine(self, later: timedelta, is_seen: bool) -> None:
        changes: dict[str, Any] = {} if is_seen else {"volume": None, "is_inventory_complete": False}
        unknown = self.unknown(later=later, **changes)
        assert unknown.verdict is Verdict.UNKNOWN
        assert not unknown.is_conclusive
        assert codes(unknown) <= {FindingCode.RPO_UNPROVEN}


def test_a_paused_target_has_no_findings_and_resolves_nothing() -> None:
    paused = judge(snapshots=(snapshot(age=90 * DAY),), pause=PauseFact(NOW + HOUR, "migration"))
    assert (paused.verdict, paused.findings, paused.is_conclusive) == (Verdict.PAUSED, (), False)
    assert paused.reason == "paused until 2026-03-02 13:00 UTC: migration"
    assert paused.newest_snapshot_at == NOW - 90 * DAY


def test_a_pause_without_an_end_says_so_and_needs_no_reading() -> None:
    paused = judge(snapshots=None, volume=None, pause=PauseFact(None, "move"), proven_snapshot_at=NOW)
    assert (paused.reason, paused.newest_snapshot_at) == ("paused until it is resumed: move", NOW)


def test_a_policy_that_asks_for_nothing_is_unwatched() -> None:
    assert judge(DEVELOPMENT, snapshots=()).verdict is Verdict.UNWATCHED


def test_a_policy_that_does_not_alarm_finds_only_information() -> None:
    quiet = judge(replace(POLICY, is_alarming=False), snapshots=(snapshot(age=90 * DAY),))
    assert quiet.verdict is Verdict.HEALTHY
    assert only(quiet).severity is Severity.INFO


ROWS = st.builds(
    lambda name, hours, status: snapshot(name, age=None if hours is None else hours * HOUR, status=status),
    name=st.sampled_from(["a", "b", None]),
    hours=st.one_of(st.none(), st.integers(0, 100)),
    status=st.sampled_from(["created", "running", "failed", ""]),
)


@given(rows=st.lists(ROWS, max_size=6).map(tuple))
def test_a_conclusive_check_finds_age_wrong_exactly_when_no_restorable_row_is_young_enough(
    rows: tuple[VolumeSnapshot, ...],
) -> None:
    found = judge(snapshots=rows)
    is_young = any(row.is_restorable and row.created_at and NOW - row.created_at <= 30 * HOUR for row in rows)
    assert bool(codes(found) & AGED) is not is_young
    assert all(finding.next_step and finding.summary and finding.since_at <= NOW for finding in found.findings)


BOTH = replace(PRODUCTION, copies=(CopyRule("offsite"), CopyRule("shelf")))


def export_run(state: RunState = RunState.FAILED, *, ended: timedelta, **facts_of: str) -> Run:
    failure = Failure("store.failed", "it is full", "", 6, tuple(facts_of.items()))
    ended_at = NOW - ended
    outcome = Outcome(state, failure=failure if state is RunState.FAILED else None)
    return Run(
        RunId("r"), JobKind.EXPORT, LineageId("lin_1"), Slot("x"), state, ended_at, ended_at, ended_at=ended_at,
        outcome=outcome,
    )  # fmt: skip


class TestCopies:
    def test_a_copy_in_every_store_is_as_wanted(self) -> None:
        everywhere = (artifact("new", store="offsite"), artifact("new", store="shelf"))
        assert judge(BOTH, artifacts=everywhere).verdict is Verdict.HEALTHY

    def test_a_store_that_holds_nothing_is_not_made_good_by_the_other(self) -> None:
        judged = judge(BOTH, artifacts=(artifact("new", store="offsite"),))
        finding = only(judged)
        assert (finding.code, finding.store, judged.verdict) == (
            FindingCode.EXPORT_COPY_MISSING,
            "shelf",
            Verdict.UNHEALTHY,
        )
        assert "Store shelf lacks the newest export, new: it holds no restorable one." in finding.summary
        assert finding.key.endswith("|shelf")

    def test_each_store_that_lacks_it_is_a_finding_of_its_own(self) -> None:
        three = replace(BOTH, copies=(*BOTH.copies, CopyRule("third")))
        old = artifact("old", store="third", age=7 * DAY)
        found = judge(three, artifacts=(artifact("new"), old)).findings
        assert [(finding.store, finding.last_good_at) for finding in found] == [
            ("shelf", NOW - 6 * HOUR),  # of the target as a whole: this store has none
            ("third", NOW - 7 * DAY),
        ]
        assert len({finding.key for finding in found}) == 2

    def test_a_copy_that_did_not_pass_its_verification_is_missing(self) -> None:
        everywhere = (artifact("new", store="offsite"), artifact("new", store="shelf", is_failed=True))
        missing, failed = sorted(judge(BOTH, artifacts=everywhere).findings, key=lambda one: one.store or "~")
        assert (missing.store, failed.code) == ("shelf", FindingCode.ARTIFACT_FAILED)

    def test_a_policy_that_moved_to_another_store_lacks_its_copy_there(self) -> None:
        assert only(judge(artifacts=(artifact("new", store="former"),))).store == "offsite"

    def test_while_its_run_may_still_be_copying_nothing_is_missing(self) -> None:
        fresh = (artifact("new", age=HOUR),)
        assert judge(BOTH, artifacts=fresh).findings == ()
        earlier = export_run(RunState.SUCCEEDED, ended=DAY)
        assert judge(BOTH, artifacts=fresh, last_runs=(earlier,)).findings == ()

    def test_when_its_run_is_over_the_copy_is_missing_at_once(self) -> None:
        judged = judge(
            BOTH, artifacts=(artifact("new", age=HOUR),), last_runs=(export_run(ended=HOUR / 2, store="shelf"),)
        )
        assert codes(judged) == {FindingCode.EXPORT_COPY_MISSING, FindingCode.RUN_FAILED}
        told = next(finding for finding in judged.findings if finding.code is FindingCode.RUN_FAILED)
        assert "failed for store shelf: it is full" in told.summary

    def test_a_run_on_its_way_does_not_hide_what_was_missing_before(self) -> None:
        before = artifact("before", age=2 * DAY)
        assert only(judge(BOTH, artifacts=(artifact("new", age=HOUR), before))).store == "shelf"

    def test_copies_read_by_two_attempts_of_one_slot_are_one_export(self) -> None:
        attempts = (artifact("first", age=DAY), artifact("second", age=DAY - 5 * HOUR, store="shelf"))
        assert judge(BOTH, artifacts=attempts).findings == ()

    def test_an_export_that_is_too_old_everywhere_is_told_once(self) -> None:
        assert codes(judge(BOTH, artifacts=(artifact(age=30 * DAY),))) == {FindingCode.EXPORT_STALE}


class TestPlatform:
    def test_copies_on_the_platform_alone_are_said_to_be_so_and_alarm_nobody(self) -> None:
        bought = replace(PRODUCTION, copies=(CopyRule("offsite", is_on_platform=True),))
        judged = judge(bought)
        assert (only(judged).code, judged.verdict) == (FindingCode.EXPORT_ON_PLATFORM, Verdict.HEALTHY)

    def test_one_copy_elsewhere_is_off_the_platform(self) -> None:
        mixed = replace(PRODUCTION, copies=(CopyRule("offsite"), CopyRule("shelf", is_on_platform=True)))
        everywhere = (artifact("new", store="offsite"), artifact("new", store="shelf"))
        assert judge(mixed, artifacts=everywhere).findings == ()
