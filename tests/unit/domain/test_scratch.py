import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.errors import RefusalError
from flykeep.domain.ids import AppName, RunId
from flykeep.domain.scratch import (
    WORKER_GUESTS,
    ScratchPlan,
    ScratchRule,
    freshest,
    is_temporary,
    machine_name,
    newest_restorable_snapshot,
    plan_empty_scratch,
    plan_scratch,
    size_gb,
    volume_name,
)
from tests.unit.domain.builders import DAY, HOUR, NOW, snapshot, volume

RULE = ScratchRule(AppName("flykeep-scratch"), max_volume_gb=100, max_workers=2, regions=("ams", "fra", "cdg"))
RUN = RunId("01KB4M7V8Q2ZJ5T9XW3R6Y0HDE")
GIB = 1 << 30


def plan(**changes: object) -> ScratchPlan:
    given: dict[str, object] = {"snapshot": snapshot(), "volume": volume(), "run_id": RUN} | changes
    return plan_scratch(given.pop("rule", RULE), **given)  # type: ignore[arg-type]


@given(st.text(alphabet="0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26), st.integers(1, 99_999))
def test_every_name_is_one_that_fly_takes(run_id: str, number: int) -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,30}", volume_name(RunId(run_id), number))
    assert re.fullmatch(r"[a-z0-9-]{1,63}", machine_name(RunId(run_id), number))
    assert is_temporary(volume_name(RunId(run_id), number))


@pytest.mark.parametrize("number", [0, 100_000])
def test_a_run_that_tries_for_ever_is_stopped(number: int) -> None:
    with pytest.raises(RefusalError, match="99999"):
        volume_name(RUN, number)


@pytest.mark.parametrize(
    "name", ["fk_look_alike", "fk_data", "data", "fk_01m89jcgc7ej71y2ap6j_0", "xfk_01m89jcgc7ej71y2ap6j_1"]
)
def test_no_other_name_is_taken_for_a_temporary_one(name: str) -> None:
    assert not is_temporary(name)


@given(st.integers(1, 99_999), st.integers(1, 99_999))
def test_two_attempts_never_share_a_name(one: int, other: int) -> None:
    assert (volume_name(RUN, one) == volume_name(RUN, other)) == (one == other)
    assert (machine_name(RUN, one) == machine_name(RUN, other)) == (one == other)


@given(st.integers(0, 600 * GIB), st.integers(1, 500))
def test_a_temporary_volume_holds_the_snapshot_and_is_no_bigger_than_it_must_be(
    held_bytes: int, source_gb: int
) -> None:
    made_gb = size_gb(replace(snapshot(), volume_size_bytes=held_bytes), volume(size_gb=source_gb))
    assert made_gb >= source_gb
    assert made_gb * GIB >= held_bytes
    assert made_gb == source_gb or (made_gb - 1) * GIB < held_bytes


def test_guest_sizes_are_walked_before_regions_and_the_sources_region_comes_first() -> None:
    walked = list(plan().attempts())
    assert [one.region for one in walked] == [region for region in ("fra", "ams", "cdg") for _ in WORKER_GUESTS]
    assert [one.guest for one in walked] == [*WORKER_GUESTS] * 3
    assert min(guest.memory_mb for guest in WORKER_GUESTS) >= 512
    assert len({one.volume_name for one in walked} | {one.machine_name for one in walked}) == 2 * len(walked)


def test_names_a_run_has_used_are_not_used_again() -> None:
    first = {one.volume_name for one in plan().attempts()}
    again = {one.volume_name for one in plan().attempts(after=len(first))}
    assert not first & again


def test_a_rule_without_an_app_means_the_targets_own() -> None:
    assert plan().app == "flykeep-scratch"
    assert plan(rule=replace(RULE, app=None)).app == "my-crocbot"


@pytest.mark.parametrize("status", ["waiting", "running", "failed", "deleted"])
def test_a_snapshot_that_is_not_finished_is_refused(status: str) -> None:
    with pytest.raises(RefusalError, match=status) as refused:
        plan(snapshot=snapshot(status=status))
    assert refused.value.next_step


def test_a_volume_above_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    assert plan(volume=volume(size_gb=100)).size_gb == 100
    with pytest.raises(RefusalError, match="101 GB is needed"):
        plan(snapshot=replace(snapshot(), volume_size_bytes=100 * GIB + 1))


def test_the_newest_finished_snapshot_is_read_unless_it_is_too_old() -> None:
    rows = (
        snapshot("vs_old", age=3 * DAY),
        snapshot("vs_new", age=2 * HOUR),
        snapshot(None, age=None, status="waiting"),
    )
    newest = freshest(rows, now=NOW, max_age=DAY)
    assert newest is not None
    assert newest.id == "vs_new"
    assert freshest(rows, now=NOW, max_age=HOUR) is None
    assert freshest((), now=NOW, max_age=timedelta.max) is None


@pytest.mark.parametrize(("content_gib", "size"), [(0, 1), (1, 2), (10, 12)])
def test_an_empty_volume_has_room_for_what_comes_onto_it(content_gib: int, size: int) -> None:
    rule = ScratchRule(None, max_volume_gb=12, max_workers=1, regions=("ams", "fra"))
    plan = plan_empty_scratch(
        rule, target_app=AppName("a"), region="fra", content_bytes=content_gib << 30, entries=100, run_id=RunId("r")
    )
    assert (plan.app, plan.snapshot_id, plan.size_gb, plan.regions) == ("a", None, size, ("fra", "ams"))


def test_an_empty_volume_that_would_be_too_large_is_refused() -> None:
    rule = ScratchRule(AppName("scratch"), max_volume_gb=12, max_workers=1)
    with pytest.raises(RefusalError, match="max_volume_gb is 12"):
        plan_empty_scratch(
            rule, target_app=AppName("a"), region="fra", content_bytes=12 << 30, entries=1, run_id=RunId("r")
        )


def test_a_volume_without_a_dated_snapshot_has_none_to_restore() -> None:
    assert newest_restorable_snapshot([snapshot("a", age=None)]) is None
