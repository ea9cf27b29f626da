"""The lines of an artifact's index: one JSON object each, the header first, then one entry per tar member.

Part of artifact format 1: names and meanings never change. A name that is not UTF-8 stands base64-coded under
`path_b64` (`link_target_b64`) instead of `path` (`link_target`).
"""

from __future__ import annotations

import base64
import binascii
import json

from flykeep.domain.artifact import FORMAT_VERSION, EntryType, Frame, IndexEntry, IndexHeader
from flykeep.domain.errors import IntegrityError
from flykeep.domain.ids import ExportId

_Json = dict[str, object]


def encode_header(header: IndexHeader) -> bytes:
    """One line, newline included. Frames are `[tar_offset, tar_bytes, stream_offset, stream_bytes]`."""
    return _line(
        {
            "format": header.format,
            "export_id": header.export_id,
            "entries": header.entries,
            "frames": [[f.tar_offset, f.tar_bytes, f.stream_offset, f.stream_bytes] for f in header.frames],
        }
    )


def decode_header(line: bytes) -> IndexHeader:
    """Raises IntegrityError for anything but a header of a known format."""
    fields = _fields(line)
    try:
        if fields["format"] != FORMAT_VERSION:
            raise IntegrityError(
                f"the index has format {fields['format']}, this flykeep reads {FORMAT_VERSION}",
                hint="Update flykeep, or restore with age, zstd and tar as RESTORE.md says.",
            )
        return IndexHeader(
            export_id=ExportId(str(fields["export_id"])),
            frames=tuple(Frame(*(int(part) for part in frame)) for frame in _list(fields["frames"])),
            entries=_int(fields["entries"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("the index does not begin with a header") from error


def encode_entry(entry: IndexEntry) -> bytes:
    """One line, newline included; absent facts are left out."""
    fields: _Json = _named("path", entry.path)
    fields["type"] = entry.type.value
    fields["size"] = entry.size_bytes
    fields["mode"] = entry.mode
    fields["uid"] = entry.uid
    fields["gid"] = entry.gid
    fields["mtime"] = entry.mtime_s
    if entry.link_target is not None:
        fields |= _named("link_target", entry.link_target)
    if entry.sha256 is not None:
        fields["sha256"] = entry.sha256
    fields["offset"] = entry.offset
    return _line(fields)


def decode_entry(line: bytes) -> IndexEntry:
    """Raises IntegrityError for a line that is not an entry."""
    fields = _fields(line)
    try:
        path = _raw(fields, "path")
        if path is None:
            raise IntegrityError("an index entry has no path")
        sha256 = fields.get("sha256")
        return IndexEntry(
            path=path,
            type=EntryType(str(fields["type"])),
            size_bytes=_int(fields["size"]),
            mode=_int(fields["mode"]),
            uid=_int(fields["uid"]),
            gid=_int(fields["gid"]),
            mtime_s=_int(fields["mtime"]),
            link_target=_raw(fields, "link_target"),
            sha256=None if sha256 is None else str(sha256),
            offset=_int(fields["offset"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("an index entry cannot be read") from error


def _line(fields: _Json) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _fields(line: bytes) -> _Json:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise IntegrityError("an index line is not JSON") from error
    if not isinstance(fields, dict):
        raise IntegrityError("an index line is not a JSON object")
    return fields


def _named(name: str, raw: bytes) -> _Json:
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_b64": base64.b64encode(raw).decode()}


def _raw(fields: _Json, name: str) -> bytes | None:
    coded = fields.get(f"{name}_b64")
    if coded is not None:
        try:
            return base64.b64decode(str(coded), validate=True)
        except binascii.Error as error:
            raise IntegrityError("an index entry has an unreadable name") from error
    text = fields.get(name)
    return None if text is None else str(text).encode()


def _int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(value)


def _list(value: object) -> list[list[int]]:
    if isinstance(value, list):
        return value
    raise TypeError(value)
