"""Writes the database to be kept for the present version: `python -m tests.data.databases.write_one`.

Run once per version, before its release; a kept file is never written again.
"""

import asyncio
import sqlite3
import sys
from pathlib import Path

from flykeep.adapters.db.engine import open_catalog
from flykeep.adapters.db.tables import REVISION
from flykeep.domain.holds import AuditAction, AuditCount, AuditEntry, Pin
from flykeep.domain.ids import AppName, ExportId, MachineId, OwnerId, RunId
from flykeep.domain.run import Step
from flykeep.ports.catalog import Pause, SavedDescription
from flykeep.testing.contracts.catalog_samples import (
    LINEAGE,
    NOON,
    ODD_INSTANT,
    ODD_TEXT,
    a_description,
    a_lineage,
    a_message,
    a_proof,
    a_snapshot,
    a_verdict,
    after,
    an_artifact,
    an_incident,
    an_odd_run,
)


async def write(path: Path) -> None:
    """One row of everything, awkward values included."""
    async with open_catalog(f"sqlite:///{path}") as catalog, catalog.transaction() as tx:
        await tx.add_run(an_odd_run("old-run"))
        await tx.claim(RunId("old-run"), owner_id=OwnerId("old-owner"), now=NOON)
        await tx.add_step(Step(RunId("old-run"), 1, "upload", NOON, ODD_TEXT))
        await tx.record_snapshot(a_snapshot("vs_1", run_id="old-run"))
        await tx.record_artifact(an_artifact("01"))
        await tx.pin(Pin(ExportId("01"), ODD_TEXT, NOON, "ops"))
        await tx.add_audit(AuditEntry(NOON, "ops", AuditAction.PINNED, "01", ODD_TEXT, (AuditCount("artifacts", 1),)))
        await tx.record_proof(a_proof("p1"))
        await tx.save_lineage(a_lineage(LINEAGE, app="my-crocbot"))
        await tx.save_machine_config(MachineId("m1"), lineage_id=LINEAGE, config_json='{"image":"x"}', now=NOON)
        await tx.save_description(SavedDescription(AppName("my-crocbot"), a_description("my-crocbot"), "seen", NOON))
        await tx.pause(Pause(LINEAGE, None, ODD_TEXT, NOON))
        await tx.save_verdict(a_verdict())
        await tx.save_fly_seen(ODD_INSTANT)
        await tx.save_incident(an_incident("i1"))
        await tx.enqueue("log", a_message("m1"), now=NOON)
        (delivery,) = await tx.due_deliveries(now=NOON)
        await tx.delivery_failed(delivery.id, error=ODD_TEXT, next_attempt_at=after(5), now=NOON)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")  # one file, without side files
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    target = Path(__file__).with_name(f"version-{REVISION}.sqlite")
    if target.exists():
        sys.exit(f"{target} is kept as it is")
    asyncio.run(write(target))
    print(target)
