"""Moves what was unpacked beside its place into it, without following links and without replacing unasked."""

from __future__ import annotations

import os
import stat

from flykeep.domain.errors import RefusalError
from flykeep.domain.unpacking import Parts

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def place(source: int, target: int, *, is_overwriting: bool) -> frozenset[Parts]:
    """Move all of the folder `source` into the folder `target`; the folders that were in both.

    Raises RefusalError, having moved nothing, where something is in the way: without `is_overwriting` anything but a
    folder for a folder, with it what would replace a folder or be replaced by one.
    """
    merged = _compare(source, target, (), is_overwriting=is_overwriting)
    _move(source, target)
    return frozenset(merged)


def _compare(source: int, target: int, above: Parts, *, is_overwriting: bool) -> list[Parts]:
    merged: list[Parts] = []
    for name in _names(source):
        parts = (*above, name)
        there = _mode(target, name)
        if there is None:
            continue
        is_folder, was_folder = stat.S_ISDIR(_mode(source, name) or 0), stat.S_ISDIR(there)
        if is_folder and was_folder:
            with _Pair(source, target, name) as (ours, theirs):
                merged += [parts, *_compare(ours, theirs, parts, is_overwriting=is_overwriting)]
        elif is_folder or was_folder or not is_overwriting:
            raise in_the_way(parts, can_be_overwritten=not (is_folder or was_folder))
    return merged


def _move(source: int, target: int) -> None:
    for name in _names(source):
        if stat.S_ISDIR(_mode(source, name) or 0) and _mode(target, name) is not None:
            with _Pair(source, target, name) as (ours, theirs):
                _move(ours, theirs)
            os.rmdir(name, dir_fd=source)
        else:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)


def in_the_way(parts: Parts, *, can_be_overwritten: bool) -> RefusalError:
    """The error for a path that is taken."""
    hint = "Choose another directory with --to"
    return RefusalError(
        "Something stands where a file is to be restored, and nothing was changed.",
        hint=f"{hint}, or replace it with --overwrite."
        if can_be_overwritten
        else f"{hint}: a folder is never replaced.",
        facts={"path": os.fsdecode(b"/".join(parts))},
    )


class _Pair:
    """The folders of one name on both sides, open."""

    def __init__(self, source: int, target: int, name: bytes) -> None:
        self._name = name
        self._sides = (source, target)
        self._opened: list[int] = []

    def __enter__(self) -> tuple[int, int]:
        for side in self._sides:
            self._opened.append(os.open(self._name, _FOLDER, dir_fd=side))
        return self._opened[0], self._opened[1]

    def __exit__(self, *_: object) -> None:
        for descriptor in self._opened:
            os.close(descriptor)


def _names(folder: int) -> list[bytes]:
    return sorted(os.fsencode(name) for name in os.listdir(folder))


def _mode(folder: int, name: bytes) -> int | None:
    try:
        return os.lstat(name, dir_fd=folder).st_mode
    except FileNotFoundError:
        return None
