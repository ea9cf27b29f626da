"""Effective values with their origin."""

from collections.abc import Callable

from flykeep.settings import Settings, show

PLANTED = "hunter2-planted-secret"

Load = Callable[..., Settings]


def shown(settings: Settings) -> dict[str, tuple[object, str]]:
    return {entry.key: (entry.value, entry.origin.rpartition("/")[2]) for entry in show(settings)}


def test_every_value_tells_where_it_comes_from(load: Load) -> None:
    entries = shown(load(environ={"FLYKEEP_FLY__SSH_PORT": "2222", "FLY_FLAPS_BASE_URL": "http://127.0.0.1:1"}))
    assert entries["fly.org"] == ("personal", "config.toml:2")
    assert entries["fly.ssh_port"] == (2222, "FLYKEEP_FLY__SSH_PORT")
    assert entries["worker.deadline"] == ("12h", "default")
    assert entries["stores.offsite.access_key_id_secret"] == ("OFFSITE_KEY_ID", "config.toml:7")
    assert entries["policies.standard.snapshot.max_age"] == ("30h", "config.toml:19")
    assert entries["policies.standard.snapshot.cron"] == ("30 3 * * *", "preset production")
    assert entries["policies.standard.copies"] == (("offsite (weekly 8, min 1)",), "config.toml:21")
    assert entries["targets[0].match"] == ("my-crocbot/crocbot_data", "config.toml:26")
    assert entries["FLY_FLAPS_BASE_URL"] == ("http://127.0.0.1:1", "environment")
    assert entries["FLY_API_BASE_URL"] == ("https://api.fly.io", "default")


def test_a_drill_that_cannot_run_is_shown_with_the_reason(load: Load) -> None:
    value, origin = shown(load())["policies.standard.drill.cron"]
    assert value == "0 5 1 * *"
    assert origin.startswith("preset production (cannot run here: no [worker] image")


def test_a_value_of_a_parent_policy_names_the_parents_line(load: Load, good: str) -> None:
    text = good + '\n[policies.strict]\nextends = "standard"\n\n[[targets]]\nmatch = "a/b"\npolicy = "strict"\n'
    entries = shown(load(text))
    assert entries["policies.strict.snapshot.max_age"] == ("30h", "config.toml:19")
    assert entries["policies.strict.timezone"] == ("UTC", "default")


def test_a_list_from_the_environment_names_its_variable(load: Load) -> None:
    entries = shown(load(environ={"FLYKEEP_TARGETS": '[{"match": "a/b", "policy": "critical", "include": ["x"]}]'}))
    assert entries["targets[0].include"] == (("x",), "FLYKEEP_TARGETS")


def test_nothing_shown_is_a_secret(load: Load, good: str) -> None:
    text = good.replace(
        'url_secret = "APPRISE_URL"',
        f'url_secret = "APPRISE_URL"\nbot_token = "{PLANTED}"\nserver = "https://u:{PLANTED}@chat/x?key={PLANTED}"\n'
        f'nested = {{ password = "{PLANTED}" }}',
    )
    environ = dict.fromkeys(("OFFSITE_KEY_ID", "OFFSITE_KEY", "APPRISE_URL", "FLY_API_TOKEN"), PLANTED)
    entries = show(load(text, environ))
    assert PLANTED not in repr(entries)
    by_key = {entry.key: entry.value for entry in entries}
    assert by_key["FLY_API_TOKEN"] == "(redacted)"
    assert by_key["notifiers.oncall.server"] == "https://(redacted)@chat/x?(redacted)"
    assert by_key["notifiers.oncall.bot_token"] == "(redacted)"


def test_tables_within_a_target_are_shown_key_by_key(load: Load, good: str) -> None:
    hooks = 'hooks.before_snapshot = { run = ["sync"] }\n'
    entries = shown(load(good + hooks + 'probes = [{ kind = "exists", path = "a" }]\n'))
    assert entries["targets[0].hooks.before_snapshot.run"] == (("sync",), "config.toml:28")
    assert entries["targets[0].probes[0].path"] == ("a", "config.toml:29")
