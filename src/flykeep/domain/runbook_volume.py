"""The part of a runbook that brings one volume back: from a snapshot, or from an artifact through a helper machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flykeep.domain.app_description import DescribedMachine, DescribedVolume
from flykeep.domain.artifact import Artifact, ArtifactOutcome
from flykeep.domain.page import PageWriter, quoted, quoted_again
from flykeep.domain.runbook_facts import (
    KnownSnapshot,
    RunbookFacts,
    StoreDoor,
    VolumeHistory,
    config_of,
    mount_path,
    size_gb_for,
    usable,
)
from flykeep.domain.wording import instant, printable

_HELPER_IMAGE = "debian:stable-slim"  # its tar reads long names and owners, which smaller ones do not
_LISTED = 12
_ID_LINE = r"""sed -n 's/^ *"id": *"\(vol_[^"]*\)".*/\1/p'"""
_VOLUME_ID = "a line that begins with `vol_`: the new volume's id, which is now in `{file}`."
_NO_ID = "No id is printed: read the message above. Put right what it says, and try the block again."
_OTHER_ID = "The volume is in `fly volumes list -a {app}`: write its id down with `echo vol_... > {id_file}`."


@dataclass(frozen=True, slots=True)
class VolumeStep:
    """One volume of the page; `number` tells its files and blocks from those of others."""

    facts: RunbookFacts
    volume: DescribedVolume
    number: int

    @property
    def app(self) -> str:
        return quoted(self.facts.described.app)

    @property
    def holder(self) -> DescribedMachine | None:
        return self.facts.holder(self.volume)

    @property
    def history(self) -> VolumeHistory:
        return self.facts.history(self.volume)

    @property
    def id_file(self) -> str:
        return f"volume-{self.number}.id"


def write_volume(page: PageWriter, step: VolumeStep) -> None:
    """Everything up to a volume with its data, that no machine holds."""
    volume, snapshots = step.volume, step.history.snapshots
    copies = step.facts.newest_copies(step.history)
    held = f", for machine `{step.holder.name}`" if step.holder else ""
    page.text(f"## 5.{step.number} Volume `{volume.name}` ({volume.size_gb} GB in {volume.region}){held}")
    if not snapshots and not copies:
        page.text("**flykeep knew of no backup of this volume.** This page can only make an empty one.")
    elif snapshots:
        page.text(
            "Take **A**, a snapshot, where one has survived: it is faster and newer.",
            "Fly deletes an app's snapshots together with the app. If the app was gone in step 1, take **B**.",
        )
    if snapshots:
        _write_snapshots(page, step, snapshots)
    _write_empty(page, step)
    if copies:
        _write_filling(page, step, copies)


def _write_snapshots(page: PageWriter, step: VolumeStep, snapshots: Sequence[KnownSnapshot]) -> None:
    newest = snapshots[0]
    page.text(f"### A. Volume `{step.volume.name}` from a snapshot")
    page.text("These are the snapshots that flykeep knew of, newest first:")
    rows = [(f"`{each.id}`", instant(each.created_at), f"`{each.volume_id}`") for each in snapshots[:_LISTED]]
    page.table(("snapshot", "taken", "of volume"), rows)
    page.text("See which of them are still there:")
    page.block(
        f"snapshots-{step.number}",
        *(f"fly volumes snapshots list {quoted(each)} -a {step.app}" for each in _volumes_of(snapshots)),
        expect=f"a table with `{newest.id}`, or with another of the snapshots above, and the status `created`.",
        otherwise=[
            "A newer snapshot is in the table: use its id in the next block.",
            "`not found`: the volume, or the app, was deleted a while ago. Try the next block all the same.",
        ],
    )
    made = _create(step, size_gb_for(newest, step.volume), f"--snapshot-id {quoted(newest.id)}")
    page.text("Make the volume from the newest one:")
    page.block(
        f"volume-{step.number}-from-snapshot",
        *made,
        expect=_VOLUME_ID.format(file=step.id_file),
        otherwise=[
            "The snapshot is not found: put the id of the next older one in its place.",
            "The size is too small: put a larger number after `--size`.",
            *_trouble_with_ids(step),
            "No snapshot works: go on with **B**.",
        ],
    )
    page.text("You have the data. Skip **B**; go on with the machine.")


def _volumes_of(snapshots: Sequence[KnownSnapshot]) -> tuple[str, ...]:
    """The volumes of the snapshots that the page lists, each once."""
    return tuple(dict.fromkeys(each.volume_id for each in snapshots[:_LISTED]))


def _write_empty(page: PageWriter, step: VolumeStep) -> None:
    page.text(f"### B. Volume `{step.volume.name}` from an artifact")
    page.text("Make an empty volume:")
    page.block(
        f"volume-{step.number}-empty",
        *_create(step, step.volume.size_gb),
        expect=_VOLUME_ID.format(file=step.id_file),
        otherwise=_trouble_with_ids(step),
    )


def _create(step: VolumeStep, size_gb: int, *more: str) -> tuple[str, ...]:
    """Placed where the machine fits too; asked for as JSON, because its id is needed."""
    volume, file = step.volume, f"volume-{step.number}.json"
    where = f"fly volumes create {quoted(volume.name)} -a {step.app} --region {quoted(volume.region)} --size {size_gb}"
    words = [*more, "--require-unique-zone=false"]
    if volume.retention_days:
        words.append(f"--snapshot-retention {volume.retention_days}")
    if volume.is_automatic_snapshot_on is False:
        words.append("--scheduled-snapshots=false")
    words += [*_guest(step.holder), "--yes", "--json"]
    return (
        f"{where} \\",
        f"  {' '.join(words)} > {file}",
        f"{_ID_LINE} {file} | tee {step.id_file}",
        f"test -s {step.id_file}",
    )


def _guest(machine: DescribedMachine | None) -> list[str]:
    guest = config_of(machine).get("guest") if machine else None
    if not isinstance(guest, dict):
        return []
    flags = {"cpu_kind": "--vm-cpu-kind", "cpus": "--vm-cpus", "memory_mb": "--vm-memory"}
    return [f"{flag} {quoted(str(guest[name]))}" for name, flag in flags.items() if guest.get(name)]


def _trouble_with_ids(step: VolumeStep) -> list[str]:
    return [
        _NO_ID,
        _OTHER_ID.format(app=step.app, id_file=step.id_file),
        "There is no room in the region: take another one in this block **and** in the blocks below.",
    ]


def _write_filling(page: PageWriter, step: VolumeStep, copies: Sequence[tuple[StoreDoor, Artifact]]) -> None:
    path, number = quoted(mount_path(step.holder)), step.number
    page.text("Start a helper machine that holds the volume and does nothing:")
    words = f"fly machine run -a {step.app} --name recovery-helper-{number} --region {quoted(step.volume.region)}"
    page.block(
        f"helper-{number}",
        f'{words} --volume "$(cat {step.id_file})":{path} \\',
        f"  --restart no --skip-dns-registration --detach {_HELPER_IMAGE} sleep infinity > helper-{number}.txt",
        f"sed -n 's/^ *Machine ID: *//p' helper-{number}.txt | tee helper-{number}.id",
        f"test -s helper-{number}.id",
        expect="one line: the helper's id.",
        otherwise=[
            f"Read the message above; what came before it is in `helper-{number}.txt`.",
            f"The name is taken: an earlier try has worked. Its id is in `fly machine list -a {step.app}`.",
            f"You know its id: write it down with `echo ID > helper-{number}.id`.",
            "The volume is claimed: another machine holds it. Look with the same command.",
        ],
    )
    page.text(
        "Send the data. It is decrypted on this computer and goes straight onto the volume.",
        "This takes as long as the data needs through your line. Take **one** of these blocks; the first is the best.",
    )
    for door, artifact in copies:
        _write_fill(page, step, door, artifact)
    _write_other_artifacts(page, step)
    held = f'fly volumes list -a {step.app} | grep -q "$(cat helper-{number}.id)"'
    page.text("Remove the helper, and wait until it has let the volume go. The volume stays.")
    page.block(
        f"helper-{number}-away",
        f'fly machine destroy -a {step.app} --force "$(cat helper-{number}.id)"',
        f"while {held}; do sleep 1; done",
        expect="`has been destroyed`, and after some seconds you can type again.",
        otherwise=[
            "It is not destroyed: try again. As long as it is there, no other machine can have the volume.",
            f"It waits for minutes: press Ctrl-C, and look with `fly machine list -a {step.app}`.",
        ],
    )


def _write_fill(page: PageWriter, step: VolumeStep, door: StoreDoor, artifact: Artifact) -> None:
    said, number = artifact.manifest, step.number
    path = quoted(mount_path(step.holder))
    page.text(f"From store `{door.name}`: artifact `{artifact.export_id}`, {_about(artifact)}")
    remote = f'fly ssh console -a {step.app} --machine "$(cat helper-{number}.id)" --quiet -C'
    opened = ["age -d -i identity.txt"] if said.encryption == "age" else []
    unpack = f"{remote} {quoted_again(f'tar -xpf - --numeric-owner -C {path}')}"
    page.block(
        f"fill-{number}-{door.name}",
        "set -o pipefail",
        " |\n  ".join([f"if {_read(door, artifact)}", *opened, "zstd -dc", unpack]),
        'then echo "ALL OF IT WAS SENT"; else echo "NOT ALL OF IT WAS SENT"; false; fi',
        expect="`ALL OF IT WAS SENT`.",
        otherwise=[
            "`no identity matched`: `identity.txt` is not the key of these backups.",
            "The store refuses: go back to step 0.",
            "It hangs before it sends anything: `fly agent restart`, then again.",
            "The line broke: run the block again. It overwrites what is there already.",
            "It fails again and again: take the next store, or an older artifact from the table below.",
        ],
    )
    count = quoted_again("sh -c " + quoted_again(f"find {path} -type f | wc -l"))
    page.text("Count the files on the volume:")
    page.block(
        f"count-{number}-{door.name}",
        f"{remote} {count}",
        expect=f"`{said.totals.files}`, or a little more where files have several names.",
        otherwise=["Fewer: run the block before this one again.", "Many more: the volume was not empty."],
    )


def _read(door: StoreDoor, artifact: Artifact) -> str:
    """What writes an artifact's data to standard output, its parts in their order."""
    keys = [each.key for each in artifact.manifest.data]
    if door.is_folder:
        return f"cat {' '.join(quoted(f'store-{door.name}/{key}') for key in keys)}"
    return f"{curl(door)} {' '.join(quoted(f'{door.place}/{key}') for key in keys)}"


def curl(door: StoreDoor) -> str:
    """The beginning of a command that reads from a bucket; the keys stand in a file, never in the command."""
    return f"curl -fsS --aws-sigv4 {quoted(f'aws:amz:{door.region}:s3')} -K store-{door.name}.curl"


def _about(artifact: Artifact) -> str:
    said = artifact.manifest
    facts = [f"of {instant(said.started_at)}", _counted(said.totals.files), f"consistency `{said.consistency.value}`"]
    if said.outcome is ArtifactOutcome.DEGRADED:
        facts.append(f"{_counted(len(said.changed))} vanished or changed while they were read")
    if said.origin.paths not in {(), (".",)}:
        facts.append(f"**only these paths were ever exported**: {_paths(said.origin.paths)}")
    if said.origin.excluded:
        facts.append(f"without {_paths(said.origin.excluded)}")
    if why := said.why_not_restorable:
        facts.append(f"**not a full backup**: {why}")
    return f"{', '.join(facts)}."


def _paths(globs: Sequence[str]) -> str:
    return ", ".join(f"`{printable(each)}`" for each in globs)


def _counted(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"


def _write_other_artifacts(page: PageWriter, step: VolumeStep) -> None:
    rows = [
        (f"`{each.store}`", f"`{each.prefix}`", _about(each).rstrip(".")) for each in usable(step.history)[:_LISTED]
    ]
    page.text("All artifacts that flykeep knew of. To take another one, put its folder into the block above.")
    page.table(("store", "folder", "what it is"), rows)
