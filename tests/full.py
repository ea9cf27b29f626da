"""Marks tests that are too long for `make test`: they run where `FLYKEEP_FULL=1` is set, as the CI does."""

import os

import pytest

VARIABLE = "FLYKEEP_FULL"
IS_FULL = os.environ.get(VARIABLE) == "1"


def examples(count: int) -> int:
    """How many examples a property is tried with: `count` in the whole suite, a third of them elsewhere."""
    return count if IS_FULL else max(count // 3, 1)


def full(reason: str) -> pytest.MarkDecorator:
    """Skip, with `reason` listed, unless the whole suite is asked for."""
    return pytest.mark.skipif(not IS_FULL, reason=f"{reason}: {VARIABLE}=1 runs it, and so does .ci/run")
