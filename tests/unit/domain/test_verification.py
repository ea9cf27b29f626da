"""Verifications: whose turn it is, and what their results say of an artifact."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain import layout
from flykeep.domain.artifact import Artifact, StoredObject
from flykeep.domain.compliance_verification import VerificationFacts, verification_findings
from flykeep.domain.findings import Finding, FindingCode, Severity, Subject
from flykeep.domain.ids import ExportId
from flykeep.domain.verification import Level, after_failure, after_success, never_opened, plan_sample, stored_bytes
from tests.unit.domain.builders import NOW, artifact

levels = st.sampled_from(list(Level))


@given(looks=st.lists(st.tuples(st.booleans(), levels), max_size=8))
def test_an_artifact_fails_from_a_failure_until_a_success_at_least_as_deep(looks: list[tuple[bool, Level]]) -> None:
    known, failed_depth = artifact(), -1
    for number, (is_good, level) in enumerate(looks):
        now = NOW + timedelta(days=number)
        known = (after_success if is_good else after_failure)(known, level, now=now)
        if not is_good:
            failed_depth = max(failed_depth, level.depth)
        elif level.depth >= failed_depth:
            failed_depth = -1
        assert known.is_failed == (failed_depth >= 0)
        assert known.is_failed or (known.verified_at, known.verified_level) == (now, level.value)


@given(looks=st.lists(st.tuples(st.booleans(), levels), max_size=8))
def test_contents_stay_verified_until_something_fails(looks: list[tuple[bool, Level]]) -> None:
    known, compared_at = artifact(), None
    for number, (is_good, level) in enumerate(looks):
        now, before = NOW + timedelta(days=number), known
        known = (after_success if is_good else after_failure)(known, level, now=now)
        if not is_good:
            compared_at = None
        elif level is Level.CONTENTS:
            compared_at = now
        assert known.contents_verified_at == compared_at
        assert known.is_failed or known.verified_at != before.verified_at


def test_encrypted_artifacts_are_unopened_until_one_was_compared_or_drilled() -> None:
    one = artifact()
    of = one.manifest.origin.lineage_id
    plain = replace(one, manifest=replace(one.manifest, encryption="none"))

    assert never_opened([one, plain], proven=()) == {of}
    assert never_opened([one, plain], proven={of}) == set()
    assert never_opened([one, replace(one, contents_verified_at=NOW)], proven=()) == set()
    assert never_opened([plain], proven=()) == set()


def test_a_failure_of_which_nobody_knows_how_deep_it_was_needs_every_byte_to_be_read() -> None:
    known = replace(artifact(), is_failed=True)
    assert after_success(known, Level.MANIFEST, now=NOW) == known
    assert not after_success(known, Level.BYTES, now=NOW).is_failed


def sized(number: int, size: int, verified_days_ago: int | None, *, store: str = "offsite") -> Artifact:
    made = artifact(f"id{number:03}", store=store)
    objects = (StoredObject("data", size, "00"),)
    said = replace(made.manifest, data=objects, index=StoredObject("index", 0, "00"))
    at: datetime | None = None if verified_days_ago is None else NOW - timedelta(days=verified_days_ago)
    return replace(made, manifest=said, verified_at=at)


samples = st.lists(st.tuples(st.integers(0, 50), st.one_of(st.none(), st.integers(0, 90))), max_size=12)


@given(rows=samples, budget=st.integers(0, 200))
def test_the_longest_unseen_come_first_and_the_budget_holds_beyond_the_first(
    rows: list[tuple[int, int | None]], budget: int
) -> None:
    every = [sized(number, size, age) for number, (size, age) in enumerate(rows)]
    plan = plan_sample(every, stores=["offsite"], budget_bytes=budget)
    assert len(plan.chosen) + plan.waiting == len(every)
    assert sum(map(stored_bytes, plan.chosen[1:])) <= budget
    assert bool(plan.chosen) == bool(every)
    ages = [one.verified_at for one in plan.chosen]
    rest = [one for one in every if one not in plan.chosen]
    assert ages == sorted(ages, key=lambda at: (at is not None, at or NOW))
    assert all((at or NOW - timedelta(days=999)) <= (one.verified_at or NOW) or not at for at in ages for one in rest)


@given(rows=samples.filter(len), budget=st.integers(1, 60))
def test_every_artifact_has_its_turn(rows: list[tuple[int, int | None]], budget: int) -> None:
    every = {number: sized(number, size, age) for number, (size, age) in enumerate(rows)}
    seen: set[str] = set()
    for day in range(len(every)):
        for one in plan_sample(every.values(), stores=["offsite"], budget_bytes=budget).chosen:
            seen.add(one.export_id)
            number = int(one.export_id[2:])
            every[number] = after_success(one, Level.BYTES, now=NOW + timedelta(days=day + 1))
    assert len(seen) == len(every)


def test_what_leaves_or_stands_in_an_unknown_store_has_no_turn() -> None:
    leaving = replace(sized(1, 1, None), leaving_at=NOW)
    plan = plan_sample(
        [leaving, sized(2, 1, None, store="gone"), sized(3, 1, None)], stores=["offsite"], budget_bytes=9
    )
    assert [one.export_id for one in plan.chosen] == ["id003"]
    assert (plan.waiting, plan.left_out) == (0, 1)


def test_a_manifest_belongs_where_its_words_say_and_nowhere_else() -> None:
    prefix = "app/data/2026/X1"
    keys = [layout.data_key(prefix, is_encrypted=True), layout.index_key(prefix, is_encrypted=True)]
    right = {"app": "app", "volume_name": "data", "export_id": "X1"}
    key = layout.manifest_key(prefix)
    assert layout.belongs_together(key, keys, **right)
    for wrong in ({"app": "other"}, {"volume_name": "other"}, {"export_id": "X0"}):
        assert not layout.belongs_together(key, keys, **(right | wrong))
    for place in (layout.manifest_key("app/data/2026/X2"), "manifest.json", keys[0]):
        assert not layout.belongs_together(place, keys, **right)
    for stray in ("app/data/2026/X2/data.tar.zst.age", "app/data/2025/X1/data.tar.zst.age", "elsewhere"):
        assert not layout.belongs_together(key, [*keys, stray], **right)


def findings(*artifacts: Artifact, **facts: Any) -> list[Finding]:
    subject = Subject("lineage:lin_1", "my-crocbot/crocbot_data")
    return verification_findings(subject, artifacts, VerificationFacts(**facts), now=NOW)


def test_failed_artifacts_are_one_finding_that_names_them_and_why() -> None:
    failed = [replace(artifact(f"id{at}"), is_failed=True, verified_at=NOW - timedelta(days=at)) for at in range(1, 6)]
    (finding,) = findings(*failed, failures={(ExportId("id2"), "offsite"): "a stored object is missing."})
    assert (finding.code, finding.severity) == (FindingCode.ARTIFACT_FAILED, Severity.CRITICAL)
    assert finding.summary.endswith(
        "id1 in offsite; id2 in offsite (a stored object is missing); id3 in offsite and 2 more."
    )
    assert finding.since_at == NOW - timedelta(days=5)


def test_what_was_not_verified_for_too_long_is_overdue_and_a_backup_no_more_is_not() -> None:
    old = replace(artifact("old"), recorded_at=NOW - timedelta(days=100))
    seen = replace(old, export_id=ExportId("seen"), verified_at=NOW - timedelta(days=89))
    fine = (seen, replace(old, leaving_at=NOW))
    (finding,) = findings(old, *fine, max_age=timedelta(days=90))
    assert finding.code is FindingCode.VERIFICATION_OVERDUE
    assert finding.since_at == NOW - timedelta(days=10)
    assert finding.summary.startswith("1 of 2 artifacts")
    assert findings(*fine, max_age=timedelta(days=90)) == []
    assert findings(old) == []
