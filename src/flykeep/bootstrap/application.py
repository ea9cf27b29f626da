"""Opens the state and builds everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from pydantic import SecretStr

from flykeep import __version__
from flykeep.adapters.db.engine import open_catalog
from flykeep.adapters.db.owners import open_owners
from flykeep.adapters.fly.client import FlyClient
from flykeep.adapters.fly.scratch import FlyScratch
from flykeep.adapters.ssh.keys import SshAccessIssuer
from flykeep.adapters.system import SystemClock, SystemIds
from flykeep.bootstrap.artifacts import endings, pin_book, reading, rebuilding, uploads
from flykeep.bootstrap.caring import volume_care
from flykeep.bootstrap.choosing import inspecting
from flykeep.bootstrap.ground import Ground, lay_ground
from flykeep.bootstrap.importing import importing
from flykeep.bootstrap.recovering import recovering
from flykeep.bootstrap.restore_copy import copying
from flykeep.bootstrap.restoring import Restoring, restoring
from flykeep.bootstrap.watching import checking, doctor, notifiers, proof_book, recipients, runbooks
from flykeep.bootstrap.workers import drilling, scratch_sweep, snapshot_source
from flykeep.domain.policy import JobKind
from flykeep.jobs.adopt import AdoptJob
from flykeep.jobs.alerting import Alerting
from flykeep.jobs.candidates import CandidateReader
from flykeep.jobs.check import CheckJob
from flykeep.jobs.checkpoint import CheckpointJob
from flykeep.jobs.delivery import Outbox
from flykeep.jobs.doctor import Doctor
from flykeep.jobs.export import BoundStore, ExportJob, ExportSettings
from flykeep.jobs.get import GetJob
from flykeep.jobs.import_planner import ImportPlanner
from flykeep.jobs.inspect import InspectJob
from flykeep.jobs.locating import Located
from flykeep.jobs.pins import PinBook
from flykeep.jobs.prune import PruneJob
from flykeep.jobs.rebuild import RebuildJob
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.jobs.recover import RecoverJob
from flykeep.jobs.restore_copy import CopyJob
from flykeep.jobs.retire import RetireJob
from flykeep.jobs.runbook import Runbooks, WithRunbook
from flykeep.jobs.runner import Jobs, OrgJob, Runner, TargetJob
from flykeep.jobs.sampled_verification import SampledVerification
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.jobs.submission import Submission
from flykeep.jobs.verify import VerifyJob
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock, IdSource
from flykeep.ports.fly import Fly
from flykeep.ports.notifier import Notifier
from flykeep.ports.ownership import Owners
from flykeep.ports.scratch import ScratchFly
from flykeep.ports.worker import CompressionOrder
from flykeep.settings import Settings
from flykeep.settings.machine import compression_threads


@dataclass(frozen=True, slots=True)
class Application:
    """Everything a verb or the daemon may use, built from one configuration."""

    settings: Settings
    clock: Clock
    ids: IdSource
    catalog: Catalog
    owners: Owners
    fly: Fly
    access: SshAccessIssuer
    stores: Mapping[str, BoundStore]
    notifiers: Mapping[str, Notifier]
    alerting: Alerting
    outbox: Outbox
    runner: Runner
    submission: Submission
    check: CheckJob
    reconcile: ReconcileJob
    prune: PruneJob
    pins: PinBook
    verify: VerifyJob
    get: GetJob
    rebuild: RebuildJob
    runbooks: Runbooks
    recover: RecoverJob
    doctor: Doctor
    import_planner: ImportPlanner
    copies: CopyJob
    restores: Restoring
    candidates: CandidateReader
    inspect: InspectJob
    adopt: AdoptJob


@asynccontextmanager
async def open_application(
    settings: Settings,
    *,
    clock: Clock | None = None,
    ids: IdSource | None = None,
    scratch: ScratchFly | None = None,
    token: SecretStr | None = None,
) -> AsyncIterator[Application]:
    """Open the state and build everything; whatever was opened is closed at the end of the context.

    `scratch` stands in for what makes temporary volumes and machines at Fly, `token` for the configured one.
    Raises ConfigError for a secret that is not set, StateError where the database cannot be used.
    """
    clock, ids = clock or SystemClock(), ids or SystemIds()
    directory = settings.state.directory
    async with AsyncExitStack() as stack:
        url = settings.state_url().get_secret_value()
        owners = await stack.enter_async_context(open_owners(url, directory=directory / "owners"))
        catalog = await stack.enter_async_context(open_catalog(url))
        fly = FlyClient(
            token=token or settings.fly_token(),
            org=settings.fly.org,
            flaps_base_url=settings.fly.flaps_base_url,
            api_base_url=settings.fly.api_base_url,
            clock=clock,
            ids=ids,
        )
        stack.push_async_callback(fly.aclose)
        scratch = scratch or FlyScratch(fly, clock=clock)
        ground = lay_ground(
            settings, clock=clock, ids=ids, catalog=catalog, owners=owners, fly=fly, scratch_fly=scratch
        )
        yield _assemble(ground)


def _assemble(ground: Ground) -> Application:
    settings, catalog, clock, ids = ground.settings, ground.catalog, ground.clock, ground.ids
    told = notifiers(settings, clock)
    alerting = Alerting(catalog, clock, ids, recipients(told), settings.targets)
    book, pages = proof_book(ground), runbooks(ground)
    check = checking(ground, alerting, book, pages)
    bringing = importing(ground)
    drill, rooms = drilling(ground, book, check)
    prune, retire = endings(ground)
    (verify, get), copies = reading(ground), copying(ground)
    snapshot, recover = SnapshotJob(ground.fly, catalog, clock), recovering(ground)
    restores = restoring(ground, snapshot, copies)
    sweeps = (scratch_sweep(ground), uploads(ground), bringing.sweep, prune.remover, rooms, copies.remover)
    reconcile = ReconcileJob(catalog, ground.owners, clock, ground.plain_stores, ground.settler, *sweeps)
    reconcile = replace(reconcile, restores=restores.sweep)
    exporting = WithRunbook(_exporting(ground, snapshot), pages)
    kinds: dict[JobKind, TargetJob] = {
        JobKind.SNAPSHOT: snapshot,
        JobKind.EXPORT: exporting,
        JobKind.CHECKPOINT: CheckpointJob(snapshot, exporting, verify, catalog),
        JobKind.IMPORT: bringing.job,
        JobKind.VOLUME: volume_care(ground, snapshot),
    }
    located = {kind: Located(job, ground.fly, check.refresh_lineages) for kind, job in kinds.items()}
    jobs = Jobs(
        for_target=located | {JobKind.DRILL: drill, JobKind.RESTORE: restores.job},  # a backup is enough for these two
        for_org=_for_org(check, reconcile, prune, retire, verify, settings) | {JobKind.RECOVER: recover},
    )
    runner = Runner(catalog, clock, settings.targets, jobs)
    return Application(
        settings=settings,
        clock=clock,
        ids=ids,
        catalog=catalog,
        owners=ground.owners,
        fly=ground.fly,
        access=ground.access,
        stores=ground.stores,
        notifiers=told,
        alerting=alerting,
        outbox=Outbox(catalog, clock, told, alerting),
        runner=runner,
        submission=Submission(catalog, clock, ids, ground.owners, runner),
        check=check,
        reconcile=reconcile,
        import_planner=bringing.planner,
        restores=restores,
        prune=prune,
        pins=pin_book(ground),
        doctor=doctor(ground, told),
        verify=verify,
        get=get,
        rebuild=rebuilding(ground),
        runbooks=pages,
        recover=recover,
        copies=copies,
        candidates=CandidateReader(ground.fly, catalog, clock, settings.targets),
        inspect=inspecting(ground, check),
        adopt=AdoptJob(ground.fly, catalog, clock, settings.targets),
    )


def _exporting(ground: Ground, snapshot: SnapshotJob) -> ExportJob:
    return ExportJob(
        ground.fly,
        ground.access,
        ground.workers,
        ground.stores,
        ground.catalog,
        ground.clock,
        ground.ids,
        ground.keys.signer,
        ground.keys.index_key,
        _export_settings(ground.settings),
        snapshot_source(ground, snapshot),
    )


def _for_org(
    check: CheckJob, reconcile: ReconcileJob, prune: PruneJob, retire: RetireJob, verify: VerifyJob, settings: Settings
) -> dict[JobKind, OrgJob]:
    return {
        JobKind.CHECK: check,
        JobKind.RECONCILE: reconcile,
        JobKind.PRUNE: prune,
        JobKind.RETIRE: retire,
        JobKind.VERIFY: SampledVerification(verify, settings.verify.budget_bytes),
    }


def _export_settings(settings: Settings) -> ExportSettings:
    return ExportSettings(
        recipients=settings.encryption.recipients,
        compression=CompressionOrder(level=settings.worker.level, threads=compression_threads(settings.worker)),
        deadline=settings.worker.deadline,
        stall_timeout=settings.worker.stall_timeout,
        flykeep_version=__version__,
    )
