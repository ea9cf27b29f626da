"""The daemon killed with -9 anywhere and started again loses no slot, doubles none, and reports interrupted runs."""

from __future__ import annotations

import json

import pytest

from flykeep.domain.policy import JobKind
from flykeep.domain.run import RunState
from tests.e2e.killing_daemon import Death
from tests.e2e.nursery import Household
from tests.full import full

DEATHS = {
    "before the first slots are committed": Death("after", "tx.add_run"),
    "with a run claimed but not begun": Death("committed", "tx.claim"),
    "in the before-hook": Death("after", "fly.execute", kind="snapshot"),
    "after the snapshot was asked for": Death("after", "fly.request_snapshot"),
    "while the snapshot is under way": Death("after", "fly.snapshots", kind="snapshot", count=2),
    "with the snapshot recorded but the run open": Death("before", "tx.finish", kind="snapshot"),
    "while the export streams": Death("during", "workers.export"),
    "with everything stored but no manifest": Death("after", "workers.export"),
    "with the manifest written but not recorded": Death("after", "store.put_new", key="manifest.json"),
    "with the artifact recorded but the run open": Death("before", "tx.finish", kind="export"),
    "with an incident saved but nobody told": Death("committed", "tx.save_incident"),
    "with the message sent but not marked": Death("after", "notifier.send"),
}
BY_SCHEDULE = {JobKind.SNAPSHOT, JobKind.EXPORT, JobKind.CHECK, JobKind.RECONCILE, JobKind.PRUNE}
SUCCESS = (RunState.SUCCEEDED, RunState.DEGRADED)


DEAREST = {
    "after the snapshot was asked for",
    "while the export streams",
    "with the manifest written but not recorded",
    "with an incident saved but nobody told",
}
"""Those after which most could be lost or done twice."""


@pytest.mark.parametrize(
    "death",
    [
        pytest.param(death, id=name, marks=() if name in DEAREST else full("a daemon killed at twelve points"))
        for name, death in DEATHS.items()
    ],
)
async def test_a_daemon_killed_anywhere_loses_no_slot_and_doubles_none(home: Household, death: Death) -> None:
    await home.die(death)
    orphans = {run.id for run in (await home.left()).of_state(RunState.RUNNING)}

    life = await home.live_until_rest()

    await assert_every_slot_is_done_once(home)
    assert {event["run"] for event in life.logged("run.interrupted")} == orphans
    listed = json.loads((await home.verb("runs", "--json")).stdout)["runs"]
    assert {run["run_id"] for run in listed if run["state"] == "interrupted"} == orphans


async def assert_every_slot_is_done_once(home: Household) -> None:
    left = await home.left()
    assert {attempts[0].kind for attempts in left.of_slots()} == BY_SCHEDULE
    for attempts in left.of_slots():
        assert [run.slot.attempt for run in attempts] == list(range(1, len(attempts) + 1))
        assert [run.state for run in attempts[:-1]] == [RunState.INTERRUPTED] * (len(attempts) - 1)
        assert attempts[-1].state in SUCCESS
    volume = home.sim.world.find_volume("shop", "shop_data")
    assert len(volume.snapshots) == 2  # the stale one, and one for one slot
    assert len(left.artifacts) == 1
    assert home.stored() == {
        *(left.artifacts[0].manifest_key, left.artifacts[0].manifest.index.key),
        *(part.key for part in left.artifacts[0].manifest.data),
        *(key for key in home.stored() if key.startswith("_") or "/" not in key),
    }
    assert_people_were_told(home)


def assert_people_were_told(home: Household) -> None:
    """Every message reached its notifier: once, or again with the same id where nobody knew whether it had."""
    told = [json.loads(webhook.body) for webhook in home.sim.webhooks]
    openings = {message["id"]: message for message in told if message["kind"] == "opened"}
    about = [message["code"] for message in openings.values()]
    assert about.count("volume.unprotected") == 1
    assert len(about) == len({(message["code"], message["subject"]) for message in openings.values()})
