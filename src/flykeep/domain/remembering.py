"""What stores remember of lineages when the catalog is lost, and how it joins what is known by now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flykeep.domain.app_description import AppDescription, read_description
from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import IntegrityError
from flykeep.domain.ids import AppName, LineageId, MachineId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.signed_json import Fields, canonical, read_format, read_signature
from flykeep.domain.target import Lineage

STATE_FORMAT = 1
_WHAT = "state document"
_UPDATE_HINT = "A newer flykeep wrote it: update flykeep."


@dataclass(frozen=True, slots=True)
class RememberedSnapshot:
    id: SnapshotId
    volume_id: VolumeId
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RememberedLineage:
    """A lineage as `_state/latest` holds it."""

    lineage: Lineage
    config_json: str | None
    snapshots: tuple[RememberedSnapshot, ...]


@dataclass(frozen=True, slots=True)
class StateDocument:
    """`signed` is what the signature must cover."""

    lineages: tuple[RememberedLineage, ...]
    signed: bytes
    signature_hex: str
    signer_hex: str
    apps: tuple[AppDescription, ...] = ()


def parse_state(document: bytes, *, now: datetime) -> StateDocument:
    """Read a state document; its signature is not judged here. `now` stands in for instants it does not hold.

    Raises IntegrityError for anything that is not a whole one, such as those that flykeep did not sign yet.
    """
    try:
        body = json.loads(document)
    except ValueError as error:
        raise IntegrityError(f"The {_WHAT} is not JSON.") from error
    fields = Fields(body, what=_WHAT)
    read_format(fields, what=_WHAT, known=STATE_FORMAT, hint=_UPDATE_HINT)
    signature_hex, signer_hex = read_signature(fields)
    lineages = fields.objects("lineages", lambda each: _lineage(each, now=now))
    configs = [each.get("machine_config") for each in body["lineages"]]
    return StateDocument(
        tuple(
            replace(each, config_json=None if config is None else json.dumps(config))
            for each, config in zip(lineages, configs, strict=True)
        ),
        canonical({name: value for name, value in body.items() if name != "signature"}),
        signature_hex,
        signer_hex,
        fields.optional_objects("apps", read_description),  # an earlier flykeep wrote none
    )


def _lineage(fields: Fields, *, now: datetime) -> RememberedLineage:
    machine_id = fields.text_or_none("machine_id")
    volume_ids = tuple(VolumeId(each) for each in fields.texts("volume_ids"))
    if not volume_ids:
        fields.refuse("volume_ids", "is empty")
    lineage = Lineage(
        id=LineageId(fields.text("id")),
        app=AppName(fields.text("app")),
        volume_name=VolumeName(fields.text("volume_name")),
        machine_id=None if machine_id is None else MachineId(machine_id),
        machine_name=fields.text_or_none("machine_name"),
        volume_ids=volume_ids,
        first_seen_at=fields.instant("first_seen_at"),
        last_seen_at=now,
        is_retired=fields.claim("is_retired"),
    )
    return RememberedLineage(lineage, None, _snapshots(fields))


def _snapshots(fields: Fields) -> tuple[RememberedSnapshot, ...]:
    """Those of which it is known when they were taken."""
    every = fields.objects("snapshots", _snapshot)
    return tuple(each for each in every if each is not None)


def _snapshot(fields: Fields) -> RememberedSnapshot | None:
    if fields.text_or_none("created_at") is None:
        return None
    return RememberedSnapshot(
        SnapshotId(fields.text("id")), VolumeId(fields.text("volume_id")), fields.instant("created_at")
    )


def lineages_of(artifacts: Iterable[Artifact]) -> tuple[Lineage, ...]:
    """The lineages that manifests tell of, each as its newest manifest says."""
    by_id: dict[LineageId, Lineage] = {}
    for manifest in sorted((artifact.manifest for artifact in artifacts), key=lambda each: each.started_at):
        origin = manifest.origin
        earlier = by_id.get(origin.lineage_id)
        before = tuple(each for each in earlier.volume_ids if each != origin.volume_id) if earlier else ()
        by_id[origin.lineage_id] = Lineage(
            id=origin.lineage_id,
            app=origin.app,
            volume_name=origin.volume_name,
            machine_id=origin.machine_id,
            machine_name=origin.machine_name,
            volume_ids=(*before, origin.volume_id),
            first_seen_at=earlier.first_seen_at if earlier else manifest.started_at,
            last_seen_at=manifest.ended_at,
        )
    return tuple(by_id.values())


@dataclass(frozen=True, slots=True)
class LineageMerge:
    """`saved` are new, or known ones that learnt of former volumes; `owners` says whose each remembered one is now."""

    saved: tuple[Lineage, ...]
    owners: Mapping[LineageId, LineageId]


def merge_lineages(known: Sequence[Lineage], remembered: Iterable[Lineage]) -> LineageMerge:
    """Join what is remembered to what is known; what is known is never taken back.

    A daemon that lost its catalog has begun new lineages for volumes it had known: the remembered one becomes part of
    the one that holds its volume, or its machine's volume of that name, today.
    """
    now_known = {lineage.id: lineage for lineage in known}
    owners: dict[LineageId, LineageId] = {}
    saved: dict[LineageId, Lineage] = {}
    for lineage in remembered:
        owner = now_known.get(lineage.id) or _twin(lineage, now_known.values())
        if owner is None:
            owner = saved[lineage.id] = lineage
        elif former := tuple(each for each in lineage.volume_ids if each not in owner.volume_ids):
            owner = saved[owner.id] = replace(owner, volume_ids=(*former, *owner.volume_ids))
        now_known[owner.id] = owner
        owners[lineage.id] = owner.id
    return LineageMerge(tuple(saved.values()), owners)


def _twin(lineage: Lineage, known: Iterable[Lineage]) -> Lineage | None:
    for other in known:
        is_same_machine = lineage.machine_id is not None and lineage.machine_id == other.machine_id
        is_same_place = (lineage.app, lineage.volume_name) == (other.app, other.volume_name)
        if not set(lineage.volume_ids).isdisjoint(other.volume_ids) or (is_same_machine and is_same_place):
            return other
    return None
