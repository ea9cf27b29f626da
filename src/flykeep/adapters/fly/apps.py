"""Apps from outside and their making: the port `flykeep.ports.apps.AppMaker` over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from flykeep.adapters.fly import facts
from flykeep.adapters.fly.client import FlyClient
from flykeep.adapters.fly.http import Repeat, Request
from flykeep.adapters.fly.wire import (
    WireAddress,
    WireAddresses,
    WireApp,
    WireCertificates,
    WireSecrets,
    WireSecretsVersion,
)
from flykeep.domain.app_description import AddressKind, DescribedAddress, DescribedSecret, address_kind
from flykeep.domain.errors import (
    FlyError,
    FlyForbiddenError,
    FlyNameTakenError,
    FlyNotFoundError,
    FlyUnauthorizedError,
    FlyUnexpectedAnswerError,
)
from flykeep.domain.fly import App, Machine
from flykeep.domain.ids import AppName
from flykeep.ports.clock import Clock

_EVERYWHERE = frozenset({"", "global"})  # what Fly says of addresses that are in no region
_UNSEEN_FOR = timedelta(seconds=60)  # an app just made answers 401 or 404 for a moment
_LOOK_EVERY = timedelta(seconds=2)


class FlyApps:
    """Looks and makes through a FlyClient's connections, at its pace."""

    def __init__(self, fly: FlyClient, *, clock: Clock) -> None:
        self._fly = fly
        self._api = fly.api
        self._clock = clock

    # -- reading

    async def app(self, app: AppName) -> App:
        """As the port says."""
        return facts.app_of(await self._api.read(self._get(app, action="app.get"), WireApp))

    async def machines(self, app: AppName) -> tuple[Machine, ...]:
        """As the port says."""
        return await self._fly.machines(app)

    async def secrets(self, app: AppName) -> tuple[DescribedSecret, ...]:
        """As the port says."""
        listed = await self._api.read(self._get(app, "secrets", action="secret.list"), WireSecrets)
        rows = (DescribedSecret(row.name, row.digest) for row in listed.secrets)
        return tuple(sorted(rows, key=lambda row: row.name))

    async def addresses(self, app: AppName) -> tuple[DescribedAddress, ...]:
        """As the port says."""
        request = self._get(app, "ip_assignments", action="address.list")
        rows = (await self._api.read(request, WireAddresses)).ips
        return tuple(sorted((_address_of(row) for row in rows), key=lambda address: address.address))

    async def certificates(self, app: AppName) -> tuple[str, ...]:
        """As the port says."""
        names: set[str] = set()
        seen: set[str] = set()
        query: dict[str, str | int] = {}
        while True:
            request = self._get(app, "certificates", action="certificate.list", query=query)
            page = await self._api.read(request, WireCertificates)
            names |= {row.hostname for row in page.certificates}
            if not page.next_cursor:
                return tuple(sorted(names))
            if page.next_cursor in seen:
                raise FlyUnexpectedAnswerError("Fly's list of certificates repeats a page for ever", facts={"app": app})
            seen.add(page.next_cursor)
            query = {"cursor": page.next_cursor}

    # -- making

    async def create_app(self, app: AppName, *, org: str, network: str | None) -> None:
        """As the port says; Fly's 403 is a name of somebody else's where looking says the same."""
        body: dict[str, object] = {"name": app, "org_slug": org}
        request = self._api.post(
            "apps",
            action="app.create",
            identifier=org,
            repeat=Repeat.NEVER,
            body=body | ({"network": network} if network else {}),
            facts={"app": app, "org": org},
        )
        try:
            await self._api.send(request, lambda _answer: None)
        except FlyForbiddenError as error:
            if await self._belongs_to_others(app):
                raise FlyNameTakenError(
                    f"The name {app} belongs to another organization", request_id=error.request_id, facts={"app": app}
                ) from error
            raise
        await self._appear(app)

    async def _belongs_to_others(self, app: AppName) -> bool:
        try:
            await self.app(app)
        except FlyForbiddenError:
            return True
        except FlyNotFoundError:
            return False
        return False

    async def _appear(self, app: AppName) -> None:
        started = self._clock.monotonic()
        while True:
            try:
                await self.app(app)
            except (FlyUnauthorizedError, FlyNotFoundError):
                if timedelta(seconds=self._clock.monotonic() - started) > _UNSEEN_FOR:
                    raise
            else:
                return
            await self._clock.sleep(_LOOK_EVERY)

    async def set_secrets(self, app: AppName, values: Mapping[str, str]) -> int | None:
        """As the port says."""
        request = self._api.post(
            "apps",
            app,
            "secrets",
            action="secret.set",
            identifier=app,
            repeat=Repeat.HARMLESS,
            body={"values": dict(values)},
            facts={"app": app},
        )
        try:
            return (await self._api.read(request, WireSecretsVersion)).version
        except FlyError as error:
            if error.status is not None:  # Fly's own words may echo a value
                error.message = "Fly did not take the secrets; its words are withheld, for they may hold values"
                error.args = (error.message,)
            raise

    async def assign_address(self, app: AppName, kind: AddressKind, *, region: str | None) -> DescribedAddress:
        """As the port says."""
        body: dict[str, object] = {"type": kind.value}
        request = self._api.post(
            "apps",
            app,
            "ip_assignments",
            action="address.assign",
            identifier=app,
            repeat=Repeat.NEVER,
            body=body | ({"region": region} if region else {}),
            facts={"app": app, "address": kind.value},
        )
        return _address_of(await self._api.read(request, WireAddress))

    def _get(self, app: AppName, *path: str, action: str, query: Mapping[str, str | int] | None = None) -> Request:
        return self._api.get("apps", app, *path, action=action, identifier=app, query=query, facts={"app": app})


def _address_of(row: WireAddress) -> DescribedAddress:
    try:
        kind = address_kind(row.ip, is_shared=bool(row.is_shared), is_egress=bool(row.is_egress))
    except ValueError as error:
        raise FlyUnexpectedAnswerError("Fly names an address that is none", facts={"address": row.ip}) from error
    region = None if row.region in _EVERYWHERE else row.region
    return DescribedAddress(row.ip, kind, region, is_shared=bool(row.is_shared))
