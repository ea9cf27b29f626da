"""A page that carries its signature in its last line, so that nobody follows commands which somebody else wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flykeep.domain.errors import IntegrityError

_TRAILER = re.compile(rb"<!-- flykeep: signed by ([0-9a-f]{64}), signature ([0-9a-f]{128}) -->\n")


@dataclass(frozen=True, slots=True)
class SignedPage:
    """`signed` is what the signature must cover: the page without its last line."""

    signed: bytes
    signature_hex: str
    signer_hex: str

    @property
    def text(self) -> str:
        return self.signed.decode()


def signed_page(text: str, *, signature_hex: str, signer_hex: str) -> bytes:
    """The page as it is stored; `text` ends in a newline."""
    return f"{text}<!-- flykeep: signed by {signer_hex}, signature {signature_hex} -->\n".encode()


def read_page(document: bytes) -> SignedPage:
    """A stored page; its signature is not judged here. Raises IntegrityError for one that has none."""
    start = document.rstrip(b"\n").rfind(b"\n") + 1
    trailer = _TRAILER.fullmatch(document[start:])
    if trailer is None:
        raise IntegrityError("The page bears no signature.", hint="It was cut short, or flykeep did not write it.")
    try:
        document[:start].decode()
    except UnicodeDecodeError as error:
        raise IntegrityError("The page is not text.") from error
    return SignedPage(document[:start], trailer[2].decode(), trailer[1].decode())
