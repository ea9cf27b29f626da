"""Tries what an export from a snapshot will need of Fly, before it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flykeep.domain.errors import ConfigError, FlyForbiddenError, FlyNotFoundError, RefusalError
from flykeep.domain.fly import App
from flykeep.domain.ids import AppName
from flykeep.domain.policy import TargetRule
from flykeep.ports.premises import Premises

_SHARED_NETWORKS = frozenset({None, "", "default"})


@dataclass(frozen=True, slots=True)
class SnapshotDoctor:
    """`app` None means that temporary machines are made in the targets' own apps; `image` None, that none are."""

    premises: Premises
    app: AppName | None
    image: str | None
    rules: tuple[TargetRule, ...]
    hidden_stores: frozenset[str] = frozenset()

    async def examine(self, apps: Sequence[AppName]) -> str:
        """What was found to be right; `apps` are those of the targets. Raises the error that an export would meet."""
        reading = [rule for rule in self.rules if rule.policy.copies and rule.policy.export.source != "ssh"]
        if not reading:
            return "not used: every policy that exports does so over ssh"
        if self.image is None:
            return "not used: without [worker] image exports are read over ssh"
        self._refuse_hidden_stores(reading)
        if self.app is None:
            await self._require_leave(apps, apps)
            return "possible in the targets' own apps"
        app = await self._app(self.app)
        await self._refuse_secrets(app.name)
        await self._require_leave([app.name], apps)
        network = "the organization's network" if app.network in _SHARED_NETWORKS else f"network {app.network}"
        return f"possible in the app {app.name}, which has no secrets, in {network}"

    def _refuse_hidden_stores(self, reading: Sequence[TargetRule]) -> None:
        wanted = {copy.store for rule in reading for copy in rule.policy.copies}
        if hidden := sorted(wanted & self.hidden_stores):
            raise ConfigError(
                f"no worker machine has the folder of store {hidden[0]!r}",
                hint='Export to a bucket, or set export.source = "ssh" in that policy.',
            )

    async def _app(self, name: AppName) -> App:
        try:
            return await self.premises.app(name)
        except (FlyNotFoundError, FlyForbiddenError) as error:
            raise RefusalError(
                f"the app {name} for temporary machines is not there, or is not yours",
                hint=f"Make it with `fly apps create {name} --network {name}`, or name another in [scratch] app.",
                facts={"app": name},
            ) from error

    async def _refuse_secrets(self, app: AppName) -> None:
        if names := await self.premises.secret_names(app):
            raise RefusalError(
                f"the app for temporary machines holds secrets: {', '.join(names)}",
                hint=f"Remove them with `fly secrets unset -a {app} {' '.join(names)}`: no worker needs one.",
                facts={"app": app},
            )

    async def _require_leave(self, made_in: Sequence[AppName], read: Sequence[AppName]) -> None:
        """One token must do both: tokens of single apps do not add up."""
        for app in dict.fromkeys(made_in):
            if not await self.premises.may_make_in(app):
                raise RefusalError(f"the token may make nothing in the app {app}", hint=_TOKEN_HINT, facts={"app": app})
        for app in dict.fromkeys(read):
            if not await self.premises.may_read(app):
                raise RefusalError(f"the token may not read the app {app}", hint=_TOKEN_HINT, facts={"app": app})


_TOKEN_HINT = "A snapshot of another app needs a token for the organization: `fly tokens create org`."  # noqa: S105
