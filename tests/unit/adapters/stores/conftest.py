from collections.abc import Iterator

import pytest

from tests.object_stores import directory_order, moto_order, moto_server, rclone_order, rclone_server
from tests.unit.adapters.stores.s3_stand_in import StandIn, stand_in

__all__ = ["directory_order", "moto_order", "moto_server", "rclone_order", "rclone_server"]


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as world:
        yield world
