"""What every `ports.store.Store` promises, as tests: subclass, give a `store` fixture, and pytest runs them.

The fixture yields a fresh, empty store. A store that can't keep a promise says so in `unable`, with the reason;
whoever lists a lack also asserts that it is real, so that a store which has learned better is noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar

from flykeep.domain.errors import StoreError, StoreNotFoundError, StorePreconditionError
from flykeep.ports.store import Store

ATOMIC_CREATE = "atomic create"

UNUSUAL_KEYS = (
    "with space/and  two",
    "percent/%20/100%",
    "plus+plus/a&b=c",
    "größe/日本語/🐊",
    "quotes/'single'/\"double\"",
    "marks/!@$^()[]{};,~`",
    "tilde/~5f~2e",
    "question?x=1#frag/hash",
    "dots/...three/.hidden/trailing.",
    "back\\slash/<>|*:",
    "long/" + "x" * 200,
)
BAD_KEYS = ("", "/lead", "trail/", "a//b", "a/../b", "./a", "new\nline", "nul\x00")


def require(condition: object, promise: str) -> None:
    """Fail the test with the promise that was broken; unlike `assert` it holds under -O too."""
    if not condition:
        raise AssertionError(promise)


async def refused(attempt: Awaitable[object], error: type[StoreError]) -> StoreError:
    """Await and give back the expected error."""
    try:
        await attempt
    except error as caught:
        return caught
    raise AssertionError(f"nothing raised {error.__name__}")


class StoreContract:
    """The promises of the port, one test each."""

    unable: ClassVar[Mapping[str, str]] = MappingProxyType({})

    async def test_what_was_put_is_read_back(self, store: Store) -> None:
        data = bytes(range(256)) * 4096
        await store.put("a/b.bin", data)
        require(await store.get("a/b.bin") == data, "the same bytes come back")

    async def test_an_empty_object_is_an_object(self, store: Store) -> None:
        await store.put("empty", b"")
        require(await store.get("empty") == b"", "no bytes come back")
        require((await store.head("empty")).size_bytes == 0, "its size is 0")
        require([each.key for each in await store.list("")] == ["empty"], "it is listed")

    async def test_put_replaces_what_is_there(self, store: Store) -> None:
        await store.put("k", b"a longer first version")
        await store.put("k", b"second")
        require(await store.get("k") == b"second", "the later bytes stand alone")

    async def test_put_new_writes_where_nothing_is(self, store: Store) -> None:
        await store.put_new("p/manifest.json", b"first")
        require(await store.get("p/manifest.json") == b"first", "the bytes are there")

    async def test_put_new_never_overwrites(self, store: Store) -> None:
        await store.put_new("k", b"first")
        caught = await refused(store.put_new("k", b"second"), StorePreconditionError)
        require(not caught.is_retryable, "trying again cannot help")
        require(await store.get("k") == b"first", "the first bytes stay")

    async def test_put_new_refuses_even_the_same_bytes(self, store: Store) -> None:
        await store.put("k", b"same")
        await refused(store.put_new("k", b"same"), StorePreconditionError)

    async def test_of_many_writers_at_once_exactly_one_creates(self, store: Store) -> None:
        if ATOMIC_CREATE in self.unable:
            return  # a listed lack, seen by a test of the store's own
        contents = [f"writer {number}".encode() for number in range(8)]
        results = await asyncio.gather(*(store.put_new("k", each) for each in contents), return_exceptions=True)
        winners = [each for each, result in zip(contents, results, strict=True) if result is None]
        require(len(winners) == 1, f"one writer returns, not {len(winners)}")
        require(await store.get("k") == winners[0], "its bytes are the ones stored")
        losers = [result for result in results if result is not None]
        require(all(isinstance(each, StorePreconditionError) for each in losers), "the others learn why")

    async def test_get_of_what_is_not_there_says_so(self, store: Store) -> None:
        caught = await refused(store.get("none/here"), StoreNotFoundError)
        require("none/here" in str(caught), "the error names the key")

    async def test_head_of_what_is_not_there_says_so(self, store: Store) -> None:
        await refused(store.head("none/here"), StoreNotFoundError)

    async def test_a_folder_is_not_an_object(self, store: Store) -> None:
        await store.put("folder/file", b"x")
        await refused(store.get("folder"), StoreError)
        await refused(store.head("folder"), StoreError)

    async def test_head_tells_size_and_an_aware_instant_in_utc(self, store: Store) -> None:
        await store.put("k", b"12345")
        info = await store.head("k")
        require((info.key, info.size_bytes) == ("k", 5), "key and size are right")
        require(info.modified_at.utcoffset() == timedelta(0), "the instant is aware and in UTC")

    async def test_get_refuses_what_is_larger_than_the_limit(self, store: Store) -> None:
        await store.put("k", b"x" * 1001)
        require(len(await store.get("k", limit_bytes=1001)) == 1001, "the limit itself is allowed")
        await refused(store.get("k", limit_bytes=1000), StoreError)

    async def test_list_gives_every_key_with_the_prefix_sorted(self, store: Store) -> None:
        keys = ["b/2", "a/1", "b/10", "a/sub/deep/x", "ab", "_state/latest"]
        for key in keys:
            await store.put(key, key.encode())
        require([each.key for each in await store.list("")] == sorted(keys), "the empty prefix is everything's")
        require([each.key for each in await store.list("a/")] == ["a/1", "a/sub/deep/x"], "a folder's keys")
        require([each.key for each in await store.list("a")] == ["a/1", "a/sub/deep/x", "ab"], "prefixes are of text")
        require([each.key for each in await store.list("b/1")] == ["b/10"], "a prefix may end within a name")
        require([each.size_bytes for each in await store.list("ab")] == [2], "sizes are told")
        require(list(await store.list("none")) == [], "nothing found is an empty list")

    async def test_delete_removes_and_may_be_repeated(self, store: Store) -> None:
        await store.put("d/k", b"x")
        await store.delete("d/k")
        await refused(store.get("d/k"), StoreNotFoundError)
        require(list(await store.list("")) == [], "it is listed no more")
        await store.delete("d/k")
        await store.delete("never/was")
        await store.put_new("d/k", b"again")

    async def test_unusual_keys_are_kept_as_they_are(self, store: Store) -> None:
        for key in UNUSUAL_KEYS:
            await store.put_new(key, key.encode())
        for key in UNUSUAL_KEYS:
            require(await store.get(key) == key.encode(), f"{key!a} has its own bytes")
            require((await store.head(key)).key == key, f"{key!a} keeps its name")
        listed = [each.key for each in await store.list("")]
        require(
            listed == sorted(UNUSUAL_KEYS), f"every key is listed as it is: {sorted({*listed} ^ {*UNUSUAL_KEYS})!a}"
        )
        for key in UNUSUAL_KEYS:
            await store.delete(key)
        require(list(await store.list("")) == [], "every one can be deleted")

    async def test_keys_that_some_store_would_change_are_refused(self, store: Store) -> None:
        for key in BAD_KEYS:
            for attempt in (store.put(key, b"x"), store.put_new(key, b"x"), store.get(key), store.head(key)):
                await refused(attempt, StoreError)
        require(list(await store.list("")) == [], "nothing was written")
