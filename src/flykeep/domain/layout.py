"""Where the objects of an artifact stand in a store: keys from facts, and facts from keys. For ever.

Keys are relative to the store's prefix. Every part is URL-safe by construction, so that no store, shell or URL
has to escape anything.
"""

from __future__ import annotations

import re

from flykeep.domain.errors import StoreError

STATE_KEY = "_state/latest.json.zst.age"
RESTORE_KEY = "RESTORE.md"
_MANIFEST = "manifest.json"
_INDEX = {True: "index.jsonl.zst.age", False: "index.jsonl.zst"}
_DATA = {True: "data.tar.zst.age", False: "data.tar.zst"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_key(key: str) -> None:
    """Raise StoreError unless `key` names the same object in every kind of store.

    No empty part, no `.` or `..`, no control character, no leading or trailing slash.
    """
    parts = key.split("/")
    if any(part in {"", ".", ".."} for part in parts) or _CONTROL.search(key):
        raise StoreError("This is not a key that every store can hold.", facts={"key": ascii(key)})
