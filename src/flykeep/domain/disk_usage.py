"""How full a volume is: what Fly says, what the machine says, and what happens when it is full."""

from __future__ import annotations

import base64
import binascii
import json
import re
import shlex
from dataclasses import dataclass

from flykeep.domain.errors import CommandFailedError
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.ids import VolumeId

FULL_SHARE = 0.9
"""From here on a volume counts as full: the file system keeps some of it to itself."""

_KIB = 1024
_BUDGET_S = 12  # for folders; one command has a minute at Fly, and half of that in practice
_MOST_FOLDERS = 400
_SHOWN = 12
_DF = re.compile(r"\s(\d+)\s+(\d+)\s+(-?\d+)\s+\d+%")
_SECTIONS = ("df", "inodes", "folders", "end")


@dataclass(frozen=True, slots=True)
class AutoExtend:
    """What the mount says: from `threshold_percent` on Fly adds `add_gb`, up to `limit_gb`."""

    threshold_percent: int
    add_gb: int | None
    limit_gb: int | None


@dataclass(frozen=True, slots=True)
class Folder:
    """Something at the volume's root, or a folder one below; `path` is relative, with escapes where not UTF-8."""

    path: str
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Disk:
    """What `df` says on the machine, and its biggest folders; `is_whole` false where time was up before all were."""

    size_bytes: int
    used_bytes: int
    available_bytes: int
    inodes: int | None
    inodes_used: int | None
    folders: tuple[Folder, ...]
    is_whole: bool


def used_share(volume: Volume) -> float | None:
    """How full Fly says it is; None where its host does not report."""
    if not volume.total_bytes or volume.used_bytes is None:
        return None
    return volume.used_bytes / volume.total_bytes


def auto_extend_of(machine: Machine, volume_id: VolumeId) -> AutoExtend | None:
    """None where the mount grows by no rule, or where the machine's configuration is not known."""
    mounts = json.loads(machine.config_json or "{}").get("mounts") or []
    mount = next((mount for mount in mounts if mount.get("volume") == volume_id), None)
    if mount is None or not mount.get("extend_threshold_percent"):
        return None
    return AutoExtend(int(mount["extend_threshold_percent"]), mount.get("add_size_gb"), mount.get("size_gb_limit"))


def growth_text(volume: Volume, extend: AutoExtend | None) -> str:
    """What will happen as the volume fills up."""
    if extend is None:
        return "It does not grow by itself: once it is full, writes fail, and snapshots may fail too."
    limit = f", up to {extend.limit_gb} GB" if extend.limit_gb else ""
    text = f"Fly adds {extend.add_gb or 'some'} GB once {extend.threshold_percent} % are used{limit}."
    if extend.limit_gb and volume.size_gb >= extend.limit_gb:
        return f"{text} That limit is reached: it does not grow any more."
    return text


def usage_script(directory: str) -> str:
    """For one short command: `df`, inodes, and the folders as far as time allows, names and all in base64."""
    return f"cd -P {shlex.quote(directory)} || exit 97\n{_SCRIPT}"


def read_usage(stdout: str) -> Disk:
    """Raises CommandFailedError where the machine's answer is another one."""
    parts: dict[str, str] = {}
    rest = stdout
    for name in reversed(_SECTIONS):
        rest, mark, parts[name] = rest.rpartition(f"flykeep:{name}\n")
        if not mark:
            raise CommandFailedError("the machine's answer about its disk is cut short", facts={"missing": name})
    sizes, inodes = _DF.search(parts["df"]), _DF.search(parts["inodes"])
    if sizes is None:
        raise CommandFailedError("the machine's df says nothing that flykeep understands")
    folders, is_whole = _folders(parts["folders"])
    return Disk(
        size_bytes=int(sizes[1]) * _KIB,
        used_bytes=int(sizes[2]) * _KIB,
        available_bytes=max(int(sizes[3]), 0) * _KIB,
        inodes=int(inodes[1]) if inodes else None,
        inodes_used=int(inodes[2]) if inodes else None,
        folders=folders,
        is_whole=is_whole,
    )


def _folders(text: str) -> tuple[tuple[Folder, ...], bool]:
    """The biggest first."""
    try:
        records = base64.b64decode(text.encode("ascii", "replace")).split(b"\0")[:-1]
    except binascii.Error as error:
        raise CommandFailedError("the machine's list of folders is cut short") from error
    found: list[Folder] = []
    is_whole = bool(records) and records[-1] == b"whole"
    for record in records[:-1]:
        kib, _, path = record.partition(b" ")
        if not kib.isdigit():
            is_whole = False  # time was up while it was measured
            continue
        name = path.removeprefix(b"./").decode("utf-8", "surrogateescape")
        found.append(Folder(name, int(kib) * _KIB))
    found.sort(key=lambda folder: (-folder.used_bytes, folder.path))
    return tuple(found[:_SHOWN]), is_whole


_MEASURE = f"""\
ends=$1
shift
command -v timeout >/dev/null || timeout() {{ shift; "$@"; }}
count=0
for one; do
  left=$((ends - $(date +%s)))
  count=$((count + 1))
  if [ $left -le 0 ] || [ $count -gt {_MOST_FOLDERS} ]; then printf 'late %s\\0' "$one"; exit 0; fi
  said=$(timeout $left du -skx "$one" 2>/dev/null) || [ -n "$said" ] || said=late
  printf '%s %s\\0' "${{said%%[!0-9]*}}" "$one"
done
"""

_SCRIPT = f"""\
LC_ALL=C
PATH=$PATH:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
export LC_ALL PATH
echo flykeep:df
df -kP .
echo flykeep:inodes
df -iP . 2>/dev/null
echo flykeep:folders
ends=$(($(date +%s) + {_BUDGET_S}))
(
  set -- -exec sh -c {shlex.quote(_MEASURE)} sh $ends {{}} +
  find . -xdev -mindepth 1 -maxdepth 1 ! -type l ! -name lost+found "$@" 2>/dev/null
  find . -xdev -mindepth 2 -maxdepth 2 -type d "$@" 2>/dev/null
  printf 'whole\\0'
) | base64
echo flykeep:end
"""
