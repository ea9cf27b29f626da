"""Keys are for ever: facts to keys and back, without loss and without collisions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.errors import InternalError, StoreError
from flykeep.domain.ids import AppName, ExportId, VolumeName
from flykeep.domain.layout import (
    RESTORE_KEY,
    STATE_KEY,
    ArtifactPlace,
    ObjectPlace,
    ObjectRole,
    artifact_prefix,
    check_key,
    data_key,
    earlier_runbook_key,
    earlier_runbooks_prefix,
    index_key,
    manifest_key,
    parse_key,
    parse_prefix,
    runbook_key,
)

NAMES = st.text(min_size=1).filter(lambda name: not any(0xD800 <= ord(letter) <= 0xDFFF for letter in name))
PLACES = st.builds(
    ArtifactPlace,
    app=NAMES.map(AppName),
    volume_name=NAMES.map(VolumeName),
    year=st.integers(1, 9999),
    export_id=NAMES.map(ExportId),
)
OBJECTS = st.one_of(
    st.builds(ObjectPlace, PLACES, st.just(ObjectRole.MANIFEST), is_encrypted=st.just(False)),
    st.builds(ObjectPlace, PLACES, st.just(ObjectRole.INDEX), is_encrypted=st.booleans()),
    st.builds(
        ObjectPlace,
        PLACES,
        st.just(ObjectRole.DATA),
        is_encrypted=st.booleans(),
        part=st.none() | st.integers(1, 99_999),
    ),
)


def test_the_keys_of_an_ordinary_artifact_read_as_the_format_says() -> None:
    at = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    prefix = artifact_prefix(AppName("my-crocbot"), VolumeName("crocbot_data"), ExportId("01K0EXPORT"), at)

    assert prefix == "my-crocbot/crocbot_data/2026/01K0EXPORT"
    assert manifest_key(prefix) == f"{prefix}/manifest.json"
    assert index_key(prefix, is_encrypted=True) == f"{prefix}/index.jsonl.zst.age"
    assert index_key(prefix, is_encrypted=False) == f"{prefix}/index.jsonl.zst"
    assert data_key(prefix, is_encrypted=True) == f"{prefix}/data.tar.zst.age"
    assert data_key(prefix, is_encrypted=False) == f"{prefix}/data.tar.zst"
    assert data_key(prefix, is_encrypted=True, part=1) == f"{prefix}/data.tar.zst.age.00001"


def test_the_year_is_that_of_the_start_in_utc() -> None:
    in_vienna = datetime(2027, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))

    assert artifact_prefix(AppName("a"), VolumeName("v"), ExportId("e"), in_vienna) == "a/v/2026/e"


@given(OBJECTS)
def test_every_object_is_found_again_from_its_key(place: ObjectPlace) -> None:
    assert parse_key(place.key) == place


@given(OBJECTS)
def test_every_key_is_made_of_unreserved_url_characters(place: ObjectPlace) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._~/-]+", place.key)
    check_key(place.key)


@given(NAMES.map(AppName))
def test_no_app_can_stand_where_flykeeps_own_objects_stand(app: AppName) -> None:
    prefix = artifact_prefix(app, VolumeName("v"), ExportId("e"), datetime(2026, 1, 1, tzinfo=UTC))

    assert prefix.split("/")[0] not in {STATE_KEY.split("/")[0], "_proofs", "_runbooks", RESTORE_KEY}


@given(NAMES.map(AppName), st.booleans())
def test_every_app_has_a_runbook_of_its_own_that_is_no_artifact(app: AppName, is_encrypted: bool) -> None:
    key = runbook_key(app, is_encrypted=is_encrypted)

    assert re.fullmatch(r"_runbooks/[A-Za-z0-9_~-]+\.md\.zst(\.age)?", key)
    assert key.endswith(".age") is is_encrypted
    assert parse_key(key) is None

    earlier = earlier_runbook_key(
        app, datetime(2026, 3, 1, 23, tzinfo=timezone(-timedelta(hours=2))), is_encrypted=True
    )
    assert earlier.startswith(earlier_runbooks_prefix(app))
    assert earlier.endswith("/2026-03-02.md.zst.age")
    assert parse_key(earlier) is None


@pytest.mark.parametrize(
    "key",
    [
        STATE_KEY,
        RESTORE_KEY,
        "",
        "a/v/2026/e",
        "a/v/26/e/manifest.json",
        "a/v/2026//manifest.json",
        "a/v/2026/e/x/manifest.json",
        "a/v/2026/e/data.tar.zst.age.00000",
        "a/v/2026/e/data.tar.zst.age.1",
        "a/v/2026/e/data.tar.gz",
        "_a/v/2026/e/manifest.json",
        "a~41/v/2026/e/manifest.json",
        "a~ff/v/2026/e/manifest.json",
        "ä/v/2026/e/manifest.json",
        "a.b/v/2026/e/manifest.json",
        "\N{ARABIC-INDIC DIGIT TWO}/v/2026/e/manifest.json",
        "a/v/\N{ARABIC-INDIC DIGIT TWO}026/e/manifest.json",
    ],
)
def test_a_key_flykeep_would_not_make_belongs_to_no_artifact(key: str) -> None:
    assert parse_key(key) is None


@given(st.text())
def test_any_prefix_that_parses_is_the_one_flykeep_would_make(prefix: str) -> None:
    place = parse_prefix(prefix)

    assert place is None or place.prefix == prefix


@pytest.mark.parametrize("part", [0, -1, 100_000])
def test_a_part_number_that_would_not_sort_is_a_defect(part: int) -> None:
    with pytest.raises(InternalError):
        data_key("a/v/2026/e", is_encrypted=True, part=part)


def test_an_artifact_without_a_name_is_a_defect() -> None:
    with pytest.raises(InternalError):
        artifact_prefix(AppName(""), VolumeName("v"), ExportId("e"), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", "./a", "a\nb", "a\x00", "a\x7f"])
def test_a_key_that_some_store_would_change_is_refused(key: str) -> None:
    with pytest.raises(StoreError):
        check_key(key)
