"""The results of drills whose signatures were judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select

from flykeep.adapters.db.statements import Statements
from flykeep.adapters.db.tables import proofs
from flykeep.domain.ids import LineageId, ProofId
from flykeep.domain.proof import RecordedProof


class SqlProofs:
    """ports.catalog.Proofs within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._do = statements

    async def record_proof(self, proof: RecordedProof) -> None:
        await self._do.save(
            proofs,
            {
                "id": proof.proof.proof_id,
                "lineage_id": proof.proof.lineage_id,
                "proof": proof.proof,
                "signer": proof.signer_hex,
                "is_passed": proof.proof.is_passed,
                "ended_at": proof.proof.ended_at,
                "recorded_at": proof.recorded_at,
            },
        )

    async def proofs(
        self, lineage_id: LineageId, *, is_passed: bool | None = None, limit: int = 50
    ) -> Sequence[RecordedProof]:
        query = select(proofs).where(proofs.c.lineage_id == lineage_id)
        if is_passed is not None:
            query = query.where(proofs.c.is_passed.is_(is_passed))
        newest_first = query.order_by(proofs.c.ended_at.desc(), proofs.c.id.desc())
        return tuple(_proof(row) for row in await self._do.rows(newest_first.limit(limit)))

    async def proof(self, proof_id: ProofId) -> RecordedProof | None:
        row = await self._do.row(select(proofs).where(proofs.c.id == proof_id))
        return None if row is None else _proof(row)

    async def proof_ids(self) -> frozenset[ProofId]:
        return frozenset(ProofId(row.id) for row in await self._do.rows(select(proofs.c.id)))


def _proof(row: Row[Any]) -> RecordedProof:
    return RecordedProof(row.proof, row.signer, row.recorded_at)
