"""Drills by a worker process: order in, result out, in one piece."""

from __future__ import annotations

from pathlib import Path

import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.domain.errors import IntegrityError
from flykeep.domain.probes import CommandProbe, JsonProbe, RowFloor, SqliteProbe
from flykeep.ports.worker import DrillOrder
from tests.unit.worker.artifacts import stored


async def test_a_worker_restores_compares_and_probes(tree: Path, tmp_path: Path, workers: LocalWorkers) -> None:
    (tree / "crocbot.json").write_text("{}")
    artifact = stored(tree, tmp_path / "store")
    (into := tmp_path / "into").mkdir()
    order = DrillOrder(
        directory=str(into),
        as_of_s=1.5,
        probes=(JsonProbe("crocbot.json"), SqliteProbe("app.db", (RowFloor("t", 1),)), CommandProbe(("true",), 5.0)),
        reference=artifact.reference(at_s=1.5, is_exact=True),
        restore=artifact.contents_order(),
        deadline_s=60.0,
    )
    phases: list[str] = []
    result = await workers.drill(order, on_progress=lambda progress: phases.append(progress.phase))
    assert result.files == 1
    assert [(outcome.probe, outcome.is_passed) for outcome in result.probes] == [
        ("json crocbot.json", True),
        ("sqlite app.db", False),
        ("command true", True),
    ]
    assert result.comparison is not None
    assert (result.comparison.equal, result.comparison.is_agreed) == (2, True)
    assert [timing.step for timing in result.timings] == ["restore", "survey", "compare", "probe"]
    assert "compare" in phases


async def test_a_wrong_key_comes_back_as_what_it_is(tree: Path, tmp_path: Path, workers: LocalWorkers) -> None:
    (tree / "file").write_text("x")
    artifact = stored(tree, tmp_path / "store")
    (into := tmp_path / "into").mkdir()
    wrong = artifact.contents_order(identity=str(artifact.daemon))
    with pytest.raises(IntegrityError, match="another key"):
        await workers.drill(DrillOrder(str(into), 1.5, (), None, wrong, 60.0), on_progress=lambda _: None)
