"""What everything else is built on: one configuration's ports, opened once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flykeep.adapters.codecs.keys import StateKeys
from flykeep.adapters.fly.client import FlyClient
from flykeep.adapters.fly.production import FlyProduction
from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.adapters.ssh.keys import SshAccessIssuer
from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.adapters.stores.retrying import RetryingStore
from flykeep.jobs.export import BoundStore
from flykeep.jobs.settle import Settler
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock, IdSource
from flykeep.ports.ownership import Owners
from flykeep.ports.production import ProductionFly
from flykeep.ports.scratch import ScratchFly
from flykeep.ports.store import Store
from flykeep.settings import Settings


@dataclass(frozen=True, slots=True)
class Ground:
    """Handed to each assembly, which takes what it needs."""

    settings: Settings
    clock: Clock
    ids: IdSource
    catalog: Catalog
    owners: Owners
    fly: FlyClient
    scratch_fly: ScratchFly
    production: ProductionFly
    keys: StateKeys
    access: SshAccessIssuer
    workers: LocalWorkers
    stores: Mapping[str, BoundStore]
    settler: Settler

    @property
    def plain_stores(self) -> dict[str, Store]:
        """The stores without what is said of them."""
        return {name: bound.store for name, bound in self.stores.items()}

    def identity(self) -> str | None:
        """The operator's private key where the configuration names one; read anew each time, never kept."""
        secret = self.settings.identity()
        return secret.get_secret_value() if secret else None


def lay_ground(
    settings: Settings,
    *,
    clock: Clock,
    ids: IdSource,
    catalog: Catalog,
    owners: Owners,
    fly: FlyClient,
    scratch_fly: ScratchFly,
) -> Ground:
    """Build what needs no other use-case; the daemon's own keys are made where there are none yet."""
    keys = StateKeys.load_or_create(settings.state.directory)
    return Ground(
        settings=settings,
        clock=clock,
        ids=ids,
        catalog=catalog,
        owners=owners,
        fly=fly,
        scratch_fly=scratch_fly,
        production=FlyProduction(fly, clock=clock),
        keys=keys,
        access=SshAccessIssuer(fly, clock=clock, port=settings.fly.ssh_port),
        workers=LocalWorkers(clock=clock),
        stores=_stores(settings, clock, ids),
        settler=Settler(catalog, clock, keys.signer),
    )


def _stores(settings: Settings, clock: Clock, ids: IdSource) -> dict[str, BoundStore]:
    orders = {name: settings.store_order(name) for name in settings.stores}
    return {
        name: BoundStore(RetryingStore(ObjectStore(order), clock=clock, ids=ids), order, settings.stores[name].traits)
        for name, order in orders.items()
    }
