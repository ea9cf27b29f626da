"""A store as flykeep leaves it, its own RESTORE.md, and a machine that has never heard of flykeep."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.adapters.system import SystemClock
from flykeep.domain import layout
from flykeep.domain.fly import Machine
from flykeep.domain.policy import CopyRule, Policy, TargetRule
from flykeep.jobs.export import BoundStore, ExportJob, ExportSettings
from flykeep.ports.fly import SshAccess
from flykeep.ports.store import StoreOrder
from flykeep.ports.worker import CompressionOrder, ExportOrder, ExportResult, Progress
from flykeep.worker.channel import Flow
from flykeep.worker.export import Export
from flykeep.worker.report import Reporter
from tests.integration.jobs.parts import Parts, parts_in
from tests.integration.worker.exporting import MIB, Keys
from tests.integration.worker.trees import facts
from tests.sshd import Sshd

PROGRAMS = ("sh", "cat", "mkdir", "age", "zstd", "tar", "jq", "openssl", "xxd", "sha256sum", "cut")


@dataclass
class Here:
    """The worker's export of `tree` within this process; `part_limit` 1 makes several objects of more than 16 MiB."""

    sshd: Sshd
    tree: Path
    part_limit: int = 10_000

    async def export(self, order: ExportOrder, *, on_progress: Callable[[Progress], None]) -> ExportResult:
        reporter, order = Reporter(io.BytesIO(), SystemClock()), replace(order, directory=str(self.tree))
        return await asyncio.to_thread(Export(order, flow=Flow(), reporter=reporter, part_limit=self.part_limit).run)

    async def access(self, wanted: Machine) -> SshAccess:
        return self.sshd.access()


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    (tmp_path / "state").mkdir()
    async with parts_in(tmp_path / "state") as made:
        yield made


async def exported(parts: Parts, here: Here, store: StoreOrder, recipients: tuple[str, ...]) -> None:
    """The whole job: data, index, manifest, RESTORE.md."""
    settings = ExportSettings(recipients, CompressionOrder(), timedelta(hours=1), timedelta(minutes=2), "0")
    job = ExportJob(
        parts.fly,  # type: ignore[arg-type]  # only what the job calls
        here,
        here,  # type: ignore[arg-type]
        {store.name: BoundStore(ObjectStore(store), store)},
        parts.catalog,
        parts.clock,
        parts.ids,
        parts.keys.signer,
        parts.keys.index_key,
        settings,
    )
    rule = TargetRule("my-crocbot/*", Policy("standard", copies=(CopyRule(store.name),)))
    await job.run(replace(parts.work(await parts.claimed()), rule=rule))


def commands_of(store: Path) -> dict[str, str]:
    text = (store / layout.RESTORE_KEY).read_text(encoding="utf-8")
    return dict(re.findall(r"^```sh ([a-z-]+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that has the programs RESTORE.md asks for, and neither Python nor flykeep."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in PROGRAMS:
        (folder / program).symlink_to(str(shutil.which(program)))
    assert shutil.which("python3", path=str(folder)) is None
    return {"PATH": str(folder), "HOME": str(tmp_path)}


@pytest.mark.parametrize("way", ["encrypted", "in several parts", "not encrypted"])
async def test_following_the_stores_own_restore_md_brings_everything_back(
    parts: Parts,
    gnu_sshd: Sshd,
    store: StoreOrder,
    keys: Keys,
    tree: Path,
    tmp_path: Path,
    bare: dict[str, str],
    way: str,
) -> None:
    (tree / "agents").mkdir(mode=0o700)
    (tree / "agents" / "größe.bin").write_bytes(os.urandom(18 * MIB if way == "in several parts" else 300_000))
    (tree / "link").symlink_to("agents/größe.bin")
    (tree / "twin").hardlink_to(tree / "agents" / "größe.bin")
    recipients = () if way == "not encrypted" else (str(keys.operator.to_public()),)
    here = Here(gnu_sshd, tree, part_limit=1 if way == "in several parts" else 10_000)
    await exported(parts, here, store, recipients)
    said = await asyncio.to_thread(followed, Path(str(store.path)), tmp_path, keys, bare, is_encrypted=bool(recipients))

    assert len(said["objects"].split()) == (2 if way == "in several parts" else 1)
    assert "Verified Successfully" in said["check-signature"]
    assert facts(tmp_path / "restored") == facts(tree)
    if recipients:
        assert len(set(said["check-tar"].split())) == 1


def followed(root: Path, home: Path, keys: Keys, bare: dict[str, str], *, is_encrypted: bool) -> dict[str, str]:
    """Do what the store's text says, and give what each step printed."""
    (manifest,) = root.glob("my-crocbot/crocbot_data/*/*/manifest.json")
    (home / "identity.txt").write_text(f"{keys.operator}\n")
    shutil.copytree(manifest.parent, home / "artifact")
    commands = commands_of(root)
    said = {"objects": "\n".join(path.name for path in manifest.parent.glob("data.*"))}
    steps = ("restore", "check-tar", "list") if is_encrypted else ("restore-plain",)
    for name in ("check-bytes", "check-signature", *steps):
        done = subprocess.run(
            ["sh", "-ec", commands["names"] + commands[name]],
            cwd=home / "artifact",
            env=bare | {"IDENTITY": str(home / "identity.txt"), "TARGET": str(home / "restored")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout
    return said
