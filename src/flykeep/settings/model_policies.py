"""The tables `[policies.NAME]` and `[[targets]]`. An absent key of a policy is inherited, so every key is optional."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flykeep.settings.fields import (
    AbsolutePath,
    CleanAge,
    CleanGlob,
    Cron,
    Duration,
    DurationOrNever,
    Glob,
    Name,
    Table,
    Zone,
)
from flykeep.settings.model_drills import ProbeTable


class SnapshotTable(Table):
    cron: Cron | None = Field(None, description='When flykeep takes its own snapshot; "never" ends an inherited one.')
    max_age: DurationOrNever | None = Field(None, description="RPO: the newest snapshot may be this old.")
    retention_days: int | None = Field(None, ge=1, le=60, description="Days Fly keeps a snapshot (1 to 60).")
    automatic: bool | None = Field(None, description="Whether Fly's own daily snapshots must be on.")
    max_pending: Duration | None = Field(None, description="A snapshot may stay unfinished for this long.")


class ExportTable(Table):
    cron: Cron | None = Field(None, description='When contents are exported; "never" ends an inherited one.')
    max_age: DurationOrNever | None = Field(None, description="The newest restorable export may be this old.")
    source: Literal["auto", "snapshot", "ssh"] | None = Field(None, description="Where the bytes are read from.")


class DrillTable(Table):
    cron: Cron | None = Field(None, description="When a restore is rehearsed.")
    max_age: DurationOrNever | None = Field(None, description="The newest proof may be this old.")


class KeepTable(Table):
    last: int = Field(0, ge=0, description="Newest artifacts kept.")
    daily: int = Field(0, ge=0, description="Days of which the newest artifact is kept.")
    weekly: int = Field(0, ge=0, description="Weeks of which the newest artifact is kept.")
    monthly: int = Field(0, ge=0, description="Months of which the newest artifact is kept.")
    yearly: int = Field(0, ge=0, description="Years of which the newest artifact is kept.")
    within: Duration | None = Field(None, description="At most this much older than the newest is kept.")
    min: int = Field(1, ge=1, description="Never fewer than this many that are verified and complete.")


class CopyTable(Table):
    store: Name = Field(description="Name of a store.")
    keep: KeepTable = Field(KeepTable(), description="What retention leaves there.")


class PolicyTable(Table):
    extends: str | None = Field(None, description="Preset or policy whose keys are inherited.")
    timezone: Zone | None = Field(None, description="Time zone of the policy's cron expressions and of retention.")
    snapshot: SnapshotTable = Field(SnapshotTable(), description="Snapshots on Fly.")
    export: ExportTable = Field(ExportTable(), description="Copies off the platform.")
    drill: DrillTable = Field(DrillTable(), description="Rehearsed restores.")
    copies: tuple[CopyTable, ...] | None = Field(None, description="Stores an export goes to.")
    remind_every: Duration | None = Field(None, description="An open incident is told again after this long.")
    new_volume_grace: Duration | None = Field(None, description="A new volume may be without backups for this long.")
    alarming: bool | None = Field(None, description="Whether findings become incidents at all.")


class HookTable(Table):
    run: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="Command and arguments; no shell.")
    timeout: Duration = Field("20s", validate_default=True, description="At most 60 s, Fly's own limit.")
    if_unavailable: Literal["continue", "fail"] = Field(
        "fail", description="What to do when the machine can't run the command."
    )
    makes_consistent: bool = Field(False, description="The application's data is consistent after this command.")

    @model_validator(mode="after")
    def _within_a_minute(self) -> HookTable:
        if not 0 < self.timeout.total_seconds() <= 60:
            raise ValueError("has a timeout outside 1s to 60s, which is all that Fly allows a command")
        return self


class HooksTable(Table):
    before_snapshot: HookTable | None = Field(None, description="Before a snapshot.")
    after_snapshot: HookTable | None = Field(None, description="After a snapshot, whatever happened.")
    before_export: HookTable | None = Field(None, description="Before an export over SSH.")
    after_export: HookTable | None = Field(None, description="After an export, whatever happened.")


class CleanTable(Table):
    glob: CleanGlob = Field(description="Files from the volume's root, as `include` names them.")
    older_than: CleanAge = Field(description="They go once they have not changed for this long; at least 1h.")


class TargetTable(Table):
    match: str = Field(pattern=r"^[^\s/@]+(/[^\s/@]+)?(@[^\s/@]+)?$", description="app/volume or app/volume@machine.")
    policy: str = Field(description="Preset or policy.")
    mount: AbsolutePath | None = Field(None, description="Where the volume is mounted, where Fly's word is not enough.")
    include: tuple[Glob, ...] = Field((), description="Globs from the volume's root; empty exports everything.")
    exclude: tuple[Glob, ...] = Field((), description="Globs from the volume's root that are left out.")
    instances: Literal["each", "primary"] = Field(
        "each", description="`primary` where several volumes hold the same data."
    )
    hooks: HooksTable = Field(HooksTable(), description="Commands around snapshots and exports.")
    probes: tuple[ProbeTable, ...] = Field((), description="What a rehearsed restore must find.")
    clean: tuple[CleanTable, ...] = Field((), description="What `flykeep volume clean` may remove; never by itself.")
