"""What may be unpacked: every way out of the target that an archive can name, and every bomb it can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.artifact import EntryType, IndexEntry, TarTotals
from flykeep.domain.errors import UnsafeArchiveError
from flykeep.domain.tar_stream import TarHeader
from flykeep.domain.unpacking import OutsideLinks, UnpackGuard, UnpackLimits

ROOMY = UnpackLimits(entries=1000, content_bytes=1 << 30, tar_bytes=1 << 30)


def header(
    path: bytes,
    kind: EntryType = EntryType.FILE,
    *,
    target: bytes | None = None,
    size: int = 0,
    is_sparse: bool = False,
    uid: int = 0,
    mtime: int = 0,
) -> TarHeader:
    entry = IndexEntry(path, kind, size, 0o644, uid, 0, mtime, target, None, 0)
    return TarHeader(entry, is_sparse=is_sparse)


def guard(*before: TarHeader, links: OutsideLinks = OutsideLinks.REFUSE, mount: bytes | None = None) -> UnpackGuard:
    made = UnpackGuard(ROOMY, outside_links=links, mount=mount)
    for each in before:
        made.admit(each)
    return made


def link(path: bytes, target: bytes) -> TarHeader:
    return header(path, EntryType.SYMLINK, target=target)


def test_an_entry_goes_where_its_path_says_without_the_dots() -> None:
    judge = guard()
    assert judge.admit(header(b".", EntryType.DIRECTORY)) == ()
    assert judge.admit(header(b"a//./b/c")) == (b"a", b"b", b"c")
    assert judge.admit(header(b"\xff\xfe")) == (b"\xff\xfe",)
    assert judge.admit(header(b"..a/...")) == (b"..a", b"...")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (header(b"../x"), "climbs out"),
        (header(b"a/../../x"), "climbs out"),
        (header(b"a/.."), "climbs out"),
        (header(b"/etc/passwd"), "absolute"),
        (header(b"//x"), "absolute"),
        (header(b"a\0b"), "NUL"),
        (header(b"x/" * 2048), "too long"),
        (header(b"n" * 256), "too long"),
        (header(b"null", EntryType.CHAR), "device node"),
        (header(b"sda", EntryType.BLOCK), "device node"),
        (header(b"odd", EntryType.OTHER), "cannot be restored"),
        (header(b"holes", is_sparse=True), "holes"),
        (header(b".", EntryType.FILE), "same path"),
        (header(b"x", uid=-1), "no system"),
        (header(b"x", uid=(1 << 32) - 1), "no system"),
        (header(b"x", mtime=1 << 41), "no system"),
        (header(b"h", EntryType.HARDLINK, target=b"/etc/shadow"), "absolute"),
        (header(b"h", EntryType.HARDLINK, target=b"../shadow"), "climbs out"),
        (header(b"h", EntryType.HARDLINK, target=b"later"), "did not hold"),
        (header(b"h", EntryType.HARDLINK, target=b"h"), "did not hold"),
        (header(b"h", EntryType.HARDLINK), "did not hold"),
        (link(b"l", b""), "no path"),
        (link(b"l", b"a\0b"), "no path"),
        (link(b"l", b"x" * 4096), "no path"),
    ],
)
def test_what_leads_out_or_cannot_be_is_refused_even_where_links_may_point_outside(
    entry: TarHeader, reason: str
) -> None:
    with pytest.raises(UnsafeArchiveError, match=reason) as caught:
        guard(links=OutsideLinks.KEEP).admit(entry)
    assert caught.value.exit_code == 7
    assert caught.value.facts.keys() <= {"path", "type", "offset"}


@pytest.mark.parametrize("target", [b"/etc", b"..", b"../x", b"a/../x", b"./../..", b"/data", b"/database/x", b"/"])
def test_a_symbolic_link_that_can_lead_out_is_refused_or_kept_as_asked(target: bytes) -> None:
    with pytest.raises(UnsafeArchiveError, match="symbolic link"):
        guard().admit(link(b"l", target))
    assert guard(links=OutsideLinks.KEEP).admit(link(b"l", target)) == (b"l",)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"l", b"x"),
        (b"a/l", b".."),
        (b"a/b/l", b"../../x/y"),
        (b"a/l", b"./.././x"),
        (b"l", b"/data/x"),
        (b"l", b"/data"),
    ],
)
def test_a_symbolic_link_that_stays_inside_is_admitted(path: bytes, target: bytes) -> None:
    assert guard(mount=b"/data/").admit(link(path, target))[-1] == b"l"


@pytest.mark.parametrize("target", [b"/data/../etc", b"/data/x/../../etc", b"/datum", b"/"])
def test_an_absolute_link_counts_as_inside_only_below_the_mount(target: bytes) -> None:
    with pytest.raises(UnsafeArchiveError, match="symbolic link"):
        guard(mount=b"/data").admit(link(b"a/b/l", target))


@pytest.mark.parametrize("links", list(OutsideLinks))
def test_nothing_is_written_through_a_link_that_an_earlier_entry_made(links: OutsideLinks) -> None:
    made = guard(link(b"a", b"b"), links=links)
    for path in (b"a/x", b"a/b/c/d", b"./a//x"):
        with pytest.raises(UnsafeArchiveError, match="above it, is of type symlink"):
            made.admit(header(path))


def test_a_folder_that_was_only_implied_cannot_become_a_link() -> None:
    with pytest.raises(UnsafeArchiveError, match="same path"):
        guard(header(b"a/b/c")).admit(link(b"a", b"b"))


def test_a_hard_link_to_a_link_is_a_link_for_what_follows() -> None:
    made = guard(link(b"a", b"b"), header(b"c", EntryType.HARDLINK, target=b"a"))
    with pytest.raises(UnsafeArchiveError, match="above it"):
        made.admit(header(b"c/x"))


def test_a_path_may_come_again_but_not_as_another_type() -> None:
    made = guard(header(b"a"), header(b"a"), header(b"d", EntryType.DIRECTORY), header(b"d", EntryType.DIRECTORY))
    made.admit(header(b"h", EntryType.HARDLINK, target=b"a"))
    made.admit(header(b"h"))
    for again in (link(b"a", b"x"), header(b"a", EntryType.DIRECTORY), header(b"d"), header(b"h", EntryType.FIFO)):
        with pytest.raises(UnsafeArchiveError, match="same path"):
            made.admit(again)


def test_more_than_was_announced_is_a_bomb() -> None:
    totals = TarTotals(entries=2, files=1, content_bytes=10, tar_bytes=3072, tar_sha256="")
    made = UnpackGuard(UnpackLimits.announced(totals))
    made.admit(header(b"a", size=10))
    with pytest.raises(UnsafeArchiveError, match="10 bytes of files"):
        made.admit(header(b"b", size=1))
    with pytest.raises(UnsafeArchiveError, match="2 entries"):
        made.admit(header(b"c"))
    made.check_tar_bytes(3072)
    with pytest.raises(UnsafeArchiveError, match="more than 3072 bytes"):
        made.check_tar_bytes(3073)


@given(stored=st.integers(0, 1 << 50))
def test_a_tarball_may_grow_by_a_ratio_and_small_ones_always_fit(stored: int) -> None:
    limits = UnpackLimits.of_tarball(stored, ratio=100)
    assert limits.tar_bytes == limits.content_bytes == max(100 * stored, 64 << 20)
    assert limits.entries == limits.tar_bytes // 512


def test_what_is_said_of_an_evil_name_cannot_move_the_terminals_cursor() -> None:
    with pytest.raises(UnsafeArchiveError) as caught:
        guard().admit(header(b"../\x1b[2J\xff\n"))
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


names = st.sampled_from([b"a", b"b", b"..", b".", b""])
paths = st.lists(names, min_size=1, max_size=4).map(b"/".join)
entries = st.one_of(
    st.builds(header, paths, st.sampled_from([EntryType.FILE, EntryType.DIRECTORY, EntryType.FIFO, EntryType.CHAR])),
    st.builds(lambda path, target: header(path, EntryType.HARDLINK, target=target), paths, paths),
    st.builds(link, paths, paths),
)


@given(archive=st.lists(entries, max_size=12))
def test_following_every_admitted_link_never_leaves_the_tree(archive: list[TarHeader]) -> None:
    """The admitted entries as a tree, walked as the kernel walks paths."""
    made, tree = guard(), {(): b""}
    for each in archive:
        try:
            parts = made.admit(each)
        except UnsafeArchiveError:
            continue
        for depth in range(len(parts)):
            tree.setdefault(parts[:depth], b"")
        target = each.entry.link_target or b""
        if each.entry.type is EntryType.HARDLINK:
            target = tree[made.link_source(each.entry)]
        tree[parts] = target
    for parts in tree:
        walk(parts, tree)


def walk(parts: tuple[bytes, ...], tree: dict[tuple[bytes, ...], bytes]) -> None:
    """Resolve a path; a step above the root is the way out that must not exist."""
    at: tuple[bytes, ...] = ()
    left, hops = list(parts), 0
    while left and hops < 60:
        step = left.pop(0)
        if step in {b"", b"."}:
            continue
        if step == b"..":
            assert at, f"{parts} leads out"
            at = at[:-1]
            continue
        at = (*at, step)
        if target := tree.get(at):
            at, hops = at[:-1], hops + 1
            left[:0] = target.split(b"/")
