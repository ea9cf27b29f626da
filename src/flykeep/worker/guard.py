"""What a worker must not hold: it opens foreign volumes, and needs no word with Fly."""

from __future__ import annotations

from collections.abc import Mapping

from flykeep.domain.errors import RefusalError

_FLY_TOKENS = ("FLY_API_TOKEN", "FLY_ACCESS_TOKEN")


def refuse_fly_tokens(environment: Mapping[str, str]) -> None:
    """Raise RefusalError where a token of Fly is set, be it empty."""
    found = [name for name in _FLY_TOKENS if name in environment]
    if found:
        raise RefusalError(
            f"a worker must not hold {' and '.join(found)}",
            hint="Remove it from the worker's environment: the app that workers run in needs no secrets at all.",
        )
