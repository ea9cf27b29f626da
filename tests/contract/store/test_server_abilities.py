"""Which S3 server stands for which promise: every ability is tried on both, and every lack is listed and real."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.store.abilities import ABILITIES, CHECKED_BODY, LIMITS, LOCKED_PARTS
from tests.object_stores import S3Server


@pytest.fixture(params=["moto", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.mark.parametrize("ability", ABILITIES)
def test_a_server_can_what_is_not_listed_as_its_limit(
    server: S3Server, ability: str, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    name = request.node.callspec.params["server"]
    reason = LIMITS[name].get(ability)
    if reason is not None:
        record_property("limit", f"{name} cannot {ability}: {reason}")

    assert ABILITIES[ability](server) is (reason is None)


def test_what_no_server_here_can_is_known() -> None:
    nowhere = {ability for ability in ABILITIES if all(ability in limits for limits in LIMITS.values())}

    # That checksums are sent is asserted on a stand-in; what a real bucket does, `flykeep doctor --store` tries there.
    assert nowhere == {CHECKED_BODY, LOCKED_PARTS}


def test_no_limit_names_what_is_not_tried() -> None:
    assert {ability for limits in LIMITS.values() for ability in limits} <= set(ABILITIES)
