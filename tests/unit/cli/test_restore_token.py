"""A second token for one run: read where it is one, and shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from flykeep.cli.restore_token import asked_token, is_for_want_of_rights, token_of_file
from flykeep.domain.errors import UsageError
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Failure, Outcome, Run, RunState, Slot
from tests.unit.domain.builders import NOW

TOKEN = "FlyV1 fm2_planted,fm2_discharge"


def test_the_token_is_the_one_line_of_its_file_and_hides_itself(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    token = token_of_file(path)
    assert token.get_secret_value() == TOKEN
    assert "planted" not in repr(token)


@pytest.mark.parametrize("text", ["", "\n", "fm2_one\nfm2_two"])
def test_a_file_that_holds_no_token_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        token_of_file(path)
    assert "fm2_" not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        token_of_file(tmp_path / "none")


def test_a_person_is_asked_only_where_fly_refused_the_token_and_somebody_is_there() -> None:
    def ended(code: str) -> Run:
        outcome = Outcome(RunState.FAILED, failure=Failure(code, "", "", 5))
        return Run(RunId("r"), JobKind.RESTORE, LineageId("l"), Slot("x"), RunState.FAILED, NOW, NOW, outcome=outcome)

    assert is_for_want_of_rights(ended("fly.forbidden"))
    assert not is_for_want_of_rights(ended("fly.capacity"))
    assert asked_token() is None  # no terminal here
