"""The bucket program asked in a thread of the test: what it answers, without the second that a child takes to start."""

from __future__ import annotations

import asyncio

from flykeep.adapters.stores import bucket_program
from flykeep.adapters.stores.bucket_child import BucketChild
from flykeep.adapters.stores.bucket_wire import BucketAnswer, BucketQuestion


class ThreadBuckets(BucketChild):
    async def _ask(self, question: BucketQuestion) -> BucketAnswer:
        answer = await asyncio.to_thread(bucket_program.answer, question)
        if answer.refused is not None:
            raise answer.refused.error()
        return answer
