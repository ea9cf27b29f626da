"""What rebuilding an app takes: sources, order, refusals, costs, and what is left for a person."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flykeep.domain.app_description import AddressKind, DescribedAddress, canonical_config
from flykeep.domain.candidates import Candidate, CandidateKind
from flykeep.domain.ids import AppName, MachineId, VolumeId
from flykeep.domain.recover_plan import (
    RecoverFacts,
    RecoverPlan,
    RecoverWish,
    Standing,
    VolumeBackup,
    by_hand,
    newest_source,
    plan_recovery,
    source_text,
)
from flykeep.domain.recovery import is_launched_at_once, may_stop_itself, new_config
from tests.unit.domain.builders import DAY, HOUR, NOW
from tests.unit.domain.test_app_description import CONFIG, DESCRIBED, MACHINE, VOLUME

APP, NEW = AppName("my-crocbot"), AppName("my-crocbot-2")
GIVEN = frozenset({"BOT_TOKEN"})


def candidate(id: str, kind: CandidateKind = CandidateKind.ARTIFACT, **changes: Any) -> Candidate:  # noqa: A002
    fields: dict[str, Any] = {
        "kind": kind,
        "id": id,
        "as_of_at": NOW - DAY,
        "until_at": NOW - DAY,
        "volume_id": VolumeId("vol_1"),
        "places": ("offsite",),
        "size_bytes": 1,
        "stored_bytes": 1,
    }
    return Candidate(**(fields | changes))


def planned(*candidates: Candidate, wish: RecoverWish | None = None, **changes: Any) -> RecoverPlan:
    wish = wish or RecoverWish(APP, APP, secrets=GIVEN)
    facts: dict[str, Any] = {
        "described": DESCRIBED,
        "standing": dict.fromkeys((APP, NEW), Standing.ABSENT),
        "backups": {VOLUME.id: VolumeBackup(None, candidates)},
    }
    return plan_recovery(wish, RecoverFacts(**(facts | changes)))


SNAPSHOT = candidate("vs_1", CandidateKind.SNAPSHOT, size_bytes=7 << 30, as_of_at=NOW - 3 * DAY)


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ((candidate("a"), SNAPSHOT), "vs_1"),
        ((candidate("a"), replace(SNAPSHOT, is_listed=False)), "a"),
        ((candidate("a"), replace(SNAPSHOT, why_not="gone")), "a"),
        ((candidate("a"), candidate("b", as_of_at=NOW - HOUR)), "b"),
        ((candidate("a"), candidate("b", as_of_at=NOW - HOUR, doubt="its drill failed")), "a"),
        ((candidate("a", doubt="live"), candidate("b", why_not="it failed its last verification")), "a"),
        ((candidate("a", why_not="gone"),), None),
        ((), None),
    ],
)
def test_the_best_that_is_left_is_taken(candidates: tuple[Candidate, ...], chosen: str | None) -> None:
    found = newest_source(candidates)
    assert (found.id if found else None) == chosen


def test_a_volume_is_as_large_as_it_was_and_as_its_snapshot_wants() -> None:
    (volume,) = planned(candidate("a")).volumes
    assert (volume.size_gb, volume.is_from_artifact) == (3, True)
    assert replace(volume, least_gb=9).size_gb == 9
    (volume,) = planned(SNAPSHOT).volumes
    assert (volume.size_gb, volume.is_from_artifact) == (7, False)
    assert source_text(volume) == "snapshot vs_1 of 2026-02-27 12:00 UTC"


def test_costs_are_those_of_volumes_and_dedicated_addresses() -> None:
    described = replace(DESCRIBED, addresses=(DescribedAddress("37.16.1.1", AddressKind.V4), *DESCRIBED.addresses))
    assert planned(described=described).cents_a_month == 3 * 15 + 200


def test_a_doubtful_backup_is_warned_of_and_so_is_an_image_of_the_lost_registry() -> None:
    warnings = planned(candidate("a", doubt="it was read while in use")).warnings
    assert any("only a doubtful backup is left: it was read while in use" in text for text in warnings)
    assert any("lived in the lost app's own registry" in text for text in warnings)
    assert not any("fly.dev" in text or "egress" in text for text in warnings)
    bare = planned(candidate("a"), wish=RecoverWish(APP, APP, is_bare=True, secrets=GIVEN))
    assert bare.warnings == ()
    assert bare.machines == ()


def test_what_was_never_exported_is_told() -> None:
    warnings = planned(candidate("a", paths=("agents/**", "crocbot.json"))).warnings
    told = [text for text in warnings if "crocbot_data" in text]
    assert told == ["volume crocbot_data comes back with agents/**, crocbot.json only: nothing else was exported"]


def test_gaps_are_told() -> None:
    plan = planned(candidate("a"), described=replace(DESCRIBED, gaps=("secrets",)))
    assert plan.warnings[0] == "not known, so not rebuilt: secrets"


@pytest.mark.parametrize(
    ("standing", "name", "is_begun", "refusal"),
    [
        ({APP: Standing.ABSENT}, APP, False, None),
        ({APP: Standing.EMPTY}, APP, False, None),
        ({APP: Standing.ALIVE}, APP, False, "it is not lost"),
        ({APP: Standing.ALIVE}, APP, True, None),
        ({APP: Standing.ALIVE}, NEW, True, "it is not lost"),
        ({APP: Standing.FOREIGN}, APP, False, "belongs to somebody else"),
        ({APP: Standing.FOREIGN}, NEW, False, None),
        ({NEW: Standing.EMPTY}, NEW, False, "did not make it"),
        ({NEW: Standing.ALIVE}, NEW, True, None),
    ],
)
def test_what_exists_decides(
    standing: dict[AppName, Standing], name: AppName, is_begun: bool, refusal: str | None
) -> None:
    known = dict.fromkeys((APP, NEW), Standing.ABSENT) | standing
    plan = planned(standing=known, is_begun=is_begun, wish=RecoverWish(APP, name, secrets=GIVEN))
    assert (refusal is None) == (plan.refusals == ())
    assert refusal is None or refusal in plan.refusals[0]


def test_a_machine_whose_volume_nobody_knows_is_left_to_a_deploy() -> None:
    described = replace(DESCRIBED, volumes=())
    plan = planned(described=described)
    assert plan.refusals == ("nothing is known of the volumes that these machines mount: croc-1",)
    assert plan.hint == "Use --no-machines, then `fly deploy`."
    assert planned(described=described, wish=RecoverWish(APP, APP, is_bare=True, secrets=GIVEN)).refusals == ()


def test_names_of_secrets_are_compared_both_ways() -> None:
    plan = planned(wish=RecoverWish(APP, APP, secrets=frozenset({"NEW_ONE"})))
    assert (plan.secrets.missing, plan.secrets.extra) == (("BOT_TOKEN",), ("NEW_ONE",))
    assert plan.hint is not None
    assert "may be empty" in plan.hint


def test_the_organization_is_the_old_one_unless_another_is_named() -> None:
    assert planned().org == "personal"
    assert planned(wish=RecoverWish(APP, APP, org="acme", secrets=GIVEN)).org == "acme"


def test_by_hand_names_hosts_and_new_addresses() -> None:
    addresses = (
        DescribedAddress("66.241.1.2", AddressKind.SHARED_V4, is_shared=True),
        DescribedAddress("2a09::1", AddressKind.V6),
        DescribedAddress("fdaa::1", AddressKind.PRIVATE_V6),
    )
    steps = by_hand(planned(), addresses)
    assert "let bot.example.com point to A 66.241.1.2, AAAA 2a09::1 (" in steps[0]
    assert "the new addresses" in by_hand(planned(), ())[0]
    assert not any("targets" in step for step in steps)


def test_a_configuration_moves_and_forgets_the_release_it_came_from() -> None:
    config = CONFIG | {"metadata": {"fly_release_id": "x", "fly_release_version": "3", "mine": "y"}}
    machine = replace(MACHINE, config_json=canonical_config(config))
    moved = json.loads(new_config(machine, volume_id=VolumeId("vol_new"), made={}))
    assert moved["mounts"] == [{"volume": "vol_new", "path": "/data", "name": "crocbot_data"}]
    assert moved["metadata"] == {"mine": "y"}
    assert {name: value for name, value in moved.items() if name not in {"mounts", "metadata"}} == {
        "image": CONFIG["image"],
        "env": CONFIG["env"],
    }
    bare = replace(MACHINE, config_json=canonical_config({"image": "x", "standbys": ["m1", "m9"]}))
    assert json.loads(new_config(bare, volume_id=None, made={MachineId("m1"): MachineId("n1")})) == {
        "image": "x",
        "standbys": ["n1"],
    }


@pytest.mark.parametrize(
    ("config", "is_launched", "may_stop"),
    [
        ({}, True, False),
        ({"schedule": "hourly"}, False, False),
        ({"standbys": ["m"]}, False, False),
        ({"services": [{"autostop": "suspend"}]}, True, True),
        ({"services": [{"autostop": False}, {"autostop": "off"}, "odd"]}, True, False),
    ],
)
def test_a_configuration_tells_how_its_machine_lives(config: dict[str, Any], is_launched: bool, may_stop: bool) -> None:
    machine = replace(MACHINE, config_json=canonical_config(config))
    assert (is_launched_at_once(machine), may_stop_itself(machine)) == (is_launched, may_stop)
