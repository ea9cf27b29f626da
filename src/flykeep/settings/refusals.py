"""Turns a validator's errors into problems a person can act on: key path, line, nearest valid key.

No message repeats a value that was refused.
"""

from __future__ import annotations

from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flykeep.settings.model import LITERAL_SECRET_KEYS, FileModel
from flykeep.settings.origins import Origins, dotted
from flykeep.settings.toml_lines import Path
from flykeep.settings.values import Level, Problem

_KEY = "[key]"  # how the validator points at the name of a table instead of at its contents


def problems_of(error: ValidationError, origins: Origins) -> tuple[Problem, ...]:
    """Every error of one validation, in the validator's order."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(_problem(detail, origins) for detail in details)


def _problem(detail: ErrorDetails, origins: Origins) -> Problem:
    path, valid_keys = _walk(tuple(part for part in detail["loc"] if part != _KEY))
    kind = detail["type"]
    if kind == "extra_forbidden":
        return unknown_key(path, valid_keys=valid_keys, origin=origins.nearest(path))
    if kind == "literal_secret":
        path = (*path, detail["msg"])
        return literal_secret(path, origin=origins.nearest(path))
    message = detail["msg"].removeprefix("Value error, ")
    if kind == "missing":
        message = "is missing"
    elif kind in {"union_tag_invalid", "union_tag_not_found"}:
        path, message = (*path, "type"), 'must be "s3" or "directory"'
    elif detail["loc"][-1:] == (_KEY,):
        message = "names are lower-case letters, digits, _ and -"
    return Problem(Level.ERROR, dotted(path), message, origins.nearest(path))


def unknown_key(path: Path, *, valid_keys: tuple[str, ...], origin: str | None) -> Problem:
    """An unknown key, or a secret that was about to be written out."""
    key = str(path[-1])
    if key in LITERAL_SECRET_KEYS:
        return literal_secret(path, origin=origin)
    close = get_close_matches(key, valid_keys, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]}?" if close else f"Valid keys: {', '.join(sorted(valid_keys))}."
    return Problem(Level.ERROR, dotted(path), "is not a known key", origin, hint)


def literal_secret(path: Path, *, origin: str | None) -> Problem:
    key = str(path[-1])
    hint = f'Write {key}_secret = "NAME" and set the variable NAME, or NAME_FILE, where flykeep runs.'
    if path[0] == "fly":
        hint = "Set FLY_API_TOKEN, or FLY_API_TOKEN_FILE, where flykeep runs."
    return Problem(Level.ERROR, dotted(path), "would put a secret into the configuration", origin, hint)


def unknown_name(path: Path, *, name: str, what: str, known: tuple[str, ...], origin: str | None) -> Problem:
    """A reference to something that is not configured."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(sorted(known)) or 'none'}."
    return Problem(Level.ERROR, dotted(path), f"names no {what} of this configuration", origin, hint)


def _walk(loc: tuple[str | int, ...]) -> tuple[Path, tuple[str, ...]]:
    """The key path of an error's location, without the tags of unions, and the keys valid beside its last part."""
    at: Any = FileModel
    path: Path = ()
    valid: tuple[str, ...] = ()
    for part in loc:
        at = _plain(at)
        if _is_union(at):
            at = next((member for member in get_args(at) if _tag_of(member) == part), None)
            continue
        path = (*path, part)
        valid = ()
        if isinstance(at, type) and issubclass(at, BaseModel):
            valid = tuple(at.model_fields)
            at = at.model_fields[str(part)].annotation if part in valid else None
        else:
            at = next((inner for inner in reversed(get_args(at)) if inner is not Ellipsis), None)
    return path, valid


def _plain(annotation: Any) -> Any:
    """Without Annotated and without None."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if _is_union(annotation):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return _plain(members[0]) if len(members) == 1 else annotation
    return annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in {Union, UnionType}


def _tag_of(model: Any) -> str | None:
    """The value of a store model's `type`."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return None
    values = get_args(model.model_fields["type"].annotation)
    return str(values[0]) if values else None
