"""Continuing a lineage by hand, after somebody rebuilt its app so that nothing tells the new volume is the old one's.

Fly's own moves keep the machine's id, and flykeep's restores know what they make: both are followed without anybody. A
volume and a machine that are both new say nothing of their past, so a person does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from flykeep.domain.errors import AmbiguousTargetError, RefusalError, TargetNotFoundError
from flykeep.domain.fly import Inventory, Machine, Volume
from flykeep.domain.ids import AppName, MachineId, VolumeId
from flykeep.domain.lineages import LineagePlan, resolve_lineages, resolve_target, rule_of
from flykeep.domain.policy import TargetRule
from flykeep.domain.scratch import is_temporary
from flykeep.domain.target import Lineage, TargetRef
from flykeep.domain.wording import instant

_SIDE_BY_SIDE = timedelta(days=1)
"""Whoever rebuilds an app may have old and new side by side for a while; longer, and they are two targets."""


@dataclass(frozen=True, slots=True)
class AdoptionWish:
    """The volume a person names, by its own id or by the machine that mounts it; `app` where it is another app's."""

    volume_id: VolumeId | None = None
    machine_id: MachineId | None = None
    app: AppName | None = None


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """`before` becomes `after`; `merged` is the lineage that was begun for the volume meanwhile, and ends in it."""

    before: Lineage
    after: Lineage
    merged: Lineage | None
    volume: Volume
    machine: Machine | None
    reasons: tuple[str, ...]
    way_back: str | None


def plan_adoption(
    text: str, wish: AdoptionWish, known: Sequence[Lineage], inventory: Inventory, rules: tuple[TargetRule, ...]
) -> AdoptionPlan:
    """Raises TargetNotFoundError, AmbiguousTargetError and RefusalError, each with what is in the way.

    `known` holds retired lineages too.
    """
    volume = _volume(wish, inventory)
    today = _today(known, inventory, rules)
    holder = _holder(volume, known, today)
    lineage = _adopter(text, known, holder)
    _refuse_volume(volume, lineage, wish)
    _refuse_living(lineage, volume, inventory, today)
    if holder is not None:
        _refuse_holder(holder, lineage, is_gone=all(one.lineage.id != lineage.id for one in today.current))
    machine = _machine_of(volume, inventory)
    after = _continued(lineage, volume, machine, holder)
    if rule_of(after, rules) is None:
        raise RefusalError(
            f"no target of the configuration matches {after.label}, so nothing would be done for it",
            hint="Add a [[targets]] entry for it first.",
            facts={"app": volume.app, "volume": volume.id},
        )
    return AdoptionPlan(
        lineage, after, holder, volume, machine, _reasons(lineage, after, holder, volume), _way_back(lineage, inventory)
    )


def _volume(wish: AdoptionWish, inventory: Inventory) -> Volume:
    volume_id = wish.volume_id or _mounted(wish.machine_id, inventory)
    found = next((volume for volume in inventory.volumes if volume.id == volume_id), None)
    if found is None:
        raise TargetNotFoundError(
            f"the organization has no volume {volume_id}", hint="`fly volumes list -a APP` names them."
        )
    return found


def _mounted(machine_id: MachineId | None, inventory: Inventory) -> VolumeId:
    machine = next((one for one in inventory.machines if one.id == machine_id), None)
    if machine is None:
        raise TargetNotFoundError(
            f"the organization has no machine {machine_id}", hint="`fly machine list -a APP` names them."
        )
    attached = [volume.id for volume in inventory.volumes if volume.attached_machine_id == machine_id]
    ids = {mount.volume_id for mount in machine.mounts} or set(attached)
    if len(ids) != 1:
        raise RefusalError(
            f"machine {machine_id} mounts {len(ids)} volumes",
            hint="Name the volume by its id.",
            facts={"app": machine.app},
        )
    return ids.pop()


def _today(known: Sequence[Lineage], inventory: Inventory, rules: tuple[TargetRule, ...]) -> LineagePlan:
    """What a check would find now; lineages it would begin are nobody's yet."""
    return resolve_lineages(known, inventory, rules=rules, now=inventory.read_at, new_id=lambda: "")


def _holder(volume: Volume, known: Sequence[Lineage], today: LineagePlan) -> Lineage | None:
    """The known lineage that this volume belongs to now."""
    states = {state.volume.id: state.lineage for state in today.current}
    owner = states.get(volume.id)
    by_id = {lineage.id: lineage for lineage in known}
    if owner is not None and owner.id in by_id:
        return replace(owner, last_seen_at=by_id[owner.id].last_seen_at)
    return next((lineage for lineage in known if lineage.volume_id == volume.id), None)


def _adopter(text: str, known: Sequence[Lineage], holder: Lineage | None) -> Lineage:
    """The lineage a person means: by its target's name or its own id, and never the volume's holder itself.

    Both bear one name where a check has begun a lineage for the rebuilt app.
    """
    by_id = next((lineage for lineage in known if lineage.id == text), None)
    if by_id is None:
        others = [lineage for lineage in known if holder is None or lineage.id != holder.id]
        try:
            return resolve_target(TargetRef.parse(text), others)
        except AmbiguousTargetError as error:
            ids = ", ".join(f"{one.id} ({one.label_among(tuple(others))})" for one in others if not one.is_retired)
            raise AmbiguousTargetError(error.message, hint=f"Name one of them by its id: {ids}.") from error
        except TargetNotFoundError:
            if holder is not None:
                resolve_target(TargetRef.parse(text), [holder])  # raises where that is not meant either
                raise RefusalError(
                    f"{holder.volume_id} is the volume of {holder.label} already, and no other target bears that name",
                    hint="`flykeep status` names the targets; `flykeep adopt` takes the lost one.",
                ) from None
            raise
    if by_id.is_retired:
        raise RefusalError(f"{by_id.label} is retired", hint=f"Bring it back first: `flykeep resume {by_id.id}`.")
    return by_id


def _refuse_volume(volume: Volume, lineage: Lineage, wish: AdoptionWish) -> None:
    facts = {"app": volume.app, "volume": volume.id}
    if volume.is_leaving:
        raise RefusalError(f"volume {volume.id} is {volume.state}: it is on its way out", facts=facts)
    if is_temporary(volume.name):
        raise RefusalError(f"volume {volume.id} is a temporary one of flykeep's own, and is removed by it", facts=facts)
    if volume.id == lineage.volume_id:
        raise RefusalError(f"volume {volume.id} is the volume of {lineage.label} already", facts=facts)
    if volume.app != (wish.app or lineage.app):
        raise RefusalError(
            f"volume {volume.id} belongs to app {volume.app}, and {lineage.label} to {lineage.app}",
            hint=f"If the app was rebuilt under another name, add --app {volume.app}.",
            facts=facts,
        )


def _refuse_living(lineage: Lineage, volume: Volume, inventory: Inventory, today: LineagePlan) -> None:
    """A target whose volume some machine holds is not lost: nobody would protect that volume any more."""
    state = next((state for state in today.current if state.lineage.id == lineage.id), None)
    if state is None and not inventory.is_complete:
        regions = ", ".join(inventory.incomplete_regions)
        raise RefusalError(
            f"Fly does not say now what there is in {regions}: {lineage.label} may live there",
            hint="Try again when `flykeep check` reads everything.",
        )
    if state is None or state.volume.id == volume.id:
        return
    machine = _machine_of(state.volume, inventory)
    if machine is not None:
        raise RefusalError(
            f"{lineage.label} still lives: machine {machine.id} holds its volume {state.volume.id}",
            hint="Destroy that machine first if the other one takes its place; else they are two targets.",
            facts={"app": lineage.app, "volume": state.volume.id},
        )


def _refuse_holder(holder: Lineage, lineage: Lineage, *, is_gone: bool) -> None:
    facts = {"lineage": holder.id, "volume": holder.volume_id}
    if holder.is_retired:
        raise RefusalError(
            f"volume {holder.volume_id} belongs to the retired target {holder.label}",
            hint=f"Bring it back with `flykeep resume {holder.id}` if it lives again.",
            facts=facts,
        )
    lived_beside = is_gone and lineage.last_seen_at - holder.first_seen_at > _SIDE_BY_SIDE
    if lived_beside or holder.first_seen_at <= lineage.first_seen_at:
        raise RefusalError(
            f"volume {holder.volume_id} belongs to {holder.label} (lineage {holder.id}), a living target of its own "
            f"since {instant(holder.first_seen_at)}",
            hint="Only a lineage that was begun for the rebuilt app can be taken into an older one.",
            facts=facts,
        )


def _machine_of(volume: Volume, inventory: Inventory) -> Machine | None:
    mounting = next((one for one in inventory.machines if any(m.volume_id == volume.id for m in one.mounts)), None)
    if mounting is not None:
        return mounting
    attached = next((one for one in inventory.machines if one.id == volume.attached_machine_id), None)
    return None if attached is None or attached.mounts else attached


def _continued(lineage: Lineage, volume: Volume, machine: Machine | None, holder: Lineage | None) -> Lineage:
    former = [one for one in (*lineage.volume_ids, *(holder.volume_ids if holder else ())) if one != volume.id]
    return replace(
        lineage,
        app=volume.app,
        volume_name=volume.name,
        machine_id=machine.id if machine else volume.attached_machine_id,
        machine_name=machine.name if machine else None,
        volume_ids=(*dict.fromkeys(former), volume.id),
        last_seen_at=max(lineage.last_seen_at, holder.last_seen_at) if holder else lineage.last_seen_at,
    )


def _reasons(before: Lineage, after: Lineage, holder: Lineage | None, volume: Volume) -> tuple[str, ...]:
    was = f"{before.volume_id} of machine {before.machine_name or before.machine_id or '-'}"
    now = f"{volume.id} of machine {after.machine_name or after.machine_id or '-'}"
    found = [f"{before.label} (lineage {before.id}) goes on with volume {now}, in place of {was}"]
    if after.label != before.label:
        found.append(f"from now on it is called {after.label}")
    if holder is not None:
        found.append(
            f"lineage {holder.id}, begun for that volume on {instant(holder.first_seen_at)}, ends in it with all it has"
        )
    found.append("slots, retention and ages count its whole chain; nothing at Fly and in no store is changed")
    return tuple(found)


def _way_back(before: Lineage, inventory: Inventory) -> str | None:
    """A command, where the old volume still exists."""
    if any(volume.id == before.volume_id and not volume.is_leaving for volume in inventory.volumes):
        return f"flykeep adopt {before.id} {before.volume_id} --app {before.app}"
    return None


def merged_slot_key(key: str, taken: frozenset[str]) -> str:
    """The key of a run that joins a lineage whose runs have the keys `taken`: one more attempt of the same slot."""
    if key not in taken:
        return key
    slot, _, _ = key.partition("~")
    attempt = 2
    while (again := f"{slot}~{attempt}") in taken:
        attempt += 1
    return again
