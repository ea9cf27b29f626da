"""The raw table of a notifier, validated by its own model; secrets by name, never by value."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from flykeep.domain.errors import ConfigError, NotifyError
from flykeep.ports.plugin import NotifierDeps

SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]
_T = TypeVar("_T", bound="NotifierTable")


class NotifierTable(BaseModel):
    """Unknown keys are errors, and errors hide what they refuse."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def validated(model: type[_T], name: str, table: Mapping[str, object]) -> _T:
    """`table` as `model`; raises ConfigError naming the first wrong key, never a value. `type` may be left in."""
    raw = {key: value for key, value in table.items() if key != "type"}
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        # A misspelt key explains the missing one.
        detail = min(details, key=lambda one: one["type"] != "extra_forbidden")
        path = ".".join(("notifiers", name, *(str(part) for part in detail["loc"])))
        key = str(detail["loc"][0]) if detail["loc"] else ""
        message, hint = _words(detail["type"], detail["msg"], key=key, valid=tuple(model.model_fields))
        # The validator's own error holds the refused value: it stays here.
        raise ConfigError(f"{path}: {message}", hint=hint) from None


def _words(kind: str, message: str, *, key: str, valid: tuple[str, ...]) -> tuple[str, str]:
    if kind == "extra_forbidden":
        if f"{key}_secret" in valid:
            return "would put a secret into the configuration", f'Write {key}_secret = "NAME_OF_A_VARIABLE".'
        close = get_close_matches(key, valid, n=1, cutoff=0.5)
        return (
            "is not a known key",
            f"Did you mean {close[0]}?" if close else f"Valid keys: {', '.join(valid) or 'none'}.",
        )
    if kind == "missing":
        return "is missing", "See docs/reference/notifiers.md."
    if key.endswith("_secret"):
        return "must be the NAME of an environment variable, not the secret itself", "Capitals, digits and _ only."
    return message.removeprefix("Value error, "), "See docs/reference/notifiers.md."


def secret_of(deps: NotifierDeps, name: str) -> str:
    """The secret called `name`, read anew for each message so that it can be renewed; raises NotifyError."""
    try:
        return deps.secret(name).strip()
    except ConfigError as error:
        raise NotifyError(f"{error.message}: {error.next_step}", is_permanent=True) from error
