"""Candidates come from every volume id a target has had; what Fly does not answer is said and never read as none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from flykeep.domain.candidates import CandidateKind
from flykeep.domain.errors import (
    FlyInvalidRequestError,
    FlykeepError,
    FlyNotFoundError,
    FlyUnavailableError,
    NotFoundError,
    RefusalError,
)
from flykeep.domain.fly import App, VolumeSnapshot
from flykeep.domain.ids import AppName, LineageId, VolumeId
from flykeep.domain.policy import Policy, TargetRule
from flykeep.domain.target import Lineage
from flykeep.jobs.candidates import CandidateReader
from flykeep.ports.catalog import RecordedSnapshot
from flykeep.testing.clock import ManualClock
from tests.integration.jobs.parts import Parts, parts_in
from tests.unit.domain.builders import DAY, HOUR, NOW, artifact, lineage, snapshot

VIENNA = TargetRule("my-crocbot/*", Policy("standard", timezone="Europe/Vienna"))
MOVED = lineage(volume_ids=(VolumeId("vol_0"), VolumeId("vol_1")))


@dataclass
class Listing:
    """Fly as far as candidates ask it."""

    volumes: dict[str, tuple[VolumeSnapshot, ...] | FlykeepError] = field(default_factory=dict)
    names: tuple[str, ...] | FlykeepError = ("my-crocbot",)

    async def snapshots(self, _app: str, volume_id: str) -> tuple[VolumeSnapshot, ...]:
        found = self.volumes[volume_id]
        if isinstance(found, FlykeepError):
            raise found
        return found

    async def apps(self) -> tuple[App, ...]:
        if isinstance(self.names, FlykeepError):
            raise self.names
        return tuple(App(AppName(name), "deployed") for name in self.names)


def reader(parts: Parts, fly: Listing, rule: TargetRule = VIENNA) -> CandidateReader:
    asked: Any = fly
    return CandidateReader(asked, parts.catalog, ManualClock(NOW), (rule,))


async def remember(parts: Parts, *rows: tuple[str, VolumeSnapshot], of: Lineage = MOVED) -> None:
    async with parts.catalog.transaction() as tx:
        await tx.save_lineage(of)
        for volume_id, row in rows:
            await tx.record_snapshot(RecordedSnapshot(of.id, VolumeId(volume_id), of.app, row, NOW))


async def test_every_volume_id_is_asked_and_artifacts_are_there_too(tmp_path: Path) -> None:
    fly = Listing({"vol_0": (snapshot("vs_0", age=2 * DAY),), "vol_1": (snapshot("vs_1"),)})
    async with parts_in(tmp_path) as parts:
        await remember(parts)
        async with parts.catalog.transaction() as tx:
            await tx.record_artifact(artifact(), lineage_id=MOVED.id)
        report = await reader(parts, fly).read(MOVED)
    assert [one.id for one in report.candidates] == ["vs_1", "20260301T040000Z", "vs_0"]
    assert report.unread == ()


@pytest.mark.parametrize("error", [FlyNotFoundError("gone"), FlyInvalidRequestError("gone")])
async def test_of_an_id_that_fly_forgot_the_catalog_still_tells(tmp_path: Path, error: FlykeepError) -> None:
    fly = Listing({"vol_0": error, "vol_1": (snapshot("vs_1"),)})
    async with parts_in(tmp_path) as parts:
        await remember(parts, ("vol_0", snapshot("vs_0", age=2 * DAY)))
        report = await reader(parts, fly).read(MOVED)
    assert [(one.id, one.is_restorable, one.is_listed) for one in report.candidates] == [
        ("vs_1", True, True),
        ("vs_0", True, False),
    ]
    assert report.unread == ()


async def test_a_list_that_fails_is_said_with_what_is_known_and_never_read_as_none(tmp_path: Path) -> None:
    fly = Listing({"vol_0": FlyUnavailableError("502"), "vol_1": (snapshot("vs_1"),)})
    async with parts_in(tmp_path) as parts:
        await remember(parts, ("vol_0", snapshot("vs_0", age=2 * DAY)))
        asked = reader(parts, fly)
        report = await asked.read(MOVED)
        choice = await asked.choose(MOVED, "30h ago")
    assert [(one.volume_id, one.why) for one in report.unread] == [("vol_0", "502")]
    assert {one.id for one in report.candidates} == {"vs_0", "vs_1"}
    assert choice.id == "vs_0"
    assert "the snapshots of vol_0 could not be read: there may be a better one" in choice.notes


@pytest.mark.parametrize(
    ("names", "is_restorable"), [((), False), (("my-crocbot",), True), (FlyUnavailableError("502"), True)]
)
async def test_recorded_snapshots_of_an_app_that_is_gone_are_gone(
    tmp_path: Path, names: tuple[str, ...] | FlykeepError, *, is_restorable: bool
) -> None:
    gone = FlyNotFoundError("gone")
    async with parts_in(tmp_path) as parts:
        await remember(parts, ("vol_1", snapshot("vs_1")))
        report = await reader(parts, Listing({"vol_0": gone, "vol_1": gone}, names)).read(MOVED)
    assert [one.is_restorable for one in report.candidates] == [is_restorable]


async def test_a_time_without_a_zone_is_in_the_policys(tmp_path: Path) -> None:
    rows = (snapshot("vs_late", age=NOW - NOW.replace(hour=8, minute=30)), snapshot("vs_early", age=DAY))
    fly = Listing({"vol_0": (), "vol_1": rows})
    async with parts_in(tmp_path) as parts:
        await remember(parts)
        assert (await reader(parts, fly).choose(MOVED, "2026-03-02T09:00")).id == "vs_early"
        elsewhere = replace(VIENNA, match="another/*")
        assert (await reader(parts, fly, elsewhere).choose(MOVED, "2026-03-02T09:00")).id == "vs_late"


async def test_a_backup_of_another_target_is_refused_by_its_owners_name(tmp_path: Path) -> None:
    other = lineage("lin_2", app=AppName("staging"), volume_ids=(VolumeId("vol_9"),))
    fly = Listing({"vol_0": (), "vol_1": (snapshot("vs_1"),)})
    async with parts_in(tmp_path) as parts:
        await remember(parts)
        await remember(parts, ("vol_9", snapshot("vs_9", age=HOUR)), of=other)
        made = artifact("20260302T040000Z")
        origin = replace(made.manifest.origin, lineage_id=LineageId("lin_unheard_of"))
        async with parts.catalog.transaction() as tx:
            await tx.record_artifact(replace(made, manifest=replace(made.manifest, origin=origin)))
        asked = reader(parts, fly)
        with pytest.raises(RefusalError, match="vs_9 is a backup of staging/crocbot_data, not of my-crocbot"):
            await asked.choose(MOVED, "vs_9")
        with pytest.raises(RefusalError, match="is a backup of another target"):
            await asked.choose(MOVED, "20260302T040000Z", kind=CandidateKind.ARTIFACT)
        with pytest.raises(NotFoundError):
            await asked.choose(MOVED, "vs_7")
