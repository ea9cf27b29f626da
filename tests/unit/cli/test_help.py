"""What every verb says of itself, and how little it loads to say it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from flykeep.cli.main import EXIT_CODES, app

HEAVY = ("sqlalchemy", "apprise", "obstore", "asyncssh", "httpx", "alembic", "apscheduler", "pydantic_settings")


def verbs(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    command = command or get_command(app)
    if words:
        yield words, command
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from verbs(child, (*words, name))


VERBS = list(verbs())
IDS = [" ".join(words) for words, _ in VERBS]


@pytest.mark.parametrize(("words", "command"), VERBS, ids=IDS)
def test_help_is_whole_sentences_and_ends_with_the_exit_codes(words: tuple[str, ...], command: Any) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"])

    assert shown.exit_code == 0
    assert " ".join(shown.stdout.split()).endswith(EXIT_CODES)
    sentences = [command.help, *(one.help for one in command.params if one.name != "help")]
    assert [text for text in sentences if not text or not text.strip().endswith(".")] == []


@pytest.mark.parametrize("words", [(), ("export",), ("demo",)], ids=lambda words: " ".join(words) or "flykeep")
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    program = (
        "import sys\n"
        "from flykeep.cli.main import run_command_line\n"
        f"code = run_command_line([*{words!r}, '--help'])\n"
        f"print(code, sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stderr.strip() == "0 []"
    assert "Usage:" in ended.stdout
