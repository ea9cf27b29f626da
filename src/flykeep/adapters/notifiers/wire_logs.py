"""Keeps HTTP libraries from logging the URLs they call: for a notifier the URL is the secret."""

from __future__ import annotations

import logging

_TALKATIVE = ("httpx", "httpcore", "urllib3", "requests")


def quiet_wire_logs() -> None:
    """From now on these libraries log errors only, at whatever level flykeep logs: below that they name URLs."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
