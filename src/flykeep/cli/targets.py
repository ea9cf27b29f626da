"""From what a person typed to the lineage meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flykeep.domain.errors import FlyInvalidRequestError, FlyNotFoundError, TargetNotFoundError
from flykeep.domain.lineages import resolve_target, retired_target, rule_of
from flykeep.domain.policy import TargetRule
from flykeep.domain.target import Lineage, TargetRef

TARGET_HELP = "app/volume, or app/volume@machine where several machines mount that name."

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


async def find_lineage(application: Application, text: str, *, include_retired: bool = False) -> Lineage:
    """The lineage of a target; where the catalog does not know it yet, Fly is asked once.

    With `include_retired` a retired one is meant too, where no living one is; its own id names it as well.
    """
    ref = TargetRef.parse(text)
    if include_retired:
        async with application.catalog.transaction() as tx:
            everyone = tuple(await tx.lineages(include_retired=True))
        retired = retired_target(ref, everyone)
        if retired is not None:
            return retired
    try:
        return resolve_target(ref, await known_lineages(application))
    except TargetNotFoundError:
        await application.check.refresh_lineages()
    return resolve_target(ref, await known_lineages(application))


async def known_lineages(application: Application) -> tuple[Lineage, ...]:
    async with application.catalog.transaction() as tx:
        return tuple(await tx.lineages())


async def located_lineage(application: Application, text: str) -> Lineage:
    """As `find_lineage`, with the volume where it is now: Fly is asked again where a host migration moved it."""
    lineage = await find_lineage(application, text)
    try:
        is_here = not (await application.fly.volume(lineage.app, lineage.volume_id)).is_leaving
    except (FlyNotFoundError, FlyInvalidRequestError):  # a vanished volume answers 404, 400 or 422
        is_here = False
    if is_here:
        return lineage
    await application.check.refresh_lineages()
    return await find_lineage(application, text)


def rule_for_lineage(application: Application, lineage: Lineage) -> TargetRule:
    """The rule that protects it. Raises TargetNotFoundError where the configuration has none."""
    rule = rule_of(lineage, application.settings.targets)
    if rule is None:
        raise TargetNotFoundError(
            f"no target of the configuration matches {lineage.label}", hint="Add a [[targets]] entry for it."
        )
    return rule
