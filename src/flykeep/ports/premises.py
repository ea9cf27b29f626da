"""The app that temporary machines are made in, looked at and made."""

from __future__ import annotations

from typing import Protocol

from flykeep.domain.fly import App
from flykeep.domain.ids import AppName


class Premises(Protocol):
    """Errors: the `fly.*` family."""

    async def app(self, name: AppName) -> App:
        """Raises FlyNotFoundError where there is none, FlyForbiddenError where it is somebody else's."""
        ...

    async def create_app(self, name: AppName, *, network: str) -> None:
        """Make an app in the organization; one of that name that is there already is fine."""
        ...

    async def secret_names(self, app: AppName) -> tuple[str, ...]: ...

    async def may_make_in(self, app: AppName) -> bool:
        """Whether the token may make volumes and machines there."""
        ...

    async def may_read(self, app: AppName) -> bool: ...
