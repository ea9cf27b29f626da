"""Commands an operator wants run inside the machine before and after a backup."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import CommandFailedError, FlyConflictError, FlyError, FlyPreconditionError
from flykeep.domain.fly import Machine
from flykeep.domain.policy import Hook, IfUnavailable
from flykeep.jobs.context import Journal
from flykeep.ports.fly import CommandRunner

_CLEANUP_LIMIT = timedelta(seconds=75)


@dataclass(frozen=True, slots=True)
class HookReport:
    """Whether the before-hook ran and holds the application's files consistent."""

    made_consistent: bool


@dataclass(frozen=True, slots=True)
class HookRunner:
    """Runs hooks through Fly's exec: at most 60 s each, refused while a deploy holds the machine's lease."""

    commands: CommandRunner

    @asynccontextmanager
    async def around(
        self, machine: Machine | None, *, before: Hook | None, after: Hook | None, journal: Journal
    ) -> AsyncIterator[HookReport]:
        """Run `before`, give way to the work, and run `after` whatever happened, even when cancelled.

        Raises CommandFailedError when a hook fails. An after-hook that fails after failed work does not hide that
        failure: it is journalled and the first error is raised.
        """
        try:
            ran = await self._run("before-hook", before, machine, journal)
            yield HookReport(made_consistent=ran and before is not None and before.makes_consistent)
        except BaseException:
            await self._after_failure(after, machine, journal)
            raise
        await self._after_success(after, machine, journal)

    async def _after_success(self, after: Hook | None, machine: Machine | None, journal: Journal) -> None:
        """Let the hook end although the run is cancelled meanwhile; bounded, and the cancellation is then passed on."""
        hook = asyncio.ensure_future(self._run("after-hook", after, machine, journal))
        try:
            await asyncio.shield(hook)
        except asyncio.CancelledError:
            await asyncio.wait({hook}, timeout=_CLEANUP_LIMIT.total_seconds())
            await _ended(hook)
            raise

    async def _after_failure(self, after: Hook | None, machine: Machine | None, journal: Journal) -> None:
        """Thaw what the before-hook may have frozen; bounded, and safe from the cancellation that brought us here."""
        cleanup = asyncio.ensure_future(self._run("after-hook", after, machine, journal))
        try:
            async with asyncio.timeout(_CLEANUP_LIMIT.total_seconds()):
                await asyncio.shield(cleanup)
        except (FlyError, TimeoutError) as error:
            await journal.step("after-hook failed", error=str(error) or "no answer in time")
        finally:
            await _ended(cleanup)

    async def _run(self, name: str, hook: Hook | None, machine: Machine | None, journal: Journal) -> bool:
        if hook is None:
            return False
        try:
            if machine is None or not machine.is_started:
                raise FlyPreconditionError("the machine is not started, so its hook cannot run")
            await journal.step(name, command=" ".join(hook.run))
            result = await self.commands.execute(machine.app, machine.id, hook.run, within=hook.timeout)
        except (FlyPreconditionError, FlyConflictError) as error:
            if hook.if_unavailable is IfUnavailable.FAIL:
                raise
            await journal.step(f"{name} skipped", reason=error.message)
            return False
        if not result.is_success:
            raise CommandFailedError(
                f"{name} {hook.run[0]!r} ended with exit code {result.exit_code}",
                facts={"machine": machine.id, "stderr": result.stderr.strip()[-200:] or None},
            )
        return True


async def _ended(hook: asyncio.Future[bool]) -> None:
    """Leave no task behind; what it raised was told already, or somebody insisted on ending now."""
    hook.cancel()
    await asyncio.gather(hook, return_exceptions=True)
