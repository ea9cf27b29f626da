"""Files removed by rules: the scripts themselves, run by the shells and tools that machines have."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flykeep.domain.errors import ConfigError, SshError
from flykeep.worker.clean import freed_bytes
from flykeep.worker.cleaning import Removed, Wanted, listed, removal_script, verdicts
from flykeep.worker.selection import Selection
from tests.full import IS_FULL
from tests.integration.worker.trees import add_socket
from tests.unit.worker.cleaning_box import DAY_S, NOW_S, Box, LocalShell, busybox_only

HARD_NAMES = (
    b"with space.jsonl",
    b"new\nline.jsonl",
    b"-rf.jsonl",
    b"\xff\xfe.jsonl",
    b"quote's \".jsonl",
    b"$(x).jsonl",
)


@pytest.fixture(params=["gnu", "busybox"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Box:
    volume = tmp_path / "the volume's"
    volume.mkdir()
    path = busybox_only(tmp_path / "applets") if request.param == "busybox" else "/usr/bin:/bin"
    return Box(volume, path)


def test_exactly_what_the_rule_names_goes_and_what_was_freed_is_counted(box: Box) -> None:
    box.write("agents/a/sessions/old.jsonl")
    box.write("agents/a/sessions/new.jsonl", days=2)
    box.write("agents/a/sessions/old.txt")
    box.write("agents/a/memory/old.jsonl")
    box.write("agents/old.jsonl")
    box.write("old.jsonl")

    with box.freeing("agents/a/sessions/old.jsonl"):
        result = box.clean("agents/*/sessions/*.jsonl")

    assert (result.removed, result.freed_bytes, result.kept_count, result.troubles) == (1, 5, 0, ())
    (found,) = result.found
    assert (found.files, found.content_bytes, found.sample) == (1, 5, ("agents/a/sessions/old.jsonl",))


def test_names_with_spaces_newlines_leading_dashes_and_no_utf8_go_like_all_others(box: Box) -> None:
    folder = b"agents/-n a\nb\xff/sessions/"
    names = [box.write(folder + name) for name in HARD_NAMES]
    kept = [box.write(folder + name + b".kept") for name in HARD_NAMES]

    with box.freeing(*names):
        result = box.clean("agents/*/sessions/*.jsonl")

    assert result.removed == len(names)
    assert set(kept) <= box.paths()
    assert {os.fsencode(path) for path in result.found[0].sample} == set(names)


def test_a_dry_run_tells_the_same_and_removes_nothing(box: Box) -> None:
    box.write("logs/a.log", days=40)
    box.write("logs/b.log", days=90, content=b"1234567")

    with box.freeing():
        result = box.clean("logs/*.log", is_applied=False)

    (found,) = result.found
    assert (found.files, found.content_bytes, found.sample) == (2, 12, ("logs/b.log", "logs/a.log"))
    assert (found.oldest_s, found.newest_s) == (NOW_S - 90 * DAY_S, NOW_S - 40 * DAY_S)
    assert (result.removed, result.freed_bytes) == (0, 0)


def test_links_folders_fifos_and_sockets_stay_and_no_link_is_followed(box: Box, tmp_path: Path) -> None:
    outside = Box(tmp_path / "outside", box.path)
    outside.write("a.log")
    outside.write("logs/a.log")
    box.write("logs/a.log")
    (box.volume / "logs" / "link.log").symlink_to(tmp_path / "outside" / "a.log")
    (box.volume / "logs" / "dangling.log").symlink_to("nowhere")
    (box.volume / "logs" / "folder.log").mkdir()
    os.mkfifo(box.volume / "logs" / "fifo.log")
    add_socket(box.volume / "logs" / "socket.log")
    (box.volume / "away").symlink_to(tmp_path / "outside")
    for name in ("link.log", "dangling.log", "folder.log", "fifo.log", "socket.log"):
        box.age(f"logs/{name}", 40)

    with outside.freeing(), box.freeing("logs/a.log"):
        for glob in ("logs/*", "away/*.log", "away/logs/**", "away/a.log", "**/*.log", "*/logs/*.log"):
            box.clean(glob)


def test_a_folder_that_became_a_link_after_the_listing_is_not_entered(box: Box, tmp_path: Path) -> None:
    outside = Box(tmp_path / "outside", box.path)
    outside.write("a.log")
    box.write("logs/a.log")
    shutil.rmtree(box.volume / "logs")
    (box.volume / "logs").symlink_to(tmp_path / "outside")

    with outside.freeing():
        assert removed_by_script(box, b"logs/a.log") == ["it is gone, or its folder is another one"]


def test_what_changed_after_the_listing_is_judged_again_on_the_machine(box: Box, tmp_path: Path) -> None:
    names = [box.write(f"logs/{name}.log") for name in ("old", "touched", "gone", "linked", "folder")]
    outside = tmp_path / "outside.log"
    outside.write_text("precious")
    box.age("logs/touched.log", 1)
    for name in ("gone", "linked", "folder"):
        (box.volume / "logs" / f"{name}.log").unlink()
    (box.volume / "logs" / "linked.log").symlink_to(outside)
    (box.volume / "logs" / "folder.log").mkdir()

    with box.freeing("logs/old.log"):
        old, touched, gone, linked, folder = removed_by_script(box, *names)

    assert isinstance(old, Removed)
    assert (touched, gone) == ("it has changed since", "it is gone, or its folder is another one")
    assert linked == folder == "it is no longer a regular file"
    assert outside.read_text() == "precious"


def test_a_file_that_cannot_be_removed_is_told_and_not_counted(box: Box, tmp_path: Path) -> None:
    stubborn = tmp_path / "stubborn"
    stubborn.mkdir()
    (stubborn / "rm").write_text("#!/bin/sh\nexit 1\n")
    (stubborn / "rm").chmod(0o755)
    box.write("logs/a.log")
    unable = Box(box.volume, f"{stubborn}:{box.path}")

    with box.freeing():
        result = unable.clean("logs/*.log")

    assert (result.removed, result.freed_bytes, result.kept_count) == (0, 0, 1)
    assert [(one.path, one.why) for one in result.kept] == [
        ("logs/a.log", "it could not be removed, or is there again")
    ]


def test_the_first_rule_that_a_file_is_old_enough_for_counts_it(box: Box) -> None:
    box.write("logs/a.log", days=40)
    box.write("logs/b.log", days=10)
    order = box.order("logs/*.log", "logs/**")
    young = box.order("logs/**", days=7).wishes
    two = box.run(type(order)(order.access, order.directory, (order.wishes[0], *young), True, 60.0))

    assert [(found.glob, found.files) for found in two.found] == [("logs/*.log", 1), ("logs/**", 1)]
    assert two.removed == 2


def test_a_literal_rule_names_one_file_or_all_below_one_folder(box: Box) -> None:
    box.write("logs/current.log")
    box.write("logs/current.log.1")
    box.write("cache/a/b")
    box.write("cache-not")

    with box.freeing("logs/current.log", "cache/a/b"):
        box.clean("logs/current.log", "cache", "absent", "logs/current.log/below", "logs/current.log/*")


def test_what_an_import_keeps_beside_the_data_is_not_touched(box: Box) -> None:
    box.write(".flykeep-old-R1/logs/a.log")
    box.write("logs/a.log")

    with box.freeing("logs/a.log"):
        box.clean("**/*.log")


def test_a_hard_link_frees_nothing_while_another_name_is_left(box: Box) -> None:
    box.write("logs/a.log")
    os.link(box.volume / "logs" / "a.log", box.volume / "logs" / "a.copy")

    assert box.clean("logs/*.log").freed_bytes == 0
    assert box.clean("logs/*.copy").freed_bytes == 5


def test_the_last_of_several_names_frees_their_content_once() -> None:
    assert freed_bytes([Removed(7, 3, 10), Removed(7, 3, 10), Removed(8, 1, 4)]) == 4
    assert freed_bytes([Removed(7, 2, 10), Removed(7, 2, 10)]) == 10
    assert freed_bytes([Removed(7, 2, 10), Removed(7, 1, 10)]) == 10


def test_many_files_of_one_folder_go_in_one_go(box: Box) -> None:
    for number in range(230):
        box.write(f"logs/{number}.log")

    result = box.clean("logs/*.log")

    assert (result.removed, result.freed_bytes) == (230, 5 * 230)
    assert len(result.found[0].sample) == 20
    assert box.paths() == {b"logs"}


def test_a_mount_that_is_not_there_is_an_error_and_not_an_empty_one(box: Box) -> None:
    box.volume.rmdir()
    with pytest.raises(SshError, match="no such directory"):
        box.clean("logs/*.log")


def test_a_folder_that_cannot_be_looked_into_is_told(box: Box, tmp_path: Path) -> None:
    troubled = tmp_path / "troubled"
    troubled.mkdir()
    (troubled / "find").write_text("#!/bin/sh\necho 'find: ./a: Permission denied' >&2\nexit 1\n")
    (troubled / "find").chmod(0o755)

    result = Box(box.volume, f"{troubled}:{box.path}").clean("**/*.log")

    assert result.troubles == ("find: ./a: Permission denied",)


def test_files_that_vanish_while_they_are_listed_do_not_spoil_the_others(box: Box, tmp_path: Path) -> None:
    """A `stat` that leaves one file out, as for one that vanished between find's look and its own."""
    real = shutil.which("stat", path=box.path)
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "stat").write_text(
        f'#!/bin/sh\nfor last; do :; done\nif [ "$last" = ./gone.log ]; then exit 1; fi\nexec {real} "$@"\n'
    )
    (odd / "stat").chmod(0o755)
    for name in ("a.log", "b.log", "gone.log"):
        box.write(f"logs/{name}")

    with box.freeing("logs/a.log", "logs/b.log"):
        result = Box(box.volume, f"{odd}:{box.path}").clean("logs/*.log")

    assert result.removed == 2


def test_words_that_no_script_of_flykeep_says_are_refused() -> None:
    with pytest.raises(SshError):
        list(listed([b"81a4 0 5 ./a"], folder=b""))
    with pytest.raises(SshError, match="middle"):
        verdicts(b"gone\n", [Wanted(b"a", 0), Wanted(b"b", 0)])
    with pytest.raises(SshError):
        verdicts(b"perhaps\n", [Wanted(b"a", 0)])


def removed_by_script(box: Box, *names: bytes) -> list[Removed | str]:
    """What the removal alone says to files that were listed earlier."""
    wanted = [Wanted(name, NOW_S - 30 * DAY_S) for name in names]
    command = LocalShell(box.path).start()
    command.give(removal_script(str(box.volume), wanted))
    pieces: list[bytes] = []
    assert command.output(stall_s=30, on_chunk=pieces.append).code == 0
    command.close()
    return verdicts(b"".join(pieces), wanted)


_PART = st.sampled_from([b"a", b"b", b"ab", b".c", b"-d", b"e\nf", b"\xff"])
_GLOB_PART = st.sampled_from(["a", "*", "?", "[ab]", "[!a]*", "a*", "*b", "**", "-d", ".*"])
_TREES = st.dictionaries(st.lists(_PART, min_size=1, max_size=4).map(b"/".join), st.booleans(), max_size=12)
_GLOBS = st.lists(_GLOB_PART, min_size=1, max_size=4).map("/".join)


@settings(
    max_examples=250 if IS_FULL else 25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tree=_TREES, glob=_GLOBS)
def test_a_rule_names_what_the_same_glob_includes_in_an_export(box: Box, tree: dict[bytes, bool], glob: str) -> None:
    shutil.rmtree(box.volume)
    box.volume.mkdir()
    files = {path: old for path, old in tree.items() if not any(other.startswith(path + b"/") for other in tree)}
    for path, is_old in files.items():
        box.write(path, days=40 if is_old else 1)
    try:
        tops = Selection.of([glob], []).resolve(box.paths())
    except ConfigError:  # nothing matches
        tops = ()
    included = {path for path in files if any(path == top or path.startswith(top + b"/") for top in tops)}

    with box.freeing(*(path for path in included if files[path])):
        box.clean(glob)
