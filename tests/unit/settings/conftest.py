"""A configuration that holds, and a way to load variations of it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from flykeep.settings import Settings, load_settings

RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"

GOOD = f"""\
[fly]
org = "personal"

[stores.offsite]
type = "s3"
bucket = "acme-backups"
access_key_id_secret = "OFFSITE_KEY_ID"
secret_access_key_secret = "OFFSITE_KEY"

[encryption]
recipients = ["{RECIPIENT}"]

[notifiers.oncall]
type = "apprise"
url_secret = "APPRISE_URL"

[policies.standard]
extends = "production"
snapshot = {{ max_age = "30h" }}

[[policies.standard.copies]]
store = "offsite"
keep = {{ weekly = 8 }}

[[targets]]
match = "my-crocbot/crocbot_data"
policy = "standard"
"""

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a text as a file, with an environment."""

    def load_text(text: str = GOOD, environ: Mapping[str, str] | None = None) -> Settings:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, environ or {})

    return load_text


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def changed() -> Callable[..., str]:
    """The good text with one piece replaced; fails where the piece is not there."""

    def change(old: str, new: str) -> str:
        assert GOOD.count(old) == 1, old
        return GOOD.replace(old, new)

    return change
