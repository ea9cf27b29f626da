"""What the benchmark says of its own figures."""

from __future__ import annotations

import pytest

from benchmarks.run import FLOORS, missed_floors
from benchmarks.watching import Figures, ratios


def test_a_figure_below_its_floor_is_named_and_what_was_not_measured_is_not() -> None:
    document = {
        "export": {"throughput_ratio": 1.09, "cpu_ratio": 0.9, "peak_memory_mb": 150.1},
        "throttled_48": {"throughput_ratio": 0.951},
    }
    assert missed_floors(document) == [
        "export throughput_ratio 1.09 (floor 1.1)",
        "export peak_memory_mb 150.1 (floor 150)",
    ]
    assert missed_floors({}) == []


@pytest.mark.parametrize("section", ["export", "export_frugal", "restore"])
def test_both_data_sets_have_floors(section: str) -> None:
    for name in (section, f"{section}_incompressible"):
        assert {"throughput_ratio", "peak_memory_mb"} <= {one.figure for one in FLOORS if one.section == name}


def test_ratios_are_of_medians_and_memory_is_the_highest_peak() -> None:
    ours = [Figures(seconds, 4.0, peak) for seconds, peak in ((2.0, 90_000_000), (100.0, 80_000_000), (4.0, 1))]
    theirs = [Figures(6.0, 8.0, 0)]
    assert ratios(ours, theirs) == {"throughput_ratio": 1.5, "cpu_ratio": 0.5, "peak_memory_mb": 90.0}
