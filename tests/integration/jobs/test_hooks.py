"""Hooks run in the machine around the work, and what was frozen is thawed whatever happened."""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.domain.errors import FlyUnavailableError
from flykeep.domain.fly import Machine
from flykeep.domain.policy import Hook, IfUnavailable, JobKind
from flykeep.domain.run import Run, RunState
from flykeep.jobs import hooks
from flykeep.jobs.context import Journal
from flykeep.jobs.hooks import HookRunner
from flykeep.testing.flysim.faults import Fault, FaultKind
from tests.integration.jobs.test_snapshot import failure
from tests.integration.jobs.workplace import Workplace, until, workplace

EXEC = "machine.exec"
CREATE = "snapshot.create"
WRITE = "echo {} >> MOUNT/hooks.log"


def hooked(
    *, before: str | None = WRITE.format("before"), after: str | None = WRITE.format("after"), **more: str
) -> Callable[[str], str]:
    """The configuration with shell commands as hooks; MOUNT stands for where the volume is seen."""

    def edit(text: str) -> str:
        found = re.search(r'^mount = "(.*)"$', text, re.MULTILINE)
        assert found is not None
        lines = []
        for name, command in (("before_snapshot", before), ("after_snapshot", after)):
            if command is not None:
                extra = "".join(f", {key} = {json.dumps(value)}" for key, value in more.items())
                run = json.dumps(["sh", "-c", command.replace("MOUNT", found.group(1))])
                lines.append(f"hooks.{name} = {{ run = {run}{extra} }}")
        return text + "\n".join(lines) + "\n"

    return edit


def written(at: Workplace) -> list[str]:
    path = at.volume.directory / "hooks.log"
    return path.read_text().split() if path.exists() else []


def hook_steps(names: list[str]) -> list[str]:
    return [name for name in names if "hook" in name]


async def test_the_before_hook_has_ended_when_the_snapshot_begins_and_the_after_hook_runs_last(tmp_path: Path) -> None:
    async with workplace(tmp_path, edit=hooked()) as at:
        run = await at.run(JobKind.SNAPSHOT)
        taken = at.sim.world.snapshot_directory(at.volume.snapshots[-1].id)
        assert run.state is RunState.SUCCEEDED
        assert (taken / "hooks.log").read_text().split() == ["before"]
        assert written(at) == ["before", "after"]
        names = await at.step_names(run)
    assert (names[0], names[-1]) == ("before-hook", "after-hook")


@pytest.mark.parametrize(("before", "after"), [(None, WRITE.format("after")), (WRITE.format("before"), None)])
async def test_one_hook_alone_runs_alone(tmp_path: Path, before: str | None, after: str | None) -> None:
    async with workplace(tmp_path, edit=hooked(before=before, after=after)) as at:
        run = await at.run(JobKind.SNAPSHOT)
        assert run.state is RunState.SUCCEEDED
        assert written(at) == ["before" if before else "after"]


async def test_the_after_hook_runs_when_the_snapshot_fails_and_the_snapshots_error_is_told(tmp_path: Path) -> None:
    async with workplace(tmp_path, edit=hooked()) as at:
        at.arm(Fault(kind=FaultKind.SNAPSHOT_STATUS, action=CREATE, text="failed"))
        run = await at.run(JobKind.SNAPSHOT)
        assert failure(run)[0] == "fly.snapshot_failed"
        assert written(at) == ["before", "after"]


async def test_the_after_hook_runs_when_the_run_is_cancelled(tmp_path: Path) -> None:
    async with workplace(tmp_path, edit=hooked()) as at:
        begun = await at.begun(JobKind.SNAPSHOT)
        task = asyncio.ensure_future(at.application.runner.execute(begun))
        await until(lambda: at.asked(CREATE) > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await at.driven(task)
        assert written(at) == ["before", "after"]
        async with at.application.catalog.transaction() as tx:
            ended = await tx.run(begun.id)
    assert ended is not None
    assert ended.state is RunState.INTERRUPTED


async def test_an_after_hook_under_way_ends_before_a_cancelled_run_does(tmp_path: Path) -> None:
    edit = hooked(before=None, after="; sleep 0.3; ".join([WRITE.format("begun"), WRITE.format("after")]))
    async with workplace(tmp_path, edit=edit) as at:
        begun = await at.begun(JobKind.SNAPSHOT)
        task = asyncio.create_task(at.application.runner.execute(begun))
        driver = asyncio.create_task(at.driven(task))
        await until(lambda: written(at) == ["begun"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await driver
        assert written(at) == ["begun", "after"]


async def test_a_failing_before_hook_stops_the_snapshot_and_is_followed_by_the_after_hook(tmp_path: Path) -> None:
    async with workplace(tmp_path, edit=hooked(before="echo no space >&2; exit 3")) as at:
        run = await at.run(JobKind.SNAPSHOT)
        assert failure(run) == ("fly.command_failed", "before-hook 'sh' ended with exit code 3")
        assert run.outcome is not None
        assert run.outcome.failure is not None
        assert ("stderr", "no space") in run.outcome.failure.facts
        assert at.asked(CREATE) == 0
        assert written(at) == ["after"]


async def test_a_failing_after_hook_fails_the_run_although_the_snapshot_exists(tmp_path: Path) -> None:
    async with workplace(tmp_path, edit=hooked(after="exit 9")) as at:
        run = await at.run(JobKind.SNAPSHOT)
        assert failure(run) == ("fly.command_failed", "after-hook 'sh' ended with exit code 9")
        assert len(at.volume.snapshots) == 2


async def test_a_failing_after_hook_does_not_hide_why_the_snapshot_failed(tmp_path: Path) -> None:
    async with workplace(tmp_path, edit=hooked(after="exit 9")) as at:
        at.arm(Fault(kind=FaultKind.SNAPSHOT_STATUS, action=CREATE, text="failed"))
        run = await at.run(JobKind.SNAPSHOT)
        assert failure(run)[0] == "fly.snapshot_failed"
        assert "after-hook failed" in await at.step_names(run)


@pytest.mark.parametrize("trouble", ["lease", "stopped", "detached"])
async def test_where_hooks_may_be_skipped_an_unavailable_machine_does_not_stop_the_snapshot(
    tmp_path: Path, trouble: str
) -> None:
    async with workplace(tmp_path, edit=hooked(if_unavailable="continue")) as at:
        await unavailable(at, trouble)
        run = await at.run(JobKind.SNAPSHOT)
        assert run.state is RunState.SUCCEEDED
        assert hook_steps(await at.step_names(run))[-1] == "after-hook skipped"
        assert "before-hook skipped" in await at.step_names(run)
        assert written(at) == []


@pytest.mark.parametrize(
    ("trouble", "code"), [("lease", "fly.conflict"), ("stopped", "fly.precondition"), ("detached", "fly.precondition")]
)
async def test_where_hooks_must_run_an_unavailable_machine_stops_the_snapshot(
    tmp_path: Path, trouble: str, code: str
) -> None:
    async with workplace(tmp_path, edit=hooked(if_unavailable="fail")) as at:
        await unavailable(at, trouble)
        run = await at.run(JobKind.SNAPSHOT)
        assert failure(run)[0] == code
        assert at.asked(CREATE) == 0
        assert "after-hook failed" in await at.step_names(run)


async def unavailable(at: Workplace, trouble: str) -> None:
    await at.lineage()
    if trouble == "lease":
        at.sim.world.hold_lease(at.machine)
    elif trouble == "stopped":
        at.sim.world.stop_machine(at.machine)
    else:
        at.volume.attached_machine_id = None


async def test_a_hook_that_outlives_its_time_fails_the_run_whatever_may_be_skipped(tmp_path: Path) -> None:
    async with workplace(tmp_path, edit=hooked(if_unavailable="continue", after=None)) as at:
        at.arm(Fault(kind=FaultKind.EXEC_DEADLINE, action=EXEC))
        run = await at.run(JobKind.SNAPSHOT)
        assert failure(run)[0] == "fly.unavailable"
        assert at.asked(CREATE) == 0


async def test_a_refusal_dressed_as_success_is_not_taken_for_a_hook_that_ran(tmp_path: Path) -> None:
    async with workplace(tmp_path, edit=hooked(after=None)) as at:
        at.arm(Fault(kind=FaultKind.EXEC_TOO_LARGE, action=EXEC))
        run = await at.run(JobKind.SNAPSHOT)
        assert failure(run)[0] == "fly.invalid_request"
        assert at.asked(CREATE) == 0


class _Commands:
    """Answers commands when the test says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def execute(self, app: str, machine_id: str, command: tuple[str, ...], *, within: timedelta) -> object:
        self.asked.set()
        return await self.answer


async def _parts(at: Workplace) -> tuple[Journal, Machine, Run]:
    begun = await at.begun(JobKind.SNAPSHOT)
    inventory = await at.application.fly.inventory()
    return Journal(begun, at.application.catalog, at.clock), inventory.machines[0], begun


AFTER = Hook(("thaw",), if_unavailable=IfUnavailable.FAIL)


async def test_an_after_hook_that_never_answers_ends_the_clean_up_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "_CLEANUP_LIMIT", timedelta(milliseconds=20))
    async with workplace(tmp_path) as at:
        journal, machine, run = await _parts(at)
        commands = _Commands()
        with pytest.raises(FlyUnavailableError, match="the work's own"):
            async with HookRunner(commands).around(machine, before=None, after=AFTER, journal=journal):  # type: ignore[arg-type]
                raise FlyUnavailableError("the work's own")
        (_, failed) = await at.steps(run)
    assert (failed.name, json.loads(failed.detail)) == ("after-hook failed", {"error": "no answer in time"})
    assert commands.answer.cancelled()


async def test_a_run_cancelled_during_its_after_hook_is_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "_CLEANUP_LIMIT", timedelta(milliseconds=20))
    async with workplace(tmp_path) as at:
        journal, machine, _ = await _parts(at)
        commands = _Commands()

        async def work() -> None:
            async with HookRunner(commands).around(machine, before=None, after=AFTER, journal=journal):  # type: ignore[arg-type]
                pass

        task = asyncio.create_task(work())
        await commands.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert commands.answer.cancelled()
