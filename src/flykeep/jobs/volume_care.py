"""Runs of kind `volume`: which of its acts a run asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flykeep.domain.errors import UsageError
from flykeep.domain.run import Outcome
from flykeep.domain.volume_care import VolumeAct
from flykeep.jobs.context import TargetWork
from flykeep.jobs.runner import TargetJob


@dataclass(frozen=True, slots=True)
class VolumeCare:
    acts: Mapping[VolumeAct, TargetJob]

    async def run(self, work: TargetWork) -> Outcome:
        word = work.run.request.volume_act or ""
        act = next((act for act in self.acts if act.value == word), None)
        if act is None:
            raise UsageError(f"{word!r} is nothing that is done to volumes", hint="See `flykeep volume --help`.")
        return await self.acts[act].run(work)
