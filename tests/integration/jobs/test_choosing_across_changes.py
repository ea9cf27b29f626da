"""One target through a move to another host, a restore and a rebuilt app: any time finds its snapshot, no slot is lost.

What Fly does, and what a person does with flyctl, is done at the simulator; all of flykeep's own is real.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flykeep.adapters.fly.client import FlyClient
from flykeep.adapters.fly.production import FlyProduction
from flykeep.daemon.ticker import Ticker
from flykeep.domain.adoption import AdoptionWish
from flykeep.domain.errors import FlyPreconditionError
from flykeep.domain.findings import FindingCode
from flykeep.domain.ids import AppName, LineageId, MachineId, OwnerId, RunId, SnapshotId, VolumeId
from flykeep.domain.policy import JobKind, Schedule
from flykeep.domain.run import Run, RunRequest, RunState, Slot
from flykeep.domain.target import Lineage
from flykeep.ports.production import ProductionMachine, ProductionVolume
from flykeep.testing.flysim.scenario import Progress
from tests.integration.jobs.workplace import APP, TARGET, Workplace, one_volume, workplace

HOUR = timedelta(hours=1)
EVERY = timedelta(hours=6)
CRON = "0 */6 * * *"
LEASE = timedelta(minutes=10)


@dataclass
class Life:
    """A target whose schedule is followed slot by slot, and the volume it had at each of them."""

    place: Workplace
    lineage_id: LineageId
    slots: dict[datetime, VolumeId] = field(default_factory=dict)

    async def lineage(self) -> Lineage:
        async with self.place.application.catalog.transaction() as tx:
            return next(one for one in await tx.lineages() if one.id == self.lineage_id)

    async def runs(self) -> list[Run]:
        async with self.place.application.catalog.transaction() as tx:
            return list(await tx.runs(lineage_id=self.lineage_id, kind=JobKind.SNAPSHOT, limit=1000))

    async def live(self, slots: int) -> None:
        """As the daemon does: tick at each slot, run what is pending, check."""
        application = self.place.application
        never = Schedule("0 0 1 1 *")
        ticker = Ticker(
            application.catalog,
            application.clock,
            application.ids,
            application.settings.targets,
            never,
            never,
            timedelta(0),
        )
        for _ in range(slots):
            now = application.clock.now()
            await self.place.pass_time(EVERY - (now - datetime(2026, 1, 1, tzinfo=UTC)) % EVERY)
            slot_at = application.clock.now()
            await self.place.check()
            await ticker.tick()
            await self._execute()
            self.slots[slot_at] = (await self.lineage()).volume_id

    async def _execute(self) -> None:
        application, now = self.place.application, self.place.clock.now()
        async with application.catalog.transaction() as tx:
            for run in await tx.claimable(now=now):
                if run.kind is JobKind.SNAPSHOT:
                    assert await tx.claim(run.id, owner_id=OwnerId("test"), now=now)
                    claimed = await tx.run(run.id)
        assert claimed is not None
        await self.place.driven(application.runner.execute(claimed))

    # what happens to it

    @property
    def production(self) -> FlyProduction:
        fly = self.place.application.fly
        assert isinstance(fly, FlyClient)
        return FlyProduction(fly, clock=self.place.clock)

    async def make(self, snapshot_id: SnapshotId | None) -> tuple[VolumeId, MachineId]:
        """A new volume and a new machine on it, as a person makes them with flyctl."""
        production = self.production
        (old, *_) = self.place.sim.world.machines.values()
        volume = await self.place.driven(
            production.make_volume(
                ProductionVolume(AppName(APP), "crocbot_data", "iad", 3, snapshot_id, None, None, retention_days=30)
            )
        )
        mounts = [{"volume": volume.id, "path": "/data"}]
        config = json.dumps(dict(old.config) | {"mounts": mounts, "metadata": {}})
        spec = ProductionMachine(AppName(APP), "another-river-2", "iad", config, is_launched=True)
        made = await self.place.driven(production.make_machine(spec))
        return volume.id, made.id

    async def move_to_another_host(self) -> None:
        self.place.sim.world.migrate(self.place.sim.world.volume(APP, (await self.lineage()).volume_id))

    async def restore(self, snapshot_id: SnapshotId) -> None:
        """flykeep's own: a new machine on a new volume; the old machine stays, stopped on the old one."""
        application, now = self.place.application, self.place.clock.now()
        run_id = RunId(application.ids.run_id())
        request = RunRequest(snapshot_id=snapshot_id)
        run = Run(run_id, JobKind.RESTORE, self.lineage_id, Slot.manual(run_id), RunState.PENDING, now, now, request)
        async with application.catalog.transaction() as tx:
            assert await tx.add_run(run)
            assert await tx.claim(run_id, owner_id=OwnerId("test"), now=now)
            claimed = await tx.run(run_id)
        assert claimed is not None
        outcome = await self.place.driven(application.runner.execute(claimed), step=timedelta(seconds=20))
        assert outcome.state is RunState.SUCCEEDED, outcome.failure

    async def rebuild_by_hand(self) -> VolumeId:
        """Everything of the app but itself is destroyed and made anew."""
        for machine in list(self.place.sim.world.machines_of(APP)):
            await self.place.driven(self.production.destroy_machine(AppName(APP), MachineId(machine.id)))
        volumes = [one for one in self.place.sim.world.volumes_of(APP) if one.state == "created"]
        for volume in volumes:
            delete = self.production.delete_volume
            with contextlib.suppress(FlyPreconditionError):  # Fly notices late that its machine is gone
                await self.place.driven(delete(AppName(APP), VolumeId(volume.id)))
            await self.place.driven(delete(AppName(APP), VolumeId(volume.id)))
        volume_id, _ = await self.make(None)
        return volume_id

    # what must hold

    async def expect_each_slot_once(self) -> None:
        runs = await self.runs()
        succeeded = [run.slot.scheduled_at for run in runs if run.state is RunState.SUCCEEDED]
        first, last = min(self.slots), max(self.slots)
        count = int((last - first) / EVERY) + 1
        assert sorted(at for at in succeeded if at) == [first + number * EVERY for number in range(count)]
        assert not [run for run in runs if run.state not in {RunState.SUCCEEDED, RunState.SKIPPED}]

    async def expect_each_time_to_find_its_snapshot(self) -> None:
        lineage = await self.lineage()
        await self.place.pass_time(HOUR)
        for slot_at in self.slots:
            text = (slot_at + HOUR).isoformat()
            found = (await self.place.driven(self.place.application.candidates.choose(lineage, text))).candidate
            assert found.volume_id == self.slots[slot_at], text
            assert slot_at <= found.as_of_at <= slot_at + HOUR, text


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    scenario = one_volume(ages_hours=(), snapshot_retention=30, auto_backup_enabled=False).model_copy(
        update={"snapshot_progress": Progress(polls=0)}
    )

    def edit(text: str) -> str:
        policy = f'snapshot = {{ cron = "{CRON}", max_age = "8h", retention_days = 30 }}'
        return text.replace('snapshot = { cron = "0 3 * * *", max_age = "26h", retention_days = 5 }', policy).replace(
            'export = { cron = "0 4 * * 0"', 'export = { cron = "never"'
        )

    async with workplace(tmp_path, scenario=scenario, edit=edit) as place:
        yield Life(place, (await place.lineage()).id)


async def test_a_move_a_restore_and_a_rebuilt_app_are_one_history_without_a_gap_or_a_double(life: Life) -> None:
    place = life.place
    await life.live(2)
    await life.move_to_another_host()
    await life.live(2)
    wanted = min(life.slots) + HOUR
    lineage = await life.lineage()
    choice = await place.driven(place.application.candidates.choose(lineage, wanted.isoformat()))
    assert choice.candidate.volume_id == lineage.volume_ids[0] != lineage.volume_id
    await life.restore(SnapshotId(choice.id))
    await life.live(2)
    volume_id = await life.rebuild_by_hand()
    await place.pass_time(HOUR)
    assert FindingCode.VOLUME_GONE in await place.found()  # and a lineage was begun beside it
    plan = await place.driven(place.application.adopt.plan(TARGET, AdoptionWish(volume_id)))
    assert plan.merged is not None
    await place.application.adopt.adopt(plan, actor="ann", reason="rebuilt")
    await life.live(2)

    lineage = await life.lineage()
    assert len(lineage.volume_ids) == 4
    assert len(set(life.slots.values())) == 4
    assert FindingCode.VOLUME_GONE not in await place.found()
    async with place.application.catalog.transaction() as tx:
        assert [one.id for one in await tx.lineages(include_retired=True)] == [life.lineage_id]
    await life.expect_each_slot_once()
    await life.expect_each_time_to_find_its_snapshot()


async def test_runs_that_a_check_began_meanwhile_stay_and_their_slots_are_not_done_again(life: Life) -> None:
    place = life.place
    await life.live(2)
    volume_id = await life.rebuild_by_hand()
    await place.check()
    async with place.application.catalog.transaction() as tx:
        begun = next(one for one in await tx.lineages() if one.id != life.lineage_id)
    other = Life(place, begun.id)
    await other.live(2)
    meanwhile = await other.runs()
    plan = await place.driven(place.application.adopt.plan(TARGET, AdoptionWish(machine_id=begun.machine_id)))
    counts = await place.application.adopt.adopt(plan, actor="ann", reason="")
    assert counts.runs == len(meanwhile)
    assert counts.snapshots == 2
    await life.live(2)
    life.slots |= other.slots
    assert volume_id == (await life.lineage()).volume_id
    await life.expect_each_slot_once()
    await life.expect_each_time_to_find_its_snapshot()
