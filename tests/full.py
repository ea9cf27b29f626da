"""Marks tests that are too long for `make test`: they run where `FLYKEEP_FULL=1` is set, as the CI does.

Loops over every moment at which a process can die take a part of them there, and all with `FLYKEEP_FULL=all`.
"""

import os

import pytest

VARIABLE = "FLYKEEP_FULL"
IS_EXHAUSTIVE = os.environ.get(VARIABLE) == "all"
IS_FULL = IS_EXHAUSTIVE or os.environ.get(VARIABLE) == "1"


def examples(count: int) -> int:
    """How many examples a property is tried with: `count` in the whole suite, a third of them elsewhere."""
    return count if IS_FULL else max(count // 3, 1)


def stride(of_ci: int, elsewhere: int) -> int:
    """How many moments of a loop lie between two that are tried: 1 where all are asked for."""
    if IS_EXHAUSTIVE:
        return 1
    return of_ci if IS_FULL else elsewhere


def full(reason: str) -> pytest.MarkDecorator:
    """Skip, with `reason` listed, unless the whole suite is asked for."""
    return pytest.mark.skipif(not IS_FULL, reason=f"{reason}: {VARIABLE}=1 runs it, and so does .ci/run")
