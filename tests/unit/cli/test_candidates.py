"""What `restore TARGET` shows of the candidates."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flykeep.cli.candidates import candidates_document, choice_document, chosen, list_candidates, print_choice
from flykeep.cli.context import Common
from flykeep.domain.candidates import CandidateFacts, CandidateKind, VolumeRows, candidates_of
from flykeep.domain.choosing import Choice, choose
from flykeep.domain.errors import UsageError
from flykeep.domain.holds import Pin
from flykeep.domain.ids import ExportId, VolumeId
from flykeep.domain.target import Lineage
from flykeep.jobs.candidates import CandidateReport, Unread
from flykeep.testing.clock import ManualClock
from flykeep.testing.contracts.catalog_samples import a_proof
from tests.unit.domain.builders import DAY, HOUR, NOW, artifact, lineage, snapshot

PLAIN, JSON = Common(None, is_json=False, is_verbose=False), Common(None, is_json=True, is_verbose=False)


class Reader:
    """Gives one report, and chooses from it."""

    def __init__(self, *, is_empty: bool = False) -> None:
        rows = (snapshot("vs_1"), snapshot("vs_2", age=30 * HOUR), snapshot("vs_3", age=9 * DAY, status="failed"))
        made = replace(artifact(age=2 * DAY), verified_level="bytes", verified_at=NOW)
        pin = Pin(ExportId(made.export_id), "", NOW, "ann")
        proofs = [a_proof("p", ended_at=NOW - DAY), a_proof("q", ended_at=NOW - HOUR, reason="torn")]
        facts = CandidateFacts([VolumeRows(VolumeId("vol_1"), rows)], [], [made], [pin], proofs)
        found = () if is_empty else candidates_of(facts, now=NOW)
        self.report = CandidateReport(lineage(), found, (Unread(VolumeId("vol_0"), "502"),))

    async def read(self, _lineage: Lineage) -> CandidateReport:
        return self.report

    async def choose(self, _lineage: Lineage, text: str, *, kind: CandidateKind | None) -> Choice:
        return choose(self.report.candidates, text, now=NOW, kind=kind)


class App:
    """The application as far as candidates need it."""

    def __init__(self, reader: Reader) -> None:
        self.candidates = reader
        self.clock = ManualClock(NOW)


def app(**changes: bool) -> Any:
    return App(Reader(**changes))


async def test_the_table_is_newest_first_and_says_what_each_is_worth(capsys: pytest.CaptureFixture[str]) -> None:
    assert await list_candidates(app(), PLAIN, lineage()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["id", "vs_1", "vs_2", "20260301T040000Z", "vs_3"]
    assert "itself 24 h ago, took 1 s; a later drill FAILED" in lines[1]
    assert "its drill of 2026-03-02 11:00 UTC failed: torn" in lines[1]
    assert "its kind (snapshots) 24 h ago" in lines[2]
    assert "kept for 3 d 18 h" in lines[2]
    assert "pinned; verified (bytes); consistency snapshot" in lines[3]
    assert "cannot be restored: its status at Fly is 'failed', not 'created'" in lines[4]
    assert lines[5] == "the snapshots of vol_0 could not be read, so there may be more: 502"
    assert lines[6] == "next flykeep restore my-crocbot/crocbot_data --snapshot vs_2 --plan"


async def test_where_there_is_nothing_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    await list_candidates(app(is_empty=True), PLAIN, lineage())
    assert capsys.readouterr().out.startswith("my-crocbot/crocbot_data has nothing that could be restored\n")


async def test_the_document_holds_every_candidate_and_whether_all_was_read(capsys: pytest.CaptureFixture[str]) -> None:
    await list_candidates(app(), JSON, lineage())
    found = json.loads(capsys.readouterr().out)
    assert (found["target"], found["is_complete"]) == ("my-crocbot/crocbot_data", False)
    assert found["unread"] == [{"volume_id": "vol_0", "why": "502"}]
    assert [one["is_restorable"] for one in found["candidates"]] == [True, True, True, False]
    assert found["candidates"][1]["proof"]["is_own"] is False
    assert candidates_document(Reader().report)["candidates"] == found["candidates"]


async def test_one_source_is_chosen_by_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    choice = await chosen(app(), lineage(), snapshot="latest", artifact=None)
    assert choice.id == "vs_2"
    assert (await chosen(app(), lineage(), snapshot=None, artifact="latest")).id == "20260301T040000Z"
    for snapshot_text, artifact_text in ((None, None), ("latest", "latest")):
        with pytest.raises(UsageError, match="name one source"):
            await chosen(app(), lineage(), snapshot=snapshot_text, artifact=artifact_text)
    print_choice(PLAIN, choice, now=NOW)
    assert "vs_2: contents of 2026-03-01 06:00 UTC, 30 h old; the newest" in capsys.readouterr().out
    assert choice_document(choice)["why"] == "the newest"
