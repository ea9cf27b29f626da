"""Lists at the end of a session what the S3 servers of these tests cannot do, with the reasons."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookimpl(specname="pytest_terminal_summary")
def pytest_show_limits(terminalreporter: Any) -> None:
    reports = terminalreporter.stats.get("passed", [])
    limits = {value for report in reports for name, value in report.user_properties if name == "limit"}
    if limits:
        terminalreporter.section("what the S3 servers of the store contract cannot do, each seen to be so")
        for limit in sorted(limits):
            terminalreporter.write_line(limit)
