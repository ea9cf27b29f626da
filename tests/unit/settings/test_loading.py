"""The file, the environment over it, and what is refused."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.domain.errors import ConfigError
from flykeep.domain.policy import Encryption, Schedule
from flykeep.ports.store import StoreType
from flykeep.settings import InvalidSettingsError, Settings, load_settings

PLANTED = "hunter2-planted-secret"

Load = Callable[..., Settings]
Change = Callable[[str, str], str]


def refusals(load: Load, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(InvalidSettingsError) as refused:
        load(text, environ or {})
    assert refused.value.exit_code == 2
    assert refused.value.__cause__ is None
    return [str(problem) for problem in refused.value.problems]


def test_a_whole_configuration_becomes_domain_values(load: Load) -> None:
    settings = load()
    assert settings.fly.org == "personal"
    assert settings.stores["offsite"].type is StoreType.S3
    assert settings.encryption.encryption is Encryption.AGE
    assert settings.targets[0].policy.snapshot.max_age == timedelta(hours=30)
    assert settings.targets[0].policy.copies[0].keep.weekly == 8
    assert settings.daemon.check == Schedule("*/15 * * * *")
    assert (settings.http.host, settings.http.port) == ("::", 8080)
    assert settings.state.directory == Path("/data")


def test_the_environment_beats_the_file(load: Load) -> None:
    settings = load(
        environ={
            "FLYKEEP_FLY__SSH_PORT": "2222",
            "FLYKEEP_STORES__OFFSITE__PATH_STYLE": "false",
            "FLYKEEP_STORES__OFFSITE__BUCKET": "other",
            "FLYKEEP_POLICIES__STANDARD__SNAPSHOT__MAX_AGE": "40h",
            "FLYKEEP_NOTIFIERS__ONCALL__URL_SECRET": "OTHER_URL",
            "FLYKEEP_TARGETS": '[{"match": "a/b", "policy": "critical"}]',
        }
    )
    assert settings.fly.ssh_port == 2222
    assert (settings.stores["offsite"].bucket, settings.stores["offsite"].is_path_style) == ("other", False)
    assert settings.policies["standard"].snapshot.max_age == timedelta(hours=40)
    assert settings.notifiers[0].table == {"url_secret": "OTHER_URL"}
    assert [rule.match for rule in settings.targets] == ["a/b"]


def test_the_environment_alone_is_enough() -> None:
    settings = load_settings(None, {"FLYKEEP_FLY__ORG": "acme"})
    assert settings.fly.org == "acme"
    assert settings.state.url == "sqlite:////data/flykeep.db"


def test_flykeep_config_names_the_file_unless_a_path_is_given(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(f'[fly]\norg = "{name}"\n', encoding="utf-8")
    environ = {"FLYKEEP_CONFIG": str(tmp_path / "one.toml")}
    assert load_settings(None, environ).fly.org == "one"
    assert load_settings(tmp_path / "two.toml", environ).fly.org == "two"


def test_the_machines_own_variables_are_not_settings(load: Load) -> None:
    settings = load(environ={"FLY_REGION": "fra", "FLY_APP_NAME": "flykeep", "FLY_ORG": "other"})
    assert settings.fly.org == "personal"


def test_base_urls_come_from_the_environment(load: Load) -> None:
    environ = {"FLY_FLAPS_BASE_URL": "http://127.0.0.1:4280/", "FLY_API_BASE_URL": "http://127.0.0.1:4281"}
    settings = load(environ=environ)
    assert settings.fly.flaps_base_url == "http://127.0.0.1:4280"
    assert settings.fly.api_base_url == "http://127.0.0.1:4281"
    assert load().fly.flaps_base_url == "https://api.machines.dev"


def test_a_base_url_that_is_none_is_refused(load: Load, good: str) -> None:
    assert "FLY_API_BASE_URL" in refusals(load, good, {"FLY_API_BASE_URL": "api.fly.io"})[0]


def test_an_unknown_key_names_its_path_its_line_and_the_nearest_key(load: Load, changed: Change) -> None:
    found = refusals(load, changed('bucket = "acme-backups"', 'bucket = "acme-backups"\nregoin = "auto"'))
    assert len(found) == 1
    assert "config.toml:7: stores.offsite.regoin: is not a known key. Did you mean region?" in found[0]


def test_an_unknown_key_deep_in_an_inline_table_has_its_line(load: Load, changed: Change) -> None:
    found = refusals(load, changed("weekly = 8", "weekli = 8"))
    assert "config.toml:23: policies.standard.copies[0].keep.weekli: " in found[0]
    assert found[0].endswith("Did you mean weekly?")


def test_an_unknown_table_and_an_unknown_variable_are_refused(load: Load, good: str) -> None:
    assert "notifier: is not a known key. Did you mean notifiers?" in refusals(load, good + "\n[notifier.x]\n")[0]
    found = refusals(load, good, {"FLYKEEP_STOERS__X__TYPE": "s3"})
    assert found == ["FLYKEEP_STOERS__X__TYPE: is not a known key. Did you mean FLYKEEP_STORES__...?"]
    found = refusals(load, good, {"FLYKEEP_FLY__ORGG": "x"})
    assert found == ["FLYKEEP_FLY__ORGG: fly.orgg: is not a known key. Did you mean org?"]


def test_a_variable_of_flykeep_that_is_no_key_is_left_alone(load: Load, good: str) -> None:
    assert load(good, {"FLYKEEP_WEBHOOK_KEY": "x", "FLYKEEP_NO_SKIPS": "1"}).fly.org == "personal"


def test_one_reading_names_everything_that_is_wrong(load: Load, changed: Change) -> None:
    text = changed('bucket = "acme-backups"', 'bucket = "x"\nprefixx = "y"').replace("30h", "30 hours")
    assert len(refusals(load, text.replace("weekly = 8", 'within = "x"'))) == 3


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('url_secret = "APPRISE_URL"', f'url = "tgram://{PLANTED}"', "notifiers.oncall.url"),
        ('access_key_id_secret = "OFFSITE_KEY_ID"', f'access_key_id = "{PLANTED}"', "stores.offsite.access_key_id"),
        ('access_key_id_secret = "OFFSITE_KEY_ID"', f'access_key_id_secret = "{PLANTED}"', None),
        ('org = "personal"', f'org = "personal"\ntoken = "{PLANTED}"', "fly.token"),
        ("[encryption]", f'[state]\nurl = "postgresql://u:{PLANTED}@db/x"\n[encryption]', None),
        ("[encryption]", f'[encryption]\nidentity_secret = "{PLANTED}"', None),
        ("[encryption]", f'[encryption]\nidentity = "{PLANTED}"', "encryption.identity"),
        ('bucket = "acme-backups"', f'bucket = "x"\nendpoint = "https://u:{PLANTED}@s3"', None),
        ('max_age = "30h"', f'max_age = "{PLANTED}"', None),
        ('max_age = "30h"', f'cron = "{PLANTED}"', None),
        ('policy = "standard"', f'policy = "{PLANTED}"', None),
        ('store = "offsite"', f'store = "{PLANTED}"', None),
        ('extends = "production"', f'extends = "{PLANTED}"', None),
        ('extends = "production"', f'timezone = "{PLANTED}"', None),
        ('org = "personal"', f"org = '{PLANTED}", None),
        ('org = "personal"', f'org = "{PLANTED}" "{PLANTED}"', None),
    ],
)
def test_no_refusal_repeats_what_it_refuses(load: Load, changed: Change, old: str, new: str, key: str | None) -> None:
    text = changed(old, new)
    with pytest.raises(ConfigError) as refused:
        load(text)
    error = refused.value
    said = f"{error} {error!r} {error.next_step} {error.__cause__!r} {error.__cause__}"
    assert PLANTED not in said
    if key is not None:
        assert f"{key}: would put a secret into the configuration" in str(error)
        assert "_secret = " in str(error) or "FLY_API_TOKEN" in str(error)


def test_a_json_variable_that_is_none_is_refused_without_its_value(load: Load, good: str) -> None:
    with pytest.raises(ConfigError, match="targets") as refused:
        load(good, {"FLYKEEP_TARGETS": f"[{PLANTED}"})
    assert PLANTED not in f"{refused.value}{refused.value.__cause__}"


def test_no_recipients_is_an_error_unless_none_is_written_out(load: Load, changed: Change, good: str) -> None:
    start = good.index("recipients")
    line = good[start : good.index("\n", start)]
    assert "encryption.recipients: is empty" in refusals(load, changed(line, ""))[0]
    assert load(changed(line, 'encryption = "none"')).encryption.encryption is Encryption.NONE
    top = 'encryption = "none"\n' + changed(f"[encryption]\n{line}\n", "")
    assert load(top).encryption.encryption is Encryption.NONE
    assert 'is given although encryption is "none"' in refusals(load, changed(line, f'{line}\nencryption = "none"'))[0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[stores.x]\ntype = "ftp"', 'stores.x.type: must be "s3" or "directory"'),
        ('[stores.x]\npath = "/x"', 'stores.x.type: must be "s3" or "directory"'),
        ('[stores.X]\ntype = "directory"\npath = "/x"', "stores.X: names are lower-case letters"),
        ('[stores.x]\ntype = "directory"\npath = "x"', "stores.x.path: must be an absolute path"),
        ('[stores.x]\ntype = "directory"\npath = "/x/../y"', "stores.x.path: must not climb"),
        ('[stores.x]\ntype = "directory"\npath = "/x"\nprefix = "/p"', "stores.x.prefix: must not begin"),
        ('[stores.x]\ntype = "s3"\nbucket = "b"\naccess_key_id_secret = "A"', "stores.x: needs both"),
        ('[stores.x]\ntype = "s3"\nbucket = "b"\nendpoint = "r2.com"', "stores.x.endpoint: must be a URL"),
        ('[stores.x]\ntype = "s3"\nbucket = "b"\nendpoint = "http://r2.com:99999"', "must have a port"),
        ('[state]\nurl = "sqlite:////x"\nurl_secret = "X"', "state: has both url and url_secret"),
        ('[http]\nbind = "8080"', "http.bind: must be an address and a port"),
        ('[http]\nbind = "127.0.0.1:99999"', "http.bind: must be an address and a port"),
        ("[worker]\ndeadline = 12", "worker.deadline: is not a duration: write"),
        ('[worker]\ncompression = "fast"', "worker.compression: Input should be 'auto', 'frugal' or 'parallel'"),
        ('[policies.p]\ntimezone = "Mars/Olympus"', "policies.p.timezone: is not a time zone"),
        ('[policies.p]\ntimezone = "/etc/passwd"', "policies.p.timezone: is not a time zone"),
        ('[policies.p.snapshot]\ncron = "61 * * * *"', "policies.p.snapshot.cron: is not a cron expression"),
        ('[policies.p.snapshot]\ncron = "0 0 30 2 *"', "policies.p.snapshot.cron: is not a cron expression"),
        ('[policies.p.snapshot]\ncron = "0 0 * * * *"', "policies.p.snapshot.cron: is not a cron expression"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_line(load: Load, good: str, table: str, message: str) -> None:
    found = refusals(load, f"{good}\n{table}\n")
    assert len(found) == 1
    assert message in found[0]
    line = int(found[0].partition("config.toml:")[2].partition(":")[0])
    assert 29 <= line <= 29 + table.count("\n")


@pytest.mark.parametrize("recipient", ["age1abc", "ssh-ed25519 AAAA", "AGE-SECRET-KEY-1QQQ", ""])
def test_a_recipient_with_a_wrong_character_is_refused(load: Load, good: str, recipient: str) -> None:
    start = good.index("age1")
    text = good.replace(good[start : good.index('"', start)], recipient)
    assert "config.toml:11: encryption.recipients[0]: is " in refusals(load, text)[0]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("include", '["/etc/passwd"]', "without a leading slash"),
        ("exclude", '["a/../../b"]', "must not climb"),
        ("mount", '"data"', "must be an absolute path"),
        ("hooks.before_snapshot", '{ run = ["sync"], timeout = "61s" }', "1s to 60s"),
        ("hooks.before_snapshot", "{ run = [] }", "at least 1"),
        ("hooks.before_snapshto", '{ run = ["sync"] }', "Did you mean before_snapshot?"),
        ("probes", '[{ kind = "exists", path = "a", min_files = 1 }]', "min_files"),
        ("probes", '[{ kind = "count", path = "a" }]', "needs min_files"),
        ("probes", '[{ kind = "command", run = ["a"], path = "a" }]', "has no use for path"),
        ("probes", '[{ kind = "command", run = [] }]', "at least 1"),
        ("probes", '[{ kind = "sha256", path = "a", sha256 = "abc" }]', "match pattern"),
        ("probes", '[{ kind = "sqlite", path = "a", rows = { users = -1 } }]', "greater"),
        ("probes", '[{ kind = "cuont", path = "a" }]', "exists"),
        ("instances", '"all"', "each"),
    ],
)
def test_a_target_that_cannot_be_is_refused(load: Load, good: str, key: str, value: str, message: str) -> None:
    found = refusals(load, f"{good}{key} = {value}\n")
    assert message in found[0]
    assert "config.toml:28: targets[0]." in found[0]


@pytest.mark.parametrize("days", [0, 61])
def test_retention_is_one_to_sixty_days(load: Load, changed: Change, days: int) -> None:
    found = refusals(load, changed('max_age = "30h"', f"retention_days = {days}"))
    assert "policies.standard.snapshot.retention_days" in found[0]


def test_names_that_lead_nowhere_are_refused_with_the_nearest(load: Load, changed: Change) -> None:
    assert "Did you mean offsite?" in refusals(load, changed('store = "offsite"', 'store = "ofsite"'))[0]
    found = refusals(load, changed('policy = "standard"', 'policy = "standart"'))
    assert "config.toml:27: targets[0].policy: names no policy" in found[0]
    assert "Did you mean standard?" in found[0]
    found = refusals(load, changed('extends = "production"', 'extends = "prod"'))
    assert "policies.standard.extends: names no policy and no preset" in found[0]


@pytest.mark.parametrize(
    ("text", "cron"),
    [
        ("15m", "*/15 * * * *"),
        ("1h", "0 * * * *"),
        ("60m", "0 * * * *"),
        ("6h", "0 */6 * * *"),
        ("1d", "0 0 * * *"),
        ("7 * * * *", "7 * * * *"),
    ],
)
def test_checks_come_by_duration_or_by_cron(load: Load, good: str, text: str, cron: str) -> None:
    assert load(f'{good}\n[daemon]\ncheck_every = "{text}"\n').daemon.check == Schedule(cron)


@pytest.mark.parametrize("text", ["7m", "0m", "5h", "20s", "2d", "every day"])
def test_a_check_that_does_not_divide_the_day_is_refused(load: Load, good: str, text: str) -> None:
    assert "daemon.check_every" in refusals(load, f'{good}\n[daemon]\ncheck_every = "{text}"\n')[0]


@pytest.mark.parametrize(
    "url", ["mysql://x", "sqlite://flykeep.db", "sqlite:///flykeep.db", "sqlite://host/x", "flykeep.db"]
)
def test_a_state_url_flykeep_cannot_use_is_refused(load: Load, good: str, url: str) -> None:
    assert "state.url" in refusals(load, f'{good}\n[state]\nurl = "{url}"\n')[0]


def test_locks_and_keys_live_beside_the_database_unless_told(load: Load, good: str) -> None:
    beside = load(f'{good}\n[state]\nurl = "sqlite:////var/lib/flykeep/state.db"\n')
    assert beside.state.directory == Path("/var/lib/flykeep")
    told = load(f'{good}\n[state]\nurl_secret = "DB"\ndirectory = "/srv"\n', {"DB": "postgresql://u:p@h/d"})
    assert told.state.directory == Path("/srv")
    assert told.state_url().get_secret_value() == "postgresql://u:p@h/d"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[fly\n", "config.toml:1: is not valid TOML"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a = " + b"[" * 5000, "TOML|deep"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_settings(path, {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml can't be read"):
        load_settings(tmp_path / "nowhere.toml", {})
