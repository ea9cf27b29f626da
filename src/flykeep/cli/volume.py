"""`flykeep volume usage TARGET`: how full it is; `clean`, `extend` and `retention` have modules of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli import volume_clean, volume_extend, volume_retention
from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import bytes_text, count_text, print_table
from flykeep.cli.targets import TARGET_HELP, located_lineage, rule_for_lineage
from flykeep.domain.disk_usage import Disk, growth_text
from flykeep.domain.documents import Plain, plain
from flykeep.domain.policy import TargetRule
from flykeep.domain.target import Lineage
from flykeep.jobs.volume_usage import Usage, VolumeUsage

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Care for a volume: how full it is, removing old files by rule, more room, snapshots' retention.",
        no_args_is_help=True,
    )
    app.add_typer(group, name="volume")
    volume_clean.register(group)
    volume_extend.register(group)
    volume_retention.register(group)

    @group.command()
    def usage(ctx: typer.Context, target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)]) -> None:
        """Show how full it is, its biggest folders, and what happens when it is full."""

        async def action(application: Application, options: Common) -> int:
            lineage = await located_lineage(application, target)
            rule = rule_for_lineage(application, lineage)
            found = await VolumeUsage(application.fly).look(lineage, rule)
            if options.is_json:
                print_document(_document(lineage, rule, found))
            else:
                _print(options, lineage, rule, found)
            return 0

        with_application(ctx, action)


def _document(lineage: Lineage, rule: TargetRule, found: Usage) -> dict[str, Plain]:
    volume, machine = found.volume, found.machine
    return {
        "target": lineage.label,
        "volume_id": volume.id,
        "machine_id": machine.id if machine else None,
        "machine_state": machine.state if machine else None,
        "size_gb": volume.size_gb,
        "used_bytes": volume.used_bytes,
        "total_bytes": volume.total_bytes,
        "auto_extend": plain(found.auto_extend),
        "growth": growth_text(volume, found.auto_extend),
        "retention_days": volume.snapshot_retention_days,
        "automatic_snapshots": volume.is_automatic_snapshot_on,
        "disk": plain(found.disk),
        "silence": found.silence,
        "clean_rules": len(rule.clean),
    }


def _print(options: Common, lineage: Lineage, rule: TargetRule, found: Usage) -> None:
    out, volume = console(options), found.volume
    out.print(f"{lineage.label}: {volume.id}, {volume.size_gb} GB in {volume.region}", style="bold", markup=False)
    used = _of(volume.used_bytes, volume.total_bytes)
    out.print(f"  Fly says: {used}")
    if found.disk is not None:
        _print_disk(options, found.disk)
    else:
        out.print(f"  df: not asked: {found.silence}", markup=False)
    out.print(f"  {growth_text(volume, found.auto_extend)}", markup=False)
    days = volume.snapshot_retention_days
    kept = f"kept for {days} days" if days else "kept for a time that Fly does not report"
    automatic = {True: "on", False: "off", None: "not reported"}[volume.is_automatic_snapshot_on]
    out.print(f"  snapshots: {kept}; Fly's daily ones: {automatic}")
    rules = count_text(len(rule.clean), "rule")
    said = f"{rules}: flykeep volume clean {lineage.label}" if rule.clean else "no rule says what may go"
    out.print(f"  cleaning: {said}; more room: flykeep volume extend {lineage.label} --size +1", markup=False)
    if found.disk is not None and found.disk.folders:
        out.print()
        rows = [(bytes_text(folder.used_bytes), str(plain(folder.path))) for folder in found.disk.folders]
        print_table(out, "used", "the biggest", rows=rows)
        if not found.disk.is_whole:
            out.print("time was up before everything was measured: there may be bigger ones")


def _print_disk(options: Common, disk: Disk) -> None:
    out = console(options)
    text = f"{_of(disk.used_bytes, disk.size_bytes)}, {bytes_text(disk.available_bytes)} free for the application"
    if disk.inodes:
        text += f"; {disk.inodes_used} of {disk.inodes} inodes"
    out.print(f"  df: {text}")


def _of(used: int | None, total: int | None) -> str:
    if used is None or not total:
        return "not reported"
    return f"{bytes_text(used)} of {bytes_text(total)} used ({used / total:.0%})"
