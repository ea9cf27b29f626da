"""The table `[drill]` and the probes of `[[targets]]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flykeep.settings.fields import AbsolutePath, Duration, Glob, PublicKey, Table

_NEEDED = {
    "exists": {"path"},
    "json": {"path"},
    "sqlite": {"path"},
    "count": {"path", "min_files"},
    "newer_than": {"path", "max_age"},
    "sha256": {"path", "sha256"},
    "command": {"run"},
}
_ALLOWED = {**_NEEDED, "sqlite": {"path", "rows"}, "command": {"run", "timeout"}}


class DrillSettingsTable(Table):
    trusted_signers: tuple[PublicKey, ...] = Field(
        (),
        description="Public keys, in hexadecimal, whose drills elsewhere are believed; `flykeep drill` shows its own.",
    )
    directory: AbsolutePath | None = Field(
        None, description="Where artifacts are restored without a worker Machine; else below the state directory."
    )


class ProbeTable(Table):
    kind: Literal["exists", "json", "sqlite", "count", "newer_than", "sha256", "command"] = Field(
        description="What is asked of the path."
    )
    path: Glob | None = Field(None, description="Glob from the volume's root; every kind but `command` needs it.")
    min_files: int | None = Field(None, ge=0, description="For `count`: at least this many files at or below the path.")
    rows: dict[str, Annotated[int, Field(ge=0)]] | None = Field(
        None, description="For `sqlite`: tables, and how many rows each must hold at least."
    )
    max_age: Duration | None = Field(
        None, description="For `newer_than`: how old the newest file may be when the backup is made."
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = Field(
        None, description="For `sha256`: the content of every file that matches."
    )
    run: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="For `command`: command and arguments, run in the restored volume's root; no shell."
    )
    timeout: Duration | None = Field(None, description="For `command`: else 60s.")

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> ProbeTable:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None} - {"kind"}
        if missing := _NEEDED[self.kind] - given:
            raise ValueError(f'needs {", ".join(sorted(missing))} with kind "{self.kind}"')
        if foreign := given - _ALLOWED[self.kind]:
            raise ValueError(f'has no use for {", ".join(sorted(foreign))} with kind "{self.kind}"')
        return self
