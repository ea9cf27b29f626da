"""Writes the reference pages that are made from the code: `python scripts/docs.py [--check]`.

A page is a file name and a function that returns its text; to add one, write the function and name it in `pages`. With
`--check` nothing is written and the exit code tells whether a page differs from the code.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flykeep.domain import errors
from flykeep.settings import settings_reference

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE_FROM = "<!-- made by `make docs` from {source}; change it there -->"


def error_classes(module: Any = errors) -> list[type[errors.FlykeepError]]:
    """List the classes of the error tree in the order they are written in."""
    members = [member for _, member in inspect.getmembers(module, inspect.isclass)]
    tree = [member for member in members if issubclass(member, errors.FlykeepError)]
    return sorted(tree, key=lambda member: inspect.getsourcelines(member)[1])


def cell(text: str) -> str:
    """Make a text fit one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def errors_page() -> str:
    """List every error with its code, exit code, whether trying again may help, and the next step."""
    lines = [
        "# Errors",
        "",
        MADE_FROM.format(source="`flykeep.domain.errors`"),
        "",
        "Codes are stable: scripts and alerts may match on them.",
        "",
        "| code | exit code | tried again | what to do next |",
        "|---|---|---|---|",
    ]
    for kind in error_classes():
        again = "yes" if kind.is_retryable else "no"
        lines.append(f"| `{kind.code}` | {kind.exit_code} | {again} | {cell(kind.hint)} |")
    return "\n".join(lines) + "\n"


def _parameter_line(parameter: Any) -> str:
    names = parameter.name.upper() if parameter.param_type_name == "argument" else ", ".join(parameter.opts)
    needed = " (needed)" if parameter.required else ""
    return f"| `{names}`{needed} | {cell(getattr(parameter, 'help', None) or '')} |"


def _command_lines(command: Any, name: str) -> Iterator[str]:
    yield f"## `{name}`"
    yield ""
    yield inspect.cleandoc(command.help or "")
    yield ""
    if command.epilog and name == "flykeep":
        yield command.epilog
        yield ""
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    if shown:
        yield "| | |"
        yield "|---|---|"
        yield from (_parameter_line(parameter) for parameter in shown)
        yield ""
    for verb, child in sorted(getattr(command, "commands", {}).items()):
        if not child.hidden:
            yield from _command_lines(child, f"{name} {verb}")


def cli_page() -> str:
    """List every verb with its arguments and options, as the program itself explains them."""
    command = import_module("typer.main").get_command(import_module("flykeep.cli.main").app)
    head = ["# Command line", "", MADE_FROM.format(source="`flykeep.cli`"), ""]
    return "\n".join([*head, *_command_lines(command, "flykeep")]).rstrip() + "\n"


def pages() -> Mapping[str, Callable[[], str]]:
    """Return the pages there are; the command line's page begins with the command line."""
    found: dict[str, Callable[[], str]] = {"errors.md": errors_page, "settings.md": settings_reference}
    if find_spec("flykeep.cli.main") is not None:
        found["cli.md"] = cli_page
    return found


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` compare them; returns the exit code."""
    is_check = arguments == ["--check"]
    differing = 0
    for name, make in pages().items():
        path, text = REFERENCE / name, make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        differing += 1
        if is_check:
            print(f"{path.name} differs from the code: run `make docs`")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.name}")
    return 1 if is_check and differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
