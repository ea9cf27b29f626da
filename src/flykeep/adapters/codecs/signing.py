"""Ed25519: signs manifests, and judges whether a trusted key signed what was read."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from flykeep.domain.errors import SignatureError


class Ed25519Signer:
    """Implements ports.crypto.Signer. Trusts its own key and `trusted`, public keys in lowercase hexadecimal."""

    def __init__(self, key: Ed25519PrivateKey, *, trusted: Iterable[str] = ()) -> None:
        self._key = key
        self._public_hex = key.public_key().public_bytes_raw().hex()
        self._trusted = frozenset(trusted) | {self._public_hex}

    def __repr__(self) -> str:
        return f"Ed25519Signer({self._public_hex})"

    @property
    def public_hex(self) -> str:
        return self._public_hex

    def trusting(self, public_keys: Iterable[str]) -> Ed25519Signer:
        """The same key, trusting these too."""
        return Ed25519Signer(self._key, trusted=self._trusted | frozenset(public_keys))

    def sign(self, data: bytes) -> str:
        return self._key.sign(data).hex()

    def verify(self, data: bytes, *, signature_hex: str, signer_hex: str) -> None:
        """Raises SignatureError unless a trusted key signed exactly these bytes."""
        if signer_hex not in self._trusted:
            raise SignatureError(
                "The document was signed by a key this flykeep does not trust.", facts={"signer": signer_hex}
            )
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer_hex))
            public.verify(bytes.fromhex(signature_hex), data)
        except (InvalidSignature, ValueError) as error:
            raise SignatureError(
                "The signature does not fit the document's bytes: it was altered after it was written.",
                facts={"signer": signer_hex},
            ) from error
