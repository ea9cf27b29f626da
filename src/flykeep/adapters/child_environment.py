"""What a child process may know of this one's environment: enough to run, and none of the secrets."""

from __future__ import annotations

from collections.abc import Mapping

_PASSED_ON = (
    "PATH",
    "HOME",
    "TMPDIR",
    "TZ",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "COVERAGE_PROCESS_START",
)  # everything else stays here: the daemon's own environment holds its secrets


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of `environment` that is passed on, with output in UTF-8 and unbuffered."""
    passed = {name: environment[name] for name in _PASSED_ON if name in environment}
    return passed | {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
