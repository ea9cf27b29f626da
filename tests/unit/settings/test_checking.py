"""What `config check` says of configurations that can be loaded."""

from collections.abc import Callable

import pytest

from flykeep.plugins import load_notifiers
from flykeep.settings import Level, Problem, Settings, check_settings

Load = Callable[..., Settings]
Change = Callable[[str, str], str]

ALL_SET = dict.fromkeys(("OFFSITE_KEY_ID", "OFFSITE_KEY", "APPRISE_URL", "FLY_API_TOKEN"), "set")


def found(settings: Settings, level: Level) -> list[str]:
    plugins = load_notifiers({notifier.type for notifier in settings.notifiers})
    return [str(problem) for problem in check_settings(settings, plugins=plugins) if problem.level is level]


def test_a_good_configuration_has_only_the_drill_to_mention(load: Load) -> None:
    problems = check_settings(load(environ=ALL_SET), plugins=load_notifiers(["apprise"]))
    assert [(problem.level, problem.key) for problem in problems] == [(Level.INFO, "policies.standard.drill")]
    assert "no drill can run here: no [worker] image" in problems[0].message


ASKED = 'drill = { cron = "0 5 1 * *", max_age = "35d" }\n[[policies.standard.copies]]'
SIGNER = f'[drill]\ntrusted_signers = ["{"ab" * 32}"]\n[policies.standard]'
IMAGE = f'[worker]\nimage = "registry/flykeep@sha256:{"0" * 64}"\n[policies.standard]'


@pytest.mark.parametrize(
    ("more", "level"), [("", Level.WARNING), (SIGNER, Level.INFO), (IMAGE, None)], ids=["nothing", "signer", "image"]
)
def test_a_wanted_drill_that_cannot_run_is_a_warning_unless_somebody_else_is_trusted(
    load: Load, changed: Change, more: str, level: Level | None
) -> None:
    text = changed("[[policies.standard.copies]]", ASKED)
    if more:
        text = text.replace("[policies.standard]", more)
    problems = check_settings(load(text, ALL_SET), plugins=load_notifiers(["apprise"]))
    assert [one.level for one in problems if one.key == "policies.standard.drill"] == ([level] if level else [])


def test_a_proof_must_be_allowed_to_be_older_than_the_next_drill(load: Load, changed: Change) -> None:
    text = changed("[[policies.standard.copies]]", ASKED.replace("35d", "30d"))
    assert "policies.standard.drill.max_age: is 30d" in found(load(text, ALL_SET), Level.ERROR)[0]


def test_a_max_age_within_the_longest_gap_is_an_error_with_its_line(load: Load, changed: Change) -> None:
    errors = found(load(changed('max_age = "30h"', 'max_age = "24h"'), ALL_SET), Level.ERROR)
    assert len(errors) == 1
    assert "config.toml:19: policies.standard.snapshot.max_age: is 24h, but its schedule leaves up to 24h" in errors[0]


def test_the_longest_gap_counts_the_change_of_clocks(load: Load, changed: Change) -> None:
    table = 'automatic = false, cron = "30 3 * * *", max_age = "24h30m"'
    assert found(load(changed('max_age = "30h"', table), ALL_SET), Level.ERROR) == []
    zone = '[policies.standard]\ntimezone = "Europe/Vienna"'
    vienna = changed('max_age = "30h"', table).replace("[policies.standard]", zone)
    assert "leaves up to 25h" in found(load(vienna, ALL_SET), Level.ERROR)[0]


def test_an_automatic_snapshot_shortens_the_gap_of_a_weekly_one(load: Load, changed: Change) -> None:
    weekly = changed('max_age = "30h"', 'cron = "0 3 * * 0", max_age = "30h"')
    assert found(load(weekly, ALL_SET), Level.ERROR) == []
    alone = weekly.replace("cron =", "automatic = false, cron =")
    assert "leaves up to 7d" in found(load(alone, ALL_SET), Level.ERROR)[0]


def test_a_variable_that_sets_the_wrong_age_is_named(load: Load) -> None:
    environ = {**ALL_SET, "FLYKEEP_POLICIES__STANDARD__EXPORT__MAX_AGE": "7d"}
    errors = found(load(environ=environ), Level.ERROR)
    assert errors[0].startswith("FLYKEEP_POLICIES__STANDARD__EXPORT__MAX_AGE: policies.standard.export.max_age: is 7d")


def test_snapshots_must_not_expire_before_they_can_be_too_old(load: Load, changed: Change) -> None:
    text = changed('max_age = "30h"', 'max_age = "30h", retention_days = 1')
    assert "retention_days: lets snapshots expire" in found(load(text, ALL_SET), Level.ERROR)[0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('cron = "never", automatic = false, max_age = "30h"', "nothing is scheduled that would renew it"),
        ('cron = "0 1 * * *", max_age = "never"', "its age is not judged"),
    ],
)
def test_half_a_rule_is_a_warning(load: Load, changed: Change, table: str, message: str) -> None:
    warnings = found(load(changed('max_age = "30h"', table), ALL_SET), Level.WARNING)
    assert len(warnings) == 1
    assert message in warnings[0]


def test_copies_without_an_export_are_a_warning(load: Load, good: str) -> None:
    text = good.replace("[[policies", 'export = { cron = "never", max_age = "never" }\n[[policies', 1)
    assert "no export is scheduled" in found(load(text, ALL_SET), Level.WARNING)[0]


def test_a_max_age_between_two_checks_is_an_error(load: Load, good: str) -> None:
    text = good.replace('max_age = "30h"', 'cron = "0 * * * *", max_age = "5h"')
    text += '\n[daemon]\ncheck_every = "6h"\n'
    assert "is not above 6h, the time between two checks" in found(load(text, ALL_SET), Level.ERROR)[0]


def test_a_target_that_repeats_another_is_never_reached(load: Load, good: str) -> None:
    text = good + '\n[[targets]]\nmatch = "my-crocbot/crocbot_data"\npolicy = "critical"\n'
    warnings = found(load(text, ALL_SET), Level.WARNING)
    assert any("targets[1].match: is never reached: targets[0]" in warning for warning in warnings)


def test_an_unused_store_and_an_empty_table_are_warnings(load: Load) -> None:
    text = '[fly]\norg = "x"\n[stores.shelf]\ntype = "directory"\npath = "/mnt"\n[encryption]\nencryption = "none"\n'
    keys = {problem.key for problem in check_settings(load(text, ALL_SET)) if problem.level is Level.WARNING}
    assert keys == {"stores.shelf", "targets", "notifiers"}


def test_a_drain_longer_than_flys_patience_is_a_warning(load: Load, good: str) -> None:
    text = good + '\n[daemon]\ndrain_timeout = "5m"\n'
    assert "daemon.drain_timeout" in found(load(text, ALL_SET), Level.WARNING)[0]


def test_secrets_that_are_not_set_are_warnings_with_their_lines(load: Load) -> None:
    warnings = [problem for problem in check_settings(load()) if problem.level is Level.WARNING]
    assert [(problem.key, problem.message) for problem in warnings] == [
        ("stores.offsite.access_key_id_secret", "OFFSITE_KEY_ID is not set here"),
        ("stores.offsite.secret_access_key_secret", "OFFSITE_KEY is not set here"),
        ("notifiers.oncall.url_secret", "APPRISE_URL is not set here"),
        ("", "the Fly token is not set here"),
    ]
    assert [(problem.origin or "").rpartition(":")[2] for problem in warnings] == ["7", "8", "15", ""]


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ('url_secret = "tgram://planted"', "url_secret", "must be the NAME of an environment variable"),
        ('urlsecret = "APPRISE_URL"', "urlsecret", "is not a known key. Did you mean url_secret?"),
        ("", None, "is missing"),
    ],
)
def test_a_notifiers_table_is_judged_by_its_plugin(
    load: Load, changed: Change, table: str, key: str | None, message: str
) -> None:
    errors = found(load(changed('url_secret = "APPRISE_URL"', table), ALL_SET), Level.ERROR)
    assert len(errors) == 1
    assert f"config.toml:{15 if key else 13}: notifiers.oncall.{key or 'url_secret'}: {message}" in errors[0]
    assert "planted" not in errors[0]


def test_errors_come_first(load: Load, changed: Change) -> None:
    problems = check_settings(load(changed('max_age = "30h"', 'max_age = "1h"')))
    order = list(Level)
    assert [order.index(problem.level) for problem in problems] == sorted(order.index(one.level) for one in problems)
    assert problems[0].level is Level.ERROR


def test_a_problem_reads_as_one_line() -> None:
    problem = Problem(Level.ERROR, "fly.org", "is missing", "config.toml:1", "Name it.")
    assert str(problem) == "config.toml:1: fly.org: is missing. Name it."
    assert str(Problem(Level.WARNING, "", "no token")) == "no token."


def test_a_keep_rule_of_min_alone_is_told(load: Load, changed: Change) -> None:
    (warning,) = found(load(changed("keep = { weekly = 8 }", "keep = { min = 3 }"), ALL_SET), Level.WARNING)

    assert "policies.standard.copies[0].keep: has only min" in warning
