"""A pin as a store keeps it beside the artifacts. Format version 1, for ever; signed as manifests are."""

from __future__ import annotations

from flykeep.domain import signed_json
from flykeep.domain.holds import Pin
from flykeep.domain.ids import ExportId
from flykeep.domain.signed_json import Fields, Json, canonical, instant_text, load, read_format, read_signature

PIN_FORMAT = 1

_WHAT = "pin"
_UPDATE_HINT = "A newer flykeep wrote this pin: update flykeep to read it."


def canonical_bytes(pin: Pin) -> bytes:
    """What is signed when `pin` is written."""
    return canonical(_body(pin))


def to_document(pin: Pin, *, signature_hex: str, signer_hex: str) -> bytes:
    """The object as it is stored."""
    return signed_json.signed_document(_body(pin), signature_hex=signature_hex, signer_hex=signer_hex)


def signed_bytes(document: bytes) -> bytes:
    """What the signature of a stored document covers. Raises IntegrityError."""
    return signed_json.signed_bytes(document, what=_WHAT)


def parse(document: bytes) -> tuple[Pin, str, str]:
    """The pin, its signature and its signer (hex); nothing is judged here.

    Raises IntegrityError for what is no whole pin of a known format.
    """
    body = Fields(load(document, what=_WHAT), what=_WHAT)
    read_format(body, what=_WHAT, known=PIN_FORMAT, hint=_UPDATE_HINT)
    signature_hex, signer_hex = read_signature(body)
    pin = Pin(ExportId(body.text("export_id")), body.text("reason"), body.instant("pinned_at"), body.text("pinned_by"))
    return pin, signature_hex, signer_hex


def _body(pin: Pin) -> Json:
    return {
        "format": PIN_FORMAT,
        "export_id": pin.export_id,
        "reason": pin.reason,
        "pinned_at": instant_text(pin.pinned_at),
        "pinned_by": pin.pinned_by,
    }
