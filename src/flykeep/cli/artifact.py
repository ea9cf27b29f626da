"""`flykeep artifact show|files|verify ID`: look into one artifact; `get` has a module of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flykeep.cli import artifact_get, artifact_pin
from flykeep.cli.artifacts import stored_bytes, summary
from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.fates import Fates, expected_fates
from flykeep.cli.one_artifact import ArtifactId, FromStore, find_artifact
from flykeep.cli.progress import ProgressView
from flykeep.cli.render import bytes_text, instant_text
from flykeep.domain.artifact import Artifact, IndexEntry
from flykeep.domain.documents import Plain, plain
from flykeep.domain.verification import Level

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


_LEVEL = Annotated[
    Level,
    typer.Option(help="manifest: signature, sizes; bytes: every stored byte; contents: every file, with the identity."),
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Look into one artifact: its description, its files, or a proof that it is whole. Fetch files of it.",
        no_args_is_help=True,
    )
    app.add_typer(group, name="artifact")
    artifact_pin.register(group)
    artifact_get.register(group)

    @group.command()
    def show(ctx: typer.Context, artifact_id: ArtifactId, store: FromStore = None) -> None:
        """Show what it holds, where it came from, and whether it counts as a backup."""

        async def action(application: Application, options: Common) -> int:
            return await _show(application, options, await find_artifact(application, artifact_id, store))

        with_application(ctx, action)

    @group.command()
    def files(
        ctx: typer.Context,
        artifact_id: ArtifactId,
        grep: Annotated[str | None, typer.Option(help="Show only paths that contain this text.")] = None,
        store: FromStore = None,
    ) -> None:
        """List its files from the index; data is not downloaded."""

        async def action(application: Application, options: Common) -> int:
            artifact = await find_artifact(application, artifact_id, store)
            return await _files(application, options, artifact, grep)

        with_application(ctx, action)

    @group.command()
    def verify(
        ctx: typer.Context,
        artifact_id: ArtifactId,
        level: _LEVEL = Level.BYTES,
        store: FromStore = None,
    ) -> None:
        """Prove that it is what was written; exit 7 where it is not."""

        async def action(application: Application, options: Common) -> int:
            artifact = await find_artifact(application, artifact_id, store)
            return await _verify(application, options, artifact, level)

        with_application(ctx, action)


async def _show(application: Application, options: Common, artifact: Artifact) -> int:
    fates = await expected_fates(application, artifact.manifest.origin.lineage_id)
    if options.is_json:
        print_document(summary(artifact, fates) | {"manifest": plain(artifact.manifest)})
    else:
        _print(artifact, fates, options)
    return 0


async def _verify(application: Application, options: Common, artifact: Artifact, level: Level) -> int:
    out = console(options)
    with ProgressView(out, f"verifying {artifact.export_id}") as view:
        report = await application.verify.verify(artifact, level=level.value, on_progress=view.progress)
    if options.is_json:
        print_document({"export_id": artifact.export_id, "store": artifact.store, "verified": plain(report)})
    else:
        out.print(
            f"artifact {artifact.export_id} in {artifact.store}: {level.value} verified, "
            f"{bytes_text(report.bytes_read)} read, {report.entries_compared} entries compared"
        )
    known = await find_artifact(application, artifact.export_id, artifact.store)
    if known.is_failed:
        out.print(f"it still counts as failed: look as deep as it failed, with --level {known.verified_level}")
    return 0


async def _files(application: Application, options: Common, artifact: Artifact, grep: str | None) -> int:
    entries: list[Plain] = []
    out = console(options)
    async with application.verify.entries(artifact, contains=grep) as found:
        async for entry in found:
            if options.is_json:
                entries.append(_entry(entry))
            else:
                out.print(
                    f"{entry.mode & 0o7777:04o} {entry.size_bytes:>12} {_text(entry.path)}"
                    + (f" -> {_text(entry.link_target)}" if entry.link_target else ""),
                    markup=False,
                )
    if options.is_json:
        print_document({"export_id": artifact.export_id, "files": entries})
    return 0


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _entry(entry: IndexEntry) -> dict[str, Plain]:
    document = plain(entry)
    if not isinstance(document, dict):
        raise TypeError("an index entry is a document")
    return document


def _counts(artifact: Artifact) -> str:
    if artifact.is_failed:
        return "no: it failed its verification"
    reason = artifact.manifest.why_not_restorable
    return f"no: {reason}" if reason else "yes"


def _opened(artifact: Artifact) -> str:
    if artifact.contents_verified_at:
        return f"contents compared, {instant_text(artifact.contents_verified_at)}"
    return "contents did not fit" if artifact.verified_level == "contents" else "never by flykeep"


def _print(artifact: Artifact, fates: Fates, options: Common) -> None:
    manifest, out = artifact.manifest, console(options)
    rows = {
        "artifact": artifact.export_id,
        "target": f"{manifest.origin.app}/{manifest.origin.volume_name} ({manifest.origin.volume_id})",
        "machine": f"{manifest.origin.machine_id} in {manifest.origin.region}",
        "made": f"{instant_text(manifest.started_at)} to {instant_text(manifest.ended_at)}",
        "source": f"{manifest.origin.source}, {manifest.consistency.value}",
        "holds": f"{manifest.totals.files} files, {bytes_text(manifest.totals.content_bytes)}",
        "stored": f"{bytes_text(stored_bytes(artifact))} in {artifact.store}: {artifact.manifest_key}",
        "encrypted to": ", ".join(manifest.recipients) or "nobody: not encrypted",
        "outcome": manifest.outcome.value,
        "counts": _counts(artifact),
        "retention": fates.text(artifact),
        "verified": f"{artifact.verified_level}, {instant_text(artifact.verified_at)}"
        + (" (failed)" if artifact.is_failed else "")
        if artifact.verified_at
        else "read back when it was stored",
        "opened": _opened(artifact),
    }
    for name, value in rows.items():
        line = Text(f"{name:>13}  ", style="bold")
        out.print(line.append(value, style="not bold"), soft_wrap=True)
    for file in manifest.changed:
        out.print(f"{file.change:>13}  {file.path}", style="yellow", markup=False)
    for path in manifest.skipped:
        out.print(f"{'skipped':>13}  {path}", markup=False)
