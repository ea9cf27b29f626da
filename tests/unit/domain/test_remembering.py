"""Lineages that stores remember, and how they join what is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flykeep.domain.errors import IntegrityError
from flykeep.domain.ids import LineageId, MachineId, VolumeId
from flykeep.domain.remembering import lineages_of, merge_lineages, parse_state
from flykeep.domain.signed_json import canonical
from tests.unit.domain.builders import DAY, NOW, artifact, lineage

BODY: dict[str, Any] = {
    "format": 1,
    "org": "acme",
    "lineages": [
        {
            "id": "lin_1",
            "app": "my-crocbot",
            "volume_name": "crocbot_data",
            "volume_ids": ["vol_0", "vol_1"],
            "first_seen_at": "2026-01-01T00:00:00Z",
            "is_retired": True,
            "machine_id": None,
            "machine_name": None,
            "machine_config": {"ratio": 0.5},
            "snapshots": [
                {"id": "s1", "volume_id": "vol_1", "created_at": "2026-02-01T00:00:00Z"},
                {"id": "s0", "volume_id": "vol_0", "created_at": None},
            ],
        }
    ],
}
SIGNATURE = {"algorithm": "ed25519", "public_key": "ab" * 32, "signature": "cd" * 64}


def test_a_state_document_is_read_whole() -> None:
    state = parse_state(json.dumps(BODY | {"signature": SIGNATURE}).encode(), now=NOW)
    (remembered,) = state.lineages
    assert (remembered.lineage.volume_id, remembered.lineage.is_retired, remembered.lineage.last_seen_at) == (
        "vol_1",
        True,
        NOW,
    )
    assert remembered.config_json == '{"ratio": 0.5}'
    assert [snapshot.id for snapshot in remembered.snapshots] == ["s1"]
    assert (state.signed, state.signature_hex, state.signer_hex) == (canonical(BODY), "cd" * 64, "ab" * 32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"signature": None}, "signature"),
        ({"format": 2}, "format 2"),
        ({"lineages": [BODY["lineages"][0] | {"volume_ids": []}]}, "volume_ids is empty"),
        ({"lineages": ["x"]}, "is not an object"),
    ],
)
def test_what_is_no_signed_state_document_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        parse_state(json.dumps(BODY | {"signature": SIGNATURE} | change).encode(), now=NOW)
    with pytest.raises(IntegrityError, match="not JSON"):
        parse_state(b"{", now=NOW)


def test_manifests_tell_of_a_lineage_with_the_volumes_it_has_had() -> None:
    old, new = artifact("old", age=3 * DAY), artifact("new")
    moved = replace(new.manifest.origin, volume_id=VolumeId("vol_2"), machine_name="renamed")
    (told,) = lineages_of([replace(new, manifest=replace(new.manifest, origin=moved)), old, old])
    assert told.volume_ids == ("vol_1", "vol_2")
    assert (told.machine_name, told.first_seen_at) == ("renamed", old.manifest.started_at)


def test_a_remembered_lineage_joins_the_one_that_holds_its_volume_or_its_machine_today() -> None:
    former = replace(lineage(), id=LineageId("former"), volume_ids=(VolumeId("vol_0"), VolumeId("vol_1")))
    today = replace(lineage(), id=LineageId("today"), volume_ids=(VolumeId("vol_1"),))
    by_volume = merge_lineages([replace(today, machine_id=None)], [former])
    assert by_volume.owners == {"former": "today"}
    assert [one.volume_ids for one in by_volume.saved] == [("vol_0", "vol_1")]

    moved = replace(today, volume_ids=(VolumeId("vol_9"),))
    assert merge_lineages([moved], [former]).owners == {"former": "today"}
    assert merge_lineages([replace(moved, machine_id=MachineId("other"))], [former]).owners == {"former": "former"}
    assert merge_lineages([former], [former]).saved == ()
