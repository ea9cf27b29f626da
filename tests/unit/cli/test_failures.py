"""What ends a verb reaches a person as one error with a next step, also out of a group of tasks."""

from __future__ import annotations

import pytest

from flykeep.cli.context import Common, run_async
from flykeep.domain.errors import StateError, StoreError

QUIET = Common(config=None, is_json=False, is_verbose=False)


def test_the_first_failure_of_a_group_of_tasks_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail() -> int:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [StoreError("the disk is full")]), StateError("later")])

    assert run_async(fail, QUIET) == StoreError.exit_code
    assert "the disk is full" in capsys.readouterr().err


def test_a_defect_beside_a_failure_is_not_swallowed() -> None:
    async def fail() -> int:
        raise ExceptionGroup("outer", [StoreError("the disk is full"), ZeroDivisionError()])

    with pytest.raises(ExceptionGroup):
        run_async(fail, QUIET)
