"""The daemon's keys: made once, closed to others, never overwritten, never shown."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flykeep.adapters.codecs.keys import StateKeys
from flykeep.adapters.codecs.signing import Ed25519Signer
from flykeep.domain.errors import ConfigError, SignatureError, StateError


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_keys_made_once_are_the_same_ever_after(tmp_path: Path) -> None:
    first, second = StateKeys.load_or_create(tmp_path / "state"), StateKeys.load_or_create(tmp_path / "state")

    assert first.signer.public_hex == second.signer.public_hex
    assert first.index_key.identity() == second.index_key.identity()
    assert StateKeys.load_or_create(tmp_path / "other").signer.public_hex != first.signer.public_hex


@pytest.mark.usefixtures("open_umask")
def test_key_files_are_closed_to_everybody_else(tmp_path: Path) -> None:
    StateKeys.load_or_create(tmp_path)

    folder = tmp_path / "keys"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "signing.key": 0o600,
        "index.key": 0o600,
    }


def test_files_left_open_to_others_are_closed_on_load(tmp_path: Path) -> None:
    StateKeys.load_or_create(tmp_path)
    (tmp_path / "keys" / "signing.key").chmod(0o644)

    StateKeys.load_or_create(tmp_path)

    assert (tmp_path / "keys" / "signing.key").stat().st_mode & 0o777 == 0o600


def test_many_processes_that_start_at_once_end_with_the_same_keys(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from flykeep.adapters.codecs.keys import StateKeys\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "keys = StateKeys.load_or_create(pathlib.Path(sys.argv[1]))\n"
        "print(keys.signer.public_hex, keys.index_key.recipient)"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    answers = {child.communicate("go\n", timeout=60)[0] for child in children}

    assert [child.returncode for child in children] == [0] * 4
    assert len(answers) == 1
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["index.key", "signing.key"]


@pytest.mark.parametrize("name", ["signing.key", "index.key"])
@pytest.mark.parametrize("content", [b"", b"planted-secret nonsense", b"\xff\xfe", b"AGE-SECRET-KEY-1PLANTED\n"])
def test_a_damaged_key_is_reported_and_never_replaced_nor_repeated(tmp_path: Path, name: str, content: bytes) -> None:
    StateKeys.load_or_create(tmp_path)
    path = tmp_path / "keys" / name
    path.write_bytes(content)

    with pytest.raises(StateError) as caught:
        StateKeys.load_or_create(tmp_path)

    assert path.read_bytes() == content
    assert name in str(caught.value)
    assert "PLANTED" not in "".join(traceback.format_exception(caught.value)).upper()


def test_a_directory_that_cannot_be_written_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(StateError):
        StateKeys.load_or_create(tmp_path / "file")


def test_the_index_key_opens_what_is_encrypted_to_its_recipient(tmp_path: Path) -> None:
    key = StateKeys.load_or_create(tmp_path).index_key

    sealed = pyrage.encrypt(b"index", [pyrage.x25519.Recipient.from_str(key.recipient)])

    assert pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(key.identity())]) == b"index"


def test_no_key_shows_itself_in_a_repr(tmp_path: Path) -> None:
    keys = StateKeys.load_or_create(tmp_path)

    shown = repr(keys) + str(keys) + repr(keys.index_key) + repr(keys.signer)

    assert "SECRET" not in shown
    assert keys.signer.public_hex in shown


def test_a_signature_holds_for_exactly_the_signed_bytes() -> None:
    signer = Ed25519Signer(Ed25519PrivateKey.generate())
    signature = signer.sign(b"manifest")

    signer.verify(b"manifest", signature_hex=signature, signer_hex=signer.public_hex)

    for data, altered in ((b"manifesT", signature), (b"manifest", "00" * 64), (b"manifest", "zz"), (b"manifest", "")):
        with pytest.raises(SignatureError):
            signer.verify(data, signature_hex=altered, signer_hex=signer.public_hex)


def test_a_good_signature_by_an_unknown_key_is_refused() -> None:
    ours, theirs = Ed25519Signer(Ed25519PrivateKey.generate()), Ed25519Signer(Ed25519PrivateKey.generate())

    with pytest.raises(SignatureError, match="trust"):
        ours.verify(b"x", signature_hex=theirs.sign(b"x"), signer_hex=theirs.public_hex)


def test_a_former_key_stays_trusted_once_it_is_listed(tmp_path: Path) -> None:
    former = StateKeys.load_or_create(tmp_path / "former").signer
    StateKeys.load_or_create(tmp_path / "now")
    (tmp_path / "now" / "keys" / "trusted_signers").write_text(
        f"# the old daemon\n\n{former.public_hex}  # until May\n"
    )

    now = StateKeys.load_or_create(tmp_path / "now").signer

    now.verify(b"x", signature_hex=former.sign(b"x"), signer_hex=former.public_hex)


def test_a_bad_line_among_trusted_signers_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "trusted_signers").write_text("# fine\nnot a key\n")

    with pytest.raises(ConfigError, match="Line 2"):
        StateKeys.load_or_create(tmp_path)
