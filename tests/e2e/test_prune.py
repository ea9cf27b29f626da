"""Retention and the end of a target as a person meets them, over a directory on the simulated Fly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from tests.e2e.warm import WarmKit, warm_flykeep
from tests.flykit import Ended
from tests.integration.jobs.workplace import TARGET, one_volume

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOKALIKE = "my-crocbot/crocbot_data/2026/lookalike/data.tar.zst.age"


@dataclass
class Story:
    """What one operator did, in this order; `stored` are the ids of the artifacts in the store after each step."""

    kit: WarmKit
    told: dict[str, Ended] = field(default_factory=dict)
    stored: dict[str, list[str]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)

    async def tell(self, name: str, *words: str) -> Ended:
        self.told[name] = await self.kit.run(*words)
        self.stored[name] = sorted({key.split("/")[3] for key in self.keys() if "lookalike" not in key})
        return self.told[name]

    def keys(self) -> list[str]:
        store = self.kit.sim.directory / "store"
        keys = (str(path.relative_to(store)) for path in store.rglob("*") if path.is_file())
        return sorted(key for key in keys if key.startswith("my-crocbot/"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    async with warm_flykeep(tmp_path_factory.mktemp("prune"), scenario=one_volume()) as kit:
        kit.edit("keep = { weekly = 8, min = 2 }", "keep = { last = 1 }")
        told = Story(kit)
        for _ in range(3):
            exported = await kit.run("export", TARGET, "--json")
            told.ids.append(exported.document["export_id"])
        (kit.sim.directory / "store" / LOOKALIKE).parent.mkdir()
        (kit.sim.directory / "store" / LOOKALIKE).write_text("somebody else's")
        await of_retention(told)
        await of_the_end(told)
        yield told


async def of_retention(told: Story) -> None:
    first, _, newest = told.ids
    await told.tell("unverified", "prune", TARGET)
    await told.tell("verify", "artifact", "verify", newest, "--level", "manifest")
    await told.tell("pin", "artifact", "pin", first, "--reason", "evidence")
    await told.tell("listed", "artifacts", TARGET)
    await told.tell("plan", "prune", TARGET)
    await told.tell("nobody answers", "prune", "--apply")
    await told.tell("pinned", "prune", "--apply", "--yes")
    await told.tell("unpin", "artifact", "unpin", first)
    await told.tell("released", "prune", TARGET, "--apply", "--yes", "--json")


async def of_the_end(told: Story) -> None:
    await told.tell("in use", "retire", TARGET, "--erase", "--reason", "oops", "--yes")
    await told.tell("retire", "retire", TARGET, "--reason", "sold", "--yes")
    await told.tell("retired check", "check", "--json")
    await told.tell("retired prune", "prune")
    await told.tell("still listed", "artifacts", TARGET)
    await told.tell("no reason", "retire", TARGET, "--erase", "--yes")
    await told.tell("erase", "retire", TARGET, "--erase", "--reason", "the customer asked", "--yes")
    await told.tell("audit", "audit", "--json")


async def test_nothing_goes_before_something_is_verified(story: Story) -> None:
    assert story.told["unverified"].stdout.count("min 1, and 0 verified and complete") == 3
    assert "remove" not in story.told["unverified"].stdout


async def test_the_plan_gives_each_artifact_its_reason_and_removes_nothing(story: Story) -> None:
    first, second, newest = story.ids
    rows = {line.split()[1]: line for line in story.told["plan"].stdout.splitlines() if line.count("UTC") == 1}

    assert story.told["plan"].code == 0
    assert rows[newest].startswith("keep")
    assert "newest restorable; last 1 of 1; min 1 of 1" in rows[newest]
    assert rows[second].startswith("remove")
    assert rows[second].endswith("no rule keeps it")
    assert rows[first].startswith("keep")
    assert rows[first].endswith("pinned: evidence")
    assert "add --apply" in story.told["plan"].stdout
    assert story.stored["plan"] == story.ids


async def test_the_list_of_artifacts_says_what_becomes_of_each(story: Story) -> None:
    first, second, newest = story.ids
    lines = {line.split()[0]: line for line in story.told["listed"].stdout.splitlines()}

    assert "kept: newest restorable" in lines[newest]
    assert "goes at " in lines[second]
    assert "kept: pinned: evidence" in lines[first]


async def test_without_a_terminal_only_yes_answers(story: Story) -> None:
    assert story.told["nobody answers"].code == 2
    assert "Add --yes." in story.told["nobody answers"].stderr
    assert story.stored["nobody answers"] == story.ids


async def test_what_no_rule_keeps_goes_and_a_pinned_one_only_after_its_pin(story: Story) -> None:
    first, _, newest = story.ids
    assert story.told["pinned"].code == 0
    assert story.stored["pinned"] == [first, newest]
    assert story.told["released"].document["result"]["copies"][0]["removed"] == [first]
    assert story.stored["released"] == [newest]


async def test_a_target_in_use_is_not_erased(story: Story) -> None:
    assert story.told["in use"].code == 4
    assert "still exists and a target of the configuration matches it" in story.told["in use"].stderr
    assert story.stored["in use"] == [story.ids[2]]


async def test_a_retired_target_is_silent_and_its_artifacts_stay_listed(story: Story) -> None:
    assert story.told["retire"].code == 0
    assert story.told["retired check"].document["targets"] == []
    assert story.told["retired check"].document["findings"] == []
    assert story.ids[2] in story.told["still listed"].stdout
    assert story.told["retired prune"].code == 4
    assert "the target is retired" in story.told["retired prune"].stderr


async def test_an_erasure_needs_a_reason_and_leaves_only_what_is_not_flykeeps(story: Story) -> None:
    assert story.told["no reason"].code == 4
    assert story.stored["no reason"] == [story.ids[2]]
    assert story.told["erase"].code == 0
    assert story.keys() == [LOOKALIKE]
    last = story.told["audit"].document["entries"][0]
    assert (last["action"], last["reason"]) == ("erased", "the customer asked")
    assert {"name": "artifacts", "count": 1} in last["counts"]
