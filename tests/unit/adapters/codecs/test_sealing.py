"""Small documents, sealed and opened; recipients, accepted and refused."""

from __future__ import annotations

import shutil
import subprocess
import traceback
from pathlib import Path

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.adapters.codecs.sealing import AgeSealer, check_recipient, fingerprint, open_sealed
from flykeep.domain.errors import ConfigError, IntegrityError

ONE, TWO, OTHER = (pyrage.x25519.Identity.generate() for _ in range(3))
PUBLIC = str(ONE.to_public())


@given(st.binary(max_size=2000))
def test_every_recipient_opens_what_was_sealed(plain: bytes) -> None:
    sealed = AgeSealer().seal(plain, recipients=(str(ONE.to_public()), str(TWO.to_public())))

    assert open_sealed(sealed, identity=str(ONE)) == plain
    assert open_sealed(sealed, identity=str(TWO)) == plain
    assert sealed.startswith(b"age-encryption.org/v1\n")


def test_with_no_recipient_a_document_is_compressed_only() -> None:
    sealed = AgeSealer().seal(b"plain " * 1000, recipients=())

    assert sealed.startswith(b"\x28\xb5\x2f\xfd")
    assert open_sealed(sealed, identity=None) == b"plain " * 1000


def test_age_and_zstd_themselves_open_it(tmp_path: Path) -> None:
    for program in ("age", "zstd"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    (tmp_path / "identity").write_text(f"{ONE}\n")
    sealed = AgeSealer().seal(b"state", recipients=(PUBLIC,))

    packed = subprocess.run(
        ["age", "-d", "-i", str(tmp_path / "identity")], input=sealed, capture_output=True, check=True
    ).stdout

    assert subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout == b"state"


def test_another_key_opens_nothing_and_the_error_names_no_key() -> None:
    sealed = AgeSealer().seal(b"x", recipients=(PUBLIC,))

    with pytest.raises(IntegrityError) as caught:
        open_sealed(sealed, identity=str(OTHER))

    assert str(OTHER) not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("at", [0, 30, 200, -1])
def test_one_altered_byte_is_noticed(at: int) -> None:
    for identity, recipients in ((str(ONE), (PUBLIC,)), (None, ())):
        sealed = bytearray(AgeSealer().seal(bytes(range(256)) * 4, recipients=recipients))
        sealed[at] ^= 0x40

        with pytest.raises(IntegrityError):
            open_sealed(bytes(sealed), identity=identity)


@pytest.mark.parametrize("cut", [0, 1, 10, -1])
def test_a_document_cut_short_is_noticed(cut: int) -> None:
    for identity, recipients in ((str(ONE), (PUBLIC,)), (None, ())):
        sealed = AgeSealer().seal(b"something", recipients=recipients)

        with pytest.raises(IntegrityError):
            open_sealed(sealed[:cut], identity=identity)


def test_a_recipient_is_accepted_without_the_space_around_it() -> None:
    assert check_recipient(f"  {PUBLIC}\n") == PUBLIC


@pytest.mark.parametrize(
    "text",
    ["", "age1", PUBLIC[:-1], PUBLIC[:-1] + ("q" if PUBLIC[-1] != "q" else "p"), PUBLIC.upper(), "ssh-ed25519 AAAA"],
    ids=["empty", "prefix", "cut", "wrong checksum", "upper case", "ssh key"],
)
def test_what_is_no_recipient_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_recipient(text)

    assert "age1" in caught.value.next_step


def test_a_secret_key_in_the_place_of_a_recipient_is_named_and_never_repeated() -> None:
    with pytest.raises(ConfigError, match="secret") as caught:
        check_recipient(str(ONE))

    assert str(ONE)[16:] not in "".join(traceback.format_exception(caught.value)) + caught.value.next_step


def test_a_fingerprint_is_short_and_tells_recipients_apart() -> None:
    assert fingerprint(PUBLIC) == fingerprint(f" {PUBLIC} ")
    assert len(fingerprint(PUBLIC)) == 16
    assert fingerprint(PUBLIC) != fingerprint(str(OTHER.to_public()))


def test_a_bad_identity_is_refused_without_being_repeated() -> None:
    wrong = "AGE-SECRET-KEY-1" + "planted".upper()

    with pytest.raises(ConfigError) as caught:
        open_sealed(AgeSealer().seal(b"x", recipients=(PUBLIC,)), identity=wrong)

    assert "PLANTED" not in "".join(traceback.format_exception(caught.value))
