"""Writes the flykeep configuration that fits a simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flykeep.testing.flysim.program import WORKER_IMAGE

_HEAD = """\
# Written by `flykeep simulate`; secrets come from the environment it announces.
[fly]
org = {org}
ssh_port = {ssh_port}

[state]
url = {state_url}

[http]
bind = "127.0.0.1:0"

[stores.offsite]
type = "directory"
path = {store}
visible_to_workers = true

[encryption]
recipients = [{recipient}]

[worker]
image = {image}

[notifiers.log]
type = "log"

[notifiers.hook]
type = "webhook"
url_secret = "{url_secret}"
signing_secret = "{signing_secret}"

[policies.standard]
extends = "production"
timezone = "UTC"
snapshot = {{ cron = "0 3 * * *", max_age = "26h", retention_days = 5 }}
export = {{ cron = "0 4 * * 0", max_age = "8d", source = "ssh" }}
drill = {{ cron = "never", max_age = "never" }} # by hand: flykeep drill TARGET

[[policies.standard.copies]]
store = "offsite"
keep = {{ weekly = 8, min = 2 }}
"""

_TARGET = """
[[targets]]
match = {match}
policy = "standard"
mount = {mount}
"""

WEBHOOK_URL_VARIABLE = "FLYSIM_WEBHOOK_URL"
WEBHOOK_SECRET_VARIABLE = "FLYSIM_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True)
class ConfigTarget:
    """One protected volume."""

    app: str
    volume_name: str
    mount: str


def config_text(*, org: str, ssh_port: int, directory: Path, recipient: str, targets: Sequence[ConfigTarget]) -> str:
    """The text of `DIR/config.toml`; `recipient` is a public age key."""
    head = _HEAD.format(
        org=_quoted(org),
        ssh_port=ssh_port,
        state_url=_quoted(f"sqlite:///{directory / 'flykeep.db'}"),
        store=_quoted(str(directory / "store")),
        recipient=_quoted(recipient),
        image=_quoted(WORKER_IMAGE),
        url_secret=WEBHOOK_URL_VARIABLE,
        signing_secret=WEBHOOK_SECRET_VARIABLE,
    )
    tables = [
        _TARGET.format(match=_quoted(f"{target.app}/{target.volume_name}"), mount=_quoted(target.mount))
        for target in targets
    ]
    return head + "".join(tables)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
