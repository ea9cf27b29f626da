"""An adoption is read before it is done, and says afterwards what became part of the target."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flykeep.cli.adopt import print_done, print_plan
from flykeep.cli.context import Common, console
from flykeep.ports.catalog import MergeCounts
from tests.unit.domain.builders import volume
from tests.unit.domain.test_adoption import BEGUN, LOST, REBUILT, planned

OUT = Common(None, is_json=False, is_verbose=False)


def test_the_plan_names_both_volumes_and_what_is_taken_in(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(console(OUT), planned(LOST, BEGUN))
    goes_on, taken, rest = capsys.readouterr().out.splitlines()
    assert goes_on.startswith("  my-crocbot/crocbot_data (lineage lin_1) goes on with volume vol_9 of machine")
    assert taken.startswith("  lineage lin_9, begun for that volume on 2026-03-02 11:00 UTC, ends in it")
    assert "nothing at Fly and in no store is changed" in rest


def test_the_end_counts_what_was_taken_in_and_names_the_way_back(capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(LOST, BEGUN, volumes=(volume("vol_1", machine=None), REBUILT))
    print_done(console(OUT), plan, MergeCounts(2, 1, 0, 0))
    print_done(console(OUT), replace(plan, way_back=None), MergeCounts(0, 0, 0, 0))
    assert capsys.readouterr().out.splitlines() == [
        "my-crocbot/crocbot_data goes on; 2 runs, 1 snapshot were taken in",
        "go back: flykeep adopt lin_1 vol_1 --app my-crocbot",
        "my-crocbot/crocbot_data goes on",
    ]
