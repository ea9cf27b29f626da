"""The port `flykeep.ports.premises.Premises` over HTTP."""

from __future__ import annotations

from flykeep.adapters.fly import facts
from flykeep.adapters.fly.client import Access, FlyClient
from flykeep.adapters.fly.http import Repeat
from flykeep.adapters.fly.wire import WireApp, WireSecrets
from flykeep.domain.errors import FlyError, FlyInvalidRequestError, FlyNameTakenError, FlyUnavailableError
from flykeep.domain.fly import App
from flykeep.domain.ids import AppName


class FlyPremises:
    """Looks and makes through a FlyClient's connections, at its pace."""

    def __init__(self, fly: FlyClient, *, org: str) -> None:
        self._fly = fly
        self._org = org

    async def app(self, name: AppName) -> App:
        request = self._fly.api.get("apps", name, action="app.get", identifier=name, facts={"app": name})
        return facts.app_of(await self._fly.api.read(request, WireApp))

    async def create_app(self, name: AppName, *, network: str) -> None:
        """As the port says; a name that is taken, or an answer that was lost, is looked into."""
        request = self._fly.api.post(
            "apps",
            action="app.create",
            identifier=self._org,
            repeat=Repeat.NEVER,
            body={"name": name, "org_slug": self._org, "network": network},
            facts={"app": name, "org": self._org},
        )
        try:
            await self._fly.api.send(request, lambda _answer: None)
        except (FlyInvalidRequestError, FlyNameTakenError, FlyUnavailableError):
            if not await self._is_ours(name):
                raise

    async def _is_ours(self, name: AppName) -> bool:
        try:
            return name in {app.name for app in await self._fly.apps()}
        except FlyError:
            return False

    async def secret_names(self, app: AppName) -> tuple[str, ...]:
        request = self._fly.api.get("apps", app, "secrets", action="secret.list", identifier=app, facts={"app": app})
        listed = await self._fly.api.read(request, WireSecrets)
        return tuple(sorted(row.name for row in listed.secrets))

    async def may_make_in(self, app: AppName) -> bool:
        return await self._fly.may(Access(action="c", org_slug=self._org, app=app))

    async def may_read(self, app: AppName) -> bool:
        return await self._fly.may(Access(action="r", org_slug=self._org, app=app))
