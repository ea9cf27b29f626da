"""Directories for drills: private, gone afterwards, and never anybody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from flykeep.adapters.launchers.drill_rooms import LocalDrillRooms
from flykeep.domain.errors import StateError
from flykeep.domain.ids import RunId


async def test_a_room_is_gone_with_everything_in_it_whatever_its_modes(tmp_path: Path) -> None:
    rooms = LocalDrillRooms(tmp_path / "drills")
    async with rooms.room(RunId("01RUN")) as directory:
        closed = Path(directory) / "closed"
        closed.mkdir()
        (closed / "file").write_text("x")
        (Path(directory) / "link").symlink_to(tmp_path)
        closed.chmod(0)
        assert await rooms.left() == ("01RUN",)
    assert await rooms.left() == ()
    assert await rooms.free_bytes() > 0


async def test_nothing_but_rooms_is_listed_and_nothing_but_directories_removed(tmp_path: Path) -> None:
    rooms = LocalDrillRooms(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "flykeep-drill-01LINK").symlink_to(tmp_path / "other")
    (tmp_path / "flykeep-drill-01FILE").write_text("x")
    assert await rooms.left() == ()
    await rooms.clear(RunId("01LINK"))
    assert (tmp_path / "other").is_dir()
    assert await LocalDrillRooms(tmp_path / "nowhere").left() == ()


@pytest.mark.parametrize("run_id", ["..", "a/b", "", "x" * 65])
async def test_what_is_no_runs_id_names_no_room(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(StateError):
        await LocalDrillRooms(tmp_path).clear(RunId(run_id))


async def test_a_place_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    rooms = LocalDrillRooms(tmp_path / "file" / "drills")
    with pytest.raises(StateError, match="cannot be used"):
        await rooms.free_bytes()
    with pytest.raises(StateError, match="cannot be used"):
        async with rooms.room(RunId("01RUN")):
            pass
