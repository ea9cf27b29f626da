"""What is read of an app so that it can be rebuilt, and what rebuilds its outside: name, secrets, addresses.

Errors: the `fly.*` family. No create is sent twice: on an unknown outcome (FlyUnavailableError) the caller looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from flykeep.domain.app_description import AddressKind, DescribedAddress, DescribedSecret
from flykeep.domain.fly import App, Machine
from flykeep.domain.ids import AppName


class AppReader(Protocol):
    async def app(self, app: AppName) -> App:
        """Raises FlyNotFoundError where there is none, FlyForbiddenError where this token may not see it."""
        ...

    async def machines(self, app: AppName) -> tuple[Machine, ...]:
        """The app's machines, with configuration and pinned image where their hosts answer."""
        ...

    async def secrets(self, app: AppName) -> tuple[DescribedSecret, ...]:
        """Sorted by name; values are neither asked for nor read."""
        ...

    async def addresses(self, app: AppName) -> tuple[DescribedAddress, ...]:
        """Sorted by address."""
        ...

    async def certificates(self, app: AppName) -> tuple[str, ...]:
        """The host names that the app has certificates for, or asked for some, sorted."""
        ...


class AppMaker(AppReader, Protocol):
    async def create_app(self, app: AppName, *, org: str, network: str | None) -> None:
        """Returns when Fly answers for the new app. `network` None means the organization's own.

        Raises FlyNameTakenError where the name belongs to somebody, FlyForbiddenError where the token may make none.
        """
        ...

    async def set_secrets(self, app: AppName, values: Mapping[str, str]) -> int | None:
        """The version that machines must wait for, None where Fly names none. A second time is harmless.

        The values enter no error, no log and no repr.
        """
        ...

    async def assign_address(self, app: AppName, kind: AddressKind, *, region: str | None) -> DescribedAddress: ...
