"""Puts the daemon together from the application."""

from __future__ import annotations

from flykeep.bootstrap import Application
from flykeep.daemon.executor import Executor
from flykeep.daemon.health import listen
from flykeep.daemon.signals import StopSignals
from flykeep.daemon.supervisor import Supervisor
from flykeep.daemon.ticker import Ticker
from flykeep.domain.ids import OwnerId
from flykeep.domain.policy import Schedule

_RECONCILE = Schedule("7 * * * *")


async def run_daemon(application: Application) -> None:
    """Be the daemon until a signal; raises BusyError where another one lives."""
    settings = application.settings
    owner_id = OwnerId(f"daemon-{application.ids.token()}")
    signals = StopSignals()
    async with application.owners.hold(owner_id, is_daemon=True):
        listener = listen(settings.http.host, settings.http.port)
        signals.install()
        try:
            await Supervisor(
                catalog=application.catalog,
                clock=application.clock,
                ticker=Ticker(
                    catalog=application.catalog,
                    clock=application.clock,
                    ids=application.ids,
                    rules=settings.targets,
                    check_schedule=settings.daemon.check,
                    reconcile_schedule=_RECONCILE,
                    jitter_window=settings.daemon.jitter,
                    prune_schedule=settings.retention.schedule,
                    can_drill=settings.drill_means.obstacle is None,
                    verify_schedule=settings.verify.schedule,
                ),
                executor=Executor(
                    application.catalog,
                    application.clock,
                    application.runner,
                    owner_id,
                    settings.daemon.max_parallel_runs,
                ),
                outbox=application.outbox,
                reconcile=application.reconcile,
                signals=signals,
                listener=listener,
                drain_timeout=settings.daemon.drain_timeout,
            ).run()
        finally:
            signals.remove()
            listener.close()
