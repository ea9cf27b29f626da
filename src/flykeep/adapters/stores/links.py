"""Presigned links: what a machine reads by that must not have the store's credentials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Protocol

import obstore
from obstore.store import S3Store

from flykeep.adapters.stores.foreign import FOREIGN, Translator
from flykeep.adapters.stores.objects import open_bulk
from flykeep.adapters.stores.opening import open_store
from flykeep.domain.layout import check_key
from flykeep.ports.store import StoreOrder, StoreType

LONGEST = timedelta(days=7)
"""How long a signature may hold. Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""

_SIGNING_TIMEOUT = timedelta(seconds=30)


class Readable(Protocol):
    """What only reads whole objects needs of a store."""

    def read(self, key: str) -> Iterator[bytes]: ...


def open_readable(order: StoreOrder) -> Readable:
    """The order's links where it has any, else the store itself; nothing is asked of the network yet."""
    if not order.links:
        return open_bulk(order)
    from flykeep.adapters.stores.linked import LinkedObjects  # noqa: PLC0415 - memory is scarce where workers run

    return LinkedObjects(order)


class SignedLinks:
    """`ports.store.Links` by obstore, without a request."""

    def linked(self, order: StoreOrder, keys: Sequence[str], *, valid_for: timedelta) -> StoreOrder:
        """As the port says; signatures hold for seven days at most."""
        for key in keys:
            check_key(key)
        if order.type is StoreType.DIRECTORY:
            return order
        store = open_store(order, request_timeout=_SIGNING_TIMEOUT, retries=0)
        assert isinstance(store, S3Store)
        failure: Exception | None = None
        try:
            urls = obstore.sign(store, "GET", list(keys), min(valid_for, LONGEST))
        except FOREIGN as error:
            failure = Translator.of(order).translate("sign links", keys[0], error)
        if failure is not None:
            raise failure
        return StoreOrder(name=order.name, type=order.type, links=tuple(zip(keys, urls, strict=True)))
