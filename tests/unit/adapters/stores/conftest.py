from collections.abc import Iterator

import pytest

from tests.unit.adapters.stores.s3_stand_in import StandIn, stand_in


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as world:
        yield world
