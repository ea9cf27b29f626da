"""What rebuilding a lost app takes, decided before anything is asked of Fly that changes something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from flykeep.domain.app_description import (
    AddressKind,
    AppDescription,
    DescribedAddress,
    DescribedMachine,
    DescribedVolume,
)
from flykeep.domain.candidates import Candidate, CandidateKind
from flykeep.domain.ids import AppName, LineageId
from flykeep.domain.wording import instant

_VOLUME_CENTS_PER_GB = 15  # a month, attached or not. Source: Fly's pricing page
_ADDRESS_CENTS = 200  # a dedicated IPv4 address, a month
_APP_REGISTRY = "registry.fly.io/"


class Standing(StrEnum):
    """What Fly answers for an app's name."""

    ABSENT = "absent"
    FOREIGN = "foreign"  # it exists, and this token may not see it
    EMPTY = "empty"  # it exists, without any machine or volume
    ALIVE = "alive"


@dataclass(frozen=True, slots=True)
class VolumeBackup:
    """What is left of one volume, newest contents first; `lineage_id` None where no target ever was this volume."""

    lineage_id: LineageId | None
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoverWish:
    """What a person asked for: `name` is what the app is to be called, `is_bare` leaves machines to `fly deploy`."""

    app: AppName
    name: AppName
    org: str | None = None
    is_bare: bool = False
    secrets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RecoverFacts:
    """`is_begun` says that an earlier run of this recovery, which has not ended, asked Fly for something."""

    described: AppDescription
    standing: Mapping[AppName, Standing]
    backups: Mapping[str, VolumeBackup]  # by the lost volume's id
    is_begun: bool = False


@dataclass(frozen=True, slots=True)
class PlannedVolume:
    """A volume to be made in place of `lost`, with room for `least_gb`. Without a `source` it stays empty."""

    lost: DescribedVolume
    lineage_id: LineageId | None
    source: Candidate | None
    least_gb: int = 1

    @property
    def size_gb(self) -> int:
        """At least what Fly asks for a volume from this snapshot."""
        needed = self.source.size_bytes or 0 if self.source and self.source.kind is CandidateKind.SNAPSHOT else 0
        return max(self.lost.size_gb, -(-needed // (1 << 30)), self.least_gb)

    @property
    def is_from_artifact(self) -> bool:
        return self.source is not None and self.source.kind is CandidateKind.ARTIFACT


@dataclass(frozen=True, slots=True)
class SecretNames:
    """How the file's names compare with those the app had."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    given: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecoverPlan:
    """In the order in which it is done. With `refusals` nothing of it may be."""

    described: AppDescription
    name: AppName
    org: str
    is_app_made: bool
    is_bare: bool
    secrets: SecretNames
    addresses: tuple[DescribedAddress, ...]
    volumes: tuple[PlannedVolume, ...]
    machines: tuple[DescribedMachine, ...]
    warnings: tuple[str, ...]
    refusals: tuple[str, ...]
    hint: str | None = field(default=None)

    @property
    def cents_a_month(self) -> int:
        """Of the volumes and dedicated addresses; what machines cost depends on how long they run."""
        dedicated = sum(address.kind is AddressKind.V4 for address in self.addresses)
        return sum(volume.size_gb for volume in self.volumes) * _VOLUME_CENTS_PER_GB + dedicated * _ADDRESS_CENTS


def plan_recovery(wish: RecoverWish, facts: RecoverFacts) -> RecoverPlan:
    """Everything that would be done, and every reason not to."""
    described = facts.described
    names = _compared(described, wish.secrets)
    volumes = tuple(_planned(volume, facts.backups) for volume in described.volumes)
    refusals, hint = _refusals(wish, facts, names)
    return RecoverPlan(
        described=described,
        name=wish.name,
        org=wish.org or described.org,
        is_app_made=facts.standing[wish.name] is Standing.ABSENT,
        is_bare=wish.is_bare,
        secrets=names,
        addresses=tuple(each for each in described.addresses if each.kind is not AddressKind.EGRESS),
        volumes=volumes,
        machines=() if wish.is_bare else _in_order(described.machines),
        warnings=tuple(_warnings(wish, facts, volumes)),
        refusals=refusals,
        hint=hint,
    )


def _compared(described: AppDescription, given: frozenset[str]) -> SecretNames:
    known = frozenset(described.secret_names)
    return SecretNames(tuple(sorted(known - given)), tuple(sorted(given - known)), tuple(sorted(given)))


def _refusals(wish: RecoverWish, facts: RecoverFacts, names: SecretNames) -> tuple[tuple[str, ...], str | None]:
    old, new = facts.standing[wish.app], facts.standing[wish.name]
    found: list[str] = []
    hint: str | None = None
    if old is Standing.ALIVE and not (facts.is_begun and wish.app == wish.name):
        found.append(f"{wish.app} exists and has machines or volumes: it is not lost")
        hint = f"Bring its data back with `flykeep restore {wish.app}`."
    elif new is Standing.FOREIGN:
        found.append(f"the name {wish.name} belongs to somebody else, or this token may not see it")
        hint = "Choose another name with --as NAME."
    elif wish.name != wish.app and new is not Standing.ABSENT and not facts.is_begun:
        found.append(f"there is an app {wish.name} already, and this recovery did not make it")
        hint = "Choose another name with --as NAME."
    if names.missing:
        found.append(f"the file lacks secrets that the app had: {', '.join(names.missing)}")
        hint = hint or "Add them to the file; one that is not needed any more may be empty."
    if not facts.described.machines and not facts.described.volumes:
        found.append("nothing is known of its machines and volumes")
    homeless = [each.name for each in facts.described.machines if _is_homeless(each, facts.described)]
    if homeless and not wish.is_bare:
        found.append(f"nothing is known of the volumes that these machines mount: {', '.join(homeless)}")
        hint = hint or "Use --no-machines, then `fly deploy`."
    return tuple(found), hint


def _is_homeless(machine: DescribedMachine, described: AppDescription) -> bool:
    return bool(machine.volume_ids) and described.volume_of(machine) is None


def _planned(volume: DescribedVolume, backups: Mapping[str, VolumeBackup]) -> PlannedVolume:
    backup = backups.get(volume.id, VolumeBackup(None))
    return PlannedVolume(volume, backup.lineage_id, newest_source(backup.candidates))


def newest_source(candidates: Iterable[Candidate]) -> Candidate | None:
    """A snapshot that Fly still lists comes before any artifact; of each kind the newest that nothing speaks against.

    Where only doubtful ones are left, the newest of these: a doubtful backup beats an empty volume. One that holds the
    paths its target exports is not doubtful; one that holds others, because a person asked for them, is.
    """
    usable = [one for one in candidates if one.is_restorable]
    listed = [one for one in usable if one.kind is CandidateKind.ARTIFACT or one.is_listed]
    for wanted in (
        [one for one in listed if one.is_safe_choice and one.kind is CandidateKind.SNAPSHOT],
        [one for one in listed if one.is_safe_choice],
        listed,
    ):
        if wanted:
            return max(wanted, key=lambda one: (one.as_of_at, one.id))
    return None


def _in_order(machines: Sequence[DescribedMachine]) -> tuple[DescribedMachine, ...]:
    """Standbys name the machines they stand by for, so those come first."""
    return tuple(sorted(machines, key=lambda machine: (bool(machine.standbys), machine.name, machine.id)))


def _warnings(wish: RecoverWish, facts: RecoverFacts, volumes: Sequence[PlannedVolume]) -> Iterable[str]:
    described = facts.described
    if facts.is_begun:
        yield "this goes on with what an earlier, interrupted recovery made"
    if described.gaps:
        yield f"not known, so not rebuilt: {', '.join(described.gaps)}"
    for volume in volumes:
        if volume.source is None:
            yield f"volume {volume.lost.name} ({volume.lost.id}) has no backup that is left: it will be EMPTY"
            continue
        if volume.source.doubt is not None:
            yield f"of volume {volume.lost.name} only a doubtful backup is left: {volume.source.doubt}"
        if volume.source.paths:
            paths = ", ".join(volume.source.paths)
            yield f"volume {volume.lost.name} comes back with {paths} only: nothing else was exported"
    own = f"{_APP_REGISTRY}{wish.app}"
    images = sorted({one.image for one in described.machines if one.image.partition("@")[0] == own})
    if images and not wish.is_bare:
        yield (
            f"the image {images[0]} lived in the lost app's own registry and may be gone with it: "
            "then use --no-machines and `fly deploy`"
        )
    if wish.name != wish.app:
        yield f"{wish.app}.fly.dev and {wish.app}.internal will not lead to the new app"
    if any(each.kind is AddressKind.EGRESS for each in described.addresses):
        yield "it had egress addresses: ask Fly for new ones by hand, and tell whoever allows them in"


def source_text(volume: PlannedVolume) -> str:
    """Where a volume's contents come from, for people."""
    source = volume.source
    if source is None:
        return "empty: no backup is left"
    return f"{source.kind.value} {source.id} of {instant(source.as_of_at)}"


def by_hand(plan: RecoverPlan, addresses: Sequence[DescribedAddress]) -> tuple[str, ...]:
    """What only a person can do, with the new addresses where they are known."""
    v4 = [each.address for each in addresses if each.kind in {AddressKind.SHARED_V4, AddressKind.V4}]
    v6 = [each.address for each in addresses if each.kind is AddressKind.V6]
    shown = ", ".join([*(f"A {each}" for each in v4), *(f"AAAA {each}" for each in v6)]) or "the new addresses"
    steps: list[str] = []
    for name in plan.described.certificates:
        steps.append(f"DNS: let {name} point to {shown} (or as CNAME to {plan.name}.fly.dev)")
        steps.append(f"certificate: fly certs add {name} -a {plan.name}")
    if plan.is_bare:
        steps.append(f"machines: fly deploy -a {plan.name}")
    if plan.name != plan.described.app:
        steps.append(f"configuration: let [[targets]] match {plan.name}/* too, then `flykeep adopt` its volumes")
        steps.append(f"tokens, URLs and fly.toml that name {plan.described.app}: change them to {plan.name}")
    return tuple(steps)
