"""Which lineage each volume of an inventory belongs to, and which target a person means.

Fly keeps a machine's id and gives its volume a new one when it moves the machine to another host, so a lineage is known
by its volume's id first and by (app, volume name, machine id) where that id has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches

from flykeep.domain.errors import AmbiguousTargetError, TargetNotFoundError
from flykeep.domain.fly import Inventory, Machine, Volume
from flykeep.domain.ids import AppName, LineageId, MachineId, VolumeId, VolumeName
from flykeep.domain.policy import TargetRule
from flykeep.domain.scratch import is_temporary
from flykeep.domain.target import Lineage, TargetRef


@dataclass(frozen=True, slots=True)
class LineageState:
    """A lineage whose volume was seen; `machine` is the one that holds the volume now, where it was seen too."""

    lineage: Lineage
    volume: Volume
    machine: Machine | None
    rule: TargetRule


@dataclass(frozen=True, slots=True)
class LineagePlan:
    """What an inventory says of the known lineages.

    `saved` are new or changed. `current`, `gone` and `unseen` are disjoint and hold protected lineages only: `gone`
    ones are missing from a complete inventory, `unseen` ones from an incomplete one, which proves nothing.
    `left_behind` are live volumes that a lineage has moved on from; `unprotected` are live volumes no rule matches.
    `retired` are those a person ended: nothing is wanted for them, and nothing is amiss with their volumes.
    """

    saved: tuple[Lineage, ...]
    current: tuple[LineageState, ...]
    gone: tuple[Lineage, ...]
    unseen: tuple[Lineage, ...]
    left_behind: tuple[Volume, ...]
    unprotected: tuple[Volume, ...]
    retired: tuple[Lineage, ...] = ()


def resolve_lineages(
    known: Sequence[Lineage],
    inventory: Inventory,
    *,
    rules: tuple[TargetRule, ...],
    now: datetime,
    new_id: Callable[[], str],
    passing: frozenset[VolumeId] = frozenset(),
) -> LineagePlan:
    """Give every live, protected volume its lineage: a known one, or a new one with an id of `new_id`.

    `passing` are volumes that restores under way have made and that no target is on yet: they are not seen.

    Volumes on their way out are not seen, nor those flykeep made for one run. `known` may hold retired lineages: they
    keep the volumes they have had and stay retired, while a new volume of that name begins a lineage of its own.
    Resolving the same inventory again changes nothing.
    """
    held = {volume_id for lineage in known for volume_id in lineage.volume_ids}
    sightings = _sightings(inventory, hidden=passing - held)
    owners = _match(known, sightings, is_complete=inventory.is_complete)
    current: list[LineageState] = []
    saved: list[Lineage] = []
    left_behind: list[Volume] = []
    unprotected: list[Volume] = []
    for sighting in sightings:
        owner = owners.get(sighting.volume.id)
        rule = _rule_for(rules, sighting.volume, *_machine_names(owner, sighting))
        if rule is None and not (owner and owner.is_retired):
            unprotected.append(sighting.volume)
        if owner is None and sighting.volume.id in held:
            left_behind.append(sighting.volume)
        if owner is None and (rule is None or sighting.volume.id in held):
            continue
        lineage = _renewed(owner, sighting) if owner else _begun(sighting, now=now, new_id=new_id)
        lineage = replace(lineage, last_seen_at=max(lineage.last_seen_at, inventory.read_at))
        if lineage != owner:
            saved.append(lineage)
        if rule is not None and not lineage.is_retired:
            current.append(LineageState(lineage, sighting.volume, sighting.machine, rule))
    missing = _missing(known, owners.values(), rules)
    return LineagePlan(
        saved=tuple(saved),
        current=tuple(current),
        gone=missing if inventory.is_complete else (),
        unseen=() if inventory.is_complete else missing,
        left_behind=tuple(left_behind),
        unprotected=tuple(unprotected),
        retired=tuple(lineage for lineage in known if lineage.is_retired),
    )


def primary_ids(lineages: Iterable[Lineage]) -> frozenset[LineageId]:
    """Of the lineages that hold copies of the same data (one app and volume name), the one that stands for them.

    It is the one known longest, so that it stays the same while others come and go. Pass only those that still exist.
    """
    ordered = sorted(lineages, key=lambda lineage: (lineage.first_seen_at, lineage.id), reverse=True)
    return frozenset({lineage.label: lineage.id for lineage in ordered}.values())


def resolve_target(ref: TargetRef, lineages: Sequence[Lineage]) -> Lineage:
    """The one lineage a person means; a machine may be given by name or by id. Retired lineages are not meant.

    Raises TargetNotFoundError naming the nearest targets, and AmbiguousTargetError naming the choices.
    """
    living = tuple(lineage for lineage in lineages if not lineage.is_retired)
    meant = [lineage for lineage in living if _is_meant(ref, lineage)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        choices = ", ".join(sorted(lineage.label_among(living) for lineage in meant))
        raise AmbiguousTargetError(f"{str(ref)!r} means several targets: {choices}", hint="Name one of them in full.")
    labels = sorted({lineage.label_among(living) for lineage in living})
    near = get_close_matches(str(ref), labels, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else None
    raise TargetNotFoundError(f"no target is called {str(ref)!r}", hint=hint)


def retired_target(ref: TargetRef, lineages: Sequence[Lineage]) -> Lineage | None:
    """The retired lineage a person means, by its name or its own id; None where a living one is meant, or none.

    Raises AmbiguousTargetError naming the ids to choose from.
    """
    meant = [lineage for lineage in lineages if _is_meant(ref, lineage) or lineage.id == str(ref)]
    if any(not lineage.is_retired for lineage in meant):
        return None
    if len(meant) > 1:
        choices = ", ".join(sorted(lineage.id for lineage in meant))
        raise AmbiguousTargetError(f"{str(ref)!r} was retired more than once", hint=f"Name one by its id: {choices}.")
    return meant[0] if meant else None


_Key = tuple[AppName, VolumeName, MachineId]


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A live volume with the machine that really holds it: `machine` only where the inventory shows that machine."""

    volume: Volume
    machine_id: MachineId | None
    machine: Machine | None

    @property
    def key(self) -> _Key | None:
        return (self.volume.app, self.volume.name, self.machine_id) if self.machine_id else None


def _sightings(inventory: Inventory, *, hidden: frozenset[VolumeId]) -> tuple[_Sighting, ...]:
    live = sorted(
        (one for one in inventory.volumes if not (one.is_leaving or is_temporary(one.name) or one.id in hidden)),
        key=lambda volume: (volume.app, volume.name, volume.created_at, volume.id),
    )
    machines = {machine.id: machine for machine in inventory.machines}
    mounted_by = {mount.volume_id: machine.id for machine in inventory.machines for mount in machine.mounts}
    holders = {volume.id: mounted_by.get(volume.id) or _attached_to(volume, machines) for volume in live}
    # After a move Fly may still list the old volume as attached to the same machine: the newest one is the mounted one.
    newest = {(volume.app, volume.name, holders[volume.id]): volume.id for volume in live}
    sightings = []
    for volume in live:
        holder = holders[volume.id]
        if newest[volume.app, volume.name, holder] != volume.id:
            holder = None
        sightings.append(_Sighting(volume, holder, machines.get(holder) if holder else None))
    return tuple(sightings)


def _attached_to(volume: Volume, machines: dict[MachineId, Machine]) -> MachineId | None:
    """The machine Fly names for a volume, unless that machine says that it mounts another one."""
    machine = machines.get(volume.attached_machine_id) if volume.attached_machine_id else None
    return None if machine is not None and machine.mounts else volume.attached_machine_id


def _match(known: Sequence[Lineage], sightings: Sequence[_Sighting], *, is_complete: bool) -> dict[VolumeId, Lineage]:
    """The known lineage of each volume that has one; each lineage is given once, to its best claimant."""
    ordered = sorted(known, key=lambda lineage: (lineage.is_retired, -lineage.last_seen_at.timestamp(), lineage.id))
    owned = Counter(volume_id for lineage in known for volume_id in lineage.volume_ids)
    claims: tuple[Callable[[Lineage, _Sighting], bool], ...] = (
        lambda lineage, seen: seen.volume.id == lineage.volume_id and seen.machine_id is not None,
        # A volume that another lineage has had stays that lineage's, whichever machine it hangs on now.
        lambda lineage, seen: (
            owned[seen.volume.id] == (seen.volume.id in lineage.volume_ids)
            and _follows(lineage, seen, is_complete=is_complete)
        ),
        lambda lineage, seen: seen.volume.id == lineage.volume_id,
        # What an incomplete inventory does not show may still be there: nobody goes back to an older volume on it.
        lambda lineage, seen: is_complete and seen.volume.id in lineage.volume_ids,
    )
    owners: dict[VolumeId, Lineage] = {}
    taken: set[LineageId] = set()
    for claim in claims:
        for lineage in ordered:
            if lineage.id in taken:
                continue
            seen = next((seen for seen in sightings if seen.volume.id not in owners and claim(lineage, seen)), None)
            if seen is not None:
                owners[seen.volume.id] = lineage
                taken.add(lineage.id)
    return owners


def _follows(lineage: Lineage, seen: _Sighting, *, is_complete: bool) -> bool:
    """Whether this is the lineage's machine with another volume: Fly moved it to another host."""
    if lineage.is_retired or lineage.machine_id is None:
        return False
    if seen.volume.id in lineage.volume_ids and not is_complete:
        return False
    return seen.key == (lineage.app, lineage.volume_name, lineage.machine_id)


def _machine_names(owner: Lineage | None, sighting: _Sighting) -> tuple[str, ...]:
    """Every name a rule may know the machine by; a detached volume keeps those of its last machine."""
    if sighting.machine is not None:
        return (sighting.machine.name, sighting.machine.id)
    if owner is not None and sighting.machine_id in {None, owner.machine_id}:
        return tuple(name for name in (owner.machine_name, owner.machine_id) if name)
    return (sighting.machine_id,) if sighting.machine_id else ()


def _rule_for(rules: tuple[TargetRule, ...], volume: Volume | Lineage, *machines: str) -> TargetRule | None:
    app, name = (volume.app, volume.name) if isinstance(volume, Volume) else (volume.app, volume.volume_name)
    return next(
        (rule for rule in rules if any(rule.matches(app, name, machine) for machine in machines or (None,))), None
    )


def _renewed(lineage: Lineage, sighting: _Sighting) -> Lineage:
    volume_ids = lineage.volume_ids
    if lineage.volume_id != sighting.volume.id:
        older = tuple(volume_id for volume_id in volume_ids if volume_id != sighting.volume.id)
        volume_ids = (*older, sighting.volume.id)
    machine_id = sighting.machine_id or lineage.machine_id
    machine_name = lineage.machine_name if machine_id == lineage.machine_id else None
    return replace(
        lineage,
        machine_id=machine_id,
        machine_name=sighting.machine.name if sighting.machine else machine_name,
        volume_ids=volume_ids,
    )


def moved(lineage: Lineage, *, volume_id: VolumeId, machine_id: MachineId | None, machine_name: str) -> Lineage:
    """The lineage on another volume and machine, by a restore or by undoing one."""
    older = tuple(one for one in lineage.volume_ids if one != volume_id)
    return replace(
        lineage, volume_ids=(*older, volume_id), machine_id=machine_id or lineage.machine_id, machine_name=machine_name
    )


def _begun(sighting: _Sighting, *, now: datetime, new_id: Callable[[], str]) -> Lineage:
    return Lineage(
        id=LineageId(new_id()),
        app=sighting.volume.app,
        volume_name=sighting.volume.name,
        machine_id=sighting.machine_id,
        machine_name=sighting.machine.name if sighting.machine else None,
        volume_ids=(sighting.volume.id,),
        first_seen_at=now,
        last_seen_at=now,
    )


def _missing(
    known: Sequence[Lineage], matched: Iterable[Lineage], rules: tuple[TargetRule, ...]
) -> tuple[Lineage, ...]:
    matched_ids = {lineage.id for lineage in matched}
    return tuple(
        lineage
        for lineage in known
        if lineage.id not in matched_ids and not lineage.is_retired and rule_of(lineage, rules) is not None
    )


def rule_of(lineage: Lineage, rules: tuple[TargetRule, ...]) -> TargetRule | None:
    """The rule that protects a lineage whose volume is not seen, by the machine it was last on."""
    return _rule_for(rules, lineage, *(name for name in (lineage.machine_name, lineage.machine_id) if name))


def _is_meant(ref: TargetRef, lineage: Lineage) -> bool:
    return (
        lineage.app == ref.app
        and ref.volume_name in {None, lineage.volume_name}
        and ref.machine in {None, lineage.machine_name, lineage.machine_id}
    )
