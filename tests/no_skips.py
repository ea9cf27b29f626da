"""A pytest plugin: with `FLYKEEP_NO_SKIPS=1` a skip is a failure.

Loaded by `-p tests.no_skips`. A machine that has everything installed must run everything; a skip there means that a
test has quietly stopped testing. The one thing no machine can install is the published Fly shapes, which are not
shipped: tests marked `needs_shared` are left out where those are absent, and listed by name.
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "FLYKEEP_NO_SKIPS"
_LEFT_OUT = pytest.StashKey[set[str]]()


def _is_on() -> bool:
    return os.environ.get(VARIABLE) == "1"


def _has_published_shapes(root: Path) -> bool:
    return (root.parent / "shared" / "fly").is_dir()


def _reason(longrepr: object) -> str:
    if isinstance(longrepr, tuple):
        return str(longrepr[2])
    return str(longrepr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the report of a skipped test into a failure that says why it was skipped."""
    report = yield
    if _is_on() and report.skipped and not hasattr(report, "wasxfail"):
        report.longrepr = f"skipped where nothing may be skipped ({VARIABLE}=1): {_reason(report.longrepr)}"
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a whole module that skips itself."""
    report = yield
    if _is_on() and report.skipped:
        report.longrepr = f"skipped where nothing may be skipped ({VARIABLE}=1): {_reason(report.longrepr)}"
        report.outcome = "failed"
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, by name, what compares with shapes that this machine cannot have."""
    if not _is_on() or _has_published_shapes(config.rootpath):
        return
    left_out = [item for item in items if item.get_closest_marker("needs_shared")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    names = sorted(item.nodeid for item in left_out)
    config.stash.setdefault(_LEFT_OUT, set()).update(names)
    if hasattr(config, "workeroutput"):  # a process of xdist: its controller prints the list
        config.workeroutput["left_out"] = names


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Collect what the processes of xdist have left out."""
    names = getattr(node, "workeroutput", {}).get("left_out", ())
    node.config.stash.setdefault(_LEFT_OUT, set()).update(names)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """List what was left out."""
    names = config.stash.get(_LEFT_OUT, set())
    if names:
        terminalreporter.section("left out: the published Fly shapes are not on this machine")
        for name in sorted(names):
            terminalreporter.write_line(name)
