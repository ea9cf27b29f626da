import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from flykeep.adapters.codecs.signing import Ed25519Signer
from flykeep.domain.errors import IntegrityError
from flykeep.domain.signed_page import read_page, signed_page

SIGNER = Ed25519Signer(Ed25519PrivateKey.generate())
TEXTS = st.text(st.characters(exclude_categories=["Cs"])).map(lambda text: f"{text}\n")


@given(TEXTS)
def test_what_was_signed_is_read_again(text: str) -> None:
    document = signed_page(text, signature_hex=SIGNER.sign(text.encode()), signer_hex=SIGNER.public_hex)
    page = read_page(document)

    assert page.text == text
    SIGNER.verify(page.signed, signature_hex=page.signature_hex, signer_hex=page.signer_hex)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"# A page\nwithout a signature\n",
        b"# A page\n<!-- flykeep: signed by ab, signature cd -->\n",
        signed_page("# A page\n", signature_hex="a" * 128, signer_hex="b" * 64)[:-9],
        signed_page("# A page\n", signature_hex="a" * 128, signer_hex="b" * 64) + b"rm -rf /\n",
        b"\xff\n" + signed_page("", signature_hex="a" * 128, signer_hex="b" * 64),
    ],
)
def test_a_page_without_its_signature_at_the_end_is_refused(document: bytes) -> None:
    with pytest.raises(IntegrityError):
        read_page(document)
