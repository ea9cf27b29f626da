"""What every test session does."""

import signal

import pytest

from tests.contract.store.limits_shown import pytest_show_limits
from tests.shared_shapes import session_check
from tests.shared_shapes.session_check import (
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_unconfigure,
)

LONGEST = (
    "test_secrets.py",
    "test_cli_exits.py",
    "test_failures.py",
    "test_cli_verbs.py",
    "test_selections.py",
    "test_daemon_killed.py",
    "test_snapshot.py",
    "test_processes.py",
    "test_ownership.py",
    "test_cli_terminal.py",
    "test_reading_back.py",
    "test_demo.py",
    "test_alerts.py",
)
"""By measure; an entry that is out of date costs seconds, nothing else."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts `&` jobs deaf to SIGINT, and children inherit that: Ctrl-C would do nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start first the modules that take longest: begun last, one alone would keep the run from ending."""
    session_check.pytest_collection_modifyitems(items)
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


__all__ = [
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_sessionfinish",
    "pytest_show_limits",
    "pytest_terminal_summary",
    "pytest_unconfigure",
]
