"""What an app consists of at Fly, kept for the day when it is gone: everything but its data and its secrets' values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv6Network, ip_address

from flykeep.domain.ids import AppName, MachineId, VolumeId, VolumeName
from flykeep.domain.signed_json import Fields, Json, instant_text, read_format

APP_DESCRIPTION_FORMAT = 1
PROCESS_GROUP_KEY = "fly_process_group"
_WHAT = "app description"
_UPDATE_HINT = "A newer flykeep wrote it: update flykeep."
_PRIVATE = IPv6Network("fdaa::/16")


class AddressKind(StrEnum):
    """What Fly calls an address when one is asked for; `egress` ones are asked for by other means."""

    SHARED_V4 = "shared_v4"
    V4 = "v4"
    V6 = "v6"
    PRIVATE_V6 = "private_v6"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class DescribedMachine:
    """A machine; `config_json` is its complete configuration as canonical JSON, its image pinned to a digest.

    The configuration holds `env` and `files`, which may be confidential: it stays out of every repr.
    """

    id: MachineId
    name: str
    region: str
    process_group: str | None
    config_json: str = field(repr=False)

    @property
    def image(self) -> str:
        """The image as it is asked for; empty where the configuration names none."""
        image = json.loads(self.config_json).get("image")
        return image if isinstance(image, str) else ""

    @property
    def volume_ids(self) -> tuple[VolumeId, ...]:
        """The volumes it mounts; Fly allows one."""
        return tuple(VolumeId(str(each["volume"])) for each in self._mounts if each.get("volume"))

    @property
    def mount_names(self) -> tuple[str, ...]:
        """What the volumes are called that it mounts."""
        return tuple(str(each["name"]) for each in self._mounts if each.get("name"))

    @property
    def _mounts(self) -> list[Json]:
        return [each for each in json.loads(self.config_json).get("mounts") or [] if isinstance(each, dict)]

    @property
    def standbys(self) -> tuple[MachineId, ...]:
        """The machines it takes the place of when they fail."""
        return tuple(MachineId(str(each)) for each in json.loads(self.config_json).get("standbys") or [])


@dataclass(frozen=True, slots=True)
class DescribedVolume:
    """A volume; `machine_id` is the machine that holds it, None where none does."""

    id: VolumeId
    name: VolumeName
    size_gb: int
    region: str
    machine_id: MachineId | None
    retention_days: int | None
    is_automatic_snapshot_on: bool | None


@dataclass(frozen=True, slots=True)
class DescribedSecret:
    """A secret's name and Fly's digest of it; its value is known to nobody here."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class DescribedAddress:
    address: str
    kind: AddressKind
    region: str | None = None
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class AppDescription:
    """One app as it was at `described_at`, the instant from which on nothing of it has changed.

    `gaps` names parts that Fly never told: what is missing there is unknown, not absent.
    """

    app: AppName
    org: str
    network: str | None
    machines: tuple[DescribedMachine, ...]
    volumes: tuple[DescribedVolume, ...]
    secrets: tuple[DescribedSecret, ...]
    addresses: tuple[DescribedAddress, ...]
    certificates: tuple[str, ...]  # host names
    described_at: datetime
    gaps: tuple[str, ...] = ()

    @property
    def regions(self) -> tuple[str, ...]:
        """Where it has machines or volumes, sorted."""
        return tuple(sorted({each.region for each in self.machines} | {each.region for each in self.volumes}))

    @property
    def secret_names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.secrets)

    def volume_of(self, machine: DescribedMachine) -> DescribedVolume | None:
        """The volume that this machine mounts; None for one without data, or whose volume is not described.

        A machine that was described before its volume got another id is known by the volume's name.
        """
        known = {each.id: each for each in self.volumes}
        named = [each for each in self.volumes if each.name in machine.mount_names]
        by_id = next((known[each] for each in machine.volume_ids if each in known), None)
        return by_id or (named[0] if len(named) == 1 else None)

    def is_same_but_for_time(self, other: AppDescription | None) -> bool:
        return other is not None and replace(self, described_at=other.described_at) == other


def address_kind(address: str, *, is_shared: bool, is_egress: bool) -> AddressKind:
    """Fly lists addresses without saying what was asked for: the address itself tells."""
    if is_egress:
        return AddressKind.EGRESS
    ip = ip_address(address)
    if ip.version == 4:
        return AddressKind.SHARED_V4 if is_shared else AddressKind.V4
    return AddressKind.PRIVATE_V6 if ip in _PRIVATE else AddressKind.V6


def canonical_config(config: Json) -> str:
    """A machine's configuration as it is kept: keys sorted, no white space."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def pinned_config(config_json: str, image: str | None) -> str:
    """The same configuration with its image named by digest; as it is where `image` is None."""
    if image is None:
        return config_json
    config: Json = json.loads(config_json)
    return canonical_config({**config, "image": image})


# writing


def description_body(described: AppDescription) -> Json:
    """The description as an object of a document; `read_description` reads it."""
    return {
        "format": APP_DESCRIPTION_FORMAT,
        "app": described.app,
        "org": described.org,
        "network": described.network,
        "regions": list(described.regions),
        "machines": [_machine_body(each) for each in described.machines],
        "volumes": [_volume_body(each) for each in described.volumes],
        "secrets": [{"name": each.name, "digest": each.digest} for each in described.secrets],
        "addresses": [_address_body(each) for each in described.addresses],
        "certificates": list(described.certificates),
        "described_at": instant_text(described.described_at),
        "gaps": list(described.gaps),
    }


def to_description_json(described: AppDescription) -> str:
    return json.dumps(description_body(described), ensure_ascii=False, separators=(",", ":"))


def _machine_body(machine: DescribedMachine) -> Json:
    return {
        "id": machine.id,
        "name": machine.name,
        "region": machine.region,
        "process_group": machine.process_group,
        "config": json.loads(machine.config_json),
    }


def _volume_body(volume: DescribedVolume) -> Json:
    return {
        "id": volume.id,
        "name": volume.name,
        "size_gb": volume.size_gb,
        "region": volume.region,
        "machine_id": volume.machine_id,
        "retention_days": volume.retention_days,
        "is_automatic_snapshot_on": volume.is_automatic_snapshot_on,
    }


def _address_body(address: DescribedAddress) -> Json:
    return {
        "address": address.address,
        "kind": address.kind.value,
        "region": address.region,
        "is_shared": address.is_shared,
    }


# reading


def parse_description(text: str) -> AppDescription:
    """Raises IntegrityError for what is not a whole description of a known format."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return read_description(Fields(value, what=_WHAT))


def read_description(fields: Fields) -> AppDescription:
    """Lists that a document lacks are empty, and names it lacks unknown; what is there is read strictly."""
    read_format(fields, what=_WHAT, known=APP_DESCRIPTION_FORMAT, hint=_UPDATE_HINT)
    return AppDescription(
        app=AppName(fields.text("app")),
        org=fields.text("org"),
        network=fields.optional_text("network"),
        machines=fields.optional_objects("machines", _machine),
        volumes=fields.optional_objects("volumes", _volume),
        secrets=fields.optional_objects("secrets", _secret),
        addresses=fields.optional_objects("addresses", _address),
        certificates=fields.optional_texts("certificates"),
        described_at=fields.instant("described_at"),
        gaps=fields.optional_texts("gaps"),
    )


def _machine(fields: Fields) -> DescribedMachine:
    return DescribedMachine(
        id=MachineId(fields.text("id")),
        name=fields.text("name"),
        region=fields.text("region"),
        process_group=fields.optional_text("process_group"),
        config_json=canonical_config(fields.document("config")),
    )


def _volume(fields: Fields) -> DescribedVolume:
    machine_id = fields.optional_text("machine_id")
    return DescribedVolume(
        id=VolumeId(fields.text("id")),
        name=VolumeName(fields.text("name")),
        size_gb=fields.count("size_gb"),
        region=fields.text("region"),
        machine_id=None if machine_id is None else MachineId(machine_id),
        retention_days=fields.optional_count("retention_days"),
        is_automatic_snapshot_on=fields.optional_claim("is_automatic_snapshot_on"),
    )


def _secret(fields: Fields) -> DescribedSecret:
    return DescribedSecret(fields.text("name"), fields.optional_text("digest") or "")


def _address(fields: Fields) -> DescribedAddress:
    return DescribedAddress(
        address=fields.text("address"),
        kind=fields.one_of("kind", AddressKind),
        region=fields.optional_text("region"),
        is_shared=fields.optional_claim("is_shared") or False,
    )
