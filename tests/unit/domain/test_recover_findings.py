"""A half-built app is found for as long as something of it may be there, with the command that goes on."""

from __future__ import annotations

from dataclasses import replace

from flykeep.domain.compliance_org import OrgFacts, evaluate_org
from flykeep.domain.findings import FindingCode
from flykeep.domain.fly import Inventory
from flykeep.domain.ids import AppName, MachineId, RunId, VolumeId
from flykeep.domain.recover_findings import HalfRecovery, with_half_recoveries
from tests.unit.domain.builders import NOW, inventory, machine, volume

HALF = HalfRecovery(
    AppName("wiki"), AppName("wiki-2"), "personal", RunId("r1"), NOW, frozenset({VolumeId("vol_1"), MachineId("m1")})
)


def steps(half: HalfRecovery, seen: Inventory | None) -> list[str]:
    org = evaluate_org(OrgFacts("personal", seen), now=NOW)
    found = with_half_recoveries(org, (half,), seen, of="personal").findings
    return [one.next_step for one in found if one.code is FindingCode.RECOVER_HALF_DONE]


def test_the_next_step_is_the_command_that_goes_on() -> None:
    assert steps(HALF, None) == ["flykeep recover wiki --as wiki-2 --secrets FILE"]
    assert steps(replace(HALF, name=HALF.app), None) == ["flykeep recover wiki --secrets FILE"]
    assert steps(replace(HALF, name=HALF.app, org="acme"), None) == ["flykeep recover wiki --org acme --secrets FILE"]


def test_it_is_over_once_all_that_was_made_is_seen_to_be_gone() -> None:
    assert steps(HALF, inventory()) == []
    assert len(steps(HALF, inventory(volume("vol_1")))) == 1
    assert len(steps(HALF, inventory(machines=(machine("m1"),)))) == 1
    assert len(steps(HALF, inventory(missing=("ams",)))) == 1
    assert len(steps(replace(HALF, org="acme"), inventory())) == 1
    assert len(steps(replace(HALF, made=frozenset()), inventory())) == 1
