"""Asks buckets through a child process, so that this one never loads boto3."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from flykeep.adapters.child_environment import child_environment
from flykeep.adapters.stores.bucket_wire import BucketAnswer, BucketQuestion, decode_answer, encode
from flykeep.adapters.stores.server_clock import server_time
from flykeep.domain.errors import StoreError, StoreToolMissingError, StoreUnavailableError
from flykeep.ports.bucket import BucketRules, Upload
from flykeep.ports.store import StoreOrder, StoreType

_COMMAND = (sys.executable, "-m", "flykeep.adapters.stores.bucket_program")
_TIME_LIMIT = timedelta(minutes=3)


class BucketChild:
    """Implements ports.bucket.Buckets: credentials go by standard input, and a child never outlives its call."""

    def __init__(self, *, time_limit: timedelta = _TIME_LIMIT, environment: Mapping[str, str] = os.environ) -> None:
        self._time_limit = time_limit
        self._environment = child_environment(environment)

    async def uploads(self, order: StoreOrder) -> Sequence[Upload]:
        if order.type is StoreType.DIRECTORY:
            return ()
        return (await self._ask(BucketQuestion("uploads", order))).uploads

    async def abort(self, order: StoreOrder, uploads: Sequence[Upload]) -> None:
        await self._ask(BucketQuestion("abort", order, uploads=tuple(uploads)))

    async def server_time(self, order: StoreOrder) -> datetime | None:
        return None if order.type is StoreType.DIRECTORY else await server_time(order)

    async def rules(self, order: StoreOrder, key: str) -> BucketRules:
        rules = (await self._ask(BucketQuestion("rules", order, key=key))).rules
        if rules is None:
            raise StoreError("the bucket program answered another question")
        return rules

    async def _ask(self, question: BucketQuestion) -> BucketAnswer:
        if importlib.util.find_spec("boto3") is None:
            raise StoreToolMissingError("boto3 is not installed", facts={"store": question.store.name})
        try:
            async with asyncio.timeout(self._time_limit.total_seconds()):
                line = await self._talk(encode(question))
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"Store {question.store.name} did not answer within {self._time_limit.total_seconds():g} s.",
                facts={"store": question.store.name},
            ) from error
        answer = decode_answer(line)
        if answer.refused is not None:
            raise answer.refused.error()
        return answer

    async def _talk(self, question: bytes) -> bytes:
        child = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # a traceback may hold the request, and with it what signs it
            env=self._environment,
            start_new_session=True,
        )
        try:
            answer, _ = await child.communicate(question)
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await asyncio.shield(child.wait())
        return answer
