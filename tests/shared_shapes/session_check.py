"""Compares every request that any simulator saw in a test session with Fly's published shapes.

Each simulator, in whatever process, appends its requests to a file in the folder that FLYKEEP_SIM_REQUEST_LOG names.
At the end of the session they are judged; one violation fails it. A request is let pass only where its sender marked
it as wrong on purpose and the simulator refused it.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flykeep.testing.flysim.serve import REQUEST_LOG_VARIABLE
from tests.shared_shapes import published

_LOG_FOLDER = pytest.StashKey[Path]()
_REPORT = pytest.StashKey[list[str]]()
_MAX_SHOWN = 30


def is_controller(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    if is_controller(config) and REQUEST_LOG_VARIABLE not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="flykeep-requests-"))
        config.stash[_LOG_FOLDER] = folder
        os.environ[REQUEST_LOG_VARIABLE] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(_LOG_FOLDER, None)
    if folder is not None:
        os.environ.pop(REQUEST_LOG_VARIABLE, None)
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if published.is_present():
        return
    reason = f"Fly's published shapes are not at {published.FOLDER}"
    for item in items:
        if item.get_closest_marker("needs_shared"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    folder = session.config.stash.get(_LOG_FOLDER, None)
    if folder is None:
        return
    records = list(logged(folder))
    if not published.is_present():
        session.config.stash[_REPORT] = [f"{len(records)} requests were not compared: no {published.FOLDER}"]
        return
    wrong = violations(records)
    session.config.stash[_REPORT] = [f"{len(records)} requests compared, {len(wrong)} violations", *wrong[:_MAX_SHOWN]]
    if wrong and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    report = config.stash.get(_REPORT, [])
    if report:
        terminalreporter.section("requests to the simulated Fly against the published shapes")
        for line in report:
            terminalreporter.write_line(line)


def logged(folder: Path) -> Iterator[dict[str, Any]]:
    """Every whole record in a folder of logs; a line that a killed simulator left unfinished ends its file."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                break


def violations(records: list[dict[str, Any]]) -> list[str]:
    """What the published shapes object to, once per kind."""
    shapes = published.published()
    found: dict[str, None] = {}
    for record in records:
        if record["is_meant_wrong"] and record["is_judged_refused"]:
            continue
        for objection in shapes.objections(record):
            found[f"{record['method']} {record['action']} {record['path']}: {objection}"] = None
    return list(found)
