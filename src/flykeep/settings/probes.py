"""From a probe's table to the domain's value."""

from __future__ import annotations

from flykeep.domain.probes import (
    CommandProbe,
    CountProbe,
    ExistsProbe,
    JsonProbe,
    NewerThanProbe,
    Probe,
    RowFloor,
    Sha256Probe,
    SqliteProbe,
)
from flykeep.settings.model_drills import ProbeTable

_COMMAND_TIMEOUT_S = 60.0


def probe_of(table: ProbeTable) -> Probe:
    """The table has the keys of its kind: its model saw to that."""
    path = table.path or ""
    if table.kind == "command":
        timeout_s = table.timeout.total_seconds() if table.timeout else _COMMAND_TIMEOUT_S
        return CommandProbe(table.run or (), timeout_s)
    if table.kind == "count":
        return CountProbe(path, table.min_files or 0)
    if table.kind == "newer_than" and table.max_age is not None:
        return NewerThanProbe(path, table.max_age.total_seconds())
    if table.kind == "sha256":
        return Sha256Probe(path, (table.sha256 or "").lower())
    if table.kind == "sqlite":
        return SqliteProbe(path, tuple(RowFloor(name, floor) for name, floor in (table.rows or {}).items()))
    return JsonProbe(path) if table.kind == "json" else ExistsProbe(path)
