"""What every test session does."""

import signal

from tests.contract.store.limits_shown import pytest_show_limits
from tests.shared_shapes.session_check import (
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_unconfigure,
)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts `&` jobs deaf to SIGINT, and children inherit that: Ctrl-C would do nothing.
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_sessionfinish",
    "pytest_show_limits",
    "pytest_terminal_summary",
    "pytest_unconfigure",
]
