"""`flykeep config check|show|schema` as they are called by the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flykeep.cli import config as verbs

Change = Callable[[str, str], str]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_check_answers_zero_for_what_can_run(
    written: Callable[[str], Path], good: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verbs.check(written(good), as_json=False) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "valid: 1 target(s), 1 store(s), 1 notifier(s)"


def test_check_answers_two_with_every_reason(
    written: Callable[[str], Path], changed: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(changed('bucket = "acme-backups"', 'buckett = "x"'))
    assert verbs.check(path, as_json=True) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["is_valid"] is False
    assert {problem["key"] for problem in answer["problems"]} == {"stores.offsite.bucket", "stores.offsite.buckett"}
    assert f"{path}:6" in {problem["origin"] for problem in answer["problems"]}


def test_check_names_a_notifier_nobody_brings(
    written: Callable[[str], Path], changed: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(changed('type = "apprise"', 'type = "apprize"'))
    assert verbs.check(path, as_json=False) == 2
    assert f"{path}:14: notifiers.oncall.type: no installed package" in capsys.readouterr().out.replace("\n", " ")


def test_check_says_so_where_there_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.check(tmp_path / "nowhere.toml", as_json=True) == 2
    assert "can't be read" in json.loads(capsys.readouterr().out)["problems"][0]["message"]


def test_show_prints_one_object(written: Callable[[str], Path], good: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(good)
    assert verbs.show(path, as_json=True) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)["settings"]}
    assert rows["fly.org"] == {"key": "fly.org", "value": "personal", "origin": f"{path}:2"}
    assert verbs.show(path, as_json=False) == 0
    assert '"personal"' in capsys.readouterr().out
    assert verbs.show(written("[fly]"), as_json=True) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


def test_schema_prints_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.schema() == 0
    assert "stores" in json.loads(capsys.readouterr().out)["properties"]
