"""One request on its way through the simulator, and the table of what is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flykeep.testing.flysim.faults import Fault
from flykeep.testing.flysim.machines import Machines
from flykeep.testing.flysim.model import App, JsonObject, Machine, TokenGrant, Volume
from flykeep.testing.flysim.world import World


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON document; None is an empty body."""

    status: int
    document: JsonObject | list[JsonObject] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A judged and authorized request."""

    world: World
    machines: Machines
    grant: TokenGrant
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    nonce: str | None
    fault: Fault | None

    @property
    def app(self) -> App:
        """The app of the path, where the token may see it."""
        return self.world.app(self.path["app_name"], self.grant)

    @property
    def machine(self) -> Machine:
        """The machine of the path."""
        return self.world.machine(self.app.name, self.path["machine_id"])

    @property
    def volume(self) -> Volume:
        """The volume of the path."""
        return self.world.volume(self.app.name, self.path["volume_id"])

    def flag(self, name: str) -> bool:
        """A boolean query name."""
        return self.query.get(name) == "true"


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of the API (without `/v1`), the name its action goes by, and what answers it."""

    method: str
    template: str
    action: str
    handler: Handler

    def identifier(self, path: Mapping[str, str]) -> str:
        """What its rate limit is counted by: the machine where one is named, else the app or organization."""
        return path.get("machine_id") or path.get("app_name") or path.get("org_slug") or ""
