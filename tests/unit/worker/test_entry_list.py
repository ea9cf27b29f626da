"""Entries kept to go through again."""

from contextlib import closing

import pytest

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.worker.index_spool import EntryList


@pytest.mark.parametrize("count", [0, 2, 3, 7])
def test_every_entry_comes_again_in_order_whether_it_was_kept_in_memory_or_not(count: int) -> None:
    entries = [IndexEntry(b"%d" % n, EntryType.FILE, n, 0o644, 0, 0, 0, None, "00" * 32, n) for n in range(count)]
    with closing(EntryList(in_memory=3)) as kept:
        for entry in entries:
            kept.add(entry)
        kept.seal()

        assert list(kept.entries()) == entries
        assert list(kept.entries()) == entries
