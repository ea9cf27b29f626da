"""What a person reads of a recovery: the plan before it, the result after it, and never a value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flykeep.cli.context import Common
from flykeep.cli.recover import _print_plan, _print_result, _text, plan_document
from flykeep.domain.documents import to_json
from flykeep.domain.errors import ConfigError
from flykeep.domain.ids import LineageId, MachineId, RunId, VolumeId
from flykeep.domain.policy import JobKind
from flykeep.domain.recover_plan import RecoverWish
from flykeep.domain.recovery import RecoveredMachine, RecoveredVolume, RecoverResult
from flykeep.domain.run import Outcome, Run, RunState, Slot
from tests.unit.domain.builders import NOW
from tests.unit.domain.test_recover_plan import APP, NEW, candidate, planned

OPTIONS = Common(config=None, is_json=False, is_verbose=False)


def test_a_plan_says_what_is_missing_what_is_new_and_where_data_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(candidate("a"), wish=RecoverWish(APP, NEW, secrets=frozenset({"EXTRA"})))
    _print_plan(OPTIONS, plan)
    shown = capsys.readouterr().out
    for wanted in (
        "my-crocbot as it was at 2026-03-02 12:00 UTC",
        "app my-crocbot-2: made, organization personal, network default",
        "set all the same: EXTRA",
        "MISSING: BOT_TOKEN",
        "volume crocbot_data: 3 GB in fra, artifact a of 2026-03-01 12:00 UTC",
        "machine croc-1 in fra: registry.fly.io/my-crocbot@sha256:",
        "costs 0.45 USD a month",
        "refused: the file lacks secrets that the app had: BOT_TOKEN",
    ):
        assert wanted in shown
    assert "planted-value" not in shown + str(plan_document(plan))


def test_a_bare_plan_of_an_app_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(wish=RecoverWish(APP, APP, is_bare=True))
    described = replace(plan.described, network=None)
    _print_plan(OPTIONS, replace(plan, described=described, is_app_made=False, addresses=()))
    shown = capsys.readouterr().out
    assert "app my-crocbot: there already, organization personal\n" in shown
    assert "machines: none, by --no-machines" in shown
    assert "secrets: none" in shown
    assert "addresses: none" in shown
    document = plan_document(plan)
    assert document["volumes"] == [
        {
            "name": "crocbot_data",
            "lost_id": "vol_1",
            "region": "fra",
            "size_gb": 3,
            "source": None,
            "source_id": None,
            "as_of": None,
        }
    ]


def test_a_result_names_what_is_not_well_and_what_is_left_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    result = RecoverResult(
        app=APP,
        name=NEW,
        volumes=(RecoveredVolume("crocbot_data", VolumeId("vol_1"), VolumeId("vol_2"), "ams", "artifact a"),),
        machines=(RecoveredMachine("croc-1", MachineId("m1"), MachineId("n1"), "it is 'failed'", is_well=False),),
        addresses=(),
        secrets=("BOT_TOKEN",),
        warnings=(),
        by_hand=("DNS: let it point there",),
    )
    run = Run(
        RunId("r"), JobKind.RECOVER, LineageId("recover:my-crocbot"), Slot("manual:r"), RunState.DEGRADED, NOW, NOW
    )
    _print_result(OPTIONS, run)
    assert capsys.readouterr().out == ""
    _print_result(OPTIONS, replace(run, outcome=Outcome(RunState.DEGRADED, to_json(result))))
    shown = capsys.readouterr().out
    for wanted in (
        "my-crocbot is rebuilt as my-crocbot-2",
        "volume crocbot_data vol_2 in ams: artifact a",
        "machine croc-1 n1: it is 'failed'",
        "addresses: none",
        "by hand now:\n  DNS: let it point there",
    ):
        assert wanted in shown


def test_a_file_that_cannot_be_read_is_named_and_nothing_of_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        _text(tmp_path / "none.env")
    (tmp_path / "odd.env").write_bytes(b"A=planted\xff")
    with pytest.raises(ConfigError, match="UnicodeDecodeError") as refused:
        _text(tmp_path / "odd.env")
    assert "planted" not in f"{refused.value} {refused.value.__cause__}"
