"""The first configuration of an operator: few answers, the rest explained in comments."""

from __future__ import annotations

import json
from dataclasses import dataclass

KEY_ID_VARIABLE, KEY_VARIABLE = "OFFSITE_KEY_ID", "OFFSITE_KEY"


@dataclass(frozen=True, slots=True)
class StarterAnswers:
    """What `flykeep init` was told. `store` is the name of a bucket, or an absolute path; `apps` may hold globs."""

    org: str
    apps: tuple[str, ...]
    store: str
    endpoint: str | None
    recipients: tuple[str, ...]
    image: str | None
    scratch_app: str

    @property
    def is_bucket(self) -> bool:
        return not self.store.startswith("/")


def starter_text(answers: StarterAnswers) -> str:
    """The text of a configuration that `flykeep config check` accepts."""
    parts = [
        _HEAD.format(org=_quoted(answers.org)),
        _bucket(answers) if answers.is_bucket else _FOLDER.format(path=_quoted(answers.store)),
        _encryption(answers.recipients),
        _WORKER.format(image=_image(answers.image), app=_quoted(answers.scratch_app)),
        _REST,
        *(_TARGET.format(match=_quoted(app if "/" in app else f"{app}/*")) for app in answers.apps),
    ]
    return "\n".join(parts)


def _bucket(answers: StarterAnswers) -> str:
    endpoint = f"endpoint = {_quoted(answers.endpoint)}" if answers.endpoint else _AMAZON
    return _BUCKET.format(
        bucket=_quoted(answers.store), endpoint=endpoint, key_id=_quoted(KEY_ID_VARIABLE), key=_quoted(KEY_VARIABLE)
    )


def _encryption(recipients: tuple[str, ...]) -> str:
    if not recipients:
        return _UNENCRYPTED
    return _ENCRYPTED.format(recipients=", ".join(map(_quoted, recipients)))


def _image(image: str | None) -> str:
    return f"image = {_quoted(image)}" if image else '# image = "registry.fly.io/my-flykeep@sha256:..."'


def _quoted(text: str) -> str:
    """A basic string of TOML; JSON's are a subset of them, but for the character DEL, which no answer needs."""
    return json.dumps(text, ensure_ascii=False)


_HEAD = """\
# Written by `flykeep init`. It holds no secret: keys that end in _secret hold the NAME of an environment variable.
# Every key is explained in docs/reference/settings.md; `flykeep config check` judges this file.
# The token comes from FLY_API_TOKEN.

[fly]
org = {org}

[state]
url = "sqlite:////data/flykeep.db" # on the daemon's own volume
"""

_BUCKET = """\
# Where exports go. Give the key no right to change the bucket's settings.
[stores.offsite]
type = "s3"
bucket = {bucket}
{endpoint}
prefix = "fly"
access_key_id_secret = {key_id}
secret_access_key_secret = {key}
"""
_AMAZON = '# endpoint = "https://..." # for another service than AWS\n# region = "eu-central-1"'

_FOLDER = """\
# Where exports go: a folder, on a disk that fails independently of the volumes.
[stores.offsite]
type = "directory"
path = {path}
"""

_ENCRYPTED = """\
# Who can open artifacts. Keep the private halves away from Fly.
[encryption]
recipients = [{recipients}]
"""
_UNENCRYPTED = """\
# Everybody who can read the store can read the artifacts. With a key of `age-keygen`: recipients = ["age1..."]
[encryption]
encryption = "none"
"""

_WORKER = """\
# With flykeep's own image, by digest (`fly image show`), exports are read from snapshots and leave production alone.
[worker]
{image}

# Where the temporary machines for that are made: an app without secrets, with a network of its own.
[scratch]
app = {app}
"""

_REST = """\
# Who is told. Add one that wakes somebody, and one that notices silence.
[notifiers.log]
type = "log"

# [notifiers.oncall]
# type = "apprise"
# url_secret = "APPRISE_URL" # tgram://, slack://, discord://, mailto:// and many more

# [notifiers.deadman]
# type = "healthchecks"
# url_secret = "HEALTHCHECKS_URL"

# What is wanted. The preset `production` brings the schedules: `flykeep config show` lists them.
[policies.standard]
extends = "production"
timezone = "UTC"

[[policies.standard.copies]]
store = "offsite"
keep = { weekly = 8, monthly = 12, min = 2 }
"""

_TARGET = """\
[[targets]]
match = {match} # app/volume or app/volume@machine; globs
policy = "standard"
"""
