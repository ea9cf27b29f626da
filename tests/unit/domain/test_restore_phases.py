"""What a restore's journal tells whoever comes after."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flykeep.domain.compliance_restore import DECIDE_WITHIN, restore_findings
from flykeep.domain.errors import RefusalError
from flykeep.domain.findings import FindingCode, Severity
from flykeep.domain.restore_phases import (
    CONTENTS_GOOD,
    ENDINGS,
    FENCE_DUE,
    FENCED,
    FENCING,
    LEASE,
    MACHINE_MADE,
    SAFE,
    VOLUME_DROPPED,
    VOLUME_MADE,
    RestorePhase,
    RestoreRecord,
    next_step,
    refuse_ending,
    restore_record,
    volumes_in_the_making,
)
from flykeep.domain.subjects import lineage_subject
from tests.unit.domain.builders import NOW, lineage, volume
from tests.unit.domain.restores import BEGINNING, RUN, journal, record_of, restored

SUBJECT = lineage_subject(lineage(), "my-crocbot/crocbot_data")
ASKED = (RestorePhase.VOLUME.step, {"name": "crocbot_data", "region": "fra", "before": "vol_1 vol_2"})


def test_what_was_decided_at_the_beginning_is_read_back_as_it_was() -> None:
    assert record_of().beginning == BEGINNING


def test_a_run_that_journalled_no_beginning_restored_nothing() -> None:
    assert restore_record(RUN, journal()[1:]) is None


def test_a_volume_whose_answer_never_arrived_is_known_by_what_was_there_before() -> None:
    record = record_of(ASKED)
    assert record.volume is not None
    assert (record.volume_id, record.volume.before) == (None, ("vol_1", "vol_2"))
    new, old = volume("vol_9", machine=None, created_at=NOW), volume("vol_2", machine=None, created_at=NOW)
    held, early = volume("vol_8", created_at=NOW), volume("vol_7", machine=None, created_at=NOW - timedelta(hours=1))
    elsewhere = volume("vol_6", machine=None, created_at=NOW, region="ams")
    assert volumes_in_the_making([record], [new, old, held, early, elsewhere]) == {"vol_9"}


def test_a_volume_whose_answer_arrived_is_known_by_its_id_alone() -> None:
    record = record_of(ASKED, (VOLUME_MADE, {"id": "vol_3"}))
    others = [volume("vol_3", app="other"), volume("vol_9", machine=None, created_at=NOW)]
    assert volumes_in_the_making([record, record_of()], [volume("vol_3"), *others]) == {"vol_3"}


def test_what_was_said_of_a_volume_that_was_dropped_is_not_said_of_the_next() -> None:
    first = (ASKED, (VOLUME_MADE, {"id": "vol_3"}), (RestorePhase.CONTENTS.step, {}), (CONTENTS_GOOD, {}))
    before, after = record_of(*first), record_of(*first, (VOLUME_DROPPED, {}), ASKED)
    assert (before.is_content_begun, before.is_content_good) == (True, True)
    assert (after.volume_id, after.is_content_begun, after.is_content_good) == (None, False, False)


def test_the_journal_tells_what_exists_and_what_is_due() -> None:
    record = record_of(
        (SAFE, {"snapshot": "vs_9"}),
        (RestorePhase.MACHINE.step, {"name": "crocbot", "platform": "v2"}),
        (MACHINE_MADE, {"id": "m9"}),
        (LEASE, {"until": (NOW + timedelta(minutes=5)).isoformat()}),
        (FENCING, {"taken": "{}"}),
        (FENCE_DUE, {}),
    )
    assert record.machine is not None
    assert (record.is_safe, record.machine_id, record.machine.platform) == (True, "m9", "v2")
    assert (record.lease_until, record.fence_json, record.is_fence_due) == (NOW + timedelta(minutes=5), "{}", True)
    assert not record_of((FENCE_DUE, {}), (FENCED, {})).is_fence_due


@pytest.mark.parametrize("phase", RestorePhase)
def test_every_phase_says_what_comes_and_what_a_person_can_do(phase: RestorePhase) -> None:
    record = restored(phase)
    assert phase.coming
    assert (next_step(record) is None) is record.is_over
    allowed = {ending for ending in ENDINGS if is_possible(ending, record)}
    assert ("resume" in allowed) is record.is_half_done
    assert bool(allowed) is not record.is_over
    assert ("undo" in allowed) is (phase not in {RestorePhase.FINALIZING, RestorePhase.OVER})


def is_possible(ending: str, record: RestoreRecord) -> bool:
    try:
        refuse_ending(ending, record)
    except RefusalError:
        return False
    return True


def test_a_restore_is_found_amiss_only_when_it_waits_too_long_or_stands_between_two_machines() -> None:
    def codes(*phases: RestorePhase, ago: timedelta, is_at_work: bool = False) -> list[tuple[str, str]]:
        record = restored(*phases, at=NOW - ago)
        found = restore_findings(SUBJECT, [record], is_at_work=is_at_work, now=NOW)
        return [(str(one.code), str(one.severity)) for one in found]

    waiting = (str(FindingCode.RESTORE_NOT_FINALIZED), str(Severity.WARNING))
    halfway = (str(FindingCode.RESTORE_HALF_DONE), str(Severity.CRITICAL))
    minute, hours = timedelta(minutes=1), timedelta(hours=3)
    assert codes(RestorePhase.RESTORED, ago=DECIDE_WITHIN) == []
    assert codes(RestorePhase.RESTORED, ago=DECIDE_WITHIN + minute) == [waiting]
    assert codes(RestorePhase.SWITCHING, ago=minute) == [halfway]
    assert codes(RestorePhase.SWITCHING, ago=minute, is_at_work=True) == []
    assert codes(RestorePhase.MACHINE, ago=minute) == []
    assert codes(RestorePhase.MACHINE, ago=hours) == [waiting]
    assert codes(RestorePhase.UNDONE, ago=hours) == [waiting]


def test_a_restore_without_an_old_machine_keeps_the_old_volume() -> None:
    record = restored(RestorePhase.RESTORED)
    found = restore_findings(SUBJECT, [record], is_at_work=False, now=NOW)
    assert "machine m1 and volume vol_1" in found[0].summary
