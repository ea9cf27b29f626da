"""What every test session does."""

import signal
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.contract.store.limits_shown import pytest_show_limits
from tests.full import examples
from tests.shared_shapes import session_check
from tests.shared_shapes.session_check import (
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_unconfigure,
)

settings.register_profile("suite", max_examples=examples(100), deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("suite")

pytest_plugins = ("tests.object_stores", "tests.postgres")
"""Whose fixtures are imported by several conftests is started once for each of them."""

LONGEST = (
    "test_seed_document.py",
    "test_drills_killed.py",
    "test_snapshot_exports_killed.py",
    "test_restore_crashes.py",
    "test_restore_deaths.py",
    "test_recover.py",
    "test_recover_faults.py",
    "test_breaking.py",
    "test_container_image.py",
    "test_cli_verbs.py",
    "test_cli_exits.py",
    "test_volume_care.py",
    "test_secrets.py",
    "test_prune.py",
    "test_drill.py",
    "test_import.py",
    "test_drills.py",
    "test_cli_terminal.py",
    "test_failures.py",
    "test_daemon_killed.py",
    "test_demo.py",
    "test_cli_tutorial.py",
    "test_hard_trees.py",
    "test_selections.py",
    "test_processes.py",
    "test_ownership.py",
    "test_alerts.py",
)
"""By measure; an entry that is out of date costs seconds, nothing else."""
STORIES = (
    "test_cli_verbs.py",
    "test_cli_exits.py",
    "test_cli_terminal.py",
    "test_demo.py",
    "test_seed_document.py",
    "e2e/test_volume_care.py",
    "e2e/test_import.py",
    "e2e/test_prune.py",
)
"""Their tests ask about one long story, which is told once where they stay together."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts `&` jobs deaf to SIGINT, and children inherit that: Ctrl-C would do nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start first the modules that take longest: begun last, one alone would keep the run from ending."""
    session_check.pytest_collection_modifyitems(items)
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


class ByStory(LoadScopeScheduling):
    """Each test goes to whoever is free, a story's tests to one process.

    xdist's own groups do not work with pytest 9.2, which does not let it rename tests.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if module.endswith(STORIES) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStory:
    return ByStory(config, log)


__all__ = [
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_sessionfinish",
    "pytest_show_limits",
    "pytest_terminal_summary",
    "pytest_unconfigure",
    "pytest_xdist_make_scheduler",
]
