"""Public and private addresses of apps."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from flykeep.testing.flysim.model import Address, App, Refusal

_PATTERNS: Final = {
    "shared_v4": "66.241.{high}.{low}",
    "v4": "37.16.{high}.{low}",
    "v6": "2a09:8280:1::{high:x}:{low:x}",
    "private_v6": "fdaa:2:9:0:1::{high:x}{low:02x}",
}


def assign(app: App, *kinds: str, now: datetime, region: str = "global") -> list[Address]:
    """Give an app an address of each kind, never one that an app of another number has."""
    made = []
    for kind in kinds:
        if kind not in _PATTERNS:
            raise Refusal(422, f"invalid_argument: unknown address type {kind!r}")
        address = _PATTERNS[kind].format(high=app.number % 250 + 1, low=app.next_address)
        app.next_address += 1
        made.append(Address(address, kind, region, now))
    app.addresses.extend(made)
    return made
