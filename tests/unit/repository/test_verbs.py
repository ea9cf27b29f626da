"""The verbs of the Makefile exist, do what they are named for, and are what the README and the CI run call."""

import os
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
COMMANDS = {
    "setup": "scripts/setup.sh",
    "demo": ".venv/bin/flykeep demo",
    "test": ".venv/bin/python -m pytest -n 6 --no-loadscope-reorder -p tests.no_skips",
    "bench": ".venv/bin/python benchmarks/run.py",
    "docs": ".venv/bin/python scripts/docs.py",
    "lock": "scripts/lock.sh",
}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("verb", "command"), COMMANDS.items())
def test_each_verb_runs_its_command(verb: str, command: str) -> None:
    # --always-make: the environment of this machine must not hide what a fresh clone would do.
    done = make("--dry-run", "--always-make", verb)

    assert done.returncode == 0, done.stderr
    assert command in done.stdout
    assert verb == "lock" or "scripts/setup.sh" in done.stdout


def test_check_holds_lint_format_types_import_contracts_and_sizes() -> None:
    lines = make("--dry-run", "check").stdout

    for command in ("ruff check .", "ruff format --check .", "bin/mypy", "bin/lint-imports", "scripts/size_gate.py"):
        assert command in lines


def test_the_readme_and_the_ci_run_call_the_same_test_command() -> None:
    ci_run = (PROJECT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")

    assert [line for line in ci_run[-4:] if not line.startswith("#")] == [
        "make setup",
        "make check",
        "FLYKEEP_NO_SKIPS=1 FLYKEEP_FULL=1 make test",
    ]
    assert "make demo" in readme
    assert "make test" in readme


@pytest.mark.parametrize("name", [".ci/run", "scripts/setup.sh", "scripts/lock.sh"])
def test_each_script_is_executable_strict_and_well_formed(name: str) -> None:
    path = PROJECT / name

    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


@pytest.mark.parametrize("stub", ["#!/bin/sh\nexit 1\n", None])
def test_an_old_or_absent_python_is_refused_with_the_way_out(tmp_path: Path, stub: str | None) -> None:
    python = tmp_path / "python"
    if stub is not None:
        python.write_text(stub, encoding="utf-8")
        python.chmod(0o755)

    done = subprocess.run(
        [PROJECT / "scripts" / "setup.sh"],
        env=os.environ | {"PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "make setup PYTHON=" in done.stderr


def test_every_verb_is_explained_by_make_help() -> None:
    text = (PROJECT / "Makefile").read_text(encoding="utf-8")
    [declared] = re.findall(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)
    explained = [line.split()[0] for line in make("help").stdout.splitlines()]

    assert sorted(explained) == sorted(declared.split())
