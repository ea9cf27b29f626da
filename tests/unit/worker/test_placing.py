"""Moving a staged tree into place and back: the scripts themselves, run by the shells machines have."""
# ruff: noqa: PTH102, PTH110, PTH116, PTH123 - paths are bytes, and pathlib has none of those

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import RefusalError, SshError
from flykeep.ports.importing import Placed, Placing
from flykeep.worker.placing import held_record, mark_staged_script, placing_script, read_placed
from tests.full import full
from tests.integration.worker.trees import Fact, build_tree, facts

RUN = "01IMPORT"
APPLETS = (
    "sh",
    "mv",
    "rm",
    "rmdir",
    "mkdir",
    "find",
    "xargs",
    "stat",
    "touch",
    "chmod",
    "chown",
    "sync",
    "tar",
    "id",
    "sleep",
)


@dataclass(frozen=True)
class Box:
    """A volume, and a shell with the tools of one make."""

    volume: Path
    shell: tuple[str, ...]
    path: str

    @property
    def staged(self) -> Path:
        return self.volume / f".flykeep-import-{RUN}" / "new"

    @property
    def old(self) -> Path:
        return self.volume / f".flykeep-old-{RUN}"

    def stage(self) -> Path:
        self.staged.mkdir(parents=True)
        return self.staged

    def run(self, script: bytes, *, kill_at: str | None = None) -> subprocess.CompletedProcess[bytes]:
        """`kill_at`: a command of this name ends the whole script instead of being run."""
        path = self.path
        if kill_at is not None:
            bin_directory = self.volume.parent / "deadly"
            bin_directory.mkdir(exist_ok=True)
            (bin_directory / kill_at).write_text("#!/bin/sh\nkill -9 0\n")
            (bin_directory / kill_at).chmod(0o755)
            path = f"{bin_directory}:{path}"
        return subprocess.run(
            self.shell, input=script, capture_output=True, check=False, env={"PATH": path}, start_new_session=True
        )

    def place(self, placing: Placing) -> Placed:
        done = self.run(placing_script(str(self.volume), RUN, placing))
        stderr = tuple(done.stderr.splitlines())
        return read_placed(done.stdout, code=done.returncode, stderr=stderr, directory=str(self.volume))

    def mark(self) -> None:
        """All of it is there, and the archive held every folder of it."""
        held = self.staged.parent / "held"
        base = os.fsencode(self.staged)
        for folder, _, _ in os.walk(base):
            info = os.stat(folder)
            path = os.path.relpath(folder, base)
            folder_facts = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, int(info.st_mtime))
            entry = IndexEntry(path, EntryType.DIRECTORY, 0, *folder_facts, None, None, 0)
            with held.open("ab") as file:
                file.write(held_record(entry))
        assert self.run(mark_staged_script(str(self.volume), RUN)).returncode == 0

    def content(self) -> dict[bytes, Fact]:
        """What the app sees: all but flykeep's own folders, whose making and removing gives the root its time."""
        found = {path: fact for path, fact in facts(self.volume).items() if not path.startswith(b".flykeep-")}
        return found | {b".": replace(found[b"."], mtime_s=0)}


@pytest.fixture(params=["dash", pytest.param("bash", marks=full("a third shell")), "busybox"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Box:
    volume = tmp_path / "the volume's"
    volume.mkdir()
    quick = tmp_path / "quick"
    quick.mkdir()
    (quick / "sync").symlink_to("/bin/true")  # a busy disk takes seconds over it
    path = f"{quick}:/usr/bin:/bin"
    shell = shutil.which(request.param, path="/usr/bin:/bin")
    assert shell is not None
    if request.param == "busybox":
        applets = tmp_path / "applets"
        applets.mkdir()
        for applet in APPLETS:
            (applets / applet).symlink_to(shell)
        (applets / "sync").unlink()
        (applets / "sync").symlink_to("/bin/true")
        return Box(volume, (str(applets / "sh"),), f"{applets}:/nowhere")
    return Box(volume, (shell,), path)


def _write(path: bytes, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _staged(box: Box) -> dict[bytes, Fact]:
    found = facts(box.staged)
    return found | {b".": replace(found[b"."], mtime_s=0)}


def test_what_the_archive_holds_is_replaced_and_all_else_stays(box: Box) -> None:
    (box.volume / "agents").mkdir()
    (box.volume / "agents" / "kept.json").write_text("kept")
    (box.volume / "agents" / "a.json").write_text("spoiled")
    (box.volume / "other").write_text("other")
    staged = box.stage()
    (staged / "agents" / "fresh").mkdir(parents=True)
    (staged / "agents" / "a.json").write_text("good")
    (staged / "agents" / "fresh" / "b.json").write_text("b")
    box.mark()

    assert box.place(Placing.MOVE) == Placed.MOVED

    assert (box.volume / "agents" / "a.json").read_text() == "good"
    assert (box.volume / "agents" / "fresh" / "b.json").read_text() == "b"
    assert (box.volume / "agents" / "kept.json").read_text() == "kept"
    assert (box.volume / "other").read_text() == "other"
    assert (box.old / "agents" / "a.json").read_text() == "spoiled"


def test_a_hard_tree_replaces_another_and_undo_brings_the_first_back(box: Box) -> None:
    build_tree(box.volume, small_files=30, large_bytes=0)
    (box.volume / "many" / "extra").write_text("stays")
    (box.volume / "only-here").mkdir(mode=0o711)
    before = box.content()
    build_tree(box.stage(), small_files=60, large_bytes=1 << 20)
    (box.staged / "secret").write_text("new")
    (box.staged / "empty").chmod(0o750)
    os.utime(box.staged / "empty", (1, 222_222))
    wanted = _staged(box)
    box.mark()

    assert box.place(Placing.MOVE) == Placed.MOVED
    after = box.content()
    stayed = {b"only-here", b"many/extra"}
    assert {path: after[path] for path in wanted} == wanted
    assert set(after) == set(wanted) | stayed | set(before)
    assert {path: after[path] for path in stayed} == {path: before[path] for path in stayed}

    assert box.place(Placing.UNDO) == Placed.UNDONE
    assert box.content() == before
    assert facts(box.staged).keys() >= {b"secret", b"many/00/0.json"}

    assert box.place(Placing.DROP) == Placed.NOTHING
    assert box.content() == before
    assert not [path for path in box.volume.iterdir() if path.name.startswith(".flykeep")]


def test_a_folder_that_the_archive_only_passes_through_keeps_its_mode_and_owner(box: Box) -> None:
    (box.volume / "private").mkdir(mode=0o700)
    os.utime(box.volume / "private", (1, 111_111))
    (box.stage() / "private").mkdir(mode=0o755)
    (box.staged / "private" / "f").write_text("new")
    box.mark()
    (box.staged.parent / "held").write_bytes(b"")

    box.place(Placing.MOVE)

    assert (box.volume / "private" / "f").read_text() == "new"
    assert stat.S_IMODE((box.volume / "private").stat().st_mode) == 0o700


def test_names_of_any_bytes_are_moved_and_brought_back(box: Box) -> None:
    names = (b"\x81\x82\x88\xff", b"a\nb", b"\n", b"tail\n", b"-rf", b"*", b"[a]", b"..x", b"' \" $(x)", b"!", b"(")
    base = os.fsencode(box.volume)
    staged = os.fsencode(box.stage())
    for name in names:
        for folder in (base, staged):
            os.mkdir(folder + b"/" + name)
            _write(folder + b"/" + name + b"/" + name, folder)
        _write(staged + b"/" + name + b"/fresh" + name, b"")
    before = box.content()
    box.mark()

    assert box.place(Placing.MOVE) == Placed.MOVED
    for name in names:
        with open(base + b"/" + name + b"/" + name, "rb") as file:
            assert file.read() == staged
        assert os.path.exists(base + b"/" + name + b"/fresh" + name)

    assert box.place(Placing.UNDO) == Placed.UNDONE
    assert box.content() == before


def test_a_link_in_the_place_of_a_folder_is_replaced_and_never_followed(box: Box, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("outside")
    (box.volume / "data").symlink_to(outside)
    (box.volume / "deep").symlink_to(outside)
    staged = box.stage()
    (staged / "data").mkdir()
    (staged / "data" / "x").write_text("imported")
    (staged / "deep" / "er").mkdir(parents=True)
    (staged / "deep" / "er" / "x").write_text("imported")
    before = box.content()
    box.mark()

    box.place(Placing.MOVE)
    assert (outside / "x").read_text() == "outside"
    assert sorted(path.name for path in outside.iterdir()) == ["x"]
    assert not (box.volume / "data").is_symlink()
    assert (box.volume / "data" / "x").read_text() == "imported"

    box.place(Placing.UNDO)
    assert box.content() == before
    assert (outside / "x").read_text() == "outside"


def test_files_and_folders_change_places(box: Box) -> None:
    (box.volume / "was-folder" / "in").mkdir(parents=True)
    (box.volume / "was-folder" / "in" / "x").write_text("x")
    (box.volume / "was-file").write_text("file")
    staged = box.stage()
    (staged / "was-folder").write_text("file now")
    (staged / "was-file").mkdir()
    (staged / "was-file" / "y").write_text("y")
    before = box.content()
    box.mark()

    box.place(Placing.MOVE)
    assert (box.volume / "was-folder").read_text() == "file now"
    assert (box.volume / "was-file" / "y").read_text() == "y"

    box.place(Placing.UNDO)
    assert box.content() == before


@full("many files")
def test_more_files_than_one_command_takes_are_moved(box: Box) -> None:
    staged = box.stage()
    for folder in (box.volume, staged):
        (folder / "d").mkdir()
        for number in range(700):
            (folder / "d" / f"{number:0200}").write_text(str(folder))
    before = box.content()
    box.mark()

    box.place(Placing.MOVE)
    assert {path.read_text() for path in (box.volume / "d").iterdir()} == {str(staged)}

    box.place(Placing.UNDO)
    assert box.content() == before


@pytest.mark.parametrize(
    "killer",
    ["mv", *(pytest.param(each, marks=full("every moment")) for each in ("mkdir", "stat", "xargs", "touch", "sync"))],
)
@pytest.mark.parametrize("direction", [Placing.MOVE, Placing.UNDO])
def test_a_move_that_was_cut_off_goes_on_where_it_stopped(box: Box, killer: str, direction: Placing) -> None:
    build_tree(box.volume, small_files=10, large_bytes=0)
    build_tree(box.stage(), small_files=20, large_bytes=0)
    for folder in ("empty", "many"):
        os.utime(box.staged / folder, (1, 222_222))
    before, wanted = box.content(), _staged(box)
    box.mark()
    if direction is Placing.UNDO:
        box.place(Placing.MOVE)

    cut = box.run(placing_script(str(box.volume), RUN, direction), kill_at=killer)
    assert cut.returncode != 0
    box.place(direction)

    after = box.content()
    if direction is Placing.UNDO:
        assert after == before
    else:
        assert {path: after[path] for path in wanted} == wanted
        box.place(Placing.UNDO)
        assert box.content() == before


def test_what_the_app_wrote_between_two_attempts_is_kept(box: Box) -> None:
    """The first attempt put the old file aside and died; the app then made a new one in its place."""
    (box.volume / "f").write_text("old")
    (box.stage() / "f").write_text("new")
    box.mark()
    box.old.mkdir()
    (box.volume / "f").rename(box.old / "f")
    (box.volume / "f").write_text("made meanwhile")

    box.place(Placing.MOVE)

    assert (box.volume / "f").read_text() == "new"
    assert (box.old / "f").read_text() == "old"
    assert (box.staged.parent / "late" / "f").read_text() == "made meanwhile"


def test_what_is_not_whole_is_never_moved(box: Box) -> None:
    (box.stage() / "f").write_text("half")
    (box.staged.parent / "held").touch()

    with pytest.raises(RefusalError, match="not whole"):
        box.place(Placing.MOVE)

    assert not (box.volume / "f").exists()
    assert box.place(Placing.DISCARD) == Placed.NOTHING
    assert not list(box.volume.iterdir())


def test_what_has_begun_to_move_is_not_discarded_nor_dropped(box: Box) -> None:
    (box.stage() / "f").write_text("new")
    (box.staged.parent / "folders").touch()

    assert box.place(Placing.DISCARD) == Placed.MOVING
    with pytest.raises(RefusalError):
        box.place(Placing.DROP)

    assert (box.staged / "f").exists()


def test_undo_without_a_move_is_refused(box: Box) -> None:
    assert box.place(Placing.UNDO) is Placed.NOTHING
    box.stage()
    with pytest.raises(RefusalError, match="nothing of this import has been moved"):
        box.place(Placing.UNDO)


def test_a_machine_without_the_directory_is_told(box: Box) -> None:
    box.volume.rmdir()
    with pytest.raises(SshError, match="could not move files"):
        box.place(Placing.MOVE)


def test_a_run_id_that_could_be_a_path_is_refused() -> None:
    with pytest.raises(RefusalError):
        placing_script("/data", "../../etc", Placing.DROP)
