"""A token setting taken apart, and the Authorization header each of Fly's two APIs wants.

Pure: nothing here sends anything. Source: fly-go, tokens/tokens.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SCHEME = re.compile(r"^\s*(?:bearer|flyv1)\s+", re.IGNORECASE)
_MACAROON_PREFIXES = ("fm1r_", "fm1a_", "fm2_")
_ANY_MACAROON = re.compile(r"fm(?:1r|1a|2)_[A-Za-z0-9+/=_-]+")
_REDACTED = "[redacted]"
_SHORTEST_SECRET = 6  # shorter parts would blank out ordinary words


@dataclass(frozen=True, slots=True)
class FlyTokens:
    """The parts of one token setting; neither is ever shown."""

    macaroons: tuple[str, ...] = field(default=(), repr=False)
    oauth: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_sendable(self) -> bool:
        """Whether there is a token at all and every part of it can stand in a header."""
        parts = self.macaroons + self.oauth
        return bool(parts) and all(part.isascii() and part.isprintable() and " " not in part for part in parts)

    def machines_authorization(self) -> str:
        """The header for the Machines API: macaroons alone where there are any, else the user tokens."""
        if self.macaroons:
            return "FlyV1 " + ",".join(self.macaroons)
        return "Bearer " + ",".join(self.oauth)

    def graphql_authorization(self) -> str:
        """The header for GraphQL: every token, under the macaroons' scheme where there is one."""
        scheme = "FlyV1 " if self.macaroons else "Bearer "
        return scheme + ",".join(self.macaroons + self.oauth)

    def scrub(self, text: str) -> str:
        """`text` without these tokens and without anything that looks like a macaroon."""
        for part in sorted(self.macaroons + self.oauth, key=len, reverse=True):
            if len(part) >= _SHORTEST_SECRET:
                text = text.replace(part, _REDACTED)
        return _ANY_MACAROON.sub(_REDACTED, text)


def parse_tokens(setting: str) -> FlyTokens:
    """Take a token setting apart as Fly's own client does; schemes in front may repeat and are dropped."""
    rest = setting
    while match := _SCHEME.match(rest):
        rest = rest[match.end() :]
    parts = [part.strip() for part in rest.split(",")]
    macaroons = tuple(part for part in parts if part.startswith(_MACAROON_PREFIXES))
    oauth = tuple(part for part in parts if part and not part.startswith(_MACAROON_PREFIXES))
    return FlyTokens(macaroons=macaroons, oauth=oauth)
