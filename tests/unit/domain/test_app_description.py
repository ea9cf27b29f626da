"""What is kept of an app: written, read again, refused, and told apart."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.app_description import (
    AddressKind,
    AppDescription,
    DescribedAddress,
    DescribedMachine,
    DescribedSecret,
    DescribedVolume,
    address_kind,
    canonical_config,
    parse_description,
    pinned_config,
    to_description_json,
)
from flykeep.domain.errors import IntegrityError
from flykeep.domain.ids import AppName, MachineId, VolumeId, VolumeName
from tests.unit.domain.builders import DAY, NOW

CONFIG = {
    "image": "registry.fly.io/my-crocbot@sha256:" + "5" * 64,
    "env": {"TOKEN": "planted-value"},
    "metadata": {"fly_process_group": "app"},
    "mounts": [{"volume": "vol_1", "path": "/data", "name": "crocbot_data"}],
}
MACHINE = DescribedMachine(MachineId("m1"), "croc-1", "fra", "app", canonical_config(CONFIG))
VOLUME = DescribedVolume(VolumeId("vol_1"), VolumeName("crocbot_data"), 3, "fra", MachineId("m1"), 14, True)
DESCRIBED = AppDescription(
    app=AppName("my-crocbot"),
    org="personal",
    network="default",
    machines=(MACHINE,),
    volumes=(VOLUME,),
    secrets=(DescribedSecret("BOT_TOKEN", "d1"),),
    addresses=(DescribedAddress("66.241.125.1", AddressKind.SHARED_V4, None, is_shared=True),),
    certificates=("bot.example.com",),
    described_at=NOW,
)

_text = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)
_maybe = st.none() | _text
_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_descriptions = st.builds(
    AppDescription,
    app=_text.map(AppName),
    org=_text,
    network=_maybe,
    machines=st.lists(
        st.builds(
            DescribedMachine,
            id=_text.map(MachineId),
            name=_text,
            region=_text,
            process_group=_maybe,
            config_json=st.dictionaries(_text, _json, max_size=3).map(canonical_config),
        ),
        max_size=2,
    ).map(tuple),
    volumes=st.lists(
        st.builds(
            DescribedVolume,
            id=_text.map(VolumeId),
            name=_text.map(VolumeName),
            size_gb=st.integers(0, 500),
            region=_text,
            machine_id=st.none() | _text.map(MachineId),
            retention_days=st.none() | st.integers(1, 60),
            is_automatic_snapshot_on=st.none() | st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    secrets=st.lists(st.builds(DescribedSecret, name=_text, digest=_text), max_size=2).map(tuple),
    addresses=st.lists(
        st.builds(
            DescribedAddress, address=_text, kind=st.sampled_from(AddressKind), region=_maybe, is_shared=st.booleans()
        ),
        max_size=2,
    ).map(tuple),
    certificates=st.lists(_text, max_size=2).map(tuple),
    described_at=st.datetimes(min_value=NOW.replace(tzinfo=None) - 900 * DAY).map(
        lambda at: at.replace(tzinfo=NOW.tzinfo)
    ),
    gaps=st.lists(_text, max_size=2).map(tuple),
)


@given(_descriptions)
def test_what_is_written_is_read_again(described: AppDescription) -> None:
    assert parse_description(to_description_json(described)) == described


def test_names_and_lists_that_an_earlier_version_did_not_write_are_read_as_absent() -> None:
    least = {"format": 1, "app": "a", "org": "o", "described_at": "2026-03-02T12:00:00Z"}
    rows = {"volumes": [{"id": "v", "name": "data", "size_gb": 1, "region": "fra"}], "secrets": [{"name": "S"}]}
    addresses = {"addresses": [{"address": "1.1.1.1", "kind": "v4"}], "certificates": None}
    described = parse_description(json.dumps(least | rows | addresses))
    assert described == AppDescription(
        app=AppName("a"),
        org="o",
        network=None,
        machines=(),
        volumes=(DescribedVolume(VolumeId("v"), VolumeName("data"), 1, "fra", None, None, None),),
        secrets=(DescribedSecret("S", ""),),
        addresses=(DescribedAddress("1.1.1.1", AddressKind.V4),),
        certificates=(),
        described_at=NOW,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2"),
        ({"machines": [{"id": "m"}]}, r"machines\[0\].name is missing"),
        ({"volumes": "none"}, "volumes is not of type list"),
        ({"addresses": [{"address": "::1", "kind": "v7"}]}, "unknown value 'v7'"),
        ({"described_at": "yesterday"}, "not an instant"),
    ],
)
def test_what_is_there_is_read_strictly(change: dict[str, Any], reason: str) -> None:
    body = json.loads(to_description_json(DESCRIBED))
    with pytest.raises(IntegrityError, match=reason):
        parse_description(json.dumps(body | change))


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_what_is_no_object_is_no_description(text: str) -> None:
    with pytest.raises(IntegrityError, match="is not an object"):
        parse_description(text)


def test_it_tells_its_regions_its_secrets_and_the_volume_of_a_machine() -> None:
    bare = replace(MACHINE, id=MachineId("m2"), region="ams", config_json='{"mounts":["odd",{"path":"/x"}]}')
    described = replace(DESCRIBED, machines=(MACHINE, bare))
    assert described.regions == ("ams", "fra")
    assert described.secret_names == ("BOT_TOKEN",)
    assert described.volume_of(MACHINE) == VOLUME
    assert described.volume_of(bare) is None
    moved = replace(VOLUME, id=VolumeId("vol_2"))
    assert replace(described, volumes=(moved,)).volume_of(MACHINE) == moved  # known by its name
    assert replace(described, volumes=(moved, replace(moved, id=VolumeId("vol_3")))).volume_of(MACHINE) is None
    assert (MACHINE.image[-6:], bare.image) == ("5" * 6, "")


def test_the_same_app_at_another_time_is_the_same() -> None:
    later = replace(DESCRIBED, described_at=NOW + DAY)
    assert later.is_same_but_for_time(DESCRIBED)
    assert not replace(later, network=None).is_same_but_for_time(DESCRIBED)
    assert not later.is_same_but_for_time(None)


def test_no_repr_shows_a_configuration() -> None:
    assert "planted-value" not in repr(DESCRIBED)


@pytest.mark.parametrize(
    ("address", "is_shared", "is_egress", "kind"),
    [
        ("66.241.125.1", True, False, AddressKind.SHARED_V4),
        ("37.16.1.1", False, False, AddressKind.V4),
        ("2a09:8280:1::1", False, False, AddressKind.V6),
        ("fdaa:0:1::3", False, False, AddressKind.PRIVATE_V6),
        ("37.16.1.2", False, True, AddressKind.EGRESS),
    ],
)
def test_an_address_tells_what_was_asked_for(address: str, is_shared: bool, is_egress: bool, kind: AddressKind) -> None:
    assert address_kind(address, is_shared=is_shared, is_egress=is_egress) is kind


def test_only_the_image_of_a_configuration_is_pinned() -> None:
    tagged = canonical_config(CONFIG | {"image": "registry.fly.io/my-crocbot:deployment-01"})
    assert pinned_config(tagged, str(CONFIG["image"])) == MACHINE.config_json
    assert pinned_config(tagged, None) == tagged
