"""Apps in memory: the port `ports.apps.AppMaker` without a wire, with levers for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from flykeep.domain.app_description import (
    AddressKind,
    DescribedAddress,
    DescribedSecret,
    address_kind,
    canonical_config,
)
from flykeep.domain.errors import FlyError, FlyForbiddenError, FlyNameTakenError, FlyNotFoundError
from flykeep.domain.fly import App, HostStatus, Machine
from flykeep.domain.ids import AppName, MachineId

IMAGE = "registry.fly.io/my-crocbot@sha256:" + "5" * 64
_PREFIX = {
    AddressKind.SHARED_V4: "66.241.1.",
    AddressKind.V4: "37.16.1.",
    AddressKind.V6: "2a09:8280:1::",
    AddressKind.PRIVATE_V6: "fdaa:2:9::",
    AddressKind.EGRESS: "37.16.9.",
}


@dataclass
class KeptApp:
    """One app of the world; `values` are what its machines would see."""

    app: App
    machines: list[Machine] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    addresses: list[DescribedAddress] = field(default_factory=list)
    certificates: list[str] = field(default_factory=list)
    version: int = 0


def kept_app(
    name: AppName, *, secrets: Sequence[str] = (), kinds: Sequence[AddressKind] = (), certificates: Sequence[str] = ()
) -> KeptApp:
    """An app with one machine."""
    config = canonical_config({"image": "registry.fly.io/my-crocbot:deployment-01", "metadata": {}})
    machine = Machine(
        MachineId("m1"), name, "croc-1", "started", "fra", None, HostStatus.OK, config_json=config, image=IMAGE
    )
    kept = KeptApp(App(name, "deployed", "default", "personal"), [machine], dict.fromkeys(secrets, "x"))
    kept.addresses = [_address(kind, number) for number, kind in enumerate(kinds, start=1)]
    kept.certificates = list(certificates)
    return kept


@dataclass
class AppsWorld:
    """`failures` maps a method's name to what it raises; `asked` is what was called with which app."""

    org: str = "personal"
    foreign: frozenset[AppName] = frozenset()
    kept: dict[AppName, KeptApp] = field(default_factory=dict)
    failures: dict[str, FlyError] = field(default_factory=dict)
    asked: list[tuple[str, AppName]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=lambda: count(100))

    def _kept(self, call: str, app: AppName) -> KeptApp:
        self.asked.append((call, app))
        if call in self.failures:
            raise self.failures[call]
        if app in self.foreign:
            raise FlyForbiddenError("unauthorized", facts={"app": app})
        if app not in self.kept:
            raise FlyNotFoundError("app not found", facts={"app": app})
        return self.kept[app]

    async def app(self, app: AppName) -> App:
        return self._kept("app", app).app

    async def machines(self, app: AppName) -> tuple[Machine, ...]:
        return tuple(self._kept("machines", app).machines)

    async def secrets(self, app: AppName) -> tuple[DescribedSecret, ...]:
        values = self._kept("secrets", app).values
        return tuple(DescribedSecret(name, f"digest-of-{name}") for name in sorted(values))

    async def addresses(self, app: AppName) -> tuple[DescribedAddress, ...]:
        return tuple(sorted(self._kept("addresses", app).addresses, key=lambda each: each.address))

    async def certificates(self, app: AppName) -> tuple[str, ...]:
        return tuple(sorted(self._kept("certificates", app).certificates))

    async def create_app(self, app: AppName, *, org: str, network: str | None) -> None:
        self.asked.append(("create_app", app))
        if "create_app" in self.failures:
            raise self.failures["create_app"]
        if app in self.foreign or app in self.kept:
            raise FlyNameTakenError("Name has already been taken", facts={"app": app})
        self.kept[app] = KeptApp(App(app, "pending", network or "default", org))

    async def set_secrets(self, app: AppName, values: Mapping[str, str]) -> int | None:
        kept = self._kept("set_secrets", app)
        kept.values |= values
        kept.version += 1
        return kept.version

    async def assign_address(self, app: AppName, kind: AddressKind, *, region: str | None) -> DescribedAddress:
        kept = self._kept("assign_address", app)
        made = _address(kind, next(self._numbers), region)
        kept.addresses.append(made)
        return made


def _address(kind: AddressKind, number: int, region: str | None = None) -> DescribedAddress:
    text = f"{_PREFIX[kind]}{number % 250 + 1}"
    is_shared = kind is AddressKind.SHARED_V4
    told = address_kind(text, is_shared=is_shared, is_egress=kind is AddressKind.EGRESS)
    return DescribedAddress(text, told, region, is_shared=is_shared)
