"""The observer of restores sees each thing that must not be: a judge that finds nothing would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from flykeep.testing.clock import JumpingClock
from flykeep.testing.launch_rules import Launch
from flykeep.testing.memory_fly import MemoryFly
from flykeep.testing.memory_platform import Server
from tests.integration.jobs.restore_watch import Watch

SERVICE = {"internal_port": 80, "autostart": True}
KEPT = {"fly_process_group": "flykeep_kept"}


class Scene:
    """An old machine that is put aside on the spoiled volume, a new one in use: nothing is wrong with it."""

    def __init__(self) -> None:
        self.fly = MemoryFly(JumpingClock())
        self.spoiled = self.fly.add_volume("crocbot_data", contents="spoiled")
        self.good = self.fly.add_volume("crocbot_data", contents="good")
        aside = [SERVICE | {"autostart": False}]
        self.old = self.fly.add_machine("calm-sea-1", self.spoiled, state="stopped", metadata=KEPT, services=aside)
        self.new = self.fly.add_machine("calm-sea-1", self.good, services=[SERVICE])
        self.watch = Watch(self.fly, self.spoiled.volume.id, Launch("crocbot_data", "fra"))

    def wrongs(self) -> list[str]:
        return list(self.watch.wrongs())


def both_run(scene: Scene) -> None:
    scene.old.state = "started"


def the_old_may_be_woken(scene: Scene) -> None:
    scene.old.config["services"] = [{"internal_port": 80}]


def nobody_has_a_volume(scene: Scene) -> None:
    scene.good.volume = replace(scene.good.volume, state="pending_destroy")
    scene.old.state = "destroyed"


def the_spoiled_one_is_free(scene: Scene) -> None:
    scene.spoiled.volume = replace(scene.spoiled.volume, attached_machine_id=None)


def nothing_is_managed(scene: Scene) -> None:
    scene.new.config["metadata"] = dict(KEPT)


def the_old_is_managed(scene: Scene) -> None:
    scene.old.config["metadata"] = dict(scene.new.metadata)


def the_old_has_no_group(scene: Scene) -> None:
    scene.old.config["metadata"] = {}


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (both_run, "2 machines run"),
        (the_old_may_be_woken, "a request could start"),
        (nobody_has_a_volume, "no machine with its volume"),
        (the_spoiled_one_is_free, "`fly scale` would take the spoiled volume"),
        (nothing_is_managed, "for a new one"),
        (the_old_is_managed, "would start the machine on the spoiled volume"),
        (the_old_is_managed, "would start all of"),
        (the_old_has_no_group, "without a process group"),
    ],
)
def test_it_sees(break_it: Callable[[Scene], None], words: str) -> None:
    scene = Scene()
    assert scene.wrongs() == []
    break_it(scene)
    assert words in " | ".join(scene.wrongs())


def test_a_free_spoiled_volume_is_seen_where_a_deploy_makes_a_machine() -> None:
    scene = Scene()
    the_spoiled_one_is_free(scene)
    nothing_is_managed(scene)
    assert "`fly deploy` would take the spoiled volume" in scene.wrongs()


def test_a_machine_that_is_held_is_safe_from_deploys() -> None:
    scene = Scene()
    the_old_is_managed(scene)
    scene.fly.hold_by_others(scene.old)
    assert scene.wrongs() == []


async def test_every_call_is_looked_at_twice() -> None:
    scene = Scene()
    scene.fly.watchers.append(scene.watch.look)
    both_run(scene)
    server: Server = scene.old
    await scene.fly.machine(server.app, server.id)
    assert scene.watch.looks == 2
    assert [one.split(":")[0] for one in scene.watch.seen] == ["before machine", "after machine"]
