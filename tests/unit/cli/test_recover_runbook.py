import pytest

from flykeep.cli.main import run_command_line


@pytest.mark.parametrize("words", [("--plan",), ("--no-machines",), ("--secrets", "f.env")])
def test_what_has_no_meaning_for_a_page_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["recover", "shop", "--runbook", *words]) == 2
    assert "--runbook goes with --as, --org and --identity only" in capsys.readouterr().err
