"""What every `ports.apps.AppMaker` must do: run each of CHECKS against it, given what that Fly holds.

A check raises AssertionError where the promise is broken. The makers of apps leave what they made behind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flykeep.domain.app_description import AddressKind
from flykeep.domain.errors import FlyForbiddenError, FlyNameTakenError, FlyNotFoundError
from flykeep.domain.fly import HostStatus
from flykeep.domain.ids import AppName
from flykeep.ports.apps import AppMaker

_ABSENT_APP = AppName("flykeep-contract-no-such-app")
_NEW_APP = AppName("flykeep-contract-new-app")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownApps:
    """`app` has one machine, the named secrets, addresses of the named kinds and the named certificates.

    `foreign_app` belongs to another organization; nobody has `new_app` or `absent_app`.
    """

    org: str
    app: AppName
    secrets: tuple[str, ...]
    kinds: tuple[AddressKind, ...]
    certificates: tuple[str, ...]
    foreign_app: AppName
    new_app: AppName = _NEW_APP
    absent_app: AppName = _ABSENT_APP


Check = Callable[[AppMaker, KnownApps], Awaitable[None]]


async def tells_name_network_and_organization(apps: AppMaker, known: KnownApps) -> None:
    found = await apps.app(known.app)
    assert (found.name, found.network, found.org) == (known.app, "default", known.org)


async def tells_an_app_that_is_not_there_from_one_of_others(apps: AppMaker, known: KnownApps) -> None:
    refusals = []
    for name in (known.absent_app, known.foreign_app):
        try:
            found = await apps.app(name)
        except (FlyNotFoundError, FlyForbiddenError) as error:
            refusals.append(type(error))
        else:
            raise AssertionError(f"answered {found!r}")
    assert refusals == [FlyNotFoundError, FlyForbiddenError]


async def names_the_image_of_a_machine_by_digest(apps: AppMaker, known: KnownApps) -> None:
    (machine,) = await apps.machines(known.app)
    assert machine.host_status is HostStatus.OK
    assert machine.config_json
    assert machine.image
    assert "@sha256:" in machine.image


async def lists_secrets_without_values(apps: AppMaker, known: KnownApps) -> None:
    rows = await apps.secrets(known.app)
    assert tuple(row.name for row in rows) == known.secrets
    assert all(row.digest for row in rows)


async def lists_addresses_with_their_kinds(apps: AppMaker, known: KnownApps) -> None:
    rows = await apps.addresses(known.app)
    assert sorted(row.kind for row in rows) == sorted(known.kinds)
    assert all(row.is_shared == (row.kind is AddressKind.SHARED_V4) for row in rows)
    assert [row.address for row in rows] == sorted(row.address for row in rows)


async def lists_every_certificate(apps: AppMaker, known: KnownApps) -> None:
    assert await apps.certificates(known.app) == known.certificates


async def makes_an_app_that_answers_at_once(apps: AppMaker, known: KnownApps) -> None:
    await apps.create_app(known.new_app, org=known.org, network="apart")
    found = await apps.app(known.new_app)
    assert (found.name, found.network, found.org) == (known.new_app, "apart", known.org)
    assert await apps.machines(known.new_app) == ()
    assert await apps.secrets(known.new_app) == ()
    assert await apps.addresses(known.new_app) == ()


async def makes_no_app_under_a_name_that_is_taken(apps: AppMaker, known: KnownApps) -> None:
    for name in (known.app, known.foreign_app):
        try:
            await apps.create_app(name, org=known.org, network=None)
        except FlyNameTakenError:
            continue
        raise AssertionError(f"{name} was made a second time")


async def sets_secrets_and_tells_their_version(apps: AppMaker, known: KnownApps) -> None:
    await apps.create_app(known.new_app, org=known.org, network=None)
    first = await apps.set_secrets(known.new_app, {"A": "planted-a", "B": "planted-b"})
    again = await apps.set_secrets(known.new_app, {"A": "planted-a"})
    assert first is not None
    assert again is not None
    assert again >= first
    rows = await apps.secrets(known.new_app)
    assert tuple(row.name for row in rows) == ("A", "B")
    assert "planted" not in repr(rows)


async def assigns_addresses(apps: AppMaker, known: KnownApps) -> None:
    await apps.create_app(known.new_app, org=known.org, network=None)
    kinds = (AddressKind.SHARED_V4, AddressKind.V6, AddressKind.PRIVATE_V6, AddressKind.V4)
    made = [await apps.assign_address(known.new_app, kind, region=None) for kind in kinds]
    assert tuple(address.kind for address in made) == kinds
    assert set(await apps.addresses(known.new_app)) == set(made)


CHECKS: tuple[Check, ...] = (
    tells_name_network_and_organization,
    tells_an_app_that_is_not_there_from_one_of_others,
    names_the_image_of_a_machine_by_digest,
    lists_secrets_without_values,
    lists_addresses_with_their_kinds,
    lists_every_certificate,
    makes_an_app_that_answers_at_once,
    makes_no_app_under_a_name_that_is_taken,
    sets_secrets_and_tells_their_version,
    assigns_addresses,
)
