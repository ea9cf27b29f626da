"""A person continues a lost target with the volume of its rebuilt app; what is not lost is not taken over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.adoption import AdoptionPlan, AdoptionWish, merged_slot_key, plan_adoption
from flykeep.domain.errors import AmbiguousTargetError, FlykeepError, RefusalError, TargetNotFoundError
from flykeep.domain.fly import Inventory, Machine, Volume
from flykeep.domain.ids import AppName, LineageId, MachineId, RunId, VolumeId, VolumeName
from flykeep.domain.lineages import resolve_lineages
from flykeep.domain.policy import TargetRule
from flykeep.domain.presets import PRODUCTION
from flykeep.domain.scratch import volume_name
from flykeep.domain.target import Lineage
from tests.unit.domain.builders import DAY, HOUR, NOW, inventory, lineage, machine, volume

TARGET = "my-crocbot/crocbot_data"
RULES = (TargetRule("*/*", PRODUCTION),)
LOST = lineage(volume_ids=(VolumeId("vol_0"), VolumeId("vol_1")), last_seen_at=NOW - 2 * HOUR)
REBUILT = volume("vol_9", machine="m9", created_at=NOW - HOUR)
ITS_MACHINE = machine("m9", mounts=("vol_9",))
BEGUN = lineage(
    "lin_9",
    machine_id=MachineId("m9"),
    machine_name="name-of-m9",
    volume_ids=(VolumeId("vol_9"),),
    first_seen_at=NOW - HOUR,
)
BY_VOLUME = AdoptionWish(volume_id=VolumeId("vol_9"))


def planned(
    *known: Lineage,
    wish: AdoptionWish = BY_VOLUME,
    text: str = TARGET,
    volumes: tuple[Volume, ...] = (REBUILT,),
    machines: tuple[Machine, ...] = (ITS_MACHINE,),
    missing: tuple[str, ...] = (),
    rules: tuple[TargetRule, ...] = RULES,
) -> AdoptionPlan:
    return plan_adoption(text, wish, known or (LOST,), inventory(*volumes, machines=machines, missing=missing), rules)


def refusal(*known: Lineage, **facts: Any) -> FlykeepError:
    with pytest.raises((RefusalError, TargetNotFoundError, AmbiguousTargetError)) as caught:
        planned(*known, **facts)
    return caught.value


@pytest.mark.parametrize("wish", [BY_VOLUME, AdoptionWish(machine_id=MachineId("m9"))], ids=["volume", "machine"])
def test_a_lost_target_goes_on_with_the_new_volume_and_machine(wish: AdoptionWish) -> None:
    plan = planned(wish=wish)
    assert (plan.after.id, plan.after.volume_ids) == ("lin_1", ("vol_0", "vol_1", "vol_9"))
    assert (plan.after.machine_id, plan.after.machine_name) == ("m9", "name-of-m9")
    assert (plan.after.first_seen_at, plan.merged, plan.way_back) == (LOST.first_seen_at, None, None)
    assert "volume vol_9 of machine name-of-m9, in place of vol_1 of machine name-of-m1" in plan.reasons[0]


def test_what_a_check_began_meanwhile_is_taken_in() -> None:
    plan = planned(LOST, BEGUN)
    assert plan.merged == BEGUN
    assert plan.after.volume_ids == ("vol_0", "vol_1", "vol_9")
    assert plan.after.last_seen_at == BEGUN.last_seen_at
    assert any("lineage lin_9, begun for that volume on" in reason for reason in plan.reasons)


def test_a_machine_whose_mounts_are_not_listed_is_known_by_what_is_attached_to_it() -> None:
    plan = planned(wish=AdoptionWish(machine_id=MachineId("m9")), machines=(machine("m9"),))
    assert plan.volume == REBUILT
    assert plan.machine == machine("m9")


def test_a_volume_without_a_machine_can_be_adopted_too() -> None:
    plan = planned(volumes=(replace(REBUILT, attached_machine_id=None),), machines=())
    assert (plan.machine, plan.after.machine_id, plan.after.machine_name) == (None, None, None)
    assert "of machine -" in plan.reasons[0]
    unseen = planned(machines=())
    assert (unseen.machine, unseen.after.machine_id) == (None, "m9")


def test_an_old_volume_left_without_a_machine_is_the_way_back() -> None:
    old = volume("vol_1", machine=None)
    plan = planned(LOST, BEGUN, volumes=(old, REBUILT))
    assert plan.way_back == "flykeep adopt lin_1 vol_1 --app my-crocbot"
    after = (plan.after,)
    back = planned(
        *after,
        wish=AdoptionWish(VolumeId("vol_1")),
        volumes=(old, replace(REBUILT, attached_machine_id=None)),
        machines=(),
    )
    assert back.after.volume_ids == ("vol_0", "vol_9", "vol_1")


def test_the_target_may_be_named_by_its_own_id() -> None:
    assert planned(LOST, BEGUN, text="lin_1").before == LOST


def test_an_app_of_another_name_must_be_named() -> None:
    moved = replace(REBUILT, app=AppName("crocbot-2"), name=VolumeName("data"))
    holder = machine("m9", app=AppName("crocbot-2"), mounts=("vol_9",))
    error = refusal(volumes=(moved,), machines=(holder,))
    assert error.next_step == "If the app was rebuilt under another name, add --app crocbot-2."
    wish = replace(BY_VOLUME, app=AppName("crocbot-2"))
    plan = planned(wish=wish, volumes=(moved,), machines=(holder,))
    assert (plan.after.app, plan.after.volume_name) == ("crocbot-2", "data")
    assert "from now on it is called crocbot-2/data" in plan.reasons
    error = refusal(wish=wish, volumes=(moved,), machines=(holder,), rules=(TargetRule("my-*/*", PRODUCTION),))
    assert "no target of the configuration matches crocbot-2/data" in error.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "pending_destroy"}, "on its way out"),
        ({"name": VolumeName(volume_name(RunId("01M89JCGC7EJ71Y2AP6JQXZKMX"), 1))}, "temporary"),
    ],
)
def test_a_volume_that_will_not_last_is_refused(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(volumes=(replace(REBUILT, **changes),)).message


def test_what_does_not_exist_is_said() -> None:
    assert "no volume vol_8" in refusal(wish=AdoptionWish(VolumeId("vol_8"))).message
    assert "no machine m8" in refusal(wish=AdoptionWish(machine_id=MachineId("m8"))).message
    bare = machine("m7")
    assert "machine m7 mounts 0 volumes" in refusal(wish=AdoptionWish(machine_id=bare.id), machines=(bare,)).message
    assert isinstance(refusal(text="other/data"), TargetNotFoundError)


def test_its_own_volume_is_not_adopted_again() -> None:
    mine = volume("vol_1", machine=None)
    error = refusal(wish=AdoptionWish(mine.id), volumes=(mine,))
    assert "is the volume of my-crocbot/crocbot_data already, and no other target" in error.message
    error = refusal(wish=AdoptionWish(mine.id), volumes=(mine,), text="lin_1")
    assert error.message == "volume vol_1 is the volume of my-crocbot/crocbot_data already"
    error = refusal(wish=AdoptionWish(mine.id), volumes=(mine,), text="another/data")
    assert isinstance(error, TargetNotFoundError)


@pytest.mark.parametrize("mounts", [("vol_1",), ()], ids=["mounted", "attached"])
def test_a_target_that_still_lives_is_not_moved_away_from_its_volume(mounts: tuple[str, ...]) -> None:
    living = machine("m1", mounts=mounts)
    error = refusal(LOST, BEGUN, volumes=(volume("vol_1"), REBUILT), machines=(living, ITS_MACHINE), text="lin_1")
    assert "still lives: machine m1 holds its volume vol_1" in error.message


def test_where_fly_does_not_show_everything_nobody_is_called_lost() -> None:
    error = refusal(LOST, BEGUN, missing=("fra",))
    assert "Fly does not say now what there is in fra" in error.message


def test_another_living_target_is_not_taken_in() -> None:
    older = replace(BEGUN, first_seen_at=LOST.first_seen_at - DAY)
    assert "a living target of its own" in refusal(LOST, older).message
    beside = replace(BEGUN, first_seen_at=LOST.last_seen_at - 3 * DAY)
    assert "a living target of its own" in refusal(LOST, beside).message
    overlapping = replace(BEGUN, first_seen_at=LOST.last_seen_at - HOUR)
    assert planned(LOST, overlapping).merged == overlapping


def test_retired_targets_are_neither_taken_in_nor_continued() -> None:
    retired = replace(BEGUN, is_retired=True)
    assert refusal(LOST, retired).next_step == "Bring it back with `flykeep resume lin_9` if it lives again."
    gone = replace(LOST, is_retired=True)
    assert refusal(gone, BEGUN, text="lin_1").next_step == "Bring it back first: `flykeep resume lin_1`."


def test_several_lost_targets_of_one_name_are_told_apart_by_their_ids() -> None:
    other = replace(LOST, id=LineageId("lin_2"), machine_id=MachineId("m2"), machine_name="name-of-m2")
    error = refusal(LOST, other, BEGUN)
    assert "lin_1" in error.next_step
    assert "lin_2" in error.next_step
    assert planned(LOST, other, BEGUN, text="lin_2").before == other
    assert planned(LOST, other, BEGUN, text=f"{TARGET}@name-of-m2").before == other


def test_a_holder_whose_rule_is_gone_is_still_known_by_its_volume() -> None:
    elsewhere = replace(BEGUN, app=AppName("outside"), first_seen_at=NOW - HOUR)
    moved = replace(REBUILT, app=AppName("outside"))
    wish = replace(BY_VOLUME, app=AppName("outside"))
    error = refusal(
        LOST, elsewhere, wish=wish, volumes=(moved,), machines=(), rules=(TargetRule("my-*/*", PRODUCTION),)
    )
    assert "no target of the configuration matches" in error.message


def test_the_next_check_sees_one_target_and_nothing_new() -> None:
    plan = planned(LOST, BEGUN)
    seen: Inventory = inventory(REBUILT, machines=(ITS_MACHINE,))
    found = resolve_lineages((plan.after,), seen, rules=RULES, now=NOW, new_id=lambda: "new")
    assert [state.lineage.id for state in found.current] == ["lin_1"]
    assert found.current[0].lineage.volume_ids == plan.after.volume_ids
    assert (found.gone, found.left_behind, found.unprotected) == ((), (), ())


KEYS = st.builds(
    lambda day, attempt: f"2026-03-0{day}T04:00:00Z" + (f"~{attempt}" if attempt > 1 else ""),
    st.integers(1, 2),
    st.integers(1, 4),
)


@given(st.sets(KEYS, max_size=6), st.lists(KEYS, max_size=6, unique=True))
def test_every_run_keeps_its_slot_and_none_takes_anothers_place(taken: set[str], joining: list[str]) -> None:
    there = set(taken)
    for key in joining:
        found = merged_slot_key(key, frozenset(there))
        assert found not in there
        assert found.partition("~")[0] == key.partition("~")[0]
        assert found == key or key in there
        there.add(found)
