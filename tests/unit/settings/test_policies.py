"""Presets and `extends`, merged key by key."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from flykeep.domain.policy import Schedule
from flykeep.domain.presets import PRESETS
from flykeep.domain.probes import (
    CommandProbe,
    CountProbe,
    ExistsProbe,
    JsonProbe,
    NewerThanProbe,
    Probe,
    RowFloor,
    Sha256Probe,
    SqliteProbe,
)
from flykeep.settings import InvalidSettingsError, Settings

Load = Callable[..., Settings]


def test_presets_need_no_table(load: Load, good: str) -> None:
    settings = load(good.replace('policy = "standard"', 'policy = "critical"'))
    assert settings.targets[0].policy.snapshot == PRESETS["critical"].snapshot


def test_a_preset_exports_only_where_a_store_is_named(load: Load) -> None:
    policies = load().policies
    assert policies["production"].export.schedule is None
    assert policies["production"].export.max_age is None
    assert policies["standard"].export == PRESETS["production"].export


def test_a_policy_inherits_key_by_key(load: Load) -> None:
    standard, production = load().policies["standard"], PRESETS["production"]
    assert standard.snapshot.max_age == timedelta(hours=30)
    assert standard.snapshot.schedule == production.snapshot.schedule
    assert standard.snapshot.is_automatic_wanted
    assert standard.drill == production.drill


def test_a_policy_extends_another_policy(load: Load, good: str) -> None:
    settings = load(
        good
        + """
[policies.strict]
extends = "standard"
timezone = "Europe/Vienna"
remind_every = "4h"
snapshot = { cron = "0 * * * *" }
"""
    )
    strict = settings.policies["strict"]
    assert strict.name == "strict"
    assert strict.snapshot.schedule == Schedule("0 * * * *", "Europe/Vienna")
    assert strict.snapshot.max_age == timedelta(hours=30)
    assert strict.export.schedule == Schedule("0 4 * * 0", "Europe/Vienna")
    assert [copy.store for copy in strict.copies] == ["offsite"]
    assert strict.remind_every == timedelta(hours=4)
    assert settings.policies["standard"].export.schedule == Schedule("0 4 * * 0", "UTC")


def test_a_policy_with_a_presets_name_extends_that_preset(load: Load, good: str) -> None:
    settings = load(good + "\n[policies.production]\nsnapshot = { retention_days = 9 }\n")
    assert settings.policies["production"].snapshot.retention_days == 9
    assert settings.policies["production"].snapshot.schedule == PRESETS["production"].snapshot.schedule
    assert settings.policies["standard"].snapshot.retention_days == 9


def test_never_ends_what_was_inherited(load: Load, good: str) -> None:
    quiet = '\n[policies.quiet]\nextends = "production"\nsnapshot = { cron = "never", max_age = "never" }\n'
    settings = load(good + quiet)
    snapshot = settings.policies["quiet"].snapshot
    assert (snapshot.schedule, snapshot.max_age) == (None, None)
    assert snapshot.retention_days == PRESETS["production"].snapshot.retention_days


def test_a_policy_of_its_own_asks_for_what_it_says_only(load: Load, good: str) -> None:
    own = load(good + '\n[policies.own]\nsnapshot = { cron = "0 1 * * *" }\n').policies["own"]
    assert own.snapshot.schedule == Schedule("0 1 * * *")
    assert own.snapshot.max_age is None
    assert not own.snapshot.is_automatic_wanted


def test_a_circle_is_refused(load: Load, good: str) -> None:
    with pytest.raises(InvalidSettingsError, match="extends in a circle"):
        load(good + '\n[policies.a]\nextends = "b"\n[policies.b]\nextends = "a"\n')


def test_an_export_asked_for_without_a_store_is_refused(load: Load, good: str) -> None:
    text = good + '\n[policies.loose]\nexport = { cron = "0 1 * * *", max_age = "30h" }\n'
    assert load(text).policies["loose"].export.schedule is not None
    with pytest.raises(InvalidSettingsError, match="copies names no store"):
        load(text.replace('policy = "standard"', 'policy = "loose"'))


def test_hooks_and_probes_arrive_as_values(load: Load, good: str) -> None:
    settings = load(
        good
        + """hooks.before_export = { run = ["app", "--dump"], makes_consistent = true }
probes = [{ kind = "count", path = "agents", min_files = 1 }]
"""
    )
    hook = settings.targets[0].hooks.before_export
    assert hook is not None
    assert (hook.run, hook.timeout, hook.makes_consistent) == (("app", "--dump"), timedelta(seconds=20), True)
    assert settings.targets[0].probes == (CountProbe("agents", 1),)


PINNED = "registry.fly.io/my-flykeep@sha256:" + "ab" * 32


def test_a_worker_image_is_named_by_its_digest(load: Load, good: str) -> None:
    assert load(good).worker.image is None
    assert load(f'{good}\n[worker]\nimage = "{PINNED}"\n').worker.image == PINNED


@pytest.mark.parametrize("image", ["registry.fly.io/my-flykeep", "registry.fly.io/my-flykeep:latest", PINNED[:-1]])
def test_an_image_that_could_become_another_program_is_refused(load: Load, good: str, image: str) -> None:
    with pytest.raises(InvalidSettingsError, match=r"worker\.image: must be pinned by its digest"):
        load(f'{good}\n[worker]\nimage = "{image}"\n')


def test_temporary_machines_are_made_in_an_app_of_their_own_unless_it_is_written_out(load: Load, good: str) -> None:
    assert not load(good).scratch.is_in_target_app
    assert load(f'{good}\n[scratch]\nin_target_app = true\nregions = ["ams"]\n').scratch.regions == ("ams",)


@pytest.mark.parametrize(
    ("table", "probe"),
    [
        ('kind = "exists", path = "a"', ExistsProbe("a")),
        ('kind = "json", path = "a"', JsonProbe("a")),
        ('kind = "sqlite", path = "a"', SqliteProbe("a")),
        ('kind = "sqlite", path = "a", rows = { users = 1 }', SqliteProbe("a", (RowFloor("users", 1),))),
        ('kind = "newer_than", path = "a", max_age = "2h"', NewerThanProbe("a", 7200.0)),
        (f'kind = "sha256", path = "a", sha256 = "{"AB" * 32}"', Sha256Probe("a", "ab" * 32)),
        ('kind = "command", run = ["a", "b"]', CommandProbe(("a", "b"), 60.0)),
        ('kind = "command", run = ["a"], timeout = "5s"', CommandProbe(("a",), 5.0)),
    ],
)
def test_every_kind_of_probe_arrives_as_its_value(load: Load, good: str, table: str, probe: Probe) -> None:
    assert load(f"{good}probes = [{{ {table} }}]\n").targets[0].probes == (probe,)


def test_drills_elsewhere_and_their_place_are_settings(load: Load, good: str) -> None:
    drill = load(f'{good}[drill]\ntrusted_signers = ["{"ab" * 32}"]\ndirectory = "/big"\n').drill
    assert (drill.trusted_signers, str(drill.directory)) == (("ab" * 32,), "/big")
    assert str(load(good).drill.directory).endswith("/drills")
    with pytest.raises(InvalidSettingsError, match="64 lowercase"):
        load(f'{good}[drill]\ntrusted_signers = ["AB"]\n')


def test_a_drill_is_asked_for_by_the_file_and_not_by_a_preset(load: Load, changed: Callable[..., str]) -> None:
    assert not load().policies["standard"].drill.is_asked
    text = changed("[[policies.standard.copies]]", 'drill = { max_age = "40d" }\n[[policies.standard.copies]]')
    assert load(text).policies["standard"].drill.is_asked
