"""Builds every object once and hands it to command line and daemon; the only place that knows all adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from flykeep import __version__
from flykeep.adapters.codecs.age_stream import is_for_any
from flykeep.adapters.codecs.keys import StateKeys
from flykeep.adapters.codecs.sealing import AgeOpener, AgeSealer
from flykeep.adapters.db.engine import open_catalog
from flykeep.adapters.db.owners import open_owners
from flykeep.adapters.fly.client import FlyClient
from flykeep.adapters.fly.control import FlyControl
from flykeep.adapters.fly.premises import FlyPremises
from flykeep.adapters.fly.scratch import FlyScratch
from flykeep.adapters.launchers.drill_rooms import LocalDrillRooms
from flykeep.adapters.launchers.fly_machine import FlyMachineWorkers
from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.adapters.ssh.keys import SshAccessIssuer
from flykeep.adapters.stores.bucket_child import BucketChild
from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.adapters.stores.retrying import RetryingStore
from flykeep.adapters.system import SystemClock, SystemIds
from flykeep.domain.ids import AppName
from flykeep.domain.policy import JobKind
from flykeep.jobs.agreement import Agreement
from flykeep.jobs.alerting import Alerting, Recipient
from flykeep.jobs.authentic import ArtifactStores
from flykeep.jobs.check import CheckJob
from flykeep.jobs.delivery import Outbox
from flykeep.jobs.doctor import Doctor
from flykeep.jobs.drill import DrillJob
from flykeep.jobs.drill_choice import DrillChooser, DrillKeys
from flykeep.jobs.drill_place import DrillPlace
from flykeep.jobs.drill_sweep import DrillSweep
from flykeep.jobs.export import BoundStore, ExportJob, ExportSettings
from flykeep.jobs.facts import FactReader
from flykeep.jobs.get import GetJob
from flykeep.jobs.import_ import ImportJob, ImportSettings
from flykeep.jobs.import_artifacts import SignedArtifacts
from flykeep.jobs.import_ending import ImportEnding
from flykeep.jobs.import_log import ImportLog
from flykeep.jobs.import_moving import ImportMover
from flykeep.jobs.import_planner import ImportPlanner
from flykeep.jobs.import_sweep import ImportSweep
from flykeep.jobs.locating import Located, Locator
from flykeep.jobs.proofs import ProofBook
from flykeep.jobs.prune import PruneJob
from flykeep.jobs.rebuild import RebuildJob
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.jobs.removal import Remover
from flykeep.jobs.restarting import Restarter
from flykeep.jobs.retention import RetentionPlanner
from flykeep.jobs.retire import RetireJob
from flykeep.jobs.runner import Jobs, OrgJob, Runner, TargetJob
from flykeep.jobs.sampled_verification import SampledVerification
from flykeep.jobs.scratch import Scratch
from flykeep.jobs.scratch_sweep import ScratchSweep
from flykeep.jobs.settle import Settler
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.jobs.snapshot_doctor import SnapshotDoctor
from flykeep.jobs.snapshot_source import SnapshotSource
from flykeep.jobs.statefile import StateWriter
from flykeep.jobs.submission import Submission
from flykeep.jobs.upload_sweep import UploadSweep
from flykeep.jobs.verify import VerifyJob
from flykeep.plugins import load_notifiers
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock, IdSource
from flykeep.ports.fly import Fly
from flykeep.ports.notifier import Notifier
from flykeep.ports.ownership import Owners
from flykeep.ports.plugin import NotifierDeps
from flykeep.ports.scratch import ScratchFly
from flykeep.ports.store import Store
from flykeep.ports.worker import CompressionOrder
from flykeep.settings import Settings
from flykeep.settings.machine import compression_threads

_TargetJobs = dict[JobKind, TargetJob]


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
    verify: VerifyJob
    get: GetJob
    rebuild: RebuildJob
    doctor: Doctor
    import_planner: ImportPlanner


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """What every job that reaches into machines is built with."""

    fly: FlyClient
    access: SshAccessIssuer
    workers: LocalWorkers
    catalog: Catalog
    clock: Clock


@dataclass(frozen=True, slots=True)
class _Importing:
    """What brings files back into running machines."""

    job: ImportJob
    planner: ImportPlanner
    sweep: ImportSweep


@asynccontextmanager
async def open_application(
    settings: Settings,
    *,
    clock: Clock | None = None,
    ids: IdSource | None = None,
    scratch: ScratchFly | None = None,
) -> AsyncIterator[Application]:
    """Open the state and build everything; whatever was opened is closed at the end of the context.

    `scratch` stands in for what makes temporary volumes and machines at Fly.
    Raises ConfigError for a secret that is not set, StateError where the database cannot be used.
    """
    clock, ids = clock or SystemClock(), ids or SystemIds()
    directory = settings.state.directory
    async with AsyncExitStack() as stack:
        url = settings.state_url().get_secret_value()
        owners = await stack.enter_async_context(open_owners(url, directory=directory / "owners"))
        catalog = await stack.enter_async_context(open_catalog(url))
        fly = FlyClient(
            token=settings.fly_token(),
            org=settings.fly.org,
            flaps_base_url=settings.fly.flaps_base_url,
            api_base_url=settings.fly.api_base_url,
            clock=clock,
            ids=ids,
        )
        stack.push_async_callback(fly.aclose)
        scratch = scratch or FlyScratch(fly, clock=clock)
        yield _assemble(settings, clock=clock, ids=ids, catalog=catalog, owners=owners, fly=fly, scratch=scratch)


def _assemble(
    settings: Settings,
    *,
    clock: Clock,
    ids: IdSource,
    catalog: Catalog,
    owners: Owners,
    fly: FlyClient,
    scratch: ScratchFly,
) -> Application:
    keys = StateKeys.load_or_create(settings.state.directory)
    stores = _stores(settings, clock, ids)
    plain_stores = {name: bound.store for name, bound in stores.items()}
    notifiers = _notifiers(settings, clock)
    alerting = Alerting(catalog, clock, ids, _recipients(notifiers), settings.targets)
    access = SshAccessIssuer(fly, clock=clock, port=settings.fly.ssh_port)
    workers = LocalWorkers(clock=clock)
    settler = Settler(catalog, clock, keys.signer)
    state_writer = _state_writer(settings, keys, catalog, plain_stores)
    book = ProofBook(catalog, clock, plain_stores, keys.signer.trusting(settings.drill.trusted_signers))
    about = (settings.targets, settings.fly.org, alerting, state_writer, book, settings.retention.schedule)
    check = CheckJob(_facts(settings, fly, catalog, clock), catalog, clock, ids, *about)
    near = _Neighbours(fly, access, workers, catalog, clock)
    importing = _importing(settings, keys, stores, near)
    drill, rooms = _drilling(settings, keys, stores, near, scratch=scratch, book=book, check=check)
    prune, retire = _endings(settings, catalog, clock, plain_stores, settler)
    uploads, sweep = _uploads(stores, catalog, clock), _sweep(settings, scratch, catalog, clock)
    sweeps = (sweep, uploads, importing.sweep, prune.remover, rooms)
    reconcile = ReconcileJob(catalog, owners, clock, plain_stores, settler, *sweeps)
    snapshot = SnapshotJob(fly, catalog, clock)
    work, source = _export_settings(settings), _snapshot_source(settings, scratch, snapshot, catalog, clock)
    export = ExportJob(fly, access, workers, stores, catalog, clock, ids, keys.signer, keys.index_key, work, source)
    verify, get = _reading(settings, keys, stores, near)
    kinds: _TargetJobs = {JobKind.SNAPSHOT: snapshot, JobKind.EXPORT: export, JobKind.IMPORT: importing.job}
    located = _located(kinds, fly, check) | {JobKind.DRILL: drill}  # an artifact's drill asks nothing of Fly
    jobs = Jobs(for_target=located, for_org=_for_org(check, reconcile, prune, retire, verify, settings))
    runner = Runner(catalog, clock, settings.targets, jobs)
    return Application(
        settings=settings,
        clock=clock,
        ids=ids,
        catalog=catalog,
        owners=owners,
        fly=fly,
        access=access,
        stores=stores,
        notifiers=notifiers,
        alerting=alerting,
        outbox=Outbox(catalog, clock, notifiers, alerting),
        runner=runner,
        submission=Submission(catalog, clock, ids, owners, runner),
        check=check,
        reconcile=reconcile,
        import_planner=importing.planner,
        prune=prune,
        doctor=_doctor(settings, stores, notifiers, near, ids),
        verify=verify,
        get=get,
        rebuild=RebuildJob(catalog, clock, plain_stores, settler, AgeOpener(), _identity(settings)),
    )


def _stores(settings: Settings, clock: Clock, ids: IdSource) -> dict[str, BoundStore]:
    orders = {name: settings.store_order(name) for name in settings.stores}
    return {
        name: BoundStore(RetryingStore(ObjectStore(order), clock=clock, ids=ids), order, settings.stores[name].traits)
        for name, order in orders.items()
    }


def _uploads(stores: Mapping[str, BoundStore], catalog: Catalog, clock: Clock) -> UploadSweep:
    return UploadSweep(BucketChild(), {name: bound.order for name, bound in stores.items()}, catalog, clock)


def _endings(
    settings: Settings, catalog: Catalog, clock: Clock, stores: Mapping[str, Store], settler: Settler
) -> tuple[PruneJob, RetireJob]:
    """The jobs that remove artifacts."""
    agreement, remover = Agreement(settler), Remover(catalog, clock, stores)
    share = settings.retention.max_delete_share
    planner = RetentionPlanner(catalog, clock, stores, agreement, settings.targets, share)
    retire = RetireJob(catalog, clock, stores, settings.targets, agreement, remover)
    return PruneJob(catalog, clock, planner, remover), retire


def _notifiers(settings: Settings, clock: Clock) -> dict[str, Notifier]:
    plugins = load_notifiers({notifier.type for notifier in settings.notifiers})
    deps = NotifierDeps(clock=clock, secret=settings.secrets.value)
    return {
        notifier.name: plugins[notifier.type].build(notifier.name, notifier.table, deps)
        for notifier in settings.notifiers
    }


def _reading(
    settings: Settings, keys: StateKeys, stores: Mapping[str, BoundStore], near: _Neighbours
) -> tuple[VerifyJob, GetJob]:
    settler = Settler(near.catalog, near.clock, keys.signer)
    key, identity, deadline = keys.index_key, _identity(settings), settings.worker.deadline
    get = GetJob(near.workers, ArtifactStores(stores, settler), key, identity, deadline)
    known = near.catalog, near.clock, settler
    return VerifyJob(near.workers, stores, *known, key, identity, deadline, is_for_any), get


def _facts(settings: Settings, fly: Fly, catalog: Catalog, clock: Clock) -> FactReader:
    return FactReader(fly, catalog, clock, settings.drill_means.obstacle, settings.verify.max_age)


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


def _located(jobs: Mapping[JobKind, TargetJob], fly: Fly, check: CheckJob) -> dict[JobKind, TargetJob]:
    return {kind: Located(job, fly, check.refresh_lineages) for kind, job in jobs.items()}


def _state_writer(settings: Settings, keys: StateKeys, catalog: Catalog, stores: Mapping[str, Store]) -> StateWriter:
    recipients = settings.encryption.recipients
    return StateWriter(catalog, stores, AgeSealer(), keys.signer, recipients, settings.fly.org)


def _recipients(notifiers: Mapping[str, Notifier]) -> tuple[Recipient, ...]:
    return tuple(Recipient(name, notifier.kinds) for name, notifier in notifiers.items())


def _export_settings(settings: Settings) -> ExportSettings:
    return ExportSettings(
        recipients=settings.encryption.recipients,
        compression=CompressionOrder(level=settings.worker.level, threads=compression_threads(settings.worker)),
        deadline=settings.worker.deadline,
        stall_timeout=settings.worker.stall_timeout,
        flykeep_version=__version__,
    )


def _snapshot_source(
    settings: Settings, fly: ScratchFly, snapshots: SnapshotJob, catalog: Catalog, clock: Clock
) -> SnapshotSource | None:
    """None where no image is configured for the machines that would read."""
    scratch, rule, hidden = _scratch(settings, fly, catalog, clock), settings.scratch.rule, settings.hidden_stores
    if scratch is None:
        return None
    return SnapshotSource(snapshots, scratch, FlyMachineWorkers(fly, clock=clock), rule, catalog, clock, hidden)


def _scratch(settings: Settings, fly: ScratchFly, catalog: Catalog, clock: Clock) -> Scratch | None:
    image = settings.worker.image
    return None if image is None else Scratch(fly, catalog, clock, image, settings.scratch.max_workers)


def _drilling(
    settings: Settings,
    keys: StateKeys,
    stores: Mapping[str, BoundStore],
    near: _Neighbours,
    *,
    scratch: ScratchFly,
    book: ProofBook,
    check: CheckJob,
) -> tuple[DrillJob, DrillSweep]:
    fly, catalog, clock = near.fly, near.catalog, near.clock
    settler, rooms = Settler(catalog, clock, keys.signer), LocalDrillRooms(settings.drill.directory)
    means = DrillKeys(stores, settings.hidden_stores, settler, keys.index_key, _identity(settings))
    locator, rule = Locator(fly, check.refresh_lineages), settings.scratch.rule
    chooser = DrillChooser(fly, catalog, locator, means, rule, settings.worker.deadline)
    machines = FlyMachineWorkers(scratch, clock=clock)
    place = DrillPlace(catalog, clock, _scratch(settings, scratch, catalog, clock), machines, rooms, near.workers)
    job = DrillJob(settings.drill_means, chooser, place, book, clock, __version__)
    return job, DrillSweep(rooms, catalog)


def _doctor(
    settings: Settings,
    stores: Mapping[str, BoundStore],
    notifiers: Mapping[str, Notifier],
    near: _Neighbours,
    ids: IdSource,
) -> Doctor:
    """The doctor with what the configuration asks for."""
    app = None if settings.scratch.is_in_target_app else AppName(settings.scratch.app)
    premises = FlyPremises(near.fly, org=settings.fly.org)
    return Doctor(
        near.fly,
        near.access,
        near.workers,
        near.catalog,
        stores,
        notifiers,
        settings.targets,
        near.clock,
        ids,
        BucketChild(),
        SnapshotDoctor(premises, app, settings.worker.image, settings.targets, settings.hidden_stores),
    )


def _sweep(settings: Settings, fly: ScratchFly, catalog: Catalog, clock: Clock) -> ScratchSweep:
    """What was journalled is removed even where workers are not configured any more."""
    is_shared = settings.worker.image is None or settings.scratch.is_in_target_app
    return ScratchSweep(fly, catalog, clock, None if is_shared else AppName(settings.scratch.app))


def _importing(settings: Settings, keys: StateKeys, stores: Mapping[str, BoundStore], near: _Neighbours) -> _Importing:
    fly, access, importers, catalog, clock = near.fly, near.access, near.workers, near.catalog, near.clock
    control, log = FlyControl(fly), ImportLog(catalog, clock)
    signed = ArtifactStores(stores, Settler(catalog, clock, keys.signer))
    artifacts = SignedArtifacts(catalog, signed, keys.index_key, _identity(settings))
    planner = ImportPlanner(fly, control, artifacts, log)
    mover = ImportMover(control, access, importers, log, Restarter(control, clock), settings.worker.deadline)
    ending = ImportEnding(planner, log, mover)
    limits = ImportSettings(settings.worker.deadline, settings.worker.stall_timeout)
    return _Importing(
        job=ImportJob(planner, access, importers, artifacts, log, mover, ending, limits),
        planner=planner,
        sweep=ImportSweep(catalog, log, planner, mover, settings.targets),
    )


def _identity(settings: Settings) -> Callable[[], str | None]:
    def read() -> str | None:
        secret = settings.identity()
        return secret.get_secret_value() if secret else None

    return read
