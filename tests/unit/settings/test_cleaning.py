"""What a target's cleaning rules may say."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from flykeep.domain.policy import CleanRule
from flykeep.settings import InvalidSettingsError, Settings
from flykeep.settings.checking import check_settings
from flykeep.settings.showing import show

Load = Callable[..., Settings]


def test_rules_come_through_in_their_order_and_are_shown(load: Load, good: str) -> None:
    rules = '[{ glob = "agents/*/sessions/*.jsonl", older_than = "30d" }, { glob = "logs/**", older_than = "1h" }]'
    settings = load(f"{good}clean = {rules}\n")

    assert settings.targets[0].clean == (
        CleanRule("agents/*/sessions/*.jsonl", timedelta(days=30)),
        CleanRule("logs/**", timedelta(hours=1)),
    )
    shown = {entry.key: entry.value for entry in show(settings) if ".clean" in entry.key}
    assert list(shown.values()) == ["agents/*/sessions/*.jsonl", "30d", "logs/**", "1h"]
    assert not [problem for problem in check_settings(settings) if "clean" in problem.key]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('{ glob = "**", older_than = "30d" }', "clean[0].glob: would name whatever there is"),
        ('{ glob = "*/*", older_than = "30d" }', "would name whatever there is"),
        ('{ glob = "[!.]*", older_than = "30d" }', "would name whatever there is"),
        ('{ glob = "/data/logs/*.log", older_than = "30d" }', "without a leading slash"),
        ('{ glob = "logs/../../etc/*", older_than = "30d" }', "must not climb"),
        ('{ glob = "logs/*.log" }', "clean[0].older_than: is missing"),
        ('{ glob = "logs/*.log", older_than = "0s" }', "at least 1h"),
        ('{ glob = "logs/*.log", older_than = "59m" }', "at least 1h"),
        ('{ glob = "logs/*.log", older_than = "never" }', "is not a duration"),
        ('{ glob = "logs/*.log", older_than = "30d", all = true }', "is not a known key"),
    ],
)
def test_a_rule_that_could_take_too_much_is_refused(load: Load, good: str, rule: str, words: str) -> None:
    with pytest.raises(InvalidSettingsError) as refused:
        load(f"{good}clean = [{rule}]\n")
    assert words in "\n".join(map(str, refused.value.problems))
