"""What of an app is neither data nor machine: its name, its secrets, its addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.app_description import DescribedAddress
from flykeep.domain.errors import (
    FlyForbiddenError,
    FlyNameTakenError,
    FlyNotFoundError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
)
from flykeep.domain.recover_plan import RecoverPlan
from flykeep.jobs.context import Journal
from flykeep.jobs.recover_log import (
    ADDRESS_ASKED,
    ADDRESS_MADE,
    APP_ASKED,
    APP_MADE,
    SECRETS_ASKED,
    SECRETS_SET,
    RecoverProgress,
)
from flykeep.ports.apps import AppMaker
from flykeep.ports.clock import Clock

_LOOKS = 3
_LOOK_EVERY = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Outside:
    """Each effect is journalled before it is asked for, and a lost answer is settled by looking."""

    apps: AppMaker
    clock: Clock

    async def make_app(self, journal: Journal, plan: RecoverPlan, progress: RecoverProgress) -> None:
        """Raises FlyNameTakenError where somebody else was faster."""
        if progress.is_app_made or not (plan.is_app_made or progress.is_app_asked):
            return
        if plan.is_app_made:
            network = plan.described.network
            await journal.step(APP_ASKED, name=plan.name, org=plan.org, network=network)
            await self._create(plan, network, is_asked=progress.is_app_asked)
        # An earlier run asked, and the app is there: nobody else could have made it under a name that was free.
        await journal.step(APP_MADE, name=plan.name)

    async def _create(self, plan: RecoverPlan, network: str | None, *, is_asked: bool) -> None:
        """`is_asked`: an earlier run asked too, and what it asked for may have come about since."""
        try:
            await self.apps.create_app(plan.name, org=plan.org, network=None if network == "default" else network)
        except (FlyUnavailableError, FlyUnexpectedAnswerError):
            if not await self._is_there(plan):
                raise
        except FlyNameTakenError:
            if not is_asked or not await self._is_there(plan):
                raise

    async def _is_there(self, plan: RecoverPlan) -> bool:
        for look in range(_LOOKS):
            if look:
                await self.clock.sleep(_LOOK_EVERY)
            try:
                await self.apps.app(plan.name)
            except FlyNotFoundError:
                continue
            except FlyForbiddenError:
                return False
            return True
        return False

    async def set_secrets(self, journal: Journal, plan: RecoverPlan, values: Mapping[str, str]) -> int | None:
        """The version that machines must wait for. Set by each run: the file may be another one by now."""
        if not values:
            return None
        await journal.step(SECRETS_ASKED, names=", ".join(sorted(values)))
        version = await self.apps.set_secrets(plan.name, values)
        await journal.step(SECRETS_SET, version=version)
        return version

    async def assign_addresses(self, journal: Journal, plan: RecoverPlan) -> tuple[DescribedAddress, ...]:
        """One for each that the app had; what is there already counts, whoever asked for it."""
        for wanted in _lacking(plan, await self.apps.addresses(plan.name)):
            await journal.step(ADDRESS_ASKED, kind=wanted.kind.value, region=wanted.region)
            try:
                made = await self.apps.assign_address(plan.name, wanted.kind, region=wanted.region)
            except (FlyUnavailableError, FlyUnexpectedAnswerError):
                left = _lacking(plan, await self.apps.addresses(plan.name))
                if wanted in left:
                    raise
                continue
            await journal.step(ADDRESS_MADE, kind=made.kind.value, address=made.address)
        return await self.apps.addresses(plan.name)


def _lacking(plan: RecoverPlan, there: tuple[DescribedAddress, ...]) -> list[DescribedAddress]:
    """The addresses that the app had and of whose kind and region there are too few now."""
    left = [(each.kind, each.region) for each in there]
    lacking: list[DescribedAddress] = []
    for wanted in plan.addresses:
        key = (wanted.kind, wanted.region)
        if key in left:
            left.remove(key)
        else:
            lacking.append(wanted)
    return lacking
