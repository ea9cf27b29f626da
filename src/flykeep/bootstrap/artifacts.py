"""Builds what reads, judges and removes artifacts."""

from __future__ import annotations

from flykeep.adapters.codecs.age_stream import is_for_any
from flykeep.adapters.codecs.sealing import AgeOpener
from flykeep.adapters.stores.bucket_child import BucketChild
from flykeep.bootstrap.ground import Ground
from flykeep.jobs.agreement import Agreement
from flykeep.jobs.authentic import ArtifactStores
from flykeep.jobs.get import GetJob
from flykeep.jobs.pins import PinBook
from flykeep.jobs.prune import PruneJob
from flykeep.jobs.rebuild import RebuildJob
from flykeep.jobs.removal import Remover
from flykeep.jobs.retention import RetentionPlanner
from flykeep.jobs.retire import RetireJob
from flykeep.jobs.upload_sweep import UploadSweep
from flykeep.jobs.verify import VerifyJob


def endings(ground: Ground) -> tuple[PruneJob, RetireJob]:
    """The jobs that remove artifacts."""
    catalog, clock, stores, targets = ground.catalog, ground.clock, ground.plain_stores, ground.settings.targets
    agreement, remover = Agreement(ground.settler), Remover(catalog, clock, stores)
    share = ground.settings.retention.max_delete_share
    planner = RetentionPlanner(catalog, clock, stores, agreement, targets, share)
    retire = RetireJob(catalog, clock, stores, targets, agreement, remover)
    return PruneJob(catalog, clock, planner, remover), retire


def pin_book(ground: Ground) -> PinBook:
    """What holds artifacts, here and in the stores."""
    return PinBook(ground.catalog, ground.clock, ground.plain_stores, ground.keys.signer)


def reading(ground: Ground) -> tuple[VerifyJob, GetJob]:
    """The jobs that read artifacts back."""
    key, deadline, stores = ground.keys.index_key, ground.settings.worker.deadline, ground.stores
    get = GetJob(ground.workers, ArtifactStores(stores, ground.settler), key, ground.identity, deadline)
    known = ground.catalog, ground.clock, ground.settler
    return VerifyJob(ground.workers, stores, *known, key, ground.identity, deadline, is_for_any), get


def uploads(ground: Ground) -> UploadSweep:
    """What finds uploads that a dead worker left unfinished."""
    orders = {name: bound.order for name, bound in ground.stores.items()}
    return UploadSweep(BucketChild(), orders, ground.catalog, ground.clock)


def rebuilding(ground: Ground) -> RebuildJob:
    """What recreates the catalog from the stores."""
    known = ground.catalog, ground.clock, ground.plain_stores, ground.settler
    return RebuildJob(*known, AgeOpener(), ground.identity)
