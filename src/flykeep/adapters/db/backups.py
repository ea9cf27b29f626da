"""Snapshots flykeep has seen and artifacts it has stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, literal, select, update

from flykeep.adapters.db.columns import Instant
from flykeep.adapters.db.statements import Statements
from flykeep.adapters.db.tables import artifacts, snapshots
from flykeep.domain.artifact import Artifact, Lock
from flykeep.domain.errors import InternalError
from flykeep.domain.ids import AppName, ExportId, LineageId, RunId, SnapshotId, VolumeId
from flykeep.ports.catalog import RecordedSnapshot


class SqlBackups:
    """ports.catalog.Backups within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._do = statements

    async def record_snapshot(self, snapshot: RecordedSnapshot) -> None:
        """Raises InternalError for a snapshot Fly has not named yet: it could never be found again."""
        snapshot_id = snapshot.snapshot.id
        if snapshot_id is None:
            raise InternalError("a snapshot without an id cannot be recorded", facts={"volume": snapshot.volume_id})
        known = await self.recorded_snapshot(snapshot_id)
        run_id = known.run_id if known is not None and known.run_id is not None else snapshot.run_id
        await self._do.save(
            snapshots,
            {
                "snapshot_id": snapshot_id,
                "lineage_id": snapshot.lineage_id,
                "volume_id": snapshot.volume_id,
                "app": snapshot.app,
                "snapshot": snapshot.snapshot,
                "created_at": snapshot.snapshot.created_at,
                "seen_at": snapshot.seen_at,
                "run_id": run_id,
            },
        )

    async def recorded_snapshots(self, lineage_id: LineageId) -> Sequence[RecordedSnapshot]:
        newest_first = func.coalesce(snapshots.c.created_at, snapshots.c.seen_at).desc()
        query = select(snapshots).where(snapshots.c.lineage_id == lineage_id)
        rows = await self._do.rows(query.order_by(newest_first, snapshots.c.snapshot_id.desc()))
        return tuple(_snapshot(row) for row in rows)

    async def recorded_snapshot(self, snapshot_id: SnapshotId) -> RecordedSnapshot | None:
        row = await self._do.row(select(snapshots).where(snapshots.c.snapshot_id == snapshot_id))
        return None if row is None else _snapshot(row)

    async def record_artifact(self, artifact: Artifact, *, lineage_id: LineageId | None = None) -> None:
        """What only removals (`leaving_at`, `lock`) and rebuilds (`lineage_id`) know stays as it is."""
        facts = {
            "manifest_key": artifact.manifest_key,
            "manifest": artifact.manifest,
            "recorded_at": artifact.recorded_at,
            "verified_at": artifact.verified_at,
            "verified_level": artifact.verified_level,
            "contents_verified_at": artifact.contents_verified_at,
            "is_failed": artifact.is_failed,
        }
        if not await self._change(artifact.export_id, artifact.store, **facts):
            owner = lineage_id or artifact.manifest.origin.lineage_id
            copy = {"export_id": artifact.export_id, "store": artifact.store, "lineage_id": owner}
            await self._do.change(insert(artifacts).values(copy | facts))

    async def begin_removal(self, export_id: ExportId, store: str, *, now: datetime) -> bool:
        since_at = func.coalesce(artifacts.c.leaving_at, literal(now, Instant()))
        return await self._change(export_id, store, leaving_at=since_at, lock=None)

    async def give_up_removal(self, export_id: ExportId, store: str, lock: Lock) -> bool:
        return await self._change(export_id, store, leaving_at=None, lock=lock)

    async def forget_artifact(self, export_id: ExportId, store: str) -> bool:
        return await self._do.change(delete(artifacts).where(*_is_copy(export_id, store))) == 1

    async def _change(self, export_id: ExportId, store: str, **values: Any) -> bool:
        return await self._do.change(update(artifacts).where(*_is_copy(export_id, store)).values(**values)) == 1

    async def artifacts(self, lineage_id: LineageId | None = None) -> Sequence[Artifact]:
        query = select(artifacts)
        if lineage_id is not None:
            query = query.where(artifacts.c.lineage_id == lineage_id)
        found = [_artifact(row) for row in await self._do.rows(query)]
        # Sorted here: a database's collation is not the order of the ids.
        return tuple(sorted(found, key=lambda artifact: (artifact.export_id, artifact.store), reverse=True))

    async def artifact(self, export_id: ExportId) -> Sequence[Artifact]:
        rows = await self._do.rows(select(artifacts).where(artifacts.c.export_id == export_id))
        return tuple(sorted((_artifact(row) for row in rows), key=lambda artifact: artifact.store))


def _is_copy(export_id: ExportId, store: str) -> tuple[ColumnElement[bool], ...]:
    return artifacts.c.export_id == export_id, artifacts.c.store == store


def _snapshot(row: Row[Any]) -> RecordedSnapshot:
    return RecordedSnapshot(
        lineage_id=LineageId(row.lineage_id),
        volume_id=VolumeId(row.volume_id),
        app=AppName(row.app),
        snapshot=row.snapshot,
        seen_at=row.seen_at,
        run_id=None if row.run_id is None else RunId(row.run_id),
    )


def _artifact(row: Row[Any]) -> Artifact:
    return Artifact(
        export_id=ExportId(row.export_id),
        store=row.store,
        manifest_key=row.manifest_key,
        manifest=row.manifest,
        recorded_at=row.recorded_at,
        verified_at=row.verified_at,
        verified_level=row.verified_level,
        contents_verified_at=row.contents_verified_at,
        is_failed=row.is_failed,
        leaving_at=row.leaving_at,
        lock=row.lock,
    )
