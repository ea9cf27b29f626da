"""Work for the whole organization, for all stores, or for a lost app belongs to no target."""

import pytest

from flykeep.domain.ids import AppName, LineageId
from flykeep.domain.target import ORG_LINEAGE, STORES_LINEAGE, is_org_wide, recovery_lineage, work_label


@pytest.mark.parametrize(
    ("lineage_id", "label"),
    [
        (ORG_LINEAGE, "organization"),
        (STORES_LINEAGE, "all stores"),
        (recovery_lineage(AppName("my-crocbot")), "app my-crocbot"),
        (LineageId("0123456789abcdef"), None),
    ],
)
def test_it_is_told_from_a_targets(lineage_id: LineageId, label: str | None) -> None:
    assert work_label(lineage_id) == label
    assert is_org_wide(lineage_id) == (label is not None)
