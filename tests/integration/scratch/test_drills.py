"""Restore drills by real worker machines: what is healthy is proven, whatever is wrong fails with the reason told."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyrage
import pytest

from flykeep.adapters.codecs.signing import Ed25519Signer
from flykeep.bootstrap import Application, open_application
from flykeep.cli.acting import exit_code
from flykeep.cli.targets import find_lineage
from flykeep.cli.verdicts import headline
from flykeep.domain import layout
from flykeep.domain.findings import Compliance, Incident, Severity
from flykeep.domain.policy import JobKind
from flykeep.domain.proof import Proof, parse
from flykeep.domain.run import Run, RunRequest, RunState
from flykeep.jobs.drill import DrillJob
from flykeep.jobs.runner import Watcher
from flykeep.settings import load_settings
from tests.full import full
from tests.integration.scratch.home import SCRATCH_APP, TARGET, Home, ended_well, home

PROBES = """
probes = [
  { kind = "json", path = "crocbot.json" },
  { kind = "exists", path = "credentials" },
  { kind = "count", path = "agents", min_files = 8 },
]
"""
IDENTITY = ("[encryption]\n", '[encryption]\nidentity_secret = "AGE_IDENTITY"\n')


async def drill(fly: Home, *, source: str = "snapshot") -> tuple[Run, Proof | None]:
    run = await fly.run(JobKind.DRILL, source=source)
    assert fly.left() == set()
    lineage = await find_lineage(fly.application, TARGET)
    async with fly.application.catalog.transaction() as tx:
        proofs = await tx.proofs(lineage.id)
    return run, next((one.proof for one in proofs if one.proof.proof_id == run.id), None)


async def incident_of(fly: Home, code: str) -> Incident:
    """As people are told by the check that follows."""
    ended_well(await fly.run(JobKind.CHECK))
    async with fly.application.catalog.transaction() as tx:
        found = {incident.finding.code.value: incident for incident in await tx.incidents(is_open=True)}
    assert code in found, found.keys()
    return found[code]


async def verdict(fly: Home) -> Compliance:
    async with fly.application.catalog.transaction() as tx:
        return next(one for one in await tx.verdicts() if one.label == TARGET)


def snapshot_content(fly: Home) -> Path:
    """The bytes of the newest snapshot, where a test may spoil them."""
    newest = fly.volume.snapshots[0]
    return fly.sim.world.snapshot_directory(newest.id)


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Home]:
    edits = [(f'match = "{TARGET}"\n', f'match = "{TARGET}"{PROBES}')]
    async with home(tmp_path, edits=edits) as running:
        yield running


def spoil(path: Path) -> None:
    """Other bytes under the old date: as a broken disk does, and no application."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, (before.st_atime, before.st_mtime))


async def test_a_healthy_snapshot_is_proven_signed_dated_and_shown(fly: Home) -> None:
    ended_well(await fly.export(source="snapshot"))
    before = len(fly.sim.requests)
    run, proof = await drill(fly)
    ended_well(run)
    assert proof is not None
    assert proof.is_passed
    assert [outcome.is_passed for outcome in proof.probes] == [True, True, True]
    assert proof.against is not None
    assert (proof.against.comparison.contradictions, proof.against.comparison.equal > 20) == (0, True)
    assert {timing.step for timing in proof.timings if timing.is_restore} == {"volume", "machine"}
    assert {request.method for request in fly.sim.requests[before:] if request.app != SCRATCH_APP} == {"GET"}
    [key] = [key for key in fly.stored() if key.startswith(layout.PROOFS_PREFIX)]
    signed = parse((fly.sim.directory / "store" / key).read_bytes())
    assert signed.proof == proof
    ended_well(await fly.run(JobKind.CHECK))
    found = await verdict(fly)
    assert found.proof is not None
    assert found.proof.at == proof.ended_at
    words = headline(found, now=proof.ended_at + timedelta(days=3))
    assert "proven 3 d ago, took" in words


def unreadable(content: Path) -> None:
    spoil(content / "agents" / "main" / "memory" / "people.md")


def empty(content: Path) -> None:
    for path in content.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def no_json(content: Path) -> None:
    (content / "crocbot.json").write_text("{")


HARMS: tuple[tuple[Callable[[Path], None], str], ...] = (
    (unreadable, "contradicts artifact"),
    (no_json, "json crocbot.json: crocbot.json is not JSON, line 1 column 2"),
    (empty, "the restored volume holds no file"),
)


async def test_a_snapshot_that_is_wrong_fails_with_the_reason_in_the_incident(fly: Home) -> None:
    ended_well(await fly.export(source="snapshot"))
    for harm, words in HARMS:
        harm(snapshot_content(fly))
        run, proof = await drill(fly)
        assert (run.state, exit_code(run)) == (RunState.FAILED, 7)
        assert proof is not None
        assert proof.reason is not None
        assert words in proof.reason
        incident = await incident_of(fly, "drill.failed")
        assert incident.finding.severity is Severity.CRITICAL
        assert words in incident.finding.summary
    assert (await verdict(fly)).proof is None


@full("four drills")
async def test_an_artifact_is_proven_and_a_spoiled_one_and_a_wrong_key_fail_with_the_reason(tmp_path: Path) -> None:
    edits = [(f'match = "{TARGET}"\n', f'match = "{TARGET}"{PROBES}'), IDENTITY]
    async with home(tmp_path, edits=edits, secrets={"AGE_IDENTITY": "set below"}) as fly:
        identity = (fly.sim.directory / "age-identity.txt").read_text().split("AGE-SECRET-KEY-")[1].split()[0]
        use_identity(fly, f"AGE-SECRET-KEY-{identity}")
        ended_well(await fly.export(source="snapshot"))
        run, proof = await drill(fly, source="artifact")
        ended_well(run)
        assert proof is not None
        assert proof.source.kind == "artifact"
        assert proof.against is not None
        assert proof.against.comparison.contradictions == proof.against.comparison.changed == 0
        assert {timing.step for timing in proof.timings if timing.is_restore} == {"volume", "machine", "restore"}

        use_identity(fly, ANOTHER_KEY)
        await assert_fails(fly, "for another key")
        use_identity(fly, f"AGE-SECRET-KEY-{identity}")
        [data] = [key for key in fly.stored() if key.endswith("data.tar.zst.age")]
        spoil(fly.sim.directory / "store" / data)
        await assert_fails(fly, data)


ANOTHER_KEY = str(pyrage.x25519.Identity.generate())


def use_identity(fly: Home, identity: str) -> None:
    drills = fly.application.runner.jobs.for_target[JobKind.DRILL]
    assert isinstance(drills, DrillJob)
    keys = replace(drills.chooser.keys, identity=lambda: identity)
    changed = replace(drills, chooser=replace(drills.chooser, keys=keys))
    fly.application.runner.jobs.for_target[JobKind.DRILL] = changed


async def assert_fails(fly: Home, words: str) -> None:
    run, proof = await drill(fly, source="artifact")
    assert (run.state, exit_code(run)) == (RunState.FAILED, 7)
    assert proof is not None
    assert proof.reason is not None
    assert words in proof.reason
    incident = await incident_of(fly, "drill.failed")
    assert words in incident.finding.summary


@asynccontextmanager
async def a_laptop(fly: Home, directory: Path) -> AsyncIterator[Application]:
    """Another flykeep with the store, the identity and the daemon's public key: what CI or a person has."""
    state = directory / "laptop"
    text = fly.kit.config.read_text().replace(f"{fly.sim.directory}/flykeep.db", f"{state}/flykeep.db")
    text = text.replace("[worker]\nimage = ", "[worker]\n# image = ").replace(*IDENTITY)
    state.mkdir()
    (directory / "laptop.toml").write_text(text)
    (state / "keys").mkdir(mode=0o700)
    (state / "keys" / "trusted_signers").write_text(signer_of(fly) + "\n")
    identity = (fly.sim.directory / "age-identity.txt").read_text().split("AGE-SECRET-KEY-")[1].split()[0]
    environment = fly.kit.environment | {"AGE_IDENTITY": f"AGE-SECRET-KEY-{identity}"}
    settings = load_settings(directory / "laptop.toml", environment)
    async with open_application(replace(settings, notifiers=())) as laptop:
        async with fly.application.catalog.transaction() as tx:
            lineages, artifacts = await tx.lineages(), await tx.artifacts()
        async with laptop.catalog.transaction() as tx:  # what it reads from the store
            for lineage in lineages:
                await tx.save_lineage(lineage)
            for artifact in artifacts:
                await tx.record_artifact(artifact)
        yield laptop


def signer_of(fly: Home) -> str:
    book = fly.application.check.book
    assert book is not None
    return book.signer.public_hex


@full("a drill on a second machine")
async def test_a_drill_elsewhere_is_believed_of_a_trusted_signer_only(fly: Home, tmp_path: Path) -> None:
    ended_well(await fly.export(source="ssh"))
    async with a_laptop(fly, tmp_path) as laptop:
        before = len(fly.sim.requests)
        lineage = await find_lineage(laptop, TARGET)
        request = RunRequest(source=None)
        async with laptop.submission.submitted(JobKind.DRILL, lineage.id, request, is_local=True) as run:
            ended_well(await laptop.submission.see_through(run, watcher=Watcher()))
        assert len(fly.sim.requests) == before, "an artifact is drilled without Fly"
        assert not any((tmp_path / "laptop" / "drills").iterdir())
        assert laptop.check.book is not None
        theirs = laptop.check.book.signer.public_hex

    incident = await incident_of(fly, "proof.refused")
    assert "does not trust" in incident.finding.summary
    assert (await verdict(fly)).proof is None

    check = fly.application.check
    assert check.book is not None
    signer = check.book.signer
    assert isinstance(signer, Ed25519Signer)
    trusting = replace(check, book=replace(check.book, signer=signer.trusting([theirs])))
    await trusting.evaluate()
    proven = (await verdict(fly)).proof
    assert proven is not None
    assert (proven.source, proven.proof_id) == ("artifact", run.id)
