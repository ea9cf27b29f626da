"""What a recovery has asked Fly for so far, kept among the steps of every run of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flykeep.domain.ids import AppName, LineageId, MachineId, RunId, VolumeId
from flykeep.domain.policy import JobKind
from flykeep.domain.recover_findings import HalfRecovery
from flykeep.domain.run import Run, RunState, Step
from flykeep.domain.target import recovery_lineage
from flykeep.jobs.filling import FILLING
from flykeep.ports.catalog import Catalog, Transaction

RECOVERING = "recovering"
APP_ASKED = "make the app"
APP_MADE = "app made"
SECRETS_ASKED = "set secrets"
SECRETS_SET = "secrets set"
ADDRESS_ASKED = "ask for an address"
ADDRESS_MADE = "address"
VOLUME_ASKED = "make a volume"
VOLUME_MADE = "volume made"
VOLUME_READY = "volume ready"
VOLUME_DROPPING = "remove a half-filled volume"
VOLUME_DROPPED = "half-filled volume removed"
MACHINE_ASKED = "make a machine"
MACHINE_MADE = "machine made"
RECOVERED = "recovered"
_RUNS = 1000
_OVER = frozenset({RunState.SUCCEEDED, RunState.DEGRADED})


@dataclass(slots=True)
class MadeVolume:
    """The newest attempt at one volume. `id` None: Fly was asked, and nobody saw its answer.

    `before` are the volumes the app had then. A volume whose filling began and never ended holds half of something.
    """

    before: frozenset[str]
    id: VolumeId | None = None
    is_filling: bool = False
    is_ready: bool = False
    is_dropped: bool = False


@dataclass(slots=True)
class MadeMachine:
    """The newest attempt at one machine; `name` is the one it was asked for by."""

    name: str
    before: frozenset[str]
    id: MachineId | None = None


@dataclass(slots=True)
class RecoverProgress:
    """By the ids of what was lost."""

    is_app_asked: bool = False
    is_app_made: bool = False
    volumes: dict[VolumeId, MadeVolume] = field(default_factory=dict)
    machines: dict[MachineId, MadeMachine] = field(default_factory=dict)

    @property
    def is_begun(self) -> bool:
        """Whether Fly was asked for anything."""
        return self.is_app_asked or bool(self.volumes or self.machines)

    @property
    def machine_ids(self) -> Mapping[MachineId, MachineId]:
        """Which machine took the place of which."""
        return {lost: made.id for lost, made in self.machines.items() if made.id is not None}

    def take(self, step: Step) -> None:
        """What one more step says."""
        detail: dict[str, str] = json.loads(step.detail) if step.detail else {}
        if step.name in {APP_ASKED, APP_MADE}:
            self.is_app_asked = True
            self.is_app_made = self.is_app_made or step.name == APP_MADE
        elif step.name in {MACHINE_ASKED, MACHINE_MADE}:
            self._take_machine(step.name, detail)
        else:
            self._take_volume(step.name, detail)

    def _take_machine(self, name: str, detail: Mapping[str, str]) -> None:
        lost = MachineId(detail["of"])
        if name == MACHINE_ASKED:
            self.machines[lost] = MadeMachine(detail["name"], _ids(detail))
        else:
            self.machines[lost].id = MachineId(detail["id"])

    def _take_volume(self, name: str, detail: Mapping[str, str]) -> None:
        if name == VOLUME_ASKED:
            self.volumes[VolumeId(detail["of"])] = MadeVolume(_ids(detail))
        elif name == VOLUME_MADE:
            self.volumes[VolumeId(detail["of"])].id = VolumeId(detail["id"])
        elif name == VOLUME_READY:
            self.volumes[VolumeId(detail["of"])].is_ready = True
        elif name == VOLUME_DROPPED:
            self.volumes[VolumeId(detail["of"])].is_dropped = True
        elif name == FILLING:
            for made in self.volumes.values():
                made.is_filling = made.is_filling or made.id == detail["volume"]


def _ids(detail: Mapping[str, str]) -> frozenset[str]:
    return frozenset(filter(None, detail.get("before", "").split(",")))


@dataclass(frozen=True, slots=True)
class RecoverLog:
    """Read by recoveries; written by each run's own journal."""

    catalog: Catalog

    async def earlier(self, app: AppName, name: AppName, *, but: RunId | None = None) -> tuple[RunId, ...]:
        """The runs, oldest first, that began to rebuild `app` as `name` and have not ended it."""
        return tuple(run_id for run_id, _ in await self._unended(app, name, but=but))

    async def progress(self, app: AppName, name: AppName) -> RecoverProgress:
        """What those runs, and the present one, have done so far."""
        found = RecoverProgress()
        for _, steps in await self._unended(app, name):
            for step in steps:
                found.take(step)
        return found

    async def _unended(
        self, app: AppName, name: AppName, *, but: RunId | None = None
    ) -> list[tuple[RunId, Sequence[Step]]]:
        async with self.catalog.transaction() as tx:
            runs = await tx.runs(lineage_id=recovery_lineage(app), kind=JobKind.RECOVER, limit=_RUNS)
            return await _unended(tx, [run for run in reversed(runs) if run.request.to_app == name and run.id != but])


async def half_recoveries(tx: Transaction) -> tuple[HalfRecovery, ...]:
    """The recoveries, of whatever app, that asked Fly for something, have not ended, and that nobody works on."""
    by_names: dict[tuple[LineageId, AppName | None], list[Run]] = {}
    for run in reversed(await tx.runs(kind=JobKind.RECOVER, limit=_RUNS)):
        by_names.setdefault((run.lineage_id, run.request.to_app), []).append(run)
    found: list[HalfRecovery] = []
    for runs in by_names.values():
        if all(run.state.is_final for run in runs):
            steps = [step for _, its_steps in await _unended(tx, runs) for step in its_steps]
            found += _half_recovery(steps)
    return tuple(found)


def _half_recovery(steps: Sequence[Step]) -> list[HalfRecovery]:
    progress = RecoverProgress()
    for step in steps:
        progress.take(step)
    if not progress.is_begun:
        return []
    said = json.loads(next(step for step in steps if step.name == RECOVERING).detail)
    ids = [*(made.id for made in progress.volumes.values()), *(made.id for made in progress.machines.values())]
    return [
        HalfRecovery(
            app=AppName(said["app"]),
            name=AppName(said["name"]),
            org=said["org"],
            run_id=steps[-1].run_id,
            stopped_at=steps[-1].at,
            made=frozenset(one for one in ids if one is not None),
        )
    ]


async def _unended(tx: Transaction, runs: Iterable[Run]) -> list[tuple[RunId, Sequence[Step]]]:
    """Those of one recovery's runs, oldest first, that came after the last one which ended it."""
    found: list[tuple[RunId, Sequence[Step]]] = []
    for run in runs:
        steps = await tx.steps(run.id)
        # A process that dies between its last step and its run's end has told nobody what there is now.
        is_over = run.state in _OVER and any(step.name == RECOVERED for step in steps)
        found = [] if is_over else [*found, (run.id, steps)]
    return found
