"""Lineages survive what Fly does to ids; targets are found by the names people use."""

from dataclasses import replace
from datetime import datetime
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.errors import AmbiguousTargetError, TargetNotFoundError
from flykeep.domain.fly import GONE_VOLUME_STATES, Inventory, Volume
from flykeep.domain.ids import AppName, MachineId, RunId, VolumeId, VolumeName
from flykeep.domain.lineages import LineagePlan, primary_ids, resolve_lineages, resolve_target, retired_target, rule_of
from flykeep.domain.policy import TargetRule
from flykeep.domain.presets import PRODUCTION
from flykeep.domain.scratch import volume_name
from flykeep.domain.target import Lineage, TargetRef
from tests.unit.domain.builders import DAY, HOUR, NOW, counted_ids, inventory, lineage, machine, volume

EVERYTHING = (TargetRule("*/*", PRODUCTION),)


def resolve(
    known: tuple[Lineage, ...], seen: Inventory, *, rules: tuple[TargetRule, ...] = EVERYTHING, now: datetime = NOW
) -> LineagePlan:
    return resolve_lineages(known, seen, rules=rules, now=now, new_id=counted_ids("new_"))


def merged(known: tuple[Lineage, ...], plan: LineagePlan) -> tuple[Lineage, ...]:
    return tuple(({one.id: one for one in known} | {one.id: one for one in plan.saved}).values())


def test_a_volume_made_for_one_run_is_neither_a_target_nor_unprotected() -> None:
    temporary = volume("vol_t", name=VolumeName(volume_name(RunId("01M89JCGC7EJ71Y2AP6JQXZKMX"), 1)), machine=None)
    look_alike = volume("vol_x", name=VolumeName("fk_look_alike"), machine=None)
    plan = resolve((), inventory(volume(), temporary, look_alike, machines=(machine(),)), rules=())
    assert {one.id for one in plan.unprotected} == {"vol_1", "vol_x"}
    assert {state.volume.id for state in resolve((), inventory(temporary, look_alike)).current} == {"vol_x"}


def test_a_new_volume_begins_a_lineage_with_its_machine() -> None:
    plan = resolve((), inventory(volume(), machines=(machine(),)))
    (state,) = plan.current
    assert plan.saved == (state.lineage,)
    assert (state.lineage.id, state.lineage.volume_ids, state.lineage.machine_id) == ("new_1", ("vol_1",), "m1")
    assert (state.lineage.machine_name, state.machine, state.rule) == ("name-of-m1", machine(), EVERYTHING[0])
    assert state.lineage.first_seen_at == state.lineage.last_seen_at == NOW


def test_a_volume_without_a_machine_has_a_lineage_too() -> None:
    (state,) = resolve((), inventory(volume(machine=None))).current
    assert (state.lineage.machine_id, state.lineage.machine_name, state.machine) == (None, None, None)


def test_a_known_volume_continues_its_lineage_and_is_marked_as_seen() -> None:
    plan = resolve((lineage(),), inventory(volume(), machines=(machine(),)))
    assert plan.saved == (lineage(last_seen_at=NOW),)
    assert not plan.gone


@pytest.mark.parametrize("state", sorted(GONE_VOLUME_STATES))
def test_a_move_to_another_host_is_followed_while_the_old_volume_leaves(state: str) -> None:
    old, new = volume("vol_1", state=state), volume("vol_2", created_at=NOW - HOUR)
    plan = resolve((lineage(),), inventory(old, new, machines=(machine(),)))
    (current,) = plan.current
    assert (current.lineage.id, current.lineage.volume_ids, current.volume) == ("lin_1", ("vol_1", "vol_2"), new)
    assert (plan.gone, plan.left_behind) == ((), ())


@pytest.mark.parametrize("mounts", [(), ("vol_2",)], ids=["mounts unknown", "mounts known"])
def test_a_move_is_followed_while_the_old_volume_still_looks_attached(mounts: tuple[str, ...]) -> None:
    old, new = volume("vol_1"), volume("vol_2", created_at=NOW - HOUR)
    plan = resolve((lineage(),), inventory(old, new, machines=(machine(mounts=mounts),)))
    (current,) = plan.current
    assert current.lineage.volume_ids == ("vol_1", "vol_2")
    assert plan.left_behind == (old,)


def test_a_machine_that_mounts_another_volume_does_not_hold_the_one_fly_names() -> None:
    stray, mounted = volume("vol_9", created_at=NOW), volume("vol_1")
    plan = resolve((lineage(),), inventory(stray, mounted, machines=(machine(mounts=("vol_1",)),)))
    by_volume = {state.volume.id: state.lineage for state in plan.current}
    assert by_volume["vol_1"].id == "lin_1"
    assert by_volume["vol_9"].machine_id is None


def test_a_replaced_machine_keeps_the_lineage_of_its_volume() -> None:
    plan = resolve((lineage(),), inventory(volume(machine="m2"), machines=(machine("m2"),)))
    (state,) = plan.current
    assert (state.lineage.id, state.lineage.machine_id, state.lineage.machine_name) == ("lin_1", "m2", "name-of-m2")


def test_a_machine_that_is_not_listed_leaves_the_name_of_the_former_one_only_where_it_is_the_same() -> None:
    same = resolve((lineage(),), inventory(volume(), missing=("ams",))).current[0].lineage
    other = resolve((lineage(),), inventory(volume(machine="m2"), missing=("ams",))).current[0].lineage
    assert (same.machine_name, other.machine_name) == ("name-of-m1", None)


def test_a_detached_volume_keeps_its_lineage_and_the_name_of_its_last_machine() -> None:
    rules = (TargetRule("my-crocbot/*@name-of-m1", PRODUCTION),)
    (state,) = resolve((lineage(),), inventory(volume(machine=None)), rules=rules).current
    assert (state.lineage.id, state.lineage.machine_name, state.machine) == ("lin_1", "name-of-m1", None)


def test_volumes_of_one_name_on_several_machines_are_several_lineages() -> None:
    plan = resolve((), inventory(volume("vol_1"), volume("vol_2", machine="m2"), machines=(machine(), machine("m2"))))
    assert len({state.lineage.id for state in plan.current}) == 2


def test_a_volume_that_vanished_from_a_complete_inventory_is_gone() -> None:
    plan = resolve((lineage(),), inventory(volume(state="pending_destroy")))
    assert (plan.gone, plan.current, plan.saved) == ((lineage(),), (), ())


def test_a_volume_that_an_incomplete_inventory_lacks_is_only_unseen() -> None:
    plan = resolve((lineage(),), inventory(missing=("fra",)))
    assert (plan.gone, plan.unseen) == ((), (lineage(),))


def test_an_incomplete_inventory_never_takes_a_lineage_back_to_an_older_volume() -> None:
    moved = lineage(volume_ids=(VolumeId("vol_1"), VolumeId("vol_2")))
    plan = resolve((moved,), inventory(volume("vol_1"), missing=("ams",)))
    assert (plan.unseen, plan.current, plan.left_behind) == ((moved,), (), (volume("vol_1"),))


def test_a_lineage_whose_newer_volume_is_gone_goes_back_to_the_older_one() -> None:
    moved = lineage(volume_ids=(VolumeId("vol_1"), VolumeId("vol_2")), machine_id=MachineId("m2"))
    (state,) = resolve((moved,), inventory(volume("vol_1"))).current
    assert state.lineage.volume_ids == ("vol_2", "vol_1")


def test_a_retired_lineage_is_neither_gone_nor_followed_and_its_own_volume_does_not_revive_it() -> None:
    retired = lineage(is_retired=True)
    assert resolve((retired,), inventory()).gone == ()
    (other,) = resolve((retired,), inventory(volume("vol_2"))).current
    assert other.lineage.id == "new_1"
    same = resolve((retired,), inventory(volume("vol_1")))
    assert (same.current, same.unprotected, same.retired) == ((), (), (retired,))
    assert [(saved.id, saved.is_retired, saved.last_seen_at) for saved in same.saved] == [("lin_1", True, NOW)]


def test_the_volume_of_a_retired_lineage_is_not_unprotected_when_its_rule_is_gone_too() -> None:
    plan = resolve((lineage(is_retired=True),), inventory(volume("vol_1")), rules=())
    assert (plan.unprotected, plan.left_behind) == ((), ())


def test_a_retired_lineage_is_meant_only_where_no_living_one_bears_its_name() -> None:
    ref, retired, living = TargetRef.parse("my-crocbot"), lineage("r", is_retired=True), lineage("l")
    assert retired_target(ref, (retired,)) == retired
    assert retired_target(ref, (retired, living)) is None
    assert retired_target(TargetRef.parse("r"), (retired, living)) == retired
    assert retired_target(TargetRef.parse("other"), (retired,)) is None
    with pytest.raises(AmbiguousTargetError) as refused:
        retired_target(ref, (retired, lineage("r2", is_retired=True)))
    assert "r, r2" in refused.value.next_step


def test_a_volume_no_rule_matches_is_unprotected_and_has_no_lineage() -> None:
    plan = resolve((), inventory(volume()), rules=(TargetRule("other", PRODUCTION),))
    assert (plan.unprotected, plan.current, plan.saved) == ((volume(),), (), ())


def test_a_lineage_whose_rule_was_removed_is_followed_but_no_longer_judged() -> None:
    plan = resolve((lineage(),), inventory(volume("vol_2")), rules=())
    assert (plan.unprotected, plan.current) == ((volume("vol_2"),), ())
    assert plan.saved[0].volume_ids == ("vol_1", "vol_2")
    assert resolve((lineage(),), inventory(), rules=()).gone == ()


@pytest.mark.parametrize("wanted", ["m1", "name-of-m1", "name-*"])
def test_a_rule_may_name_the_machine_by_id_or_name(wanted: str) -> None:
    rules = (TargetRule(f"my-crocbot/crocbot_data@{wanted}", PRODUCTION),)
    seen = inventory(volume(), volume("vol_2", machine="x9"), machines=(machine(), machine("x9", name="other")))
    plan = resolve((), seen, rules=rules)
    assert [state.volume.id for state in plan.current] == ["vol_1"]
    assert [one.id for one in plan.unprotected] == ["vol_2"]


def test_a_machine_known_by_id_alone_is_matched_by_it() -> None:
    rules = (TargetRule("my-crocbot@m7", PRODUCTION),)
    assert resolve((), inventory(volume(machine="m7")), rules=rules).current


def test_the_rule_of_an_unseen_lineage_is_found_by_its_last_machine() -> None:
    rules = (TargetRule("*/*@m1", PRODUCTION),)
    assert rule_of(lineage(), rules) == rules[0]
    assert rule_of(lineage(machine_id=None, machine_name=None), rules) is None


def test_of_several_instances_the_one_known_longest_is_primary() -> None:
    twins = (lineage("b", first_seen_at=NOW - DAY), lineage("a"), lineage("c", volume_name=VolumeName("logs")))
    assert primary_ids(twins) == {"a", "c"}
    assert primary_ids(twins[:1]) == {"b"}


STATES = st.sampled_from(["created", "created", "created", "extending", "pending_destroy"])
VOLUMES = st.builds(
    lambda number, holder, state, age: volume(
        f"vol_{number}",
        app=AppName("ab"[number % 2]),  # a volume never changes its app or its name
        name=VolumeName(("data", "logs")[number // 2 % 2]),
        machine=holder,
        state=state,
        created_at=NOW - age * DAY,
    ),
    number=st.integers(1, 9),
    holder=st.sampled_from([None, "m1", "m2", "m3"]),
    state=STATES,
    age=st.integers(0, 30),
)
INVENTORIES = st.builds(
    lambda volumes, mounted, missing: inventory(
        *volumes,
        machines=tuple(
            machine(f"m{number}", mounts=(f"vol_{target}",) if target else ())
            for number, target in enumerate(mounted, start=1)
        ),
        missing=missing,
    ),
    volumes=st.lists(VOLUMES, max_size=7, unique_by=lambda one: one.id).map(tuple),
    mounted=st.lists(st.sampled_from([None, 1, 2, 3]), max_size=3, unique=True),
    missing=st.sampled_from([(), (), ("ams",)]),
)


def test_a_former_volume_that_comes_back_on_another_machine_stays_with_its_lineage() -> None:
    rules = (TargetRule("a/*", PRODUCTION),)
    ids = counted_ids("lin_")
    known: tuple[Lineage, ...] = ()
    for volumes in (
        [attached("vol_9", to="m2")],
        [attached("vol_1", to="m2"), attached("vol_5", to="m1")],
        [attached("vol_9", to="m1")],
    ):
        known = merged(known, resolve_lineages(known, inventory(*volumes), rules=rules, now=NOW, new_id=ids))

    (owner,) = [each for each in known if "vol_9" in each.volume_ids]
    assert owner.volume_id == "vol_9"


def attached(number: str, *, to: str) -> Volume:
    return volume(number, app=AppName("a"), name=VolumeName("data"), machine=to)


@given(history=st.lists(INVENTORIES, min_size=1, max_size=5))
def test_every_live_volume_belongs_to_exactly_one_lineage_and_resolving_again_changes_nothing(
    history: list[Inventory],
) -> None:
    known: tuple[Lineage, ...] = ()
    ids = counted_ids("lin_")
    rules = (TargetRule("a/*", PRODUCTION), TargetRule("b/data", PRODUCTION))
    for seen in history:
        plan = resolve_lineages(known, seen, rules=rules, now=NOW, new_id=ids)
        before, known = known, merged(known, plan)
        live = [one for one in seen.volumes if not one.is_leaving]
        for one in live:
            owners = [each for each in known if one.id in each.volume_ids]
            is_protected = rule_of(lineage(app=one.app, volume_name=one.name), rules) is not None
            assert len(owners) == 1 if is_protected else len(owners) <= 1
        assert_disjoint(plan, live, before)
        again = resolve_lineages(known, seen, rules=rules, now=NOW, new_id=ids)
        assert replace(again, saved=()) == replace(plan, saved=())
        assert again.saved == ()


def assert_disjoint(plan: LineagePlan, live: list[Volume], before: tuple[Lineage, ...]) -> None:
    groups = (
        [state.lineage.id for state in plan.current],
        [one.id for one in plan.gone],
        [one.id for one in plan.unseen],
    )
    named = list(chain.from_iterable(groups))
    assert len(set(named)) == len(named)
    current = [state.volume.id for state in plan.current]
    assert {*current, *(one.id for one in plan.left_behind), *(one.id for one in plan.unprotected)} == {
        one.id for one in live
    }
    assert {one.id for one in (*plan.gone, *plan.unseen)} <= {one.id for one in before}


class TestTargets:
    DATA = lineage()
    LOGS = lineage("lin_2", volume_name=VolumeName("logs"))
    TWIN = lineage("lin_3", machine_id=MachineId("m2"), machine_name="name-of-m2")

    @pytest.mark.parametrize("text", ["my-crocbot/crocbot_data", "my-crocbot/crocbot_data@m1"])
    def test_a_target_is_found_by_app_and_volume(self, text: str) -> None:
        assert resolve_target(TargetRef.parse(text), (self.DATA, self.LOGS)) == self.DATA

    def test_an_app_alone_means_its_only_volume(self) -> None:
        assert resolve_target(TargetRef.parse("my-crocbot"), (self.DATA,)) == self.DATA

    @pytest.mark.parametrize("wanted", ["m2", "name-of-m2"])
    def test_a_machine_tells_twins_apart(self, wanted: str) -> None:
        ref = TargetRef.parse(f"my-crocbot/crocbot_data@{wanted}")
        assert resolve_target(ref, (self.DATA, self.TWIN)) == self.TWIN

    def test_an_ambiguous_name_is_refused_with_the_choices(self) -> None:
        with pytest.raises(AmbiguousTargetError, match=r"crocbot_data@name-of-m1, .*crocbot_data@name-of-m2"):
            resolve_target(TargetRef.parse("my-crocbot/crocbot_data"), (self.DATA, self.TWIN, self.LOGS))

    def test_an_unknown_name_is_answered_with_the_nearest(self) -> None:
        with pytest.raises(TargetNotFoundError) as caught:
            resolve_target(TargetRef.parse("my-crocbot/crocbot_date"), (self.DATA, self.LOGS))
        assert "my-crocbot/crocbot_data" in caught.value.next_step

    def test_an_unknown_name_like_no_other_points_to_the_list(self) -> None:
        with pytest.raises(TargetNotFoundError) as caught:
            resolve_target(TargetRef.parse("zzz"), (self.DATA,))
        assert "flykeep status" in caught.value.next_step

    def test_a_retired_lineage_is_not_meant(self) -> None:
        with pytest.raises(TargetNotFoundError):
            resolve_target(TargetRef.parse("my-crocbot"), (replace(self.DATA, is_retired=True),))
