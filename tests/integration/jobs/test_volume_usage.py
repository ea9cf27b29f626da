"""How full a volume is, as a job finds out: Fly's numbers always, the machine's where it runs and answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flykeep.domain.errors import FlyConflictError
from flykeep.domain.fly import CommandResult, HostStatus
from flykeep.jobs.volume_usage import Usage, VolumeUsage
from tests.integration.jobs.parts import RULE, MemoryFly
from tests.unit.domain.builders import lineage
from tests.unit.domain.test_disk_usage import answer


class AnsweringFly(MemoryFly):
    """A MemoryFly whose machine gives one answer to whatever it is asked."""

    result: CommandResult | Exception = CommandResult(0, answer(), "")

    async def execute(self, _app: str, _machine: str, command: tuple[str, ...], *, within: timedelta) -> CommandResult:
        assert within <= timedelta(seconds=25)
        assert sum(map(len, command)) < 15_000
        self.commands.append(command)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def looked(fly: AnsweringFly) -> Usage:
    return await VolumeUsage(fly).look(lineage(), RULE)  # type: ignore[arg-type]  # only what the job calls


async def test_a_running_machine_is_asked_once() -> None:
    fly = AnsweringFly()
    usage = await looked(fly)
    assert usage.disk is not None
    assert (usage.disk.size_bytes, usage.silence, len(fly.commands)) == (1000 << 10, None, 1)


@pytest.mark.parametrize(
    ("machine", "volume", "why"),
    [
        ({"state": "stopped"}, {}, "machine m1 is stopped"),
        ({"host_status": HostStatus.UNREACHABLE}, {}, "unreachable"),
        ({}, {"attached_machine_id": None}, "no machine mounts the volume"),
    ],
)
async def test_where_no_machine_can_be_asked_flys_numbers_stand_and_it_is_said_why(
    machine: dict[str, Any], volume: dict[str, Any], why: str
) -> None:
    fly = AnsweringFly()
    fly.the_machine = replace(fly.the_machine, **machine)
    fly.the_volume = replace(fly.the_volume, used_bytes=5, **volume)

    usage = await looked(fly)

    assert why in (usage.silence or "")
    assert (usage.disk, usage.volume.used_bytes, fly.commands) == (None, 5, [])


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (FlyConflictError("lease held"), "lease held"),
        (CommandResult(97, "", "sh: no such directory"), "no such directory"),
        (CommandResult(0, "", ""), "cut short"),
    ],
)
async def test_a_machine_that_does_not_tell_is_not_taken_for_an_empty_one(result: Any, why: str) -> None:
    fly = AnsweringFly()
    fly.result = result
    usage = await looked(fly)
    assert usage.disk is None
    assert why in (usage.silence or "")
