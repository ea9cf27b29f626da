"""A process of its own that does one thing to the shared state: `python -m tests.integration.db.contender DO URL ...`.

It says `ready`, waits for a line on stdin, does it, and prints one line of JSON. Several of them, started by one
signal, are what two commands and a daemon are.
"""

import asyncio
import fcntl
import gc
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from flykeep.adapters.db.engine import open_catalog
from flykeep.adapters.db.owners import open_owners
from flykeep.domain.errors import BusyError
from flykeep.domain.ids import LineageId, OwnerId, RunId
from flykeep.testing.contracts.catalog_samples import NOON, a_run, after


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


def wait_for_the_signal() -> None:
    say("ready")
    sys.stdin.readline()


async def open_it(url: str) -> None:
    wait_for_the_signal()
    async with open_catalog(url) as catalog:
        await catalog.ping()
    say("opened")


async def claim_all(url: str, owner: str, count: str) -> None:
    won = []
    async with open_catalog(url) as catalog:
        wait_for_the_signal()
        for number in range(int(count)):
            async with catalog.transaction() as tx:
                if await tx.claim(RunId(str(number)), owner_id=OwnerId(owner), now=datetime.now(UTC)):
                    won.append(number)
    say(won)


async def claim_next(url: str, owner: str, count: str) -> None:
    """Claim as a daemon does: look in one transaction, claim in a later one."""
    won = []
    async with open_catalog(url) as catalog:
        wait_for_the_signal()
        for _ in range(int(count)):
            async with catalog.transaction() as tx:
                due = await tx.claimable(now=after(1))
            for run in due:
                async with catalog.transaction() as tx:
                    if await tx.claim(run.id, owner_id=OwnerId(owner), now=NOON):
                        won.append(run.id)
    say(won)


async def add_slots(url: str, owner: str, count: str) -> None:
    added = []
    async with open_catalog(url) as catalog:
        wait_for_the_signal()
        for number in range(int(count)):
            run = a_run(f"{owner}-{number}", slot_at=after(number), lineage_id=LineageId("l"))
            async with catalog.transaction() as tx:
                if await tx.add_run(run):
                    added.append(number)
    say(added)


async def hang_in_a_transaction(url: str) -> None:
    async with open_catalog(url) as catalog, catalog.transaction() as tx:
        await tx.add_run(a_run("half-made"))
        wait_for_the_signal()


async def hold(url: str, directory: str, owner: str, daemon: str) -> None:
    async with open_owners(url, directory=Path(directory)) as owners:
        wait_for_the_signal()
        try:
            async with owners.hold(OwnerId(owner), is_daemon=daemon == "daemon"):
                say("holds")
                sys.stdin.readline()
        except BusyError:
            say("busy")


async def hold_with_a_child(url: str, directory: str, owner: str) -> None:
    """Hold, and start a child that inherits everything it can and outlives this process."""
    async with open_owners(url, directory=Path(directory)) as owners, owners.hold(OwnerId(owner), is_daemon=True):
        child = await asyncio.create_subprocess_exec("sleep", "60", close_fds=False)
        say(child.pid)
        sys.stdin.readline()


async def come_and_go(url: str, directory: str, owner: str, rounds: str) -> None:
    """Hold and let go again and again; each time, look whether oneself is alive."""
    wrong = 0
    async with open_owners(url, directory=Path(directory)) as owners:
        wait_for_the_signal()
        for number in range(int(rounds)):
            me = OwnerId(f"{owner}{number % 3}")
            async with owners.hold(me, is_daemon=False):
                wrong += not await owners.is_alive(me)
    say(wrong)


async def look(url: str, directory: str, names: str, rounds: str) -> None:
    async with open_owners(url, directory=Path(directory)) as owners:
        wait_for_the_signal()
        for _ in range(int(rounds)):
            for name in names.split(","):
                await owners.is_alive(OwnerId(name))
    say("looked")


async def remove_slowly(_url: str, path: str) -> None:
    """Be a looker that is about to remove a file, and stay so."""
    descriptor = os.open(path, os.O_RDWR)
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    wait_for_the_signal()


_DOES = {
    "remove_slowly": remove_slowly,
    "open": open_it,
    "claim_all": claim_all,
    "claim_next": claim_next,
    "add_slots": add_slots,
    "hang": hang_in_a_transaction,
    "hold": hold,
    "hold_with_a_child": hold_with_a_child,
    "come_and_go": come_and_go,
    "look": look,
}

if __name__ == "__main__":
    asyncio.run(_DOES[sys.argv[1]](*sys.argv[2:]))
    gc.freeze()  # nothing is looked for before the end
