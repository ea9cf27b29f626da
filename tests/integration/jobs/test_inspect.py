"""What is looked at, and beside what, is decided before anybody logs in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import FlykeepError, FlyNotFoundError, IntegrityError, NotFoundError, RefusalError
from flykeep.domain.fly import HostStatus, Machine, Mount
from flykeep.domain.ids import ExportId, VolumeId
from flykeep.domain.inspection import LiveProbe, ProbeState
from flykeep.domain.lineages import LineagePlan, LineageState
from flykeep.jobs.authentic import ArtifactStores
from flykeep.jobs.inspect import Inspection, InspectJob, Wish
from flykeep.ports.inspecting import InspectOrder, InspectResult
from flykeep.ports.worker import Progress
from flykeep.testing.clock import CountedIds
from tests.integration.jobs.parts import RULE, Parts, parts_in
from tests.unit.domain.builders import lineage, machine, volume

NOBODY = LineagePlan((), (), (), (), (), ())


@dataclass
class Looking:
    """An inspect job over memory parts; `gone` are volume ids that Fly does not know any more."""

    parts: Parts
    plan: LineagePlan = NOBODY
    orders: list[InspectOrder] = field(default_factory=list)
    probes: tuple[LiveProbe, ...] = ()
    gone: frozenset[str] = frozenset()
    identity: str | None = None

    async def inspect(self, order: InspectOrder, *, on_progress: Callable[[Progress], None]) -> InspectResult:
        on_progress(Progress("listing", 0, 0, 0))
        self.orders.append(order)
        return InspectResult(None, 1, 0, 1, (), self.probes, None)

    async def volume(self, app: str, volume_id: str) -> Any:
        if volume_id in self.gone:
            raise FlyNotFoundError("gone")
        return await self.parts.fly.volume(app, volume_id)

    async def machine(self, app: str, machine_id: str) -> Machine:
        return await self.parts.fly.machine(app, machine_id)

    async def refresh(self) -> LineagePlan:
        return self.plan

    async def look(self, wish: Wish = Wish(), **changes: Any) -> Inspection:  # noqa: B008 - frozen
        parts, this = self.parts, self
        fly: Any = this
        job = InspectJob(
            fly,
            parts.fly,
            this,
            parts.catalog,
            ArtifactStores(parts.bound, parts.settler),
            parts.keys.index_key,
            lambda: this.identity,
            parts.clock,
            CountedIds(),
            this.refresh,
            timedelta(hours=1),
            timedelta(minutes=2),
        )
        rule = replace(RULE, mount="/data")
        return await job.inspect(changes.get("of", parts.lineage), rule, wish, on_progress=lambda _: None)

    async def exported(self) -> Artifact:
        run = await self.parts.claimed()
        await self.parts.export.run(self.parts.work(run))
        async with self.parts.catalog.transaction() as tx:
            await tx.finish(run.id, outcome=(await self._done()), now=self.parts.clock.now())
            return (await tx.artifacts())[0]

    @staticmethod
    async def _done() -> Any:
        from flykeep.domain.run import Outcome, RunState  # noqa: PLC0415

        return Outcome(RunState.SUCCEEDED)


@asynccontextmanager
async def looking(tmp_path: Path) -> AsyncIterator[Looking]:
    async with parts_in(tmp_path) as parts:
        yield Looking(parts)


async def test_without_an_artifact_the_volume_is_looked_at_alone(tmp_path: Path) -> None:
    async with looking(tmp_path) as here:
        found = await here.look()
    (order,) = here.orders
    assert (found.artifact, found.directory, found.is_healthy) == (None, "/data", True)
    assert (order.directory, order.reference, order.is_digesting, order.names) == ("/data", None, False, 20)


async def test_the_newest_artifact_that_counts_stands_beside_it(tmp_path: Path) -> None:
    async with looking(tmp_path) as here:
        await here.exported()
        here.parts.clock._move_to(here.parts.clock.now() + timedelta(days=1))
        newest = await here.exported()
        here.identity = "AGE-SECRET-KEY-OPERATOR"
        found = await here.look(Wish(is_digesting=True, names=5))
    assert found.artifact is not None
    assert found.artifact.export_id == newest.export_id
    (order,) = here.orders
    assert order.reference is not None
    assert order.reference.index == newest.manifest.index
    assert (order.reference.identity or "").splitlines()[1:] == ["AGE-SECRET-KEY-OPERATOR"]
    assert (order.is_digesting, order.names) == (True, 5)


async def test_a_person_names_another_artifact_and_a_good_copy_of_it_is_taken(tmp_path: Path) -> None:
    async with looking(tmp_path) as here:
        made = await here.exported()
        async with here.parts.catalog.transaction() as tx:
            (first, second) = await tx.artifact(made.export_id)
            await tx.record_artifact(replace(first, is_failed=True))
        found = await here.look(Wish(made.export_id))
        assert found.artifact is not None
        assert found.artifact.store == second.store
        with pytest.raises(NotFoundError, match="no configured store"):
            await here.look(Wish(ExportId("unheard-of")))


async def test_an_artifact_whose_manifest_is_not_the_recorded_one_is_not_believed(tmp_path: Path) -> None:
    async with looking(tmp_path) as here:
        made = await here.exported()
        await here.parts.stores[made.store].delete(made.manifest_key)
        with pytest.raises(IntegrityError):
            await here.look(Wish())
    assert here.orders == []


async def test_an_artifact_without_encryption_needs_no_key(tmp_path: Path) -> None:
    async with looking(tmp_path) as here:
        here.parts.recipients = ()
        await here.exported()
        await here.look()
    (order,) = here.orders
    assert order.reference is not None
    assert (order.reference.identity, order.reference.is_encrypted) == (None, False)


async def test_a_volume_that_fly_has_moved_is_found_again(tmp_path: Path) -> None:
    moved = volume("vol_2")
    async with looking(tmp_path) as here:
        here.parts.fly.the_volume = moved
        here.parts.fly.the_machine = machine(mounts=("vol_2",))
        here.gone = frozenset({"vol_1"})
        other = LineageState(lineage("lin_2"), volume("vol_9"), None, RULE)
        state = LineageState(lineage(volume_ids=(VolumeId("vol_1"), moved.id)), moved, None, RULE)
        here.plan = replace(NOBODY, current=(other, state))
        found = await here.look()
        assert found.volume.id == "vol_2"
        here.plan = replace(NOBODY, current=(other,))
        with pytest.raises(NotFoundError, match="vol_1 does not exist any more"):
            await here.look()


@pytest.mark.parametrize(
    ("changes", "on_machine", "words", "step"),
    [
        ({"state": "pending_destroy"}, {}, "the volume is pending_destroy", "Nothing was changed"),
        ({"attached_machine_id": None}, {}, "no machine mounts", "flykeep drill"),
        ({"host_status": HostStatus.UNREACHABLE}, {}, "the host is unreachable", "flykeep restore TARGET"),
        ({}, {"state": "stopped"}, "machine m1 is stopped", "fly machine start m1 -a my-crocbot"),
        ({}, {"mounts": (Mount(VolumeId("vol_1"), "/elsewhere"),)}, "/elsewhere", "Correct `mount`"),
    ],
)
async def test_where_nobody_can_look_the_next_step_is_named_before_anybody_logs_in(
    tmp_path: Path, changes: dict[str, Any], on_machine: dict[str, Any], words: str, step: str
) -> None:
    async with looking(tmp_path) as here:
        here.parts.fly.the_volume = replace(here.parts.fly.the_volume, **changes)
        here.parts.fly.the_machine = replace(here.parts.fly.the_machine, **on_machine)
        with pytest.raises(RefusalError, match=words) as caught:
            await here.look()
    assert step in caught.value.next_step
    assert here.orders == []


@pytest.mark.parametrize(
    ("states", "is_healthy"),
    [((ProbeState.PASSED, ProbeState.NOT_ASKED), True), ((ProbeState.PASSED, ProbeState.FAILED), False)],
)
async def test_only_a_failed_probe_makes_it_unhealthy(
    tmp_path: Path, states: tuple[ProbeState, ...], *, is_healthy: bool
) -> None:
    async with looking(tmp_path) as here:
        here.probes = tuple(LiveProbe("json a", state, "") for state in states)
        assert (await here.look()).is_healthy is is_healthy


async def test_what_the_worker_reports_is_passed_on(tmp_path: Path) -> None:
    async with looking(tmp_path) as here:

        async def fail(*_: object, **__: object) -> InspectResult:
            raise IntegrityError("torn")

        here.inspect = fail  # type: ignore[method-assign]
        with pytest.raises(FlykeepError, match="torn"):
            await here.look()
