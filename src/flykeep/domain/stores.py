"""What kind of place a store is, as far as its promises go."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_PLATFORM_DOMAIN = "tigris.dev"


@dataclass(frozen=True, slots=True)
class StoreTraits:
    """What the operator says of a store, which `flykeep doctor --store` tries.

    `is_on_platform`: it is lost together with the Fly account, so that a copy there is not off the platform.
    `is_visible_to_workers`: a machine made for one export can write to it; not so the daemon's own folder.
    """

    is_lock_required: bool = False
    are_deletes_refused: bool = False
    is_on_platform: bool = False
    is_visible_to_workers: bool = True


def is_platform_endpoint(endpoint: str | None) -> bool:
    """Whether this is where the buckets are that Fly sells: Tigris, on the organization's own bill.

    Source: https://fly.io/docs/tigris/
    """
    host = (urlsplit(endpoint or "").hostname or "").rstrip(".").lower()
    return host == _PLATFORM_DOMAIN or host.endswith(f".{_PLATFORM_DOMAIN}")
