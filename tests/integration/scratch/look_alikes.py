"""What looks like flykeep's temporary things and is not, and the look whether anything else is left."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.ports.scratch import WORKER_GROUP
from flykeep.testing.flysim import volumes
from flykeep.testing.flysim.model import Machine
from tests.integration.scratch.home import SCRATCH_APP, Home

FOREIGN_KEY = "shop/shop_data/2026/01AAAAAAAAAAAAAAAAAAAAAAAA/data.tar.zst.age"
FOREIGN_BYTES = b"somebody else's"


@dataclass(frozen=True)
class LookAlikes:
    """A machine, a volume, an object and an unfinished upload that nobody may touch."""

    fly: Home
    names: frozenset[str]

    @classmethod
    def plant(cls, fly: Home) -> LookAlikes:
        world = fly.sim.world
        shop = fly.machine
        machine = Machine(
            id="look-alike",
            app=SCRATCH_APP,
            name="flykeep-worker-look-alike",
            region="iad",
            config={"image": "x", "metadata": {"fly_process_group": WORKER_GROUP, "flykeep_run": "another's"}},
            private_ip=world.new_address(),
            created_at=shop.created_at,
            updated_at=shop.updated_at,
            version="1",
            state="stopped",
        )
        world.machines[machine.id] = machine
        volume = volumes.create(world, SCRATCH_APP, {"name": "fk_look_alike"}, None, world.tokens[0])
        for key in (FOREIGN_KEY, f"{FOREIGN_KEY}#1"):
            path = fly.sim.directory / "store" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(FOREIGN_BYTES)
        return cls(fly, frozenset({machine.name, volume.name}))

    def assert_alone_at_fly(self) -> None:
        assert self.fly.left() == self.names

    async def assert_alone(self) -> None:
        """Reconcile once; then nothing but these exists, and what good exports wrote."""
        fly = self.fly
        report = await fly.application.reconcile.reconcile(is_applied=True)
        kept = [left for left in (*report.leftovers, *report.scratch) if left.run_id and "kept" in left.action]
        assert kept == []
        self.assert_alone_at_fly()
        good = {artifact.manifest_key.rpartition("/")[0] for artifact in await fly.artifacts()}
        orphans = {key for key in fly.stored() if key.startswith("shop/") and key.rpartition("/")[0] not in good}
        assert orphans == {FOREIGN_KEY, f"{FOREIGN_KEY}#1"}
        async with fly.application.catalog.transaction() as tx:
            assert not [run.id for run in await tx.runs(is_open=True)]
