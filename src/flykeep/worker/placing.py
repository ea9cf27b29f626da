"""The shell scripts that move a staged tree into place on a machine, and back; for GNU tools and for busybox.

Everything is a rename within one filesystem. What was done can be seen from where things stand, so each script may be
cut off anywhere and run again: it goes on. `.flykeep-import-RUN` holds the staged tree and the marks,
`.flykeep-old-RUN` what stood in its place; both lie beside the data, on the volume itself.
"""

from __future__ import annotations

import re

from flykeep.domain.artifact import IndexEntry
from flykeep.domain.errors import RefusalError, SshError
from flykeep.ports.importing import Placed, Placing
from flykeep.worker.remote_tar import PROLOGUE, quoted, raw

STAGED_PREFIX = b".flykeep-import-"
OLD_PREFIX = b".flykeep-old-"
_RUN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STATE = b"flykeep:"
_NOTHING_STAGED, _NOT_WHOLE, _NOT_MOVED = 94, 95, 96


def held_record(entry: IndexEntry) -> bytes:
    """One folder that the archive holds, as the scripts read it from the file `held` in the staging folder."""
    path = b"." if entry.path == b"." else b"./" + entry.path
    return b"%o,%d,%d,%d\n%s\0" % (entry.mode, entry.uid, entry.gid, entry.mtime_s, path)


def staging_folder(run_id: str) -> bytes:
    """Where a run stages, below the mount."""
    return STAGED_PREFIX + _checked(run_id)


def old_folder(run_id: str) -> bytes:
    """Where a run keeps what stood in its place, below the mount."""
    return OLD_PREFIX + _checked(run_id)


def placing_script(directory: str, run_id: str, placing: Placing) -> bytes:
    """Prints a dot for each folder, and how things stand at the end."""
    return b"".join(
        (
            PROLOGUE,
            b"cd -P " + quoted(raw(directory)) + b" || exit 97\n",
            b"root=$PWD new=" + staging_folder(run_id) + b" old=" + old_folder(run_id) + b"\n",
            _SCRIPTS[placing],
        )
    )


def mark_staged_script(directory: str, run_id: str) -> bytes:
    """Marks a staged tree as whole: only then it may be moved."""
    folder = quoted(raw(directory) + b"/" + staging_folder(run_id))
    return PROLOGUE + b"cd -P " + folder + b" && : > staged || exit 97\n"


def read_placed(output: bytes, *, code: int, stderr: tuple[bytes, ...], directory: str) -> Placed:
    """Raises RefusalError where it is not time for that yet, SshError where it stopped half-way."""
    _, found, state = output.rpartition(_STATE)
    if code == 0 and found:
        return Placed(state.decode("ascii").strip())
    facts: dict[str, str | int | None] = {"directory": directory, "exit_code": code}
    if code == _NOTHING_STAGED:
        return Placed.NOTHING
    if code in {_NOT_WHOLE, _NOT_MOVED}:
        reasons = {
            _NOT_WHOLE: "what was staged is not whole",
            _NOT_MOVED: "nothing of this import has been moved",
        }
        raise RefusalError(reasons[code], facts=facts)
    words = b"; ".join(stderr[-3:]).decode("utf-8", "backslashreplace")
    raise SshError(f"the machine could not move files: {words or 'no reason given'}", facts=facts)


def _checked(run_id: str) -> bytes:
    """The name goes unquoted into scripts that move and remove."""
    if not _RUN.fullmatch(run_id):
        raise RefusalError("a run id with strange characters", facts={"run": run_id})
    return run_id.encode()


# For one folder: its place on the volume is `$t`. Continues with the next one unless that is a folder, reached through
# folders only: anything else, a link above all, is replaced as a whole with the folder above.
_FOLDER = b"""
  case $d in .) rel= ;; *) rel=/${d#./} ;; esac
  t=$root$rel
  cd -P "$t" 2>/dev/null || continue
  [ "$PWD" = "$t" ] || continue
"""

# Folders come deepest first. Children that are folders on both sides were merged already; all others change places.
_MERGE = (
    b"""
root=$1 from=$2 aside=$3 late=$4 made=$5
shift 5
is() { [ -e "$1" ] || [ -L "$1" ]; }
merged() { [ -d "$1" ] && [ ! -L "$1" ] && [ -d "$t/$1" ] && [ ! -L "$t/$1" ]; }
put_aside() { mkdir -p "$a" && (cd -P "$t" && mv -f -- "$@" "$a/") || exit 1; }
put_in_place() { mv -f -- "$@" "$t/" || exit 1; }
for d; do"""
    + _FOLDER
    + b"""
  cd -P "$root/$from$rel" || exit 1
  a=$root/$aside$rel l=$root/$late$rel
  printf .
  set --
  for c in * .[!.]* ..?*; do
    is "$c" || continue
    merged "$c" && continue
    is "$t/$c" || continue
    if is "$a/$c"; then mkdir -p "$l" && mv -f -- "$t/$c" "$l/" || exit 1; continue; fi
    set -- "$@" "$c"
    if [ $# -ge 300 ]; then put_aside "$@"; set --; fi
  done
  [ $# -eq 0 ] || put_aside "$@"
  set --
  for c in * .[!.]* ..?*; do
    is "$c" || continue
    merged "$c" && continue
    if [ -n "$made" ] && ! is "$a/$c"; then printf '%s\\0' "$d/$c" >> "$root/$made" || exit 1; fi
    set -- "$@" "$c"
    if [ $# -ge 300 ]; then put_in_place "$@"; set --; fi
  done
  [ $# -eq 0 ] || put_in_place "$@"
done
"""
)

# Reads the folders the archive holds, `MODE,UID,GID,MTIME` and path each; prints them again with how each is now before
# that, or `-` where there is none.
_REMEMBER = b"""
root=$1
shift
nl='
'
for r; do
  wanted=${r%%"$nl"*} d=${r#*"$nl"} was=-
  case $d in .) t=$root ;; *) t=$root/${d#./} ;; esac
  if cd -P "$t" 2>/dev/null && [ "$PWD" = "$t" ]; then was=$(stat -c %a,%u,%g,%Y .) || exit 1; fi
  printf '%s\\n%s\\n%s\\0' "$was" "$wanted" "$d"
done
"""

# Gives the folders that were remembered their mode, owner and time: column 1 is as they were, 2 as they shall be.
_SETTLE = (
    b"""
root=$1 column=$2
shift 2
me=$(id -u)
nl='
'
for r; do
  was=${r%%"$nl"*} r=${r#*"$nl"}
  wanted=${r%%"$nl"*} d=${r#*"$nl"}
  [ "$column" = 2 ] || wanted=$was
  [ "$wanted" != - ] || continue
"""
    + _FOLDER
    + b"""
  now=$(stat -c %a,%u,%g,%Y .) || exit 1
  [ "$now" = "$wanted" ] && continue
  IFS=,
  set -- $now $wanted
  unset IFS
  [ "$2:$3" = "$6:$7" ] || [ $me != 0 ] || chown "$6:$7" . || exit 1
  chmod "$5" . || exit 1
  touch -d "@$8" .
done
exit 0
"""
)

# Takes what had no predecessor back to where it was staged.
_TAKE_BACK = (
    b"""
root=$1 new=$2
shift 2
is() { [ -e "$1" ] || [ -L "$1" ]; }
for p; do
  d=${p%/*} c=${p##*/}"""
    + _FOLDER
    + b"""
  is "$c" || continue
  is "$root/$new$rel/$c" && continue
  mv -f -- "$c" "$root/$new$rel/" || exit 1
done
"""
)

_SCRIPTS = {
    Placing.MOVE: b"""
if [ -f $new/moved ]; then echo flykeep:moved; exit 0; fi
[ -d $new ] || exit 94
[ -f $new/staged ] && [ -f $new/held ] || exit 95
umask 077
mkdir -p $old && sync || exit 1
if [ ! -f $new/folders ]; then
  xargs -0 sh -c """
    + quoted(_REMEMBER)
    + b""" sh "$root" < $new/held > $new/folders.part && mv $new/folders.part $new/folders || exit 1
fi
(cd $new/new && exec find . -depth -type d -exec sh -c """
    + quoted(_MERGE)
    + b""" sh "$root" $new/new $old $new/late $new/made {} +) || exit 1
xargs -0 sh -c """
    + quoted(_SETTLE)
    + b""" sh "$root" 2 < $new/folders || exit 1
sync
: > $new/moved || exit 1
sync
echo; echo flykeep:moved
""",
    Placing.UNDO: b"""
if [ -f $new/undone ]; then echo flykeep:undone; exit 0; fi
[ -d $new ] || exit 94
[ -f $new/folders ] || exit 96
umask 077
if [ -f $new/made ]; then
  xargs -0 sh -c """
    + quoted(_TAKE_BACK)
    + b""" sh "$root" $new/new < $new/made || exit 1
fi
if [ -d $old ]; then
  (cd $old && exec find . -depth -type d -exec sh -c """
    + quoted(_MERGE)
    + b""" sh "$root" $old $new/new $new/late '' {} +) || exit 1
fi
xargs -0 sh -c """
    + quoted(_SETTLE)
    + b""" sh "$root" 1 < $new/folders || exit 1
sync
: > $new/undone || exit 1
sync
echo; echo flykeep:undone
""",
    Placing.DROP: b"""
if [ -d $new ]; then
  [ -f $new/moved ] || [ -f $new/undone ] || exit 96
  mv $new $new.gone || exit 1
fi
rm -rf -- $old $new.gone || exit 1
echo flykeep:nothing
""",
    Placing.DISCARD: b"""
if [ -f $new/folders ]; then echo flykeep:moving; exit 0; fi
rm -rf -- $new || { sleep 1; rm -rf -- $new; } || exit 1
[ ! -d $old ] || rmdir $old || exit 1
echo flykeep:nothing
""",
}
