"""The machines of a lost app, made again from their saved configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.app_description import DescribedMachine
from flykeep.domain.errors import (
    FlyError,
    FlyInvalidRequestError,
    FlyNameTakenError,
    FlyNotFoundError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
)
from flykeep.domain.fly import GONE_MACHINE_STATES, Machine
from flykeep.domain.ids import MachineId, VolumeId
from flykeep.domain.recover_plan import RecoverPlan
from flykeep.domain.recovery import RecoveredMachine, is_launched_at_once, may_stop_itself, new_config, other_name
from flykeep.jobs.context import Journal
from flykeep.jobs.recover_log import MACHINE_ASKED, MACHINE_MADE, MadeMachine, RecoverProgress
from flykeep.ports.clock import Clock
from flykeep.ports.production import ProductionFly, ProductionMachine

_LOOKS = 3
_LOOK_EVERY = timedelta(seconds=2)
_POLL_EVERY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """How long each wait may take."""

    start: timedelta = timedelta(minutes=10)
    health: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class NewPlace:
    """Where a machine's volume is now, and which secrets it must see."""

    volume_id: VolumeId | None
    region: str
    secrets_version: int | None


@dataclass(frozen=True, slots=True)
class RecoverMachines:
    production: ProductionFly
    clock: Clock
    limits: MachineLimits = MachineLimits()

    async def make(
        self,
        journal: Journal,
        plan: RecoverPlan,
        machine: DescribedMachine,
        place: NewPlace,
        progress: RecoverProgress,
    ) -> MachineId:
        """The machine that takes the lost one's place, of this run or an earlier one."""
        made = progress.machines.get(machine.id)
        if made is not None and made.id is None:
            found = await self._look(plan, made, progress)
            if found is not None:
                await journal.step(MACHINE_MADE, of=machine.id, id=found.id)
                made.id = found.id
        if made is None or made.id is None:
            made = await self._ask(journal, plan, machine, place, progress)
        assert made.id is not None
        return made.id

    async def _ask(
        self, journal: Journal, plan: RecoverPlan, machine: DescribedMachine, place: NewPlace, progress: RecoverProgress
    ) -> MadeMachine:
        for name in (machine.name, other_name(machine.name)):
            before = frozenset(one.id for one in await self.production.machines(plan.name))
            made = MadeMachine(name, before)
            await journal.step(
                MACHINE_ASKED,
                of=machine.id,
                name=name,
                region=place.region,
                volume=place.volume_id,
                before=",".join(sorted(before)),
            )
            progress.machines[machine.id] = made
            spec = ProductionMachine(
                app=plan.name,
                name=name,
                region=place.region,
                config_json=new_config(machine, volume_id=place.volume_id, made=progress.machine_ids),
                is_launched=is_launched_at_once(machine),
                min_secrets_version=place.secrets_version,
            )
            try:
                made.id = await self._create(plan, spec, made, progress)
            except FlyNameTakenError:
                if name != machine.name:
                    raise
                continue
            await journal.step(MACHINE_MADE, of=machine.id, id=made.id, name=name)
            return made
        raise AssertionError("a second refusal is raised")  # pragma: no cover - the loop returns or raises

    async def _create(
        self, plan: RecoverPlan, spec: ProductionMachine, made: MadeMachine, progress: RecoverProgress
    ) -> MachineId:
        try:
            return (await self.production.make_machine(spec)).id
        except (FlyUnavailableError, FlyUnexpectedAnswerError):
            found = await self._look(plan, made, progress)
            if found is None:
                raise
            return found.id
        except (FlyInvalidRequestError, FlyNotFoundError) as error:
            error.next_step = (
                f"Where its image is gone: give the command again with --no-machines, then `fly deploy -a {plan.name}`."
            )
            raise

    async def _look(self, plan: RecoverPlan, made: MadeMachine, progress: RecoverProgress) -> Machine | None:
        taken = set(progress.machine_ids.values())
        for look in range(_LOOKS):
            if look:
                await self.clock.sleep(_LOOK_EVERY)
            for one in await self.production.machines(plan.name):
                is_new = one.id not in made.before and one.id not in taken and one.state not in GONE_MACHINE_STATES
                if is_new and one.name == made.name:
                    return one
        return None

    async def health(
        self, journal: Journal, plan: RecoverPlan, machine: DescribedMachine, machine_id: MachineId
    ) -> RecoveredMachine:
        """What became of it; a machine that is not well is told, for everything else is there."""
        await journal.step("wait until it is well", machine=machine_id, name=machine.name)
        if not is_launched_at_once(machine):
            return RecoveredMachine(machine.name, machine.id, machine_id, "waiting", is_well=True)
        try:
            health = await self._health(plan, machine, machine_id)
        except FlyError as error:
            health = error.message
        return RecoveredMachine(machine.name, machine.id, machine_id, health, is_well=health in _WELL)

    async def _health(self, plan: RecoverPlan, machine: DescribedMachine, machine_id: MachineId) -> str:
        if not await self.production.wait_for_state(plan.name, machine_id, "started", within=self.limits.start):
            state = (await self.production.machine(plan.name, machine_id)).state
            return "waiting" if state == "stopped" and may_stop_itself(machine) else f"it is {state!r}, not started"
        started = self.clock.monotonic()
        while True:
            is_late = self.clock.monotonic() - started > self.limits.health.total_seconds()
            try:
                checks = await self.production.machine_checks(plan.name, machine_id)
            except FlyNotFoundError:  # one just made may not be found for a moment
                if is_late:
                    raise
            else:
                failing = [check for check in checks if not check.is_passing]
                if not failing:
                    return "passing" if checks else "running"
                if is_late:
                    return "; ".join(f"check {check.name} is {check.status}: {check.output}" for check in failing)
            await self.clock.sleep(_POLL_EVERY)


_WELL = frozenset({"passing", "running", "waiting"})


def place_of(
    plan: RecoverPlan, machine: DescribedMachine, volumes: Mapping[VolumeId, tuple[VolumeId, str]], version: int | None
) -> NewPlace:
    """`volumes` gives the new id and the region for each lost volume; a machine goes where its volume is."""
    lost = plan.described.volume_of(machine)
    if lost is None:
        return NewPlace(None, machine.region, version)
    volume_id, region = volumes[lost.id]
    return NewPlace(volume_id, region, version)
