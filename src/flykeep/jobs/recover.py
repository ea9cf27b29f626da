"""Rebuilds an app that is gone: name, secrets, addresses, volumes, machines, and what is left for a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from flykeep.domain.app_description import DescribedAddress
from flykeep.domain.documents import to_json
from flykeep.domain.errors import RefusalError
from flykeep.domain.ids import MachineId
from flykeep.domain.recover_plan import RecoverPlan, RecoverWish, by_hand
from flykeep.domain.recovery import RecoveredMachine, RecoveredVolume, RecoverResult
from flykeep.domain.run import Outcome, RunState
from flykeep.jobs.context import Journal, OrgWork, ignore_progress
from flykeep.jobs.recover_log import RECOVERED, RECOVERING, RecoverLog, RecoverProgress
from flykeep.jobs.recover_machines import RecoverMachines, place_of
from flykeep.jobs.recover_outside import Outside
from flykeep.jobs.recover_planner import RecoverPlanner
from flykeep.jobs.recover_volumes import RecoverVolumes
from flykeep.jobs.scratch_sweep import ScratchSweep
from flykeep.ports.catalog import Catalog
from flykeep.ports.worker import Progress


@dataclass(frozen=True, slots=True)
class RecoverInputs:
    """What a person handed to this process, and to nothing else: it is never stored."""

    wish: RecoverWish
    secrets: Mapping[str, str] = field(repr=False)
    identity: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Handed:
    """Where a verb puts the inputs of the run that it is about to execute in its own process."""

    inputs: RecoverInputs | None = field(default=None, repr=False)
    on_progress: Callable[[Progress], None] = ignore_progress


@dataclass(frozen=True, slots=True)
class RecoverJob:
    """Run again with the same names, it goes on where the run before ended, and repeats no effect."""

    planner: RecoverPlanner
    outside: Outside
    volumes: RecoverVolumes
    machines: RecoverMachines
    sweep: ScratchSweep
    catalog: Catalog
    log: RecoverLog
    handed: Handed

    async def run(self, work: OrgWork) -> Outcome:
        """Raises RefusalError before anything is changed."""
        inputs = self.handed.inputs
        if inputs is None:
            raise RefusalError(
                "the secrets are in the hands of the process that was given them, which ended",
                hint="Give the `flykeep recover` command again: it goes on where this ended.",
            )
        plan = await self.planner.plan(inputs.wish, identity=inputs.identity)
        if plan.refusals:
            raise RefusalError("; ".join(plan.refusals), hint=plan.hint)
        app, name = plan.described.app, plan.name
        await work.journal.step(
            RECOVERING, app=app, name=name, org=plan.org, described_at=plan.described.described_at.isoformat()
        )
        earlier = await self.log.earlier(app, name, but=work.run.id)
        await self.sweep.sweep(earlier, [], is_applied=True, is_thorough=False)
        progress = await self.log.progress(app, name)
        result = await self._rebuild(work.journal, plan, inputs, progress)
        await work.journal.step(RECOVERED, app=app, name=name)
        return Outcome(RunState.SUCCEEDED if result.is_well else RunState.DEGRADED, to_json(result))

    async def _rebuild(
        self, journal: Journal, plan: RecoverPlan, inputs: RecoverInputs, progress: RecoverProgress
    ) -> RecoverResult:
        await self.outside.make_app(journal, plan, progress)
        version = await self.outside.set_secrets(journal, plan, inputs.secrets)
        addresses = await self.outside.assign_addresses(journal, plan)
        volumes = [
            await self.volumes.make(
                journal,
                plan,
                planned,
                progress,
                identity=inputs.identity,
                on_progress=self.handed.on_progress,
            )
            for planned in plan.volumes
        ]
        machines = await self._machines(journal, plan, volumes, progress, version)
        await self._continue_lineages(plan, volumes, machines)
        return _result(plan, volumes, machines, addresses)

    async def _machines(
        self,
        journal: Journal,
        plan: RecoverPlan,
        volumes: list[RecoveredVolume],
        progress: RecoverProgress,
        version: int | None,
    ) -> list[RecoveredMachine]:
        """All are made before the first is waited for: they may need each other."""
        places = {one.lost_id: (one.id, one.region) for one in volumes}
        made: list[MachineId] = []
        for machine in plan.machines:
            place = place_of(plan, machine, places, version)
            made.append(await self.machines.make(journal, plan, machine, place, progress))
        return [
            await self.machines.health(journal, plan, machine, machine_id)
            for machine, machine_id in zip(plan.machines, made, strict=True)
        ]

    async def _continue_lineages(
        self, plan: RecoverPlan, volumes: list[RecoveredVolume], machines: list[RecoveredMachine]
    ) -> None:
        """Under its old name an app's targets go on; under another one a person says so, with `adopt`."""
        if plan.name != plan.described.app:
            return
        new_ids = {one.lost_id: one.id for one in volumes}
        machine_ids = {one.lost_id: one.id for one in machines}
        async with self.catalog.transaction() as tx:
            known = {lineage.id: lineage for lineage in await tx.lineages(include_retired=True)}
            for planned in plan.volumes:
                lineage = known.get(planned.lineage_id) if planned.lineage_id else None
                new_id = new_ids[planned.lost.id]
                if lineage is None or new_id in lineage.volume_ids:
                    continue
                machine_id = machine_ids.get(planned.lost.machine_id) if planned.lost.machine_id else None
                await tx.save_lineage(replace(lineage, volume_ids=(*lineage.volume_ids, new_id), machine_id=machine_id))


def _result(
    plan: RecoverPlan,
    volumes: list[RecoveredVolume],
    machines: list[RecoveredMachine],
    addresses: tuple[DescribedAddress, ...],
) -> RecoverResult:
    return RecoverResult(
        app=plan.described.app,
        name=plan.name,
        volumes=tuple(volumes),
        machines=tuple(machines),
        addresses=tuple(each.address for each in addresses),
        secrets=plan.secrets.given,
        warnings=plan.warnings,
        by_hand=by_hand(plan, addresses),
    )
