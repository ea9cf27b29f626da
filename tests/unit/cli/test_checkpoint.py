"""A checkpoint's answer is one line to decide by, with what was taken and the way back."""

from __future__ import annotations

import pytest

from flykeep.cli.checkpoint import print_answer
from flykeep.cli.context import Common, console

TAKEN = {
    "snapshot_id": "vs_1",
    "snapshot_at": "2026-03-02T12:00:00Z",
    "export_id": "01M8",
    "verified": [{"store": "offsite", "level": "contents"}, {"store": "shelf", "level": "bytes"}],
    "doubts": [],
    "way_back": "flykeep restore app/data --snapshot vs_1",
}


def told(capsys: pytest.CaptureFixture[str], result: dict[str, object], *, is_go: bool) -> list[str]:
    out = console(Common(None, is_json=False, is_verbose=False))
    print_answer(out, "app/data", result, is_go=is_go)
    return capsys.readouterr().out.splitlines()


def test_go_names_the_snapshot_the_artifact_and_how_deep_each_copy_was_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told(capsys, TAKEN, is_go=True) == [
        "GO  app/data: snapshot vs_1 of 2026-03-02T12:00:00Z, artifact 01M8 (contents in offsite, bytes in shelf)",
        " back flykeep restore app/data --snapshot vs_1",
    ]


def test_no_go_says_why_and_still_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    failed = TAKEN | {"verified": [], "doubts": ["the verification failed: torn"]}
    assert told(capsys, failed, is_go=False) == [
        "NO-GO  app/data: snapshot vs_1 of 2026-03-02T12:00:00Z, artifact 01M8 (not verified)",
        "  the verification failed: torn",
        " back flykeep restore app/data --snapshot vs_1",
    ]
    assert told(capsys, {}, is_go=False) == ["NO-GO  app/data: nothing was taken"]
