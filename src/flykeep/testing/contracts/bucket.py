"""What every `ports.bucket.Buckets` promises of unfinished uploads, as tests.

Subclass and give three fixtures: `buckets`, `order` (a fresh, empty bucket with the prefix `fly`), and `begin`, which
begins an upload under a key of that bucket behind the port's back and returns its id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from flykeep.ports.bucket import Buckets
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.testing.contracts.store import require

Begin = Callable[[str], str]


class BucketContract:
    """The promises of the port, one test each."""

    async def test_every_upload_under_the_prefix_is_found_whoever_began_it(
        self, buckets: Buckets, order: StoreOrder, begin: Begin
    ) -> None:
        ours, other = begin("fly/app/volume/2026/id/data.tar.zst.age"), begin("fly/look-alike")
        begin("flying/elsewhere")
        found = await buckets.uploads(order)
        pairs = {upload.key: upload.upload_id for upload in found}
        require(
            pairs == {"app/volume/2026/id/data.tar.zst.age": ours, "look-alike": other},
            f"those under the prefix, with keys relative to it, and no others: {pairs}",
        )
        require(all(one.begun_at.utcoffset() == timedelta(0) for one in found), "instants are aware and in UTC")

    async def test_only_what_is_named_is_aborted_and_again_is_no_error(
        self, buckets: Buckets, order: StoreOrder, begin: Begin
    ) -> None:
        begin("fly/a")
        begin("fly/b")
        named = [upload for upload in await buckets.uploads(order) if upload.key == "a"]
        await buckets.abort(order, named)
        await buckets.abort(order, named)
        require([upload.key for upload in await buckets.uploads(order)] == ["b"], "the other one stays")

    async def test_a_bucket_without_uploads_and_a_directory_have_none(
        self, buckets: Buckets, order: StoreOrder, begin: Begin
    ) -> None:
        require(not await buckets.uploads(order), "an empty bucket has none")
        directory = replace(order, type=StoreType.DIRECTORY, path="/nowhere")
        begin("fly/a")
        require(not await buckets.uploads(directory), "a directory has none")
