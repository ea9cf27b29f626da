"""One app with everything that a runbook can speak of, and a page of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flykeep.domain.app_description import (
    AddressKind,
    AppDescription,
    DescribedAddress,
    DescribedMachine,
    DescribedSecret,
    DescribedVolume,
    canonical_config,
)
from flykeep.domain.artifact import Artifact, StoredObject
from flykeep.domain.ids import AppName, MachineId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.page import command_blocks
from flykeep.domain.runbook import runbook
from flykeep.domain.runbook_facts import KnownSnapshot, RunbookFacts, StoreDoor, VolumeHistory
from tests.unit.domain.builders import HOUR, NOW, artifact

IMAGE = f"registry.fly.io/my-crocbot@sha256:{'5' * 64}"
OFFSITE = StoreDoor("offsite", "https://x.r2.example/acme/fly", "auto")
SHELF = StoreDoor("shelf", "/mnt/usb stick/backups")
CONFIG: dict[str, Any] = {
    "image": IMAGE,
    "env": {"PORT": "8080"},
    "guest": {"cpu_kind": "performance", "cpus": 2, "memory_mb": 4096},
    "mounts": [{"volume": "vol_1", "path": "/data", "name": "crocbot_data"}],
}


def described_machine(id: str = "m1", config: dict[str, Any] | None = None, **changes: Any) -> DescribedMachine:  # noqa: A002
    fields: dict[str, Any] = {"name": f"name-of-{id}", "region": "fra", "process_group": "app"}
    text = canonical_config(CONFIG if config is None else config)
    return DescribedMachine(id=MachineId(id), config_json=text, **(fields | changes))


def described_volume(id: str = "vol_1", **changes: Any) -> DescribedVolume:  # noqa: A002
    volume = DescribedVolume(
        VolumeId(id), VolumeName("crocbot_data"), 3, "fra", MachineId("m1"), 14, is_automatic_snapshot_on=True
    )
    return replace(volume, **changes)


def described(**changes: Any) -> AppDescription:
    fields: dict[str, Any] = {
        "app": AppName("my-crocbot"),
        "org": "personal",
        "network": "default",
        "machines": (described_machine(),),
        "volumes": (described_volume(),),
        "secrets": (DescribedSecret("API_KEY", "d1"), DescribedSecret("TOKEN", "d2")),
        "addresses": (DescribedAddress("66.241.1.1", AddressKind.SHARED_V4, None, is_shared=True),),
        "certificates": ("bot.example.com",),
        "described_at": NOW,
    }
    return AppDescription(**(fields | changes))


def known_snapshot(id: str, hours: int, *, volume: str = "vol_1", gib: float = 3) -> KnownSnapshot:  # noqa: A002
    return KnownSnapshot(SnapshotId(id), VolumeId(volume), NOW - hours * HOUR, int(gib * (1 << 30)))


def stored(id: str = "20260301T040000Z", *, parts: int = 1, **changes: Any) -> Artifact:  # noqa: A002
    """An artifact with real keys."""
    made = artifact(id, **changes)
    prefix = f"my-crocbot/crocbot_data/2026/{id}"
    names = ["data.tar.zst.age"] if parts == 1 else [f"data.tar.zst.age.{n:05d}" for n in range(1, parts + 1)]
    data = tuple(StoredObject(f"{prefix}/{name}", 1, "00") for name in names)
    return replace(made, manifest_key=f"{prefix}/manifest.json", manifest=replace(made.manifest, data=data))


def page_of(
    app: AppDescription | None = None,
    *,
    snapshots: tuple[KnownSnapshot, ...] = (),
    artifacts: tuple[Artifact, ...] = (),
    doors: tuple[StoreDoor, ...] = (OFFSITE, SHELF),
) -> str:
    history = VolumeHistory(VolumeId("vol_1"), snapshots, artifacts)
    return runbook(RunbookFacts(app or described(), (history,), doors))


def block(page: str, name: str) -> str:
    return command_blocks(page)[name]
