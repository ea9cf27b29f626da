"""RESTORE.md is only worth what its commands do: they are taken out of it and run as they stand."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flykeep.adapters.codecs.sealing import AgeSealer
from flykeep.adapters.codecs.signing import Ed25519Signer
from flykeep.domain.artifact import (
    ArtifactOrigin,
    ArtifactOutcome,
    Consistency,
    Manifest,
    SignedManifest,
    StoredObject,
    TarTotals,
)
from flykeep.domain.ids import AppName, ExportId, LineageId, VolumeId, VolumeName
from flykeep.domain.layout import runbook_key
from flykeep.domain.manifest import canonical_bytes, to_document
from flykeep.domain.restore_text import RESTORE_TEXT
from flykeep.domain.signed_page import signed_page

COMMANDS = dict(re.findall(r"^```sh ([a-z-]+)\n(.*?)^```$", RESTORE_TEXT, re.MULTILINE | re.DOTALL))
PROGRAMS = ("age", "zstd", "tar", "jq", "openssl", "xxd", "sha256sum")
PREFIX = "my-crocbot/crocbot_data/2026/01K0"
SIGNER = Ed25519Signer(Ed25519PrivateKey.generate())


@pytest.fixture(autouse=True)
def every_program_is_installed() -> None:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "volume"
    (tree / "agents" / "main").mkdir(parents=True)
    (tree / "crocbot.json").write_text('{"name": "croc"}')
    (tree / "agents" / "main" / "größe.bin").write_bytes(os.urandom(300_000))
    (tree / "link").symlink_to("crocbot.json")
    (tree / "crocbot.json").chmod(0o640)
    return tree


def piped(command: str, data: bytes = b"", **env: str) -> bytes:
    return subprocess.run(
        ["sh", "-c", command], input=data, capture_output=True, check=True, env=os.environ | env
    ).stdout


def make_artifact(tree: Path, folder: Path, *, is_encrypted: bool, parts: int = 1) -> Path:
    """As flykeep stores one, but made by the programs. Gives the path of the identity."""
    identity = pyrage.x25519.Identity.generate()
    key_file = folder.parent / "my identity.txt"
    key_file.write_text(f"# a comment\n{identity}\n")
    folder.mkdir()
    recipient, suffix = str(identity.to_public()), ".age" if is_encrypted else ""
    seal = f"zstd -qc{f' | age -r {recipient}' if is_encrypted else ''}"
    tar = piped('tar -cf - -C "$TREE" .', TREE=str(tree))
    stored = piped(seal, tar)
    size = -(-len(stored) // parts)
    data = []
    for number in range(1, parts + 1):
        name = f"data.tar.zst{suffix}" + (f".{number:05d}" if parts > 1 else "")
        data.append(write(folder, name, stored[(number - 1) * size : number * size]))
    index = write(folder, f"index.jsonl.zst{suffix}", piped(seal, b'{"format":1}\n{"path":"crocbot.json"}\n'))
    manifest = Manifest(
        export_id=ExportId("01K0"),
        origin=ArtifactOrigin(
            lineage_id=LineageId("l"),
            app=AppName("my-crocbot"),
            volume_name=VolumeName("crocbot_data"),
            volume_id=VolumeId("vol_1"),
            machine_id=None,
            machine_name='größer\t\x01 "quoted" back\\slash 🐊',
            machine_state=None,
            region="fra",
            snapshot_id=None,
            source="ssh",
            paths=(),
            excluded=(),
        ),
        consistency=Consistency.LIVE,
        policy="critical",
        started_at=datetime(2026, 11, 22, 4, tzinfo=UTC),
        ended_at=datetime(2026, 11, 22, 4, 1, tzinfo=UTC),
        flykeep_version="0.1.0",
        encryption="age" if is_encrypted else "none",
        recipients=(recipient,) if is_encrypted else (),
        data=tuple(data),
        index=index,
        totals=TarTotals(5, 2, 300_016, len(tar), hashlib.sha256(tar).hexdigest()),
        outcome=ArtifactOutcome.COMPLETE,
        changed=(),
        skipped=("run/\udcff.sock",),
        lost=(),
        open_databases=(),
    )
    signed = SignedManifest(manifest, SIGNER.sign(canonical_bytes(manifest)), SIGNER.public_hex)
    (folder / "manifest.json").write_bytes(to_document(signed))
    return key_file


def write(folder: Path, name: str, content: bytes) -> StoredObject:
    (folder / name).write_bytes(content)
    return StoredObject(f"{PREFIX}/{name}", len(content), hashlib.sha256(content).hexdigest())


def run(name: str, folder: Path, identity: Path) -> str:
    names = COMMANDS["names"]
    done = subprocess.run(
        ["sh", "-ec", names + COMMANDS[name]],
        cwd=folder,
        env=os.environ | {"IDENTITY": str(identity), "TARGET": "../restored here"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def assert_identical(tree: Path, restored: Path) -> None:
    piped('diff -r --no-dereference "$A" "$B"', A=str(tree), B=str(restored))
    assert (restored / "crocbot.json").stat().st_mode & 0o777 == 0o640
    assert (restored / "link").readlink() == Path("crocbot.json")


@pytest.mark.parametrize("parts", [1, 3])
def test_the_commands_restore_an_encrypted_artifact(tree: Path, tmp_path: Path, parts: int) -> None:
    identity = make_artifact(tree, tmp_path / "artifact", is_encrypted=True, parts=parts)

    run("restore", tmp_path / "artifact", identity)

    assert_identical(tree, tmp_path / "restored here")


@pytest.mark.parametrize("parts", [1, 2])
def test_the_commands_restore_an_artifact_that_is_not_encrypted(tree: Path, tmp_path: Path, parts: int) -> None:
    identity = make_artifact(tree, tmp_path / "artifact", is_encrypted=False, parts=parts)

    run("restore-plain", tmp_path / "artifact", identity)

    assert_identical(tree, tmp_path / "restored here")


@pytest.mark.parametrize("parts", [1, 3])
def test_the_commands_check_bytes_signature_and_tar(tree: Path, tmp_path: Path, parts: int) -> None:
    folder = tmp_path / "artifact"
    identity = make_artifact(tree, folder, is_encrypted=True, parts=parts)

    assert run("check-bytes", folder, identity).count(": OK") == parts + 1
    assert "Verified Successfully" in run("check-signature", folder, identity)
    assert len(set(run("check-tar", folder, identity).split())) == 1
    assert '"path":"crocbot.json"' in run("list", folder, identity)


def test_the_checks_see_an_altered_byte_and_an_altered_manifest(tree: Path, tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    identity = make_artifact(tree, folder, is_encrypted=True)
    data = bytearray((folder / "data.tar.zst.age").read_bytes())
    data[1000] ^= 1
    (folder / "data.tar.zst.age").write_bytes(data)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"critical"', '"careless"'))

    with pytest.raises(AssertionError, match="FAILED"):
        run("check-bytes", folder, identity)
    with pytest.raises(AssertionError):
        run("check-signature", folder, identity)


def test_the_text_names_the_objects_as_the_layout_does() -> None:
    for name in ("manifest.json", "data.tar.zst.age", "data.tar.zst.age.00001", "index.jsonl.zst.age"):
        assert name in RESTORE_TEXT
    assert set(COMMANDS) >= {"names", "restore", "restore-plain", "check-bytes", "check-signature", "check-tar", "list"}
    assert runbook_key(AppName("<app>"), is_encrypted=True).replace("~3c", "<").replace("~3e", ">") in RESTORE_TEXT


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_runbook_is_opened_and_its_writer_checked(tmp_path: Path, spoiled: bool) -> None:
    identity, text = pyrage.x25519.Identity.generate(), "# How to bring `my-crocbot` back by hand\n"
    (tmp_path / "key.txt").write_text(f"{identity}\n")
    page = signed_page(text, signature_hex=SIGNER.sign(text.encode()), signer_hex=SIGNER.public_hex)
    page = page.replace(b"by hand", b"by me") if spoiled else page
    sealed = AgeSealer().seal(page, recipients=(str(identity.to_public()),))
    (tmp_path / "my-crocbot.md.zst.age").write_bytes(sealed)

    done = subprocess.run(
        ["sh", "-ec", COMMANDS["open-runbook"] + COMMANDS["check-runbook"]],
        cwd=tmp_path,
        env=os.environ | {"IDENTITY": "key.txt", "APP": "my-crocbot"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (tmp_path / "my-crocbot.md").read_bytes() == page
    assert (done.returncode == 0) is not spoiled
    assert ("Signature Verified Successfully" in done.stdout) is not spoiled
