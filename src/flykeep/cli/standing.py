"""`flykeep worker stand|hand-in|report`: what flykeep runs on a worker's own machine; not for people.

Without typer and the rest of the command line, for `report` is asked for every few seconds on the smallest machines.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from flykeep.domain.errors import FlykeepError

_VERBS = ("stand", "hand-in", "report")


def is_meant(arguments: Sequence[str]) -> bool:
    """Whether these are words for `run`, after `worker`."""
    return arguments[:1] == ["worker"] and arguments[1:2] in [[verb] for verb in _VERBS]


def run(words: Sequence[str]) -> int:
    """Carry out one verb; returns the exit code."""
    given = _parsed(words)
    try:
        if given.verb == "stand":
            _stand(given.directory, given.deadline)
        elif given.verb == "hand-in":
            _hand_in(given.directory)
        else:
            _report(given.directory, given.start)
    except FlykeepError as error:
        sys.stderr.write(f"{error.code}: {error}\n next {error.next_step}\n")
        return error.exit_code
    return 0


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="flykeep worker", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in _VERBS:
        verb = verbs.add_parser(name, allow_abbrev=False)
        verb.add_argument("--directory", type=Path, required=True)
        if name == "stand":
            verb.add_argument("--deadline", type=_seconds, required=True)
        elif name == "report":
            verb.add_argument("--from", dest="start", type=_offset, required=True)
    return parser.parse_args(words)


def _seconds(text: str) -> float:
    if (value := float(text)) > 0:
        return value
    raise ValueError


def _offset(text: str) -> int:
    if (value := int(text)) >= 0:
        return value
    raise ValueError


def _stand(directory: Path, deadline_s: float) -> None:
    """Wait for one order, have it carried out, keep its report until it was read."""
    from flykeep.adapters.system import SystemClock  # noqa: PLC0415 - only this verb needs a clock and a child
    from flykeep.worker.guard import refuse_fly_tokens  # noqa: PLC0415
    from flykeep.worker.standing import Limits, Stand  # noqa: PLC0415

    refuse_fly_tokens(os.environ)
    Stand(directory, clock=SystemClock(), limits=Limits(deadline_s)).run()


def _hand_in(directory: Path) -> None:
    """Give the order on standard input to the worker that stands here."""
    from flykeep.worker.standing_calls import hand_in  # noqa: PLC0415

    _print({"accepted": hand_in(directory, sys.stdin.buffer.read())})


def _report(directory: Path, offset: int) -> None:
    """Print what the worker said from an offset on."""
    from flykeep.worker.standing_calls import report, told  # noqa: PLC0415

    found = report(directory, offset)
    _print({"offset": found.offset, "lines": found.lines, "is_over": found.is_over})
    told(directory, offset, found)


def _print(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
