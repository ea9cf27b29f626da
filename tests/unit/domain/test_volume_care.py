"""What cleaning rules may say, which sizes and days are possible, and what happens when a volume is full."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flykeep.domain.cleaning import names_nothing
from flykeep.domain.disk_usage import AutoExtend, auto_extend_of, growth_text, used_share
from flykeep.domain.errors import UsageError
from flykeep.domain.ids import VolumeId
from flykeep.domain.volume_care import ExtensionPlan, wanted_size_gb
from tests.unit.domain.builders import machine, volume

VOL = VolumeId("vol_1")


@pytest.mark.parametrize("glob", ["*", "**", "**/*", "*/**", "?*", "[!.]*", "[a-z]*", "*.*", ".", "/", "", "*[]a]*"])
def test_a_glob_without_a_letter_or_digit_of_its_own_names_whatever_there_is(glob: str) -> None:
    assert names_nothing(glob)


@pytest.mark.parametrize("glob", ["*.jsonl", "logs", "**/cache", "a*", "7", "[a", "é*", "[x]y"])
def test_a_glob_with_a_letter_or_digit_of_its_own_names_something(glob: str) -> None:
    assert not names_nothing(glob)


@pytest.mark.parametrize(("text", "size_gb"), [("5", 5), ("+2", 5), ("+0", 3), (" 4 ", 4)])
def test_a_size_is_given_whole_or_as_what_is_added(text: str, size_gb: int) -> None:
    assert wanted_size_gb(text, size_gb=3) == size_gb


@pytest.mark.parametrize("text", ["", "-1", "1.5", "2GB", "+", "99999", "٣"])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        wanted_size_gb(text, size_gb=3)


def test_the_cost_of_growth_is_told_by_the_month() -> None:
    plan = ExtensionPlan(3, 5)
    assert (plan.is_growing, plan.cost_text) == (True, "$0.30 more a month")


def test_how_full_a_volume_is_stays_unknown_where_its_host_is_silent() -> None:
    assert used_share(volume()) is None
    assert used_share(volume(used_bytes=1)) is None
    assert used_share(volume(used_bytes=1, total_bytes=4)) == 0.25


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, None),
        ({}, None),
        ({"mounts": [{"volume": "vol_other", "extend_threshold_percent": 80}]}, None),
        ({"mounts": [{"volume": "vol_1"}]}, None),
        (
            {"mounts": [{"volume": "vol_1", "extend_threshold_percent": 80, "add_size_gb": 1, "size_gb_limit": 5}]},
            AutoExtend(80, 1, 5),
        ),
    ],
)
def test_growth_by_rule_is_read_from_the_mount(config: Any, expected: AutoExtend | None) -> None:
    text = None if config is None else json.dumps(config)
    assert auto_extend_of(machine(config_json=text), VOL) == expected


def test_what_happens_when_it_is_full_is_said() -> None:
    assert "writes fail" in growth_text(volume(), None)
    assert growth_text(volume(), AutoExtend(80, 1, 5)) == "Fly adds 1 GB once 80 % are used, up to 5 GB."
    assert "limit is reached" in growth_text(volume(size_gb=5), AutoExtend(80, 1, 5))
    assert growth_text(volume(), AutoExtend(80, None, None)) == "Fly adds some GB once 80 % are used."
