"""How a person's wish becomes a run: executed by a daemon and followed, or in turn by this process."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from flykeep.domain.errors import NotFoundError
from flykeep.domain.ids import OwnerId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, Run, RunRequest, RunState
from flykeep.jobs.runner import Watcher
from tests.integration.jobs.parts import OWNER, Parts

DAEMON = OwnerId("daemon-1")


async def wished(parts: Parts, *, is_local: bool = False, watcher: Watcher | None = None) -> Run:
    submission = parts.submission
    async with submission.submitted(JobKind.EXPORT, parts.lineage.id, RunRequest(), is_local=is_local) as run:
        return await submission.see_through(run, watcher=watcher or Watcher())


async def open_runs(parts: Parts) -> list[Run]:
    async with parts.catalog.transaction() as tx:
        return list(await tx.runs(is_open=True))


async def the_open_run(parts: Parts) -> Run:
    """The one pending run, as soon as it is there."""
    async with asyncio.timeout(60):
        while not (found := [run for run in await open_runs(parts) if run.state is RunState.PENDING]):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    return found[0]


async def test_alone_a_process_executes_its_wish_itself(parts: Parts) -> None:
    run = await wished(parts)
    assert run.state is RunState.SUCCEEDED
    assert str(run.owner_id).startswith("verb-")


async def test_a_local_wish_is_executed_here_beside_a_daemon_that_cannot_claim_it(parts: Parts) -> None:
    async with parts.owners.hold(DAEMON, is_daemon=True):
        submission = parts.submission
        async with submission.submitted(JobKind.EXPORT, parts.lineage.id, RunRequest(), is_local=True) as run:
            async with parts.catalog.transaction() as tx:
                assert await tx.claimable(now=parts.clock.now()) == ()
            assert (await submission.see_through(run, watcher=Watcher())).state is RunState.SUCCEEDED


@pytest.mark.parametrize("is_watched", [True, False])
async def test_beside_a_daemon_a_wish_is_followed_and_its_steps_are_shown(parts: Parts, is_watched: bool) -> None:
    seen: list[str] = []
    watcher = Watcher(on_step=lambda step: seen.append(step.name)) if is_watched else Watcher()
    async with parts.owners.hold(DAEMON, is_daemon=True):
        following = asyncio.create_task(wished(parts, watcher=watcher))
        run = await the_open_run(parts)
        async with parts.catalog.transaction() as tx:
            assert await tx.claim(run.id, owner_id=DAEMON, now=parts.clock.now())
        await parts.runner.execute(await parts.again(run))
        followed = await following
    assert (followed.state, followed.owner_id) == (RunState.SUCCEEDED, DAEMON)
    assert seen == (["plan", *["export", "committed"] * 2] if is_watched else [])


async def test_a_pending_wish_is_taken_over_when_the_daemon_dies(parts: Parts) -> None:
    async with contextlib.AsyncExitStack() as daemon:
        await daemon.enter_async_context(parts.owners.hold(DAEMON, is_daemon=True))
        following = asyncio.create_task(wished(parts))
        await the_open_run(parts)
        await daemon.aclose()
        run = await following
    assert run.state is RunState.SUCCEEDED
    assert str(run.owner_id).startswith("verb-")


async def test_a_wish_whose_process_dies_is_told_as_interrupted(parts: Parts) -> None:
    async with contextlib.AsyncExitStack() as daemon:
        await daemon.enter_async_context(parts.owners.hold(DAEMON, is_daemon=True))
        following = asyncio.create_task(wished(parts))
        run = await the_open_run(parts)
        async with parts.catalog.transaction() as tx:
            assert await tx.claim(run.id, owner_id=DAEMON, now=parts.clock.now())
        await daemon.aclose()
        assert (await following).state is RunState.INTERRUPTED


async def test_a_dead_processs_run_does_not_keep_the_lineage(parts: Parts) -> None:
    dead = await parts.claimed(owner=OwnerId("dead"))
    assert (await wished(parts)).state is RunState.SUCCEEDED
    assert (await parts.again(dead)).state is RunState.INTERRUPTED


async def test_a_wish_waits_for_the_living_and_is_taken_back_when_cancelled(parts: Parts) -> None:
    busy = await parts.claimed()
    async with parts.owners.hold(OWNER, is_daemon=False):
        waiting = asyncio.create_task(wished(parts))
        run = await the_open_run(parts)
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert (await parts.again(run)).state is RunState.CANCELLED
    assert (await parts.again(busy)).state is RunState.RUNNING


async def test_a_wish_that_somebody_else_executes_meanwhile_is_seen_to_its_end(parts: Parts) -> None:
    busy = await parts.claimed()
    async with parts.owners.hold(OWNER, is_daemon=False):
        waiting = asyncio.create_task(wished(parts))
        run = await the_open_run(parts)
        async with parts.catalog.transaction() as tx:
            await tx.finish(busy.id, outcome=Outcome(RunState.SUCCEEDED), now=parts.clock.now())
            assert await tx.claim(run.id, owner_id=OWNER, now=parts.clock.now())
        async with parts.catalog.transaction() as tx:
            await tx.finish(run.id, outcome=Outcome(RunState.DEGRADED), now=parts.clock.now())
        assert (await waiting).state is RunState.DEGRADED


async def test_cancelling_leaves_a_run_to_whoever_executes_it_by_now(parts: Parts) -> None:
    run = await parts.claimed()
    await parts.submission._give_up(run.id, OwnerId("verb-1"))
    assert (await parts.again(run)).state is RunState.RUNNING


async def test_a_run_that_is_not_there_is_said(parts: Parts) -> None:
    run = await parts.pending()
    with pytest.raises(NotFoundError):
        await parts.submission.see_through(replace(run, id=type(run.id)("unknown")), watcher=Watcher())
