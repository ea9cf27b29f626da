"""Reads Authorization as Fly does and finds what it grants."""

from __future__ import annotations

from flykeep.testing.flysim.model import TokenGrant
from flykeep.testing.flysim.world import World

_SCHEMES = ("bearer ", "flyv1 ")


def macaroons(header: str) -> list[str]:
    """The macaroons of an Authorization value; empty where it names no scheme."""
    rest = header.strip()
    has_scheme = False
    while rest.lower().startswith(_SCHEMES):
        has_scheme = True
        rest = rest.split(" ", 1)[1].strip()
    if not has_scheme:
        return []
    return [part.strip() for part in rest.split(",") if part.strip().startswith(("fm2_", "fm1r_", "fm1a_"))]


def find_grant(world: World, header: str) -> TokenGrant | None:
    """The grant whose macaroons are all there and which has not expired."""
    offered = set(macaroons(header))
    for grant in world.tokens:
        is_alive = grant.expires_at is None or grant.expires_at > world.now()
        if is_alive and offered and set(grant.macaroons) <= offered:
            return grant
    return None
