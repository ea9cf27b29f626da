"""The index lines: any entry survives, and what is not an index is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.artifact import EntryType, Frame, IndexEntry, IndexHeader
from flykeep.domain.artifact_index import decode_entry, decode_header, encode_entry, encode_header
from flykeep.domain.errors import IntegrityError
from flykeep.domain.ids import ExportId

sizes = st.integers(0, 1 << 62)
entries = st.builds(
    IndexEntry,
    path=st.binary(max_size=200),
    type=st.sampled_from(EntryType),
    size_bytes=sizes,
    mode=st.integers(0, 0o7777),
    uid=sizes,
    gid=sizes,
    mtime_s=st.integers(-(1 << 60), 1 << 60),
    link_target=st.none() | st.binary(max_size=200),
    sha256=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    offset=sizes,
)


@given(entry=entries)
def test_every_entry_survives_and_takes_one_line(entry: IndexEntry) -> None:
    line = encode_entry(entry)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_entry(line) == entry


def test_names_stand_as_text_where_they_are_utf8_and_base64_where_not() -> None:
    def line(path: bytes) -> dict[str, object]:
        found: dict[str, object] = json.loads(
            encode_entry(IndexEntry(path, EntryType.FILE, 3, 0o644, 1, 2, 4, None, "ab", 512))
        )
        return found

    facts = {"type": "file", "size": 3, "mode": 0o644, "uid": 1, "gid": 2, "mtime": 4, "sha256": "ab", "offset": 512}
    assert line("é".encode()) == {"path": "é", **facts}
    assert line(b"\xff") == {"path_b64": "/w==", **facts}


@given(frames=st.lists(st.builds(Frame, sizes, sizes, sizes, sizes), max_size=5), count=sizes)
def test_a_header_survives(frames: list[Frame], count: int) -> None:
    header = IndexHeader(export_id=ExportId("X1"), frames=tuple(frames), entries=count)
    assert decode_header(encode_header(header)) == header


@pytest.mark.parametrize(
    "line", [b"", b"no json", b"[]", b"{}", b'{"format":1}', b'{"format":2,"export_id":"x","entries":0,"frames":[]}']
)
def test_what_is_no_header_is_refused(line: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode_header(line)


@pytest.mark.parametrize(
    "line", [b"{}", b'{"path":"a"}', b'{"path_b64":"?","type":"file","size":1}', b'{"path":"a","type":"odd"}']
)
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode_entry(line)
