"""Everything the catalog can do, on one connection."""

from __future__ import annotations

from flykeep.adapters.db.alerts import SqlAlerts
from flykeep.adapters.db.backups import SqlBackups
from flykeep.adapters.db.descriptions import SqlDescriptions
from flykeep.adapters.db.holds import SqlHolds
from flykeep.adapters.db.lineages import SqlLineages, SqlPauses
from flykeep.adapters.db.merging import SqlMerging
from flykeep.adapters.db.proofs import SqlProofs
from flykeep.adapters.db.runs import SqlRunLedger


class SqlTransaction(
    SqlRunLedger, SqlBackups, SqlHolds, SqlProofs, SqlLineages, SqlPauses, SqlAlerts, SqlDescriptions, SqlMerging
):
    """ports.catalog.Transaction; valid until the context that gave it ends."""
