"""Retention over an S3 server: a death between manifest and data leaves no object that nobody would remove."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.ports.store import StoreOrder
from tests.integration.jobs.endings import LOOKALIKE, KilledError, exported, rules
from tests.integration.jobs.parts import Parts


class DyingStore(ObjectStore):
    """The process is gone as soon as one object is: a manifest, which goes first."""

    async def delete(self, key: str) -> None:
        await super().delete(key)
        raise KilledError


async def test_a_death_between_manifest_and_data_is_made_good_by_reconcile(
    parts: Parts, moto_order: StoreOrder
) -> None:
    order = replace(moto_order, name="offsite")
    bucket = ObjectStore(order)
    one_copy = replace(parts.rule.policy, copies=rules()[0].policy.copies[:1])
    parts.rule = replace(parts.rule, policy=one_copy)
    parts.stores.clear()
    parts.stores["offsite"] = bucket  # type: ignore[assignment]  # the real thing in the place of its stand-in
    endings = await exported(parts, 3)
    (oldest,) = (await endings.recorded("offsite"))[2:]

    parts.stores["offsite"] = DyingStore(order)  # type: ignore[assignment]
    with pytest.raises(KilledError):
        await endings.prune()
    parts.stores["offsite"] = bucket  # type: ignore[assignment]
    keys = [found.key for found in await bucket.list(oldest.prefix)]
    assert oldest.manifest_key not in keys
    assert len(keys) == 2
    (leaving,) = [one for one in await endings.recorded() if not one.satisfies_rpo]
    assert leaving.export_id == oldest.export_id

    report = await replace(parts.reconcile, remover=endings.remover).reconcile(is_applied=True)

    assert [(one.export_id, one.action) for one in report.removals] == [(oldest.export_id, "finish")]
    assert len(await endings.ids("offsite")) == 2
    await endings.assert_catalog_and_stores_agree()
    assert await bucket.get(LOOKALIKE) == b"somebody else's"
