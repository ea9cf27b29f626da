"""Machines whose volume is one of several copies that agree among themselves: those are restored as a whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flykeep.domain.fly import Machine, Volume
from flykeep.domain.restore_config import standbys_of


@dataclass(frozen=True, slots=True)
class Cluster:
    """`procedure` is what brings its data back."""

    what: str
    procedure: str


_POSTGRES_IMAGES = ("flyio/postgres", "flyio/postgres-flex", "flyio/postgres-standalone", "flyio/postgres-timescale")
_POSTGRES_KEY = "fly-managed-postgres"


def cluster_of(
    machine: Machine | None,
    config_json: str,
    *,
    volume: Volume | None,
    others: Sequence[Machine],
    snapshot_id: str | None,
) -> Cluster | None:
    """None where the machine's volume stands for itself."""
    config: dict[str, Any] = json.loads(config_json)
    image = str(config.get("image") or "")
    metadata, env = config.get("metadata") or {}, config.get("env") or {}
    source = snapshot_id or "SNAPSHOT"
    app = machine.app if machine else "APP"
    if metadata.get(_POSTGRES_KEY) == "true" or image.partition(":")[0].partition("@")[0] in _POSTGRES_IMAGES:
        return Cluster(
            "a Fly Postgres cluster",
            f"Make a new cluster of it, `fly postgres create --snapshot-id {source} --name {app}-restored`, look at "
            f"its data, then attach the applications to it: `fly postgres detach {app}`, "
            f"`fly postgres attach {app}-restored`.",
        )
    if _is_litefs(config, image, env):
        return Cluster(
            "a LiteFS cluster",
            f"Scale it to one machine, `fly scale count 1 -a {app}`, bring the database back on the primary with "
            "`litefs import`, from files of `flykeep artifact get`, then scale up again: replicas fetch it from there.",
        )
    twins = [one for one in others if _is_twin(one, machine, config_json)]
    if twins and volume is not None:
        names = ", ".join(one.id for one in twins)
        return Cluster(
            f"machines that stand by for each other, each with a volume ({names})",
            f"Remove the standbys first, `fly machine destroy STANDBY -a {app}`, restore this one, then clone it again "
            f"with `fly machine clone MACHINE --standby-for MACHINE -a {app}`.",
        )
    return None


def _is_litefs(config: dict[str, Any], image: str, env: dict[str, Any]) -> bool:
    init = config.get("init") or {}
    words = [image, *(str(word) for key in ("exec", "entrypoint", "cmd") for word in init.get(key) or [])]
    return any("litefs" in word for word in words) or any(str(name).startswith("LITEFS") for name in env)


def _is_twin(other: Machine, machine: Machine | None, config_json: str) -> bool:
    """Whether the two stand by for each other and each has a volume of its own."""
    if machine is None or not other.mounts:
        return False
    return machine.id in standbys_of(other.config_json) or other.id in standbys_of(config_json)
