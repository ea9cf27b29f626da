"""One key pair and one short-lived certificate for each SSH access."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from flykeep.domain.errors import SshError
from flykeep.domain.fly import Machine
from flykeep.ports.clock import Clock
from flykeep.ports.fly import CertificateIssuer, SshAccess

# The clock of a machine that was suspended lags some seconds behind the authority's.
_CLOCK_SKEW = timedelta(minutes=2)
_UNKNOWN_CERTIFICATE_HINT = "Try again; if it stays, report it: Fly's certificates may have changed."


class SshAccessIssuer:
    """Access to machines by certificates that Fly issues for the machine's app."""

    def __init__(self, fly: CertificateIssuer, *, clock: Clock, port: int = 22, user: str = "root") -> None:
        self._fly = fly
        self._clock = clock
        self._port = port
        self._user = user

    async def access(self, machine: Machine) -> SshAccess:
        """A fresh key pair with a certificate that covers it now.

        Raises SshError when the machine has no private address or the certificate is not for this key, this user and
        this moment; FlyError when Fly issues none.
        """
        if machine.private_ip is None:
            raise SshError("The machine has no private address", facts={"app": machine.app, "machine": machine.id})
        key = Ed25519PrivateKey.generate()
        line = await self._fly.issue_certificate(machine.app, _public_line(key.public_key()))
        reason = self._fault_of(line, key=key.public_key())
        if reason is not None:
            raise SshError(
                f"Fly's SSH certificate cannot be used: {reason}",
                hint=_UNKNOWN_CERTIFICATE_HINT,
                facts={"app": machine.app, "machine": machine.id},
            )
        return SshAccess(
            host=machine.private_ip,
            port=self._port,
            user=self._user,
            private_key=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode("ascii"),
            certificate=line,
        )

    def _fault_of(self, line: str, *, key: Ed25519PublicKey) -> str | None:
        """Why the certificate does not serve, or None where it does."""
        certificate = _certificate_of(line)
        if certificate is None:
            return "it is not an SSH certificate"
        if certificate.type is not SSHCertificateType.USER:
            return "it is no user certificate"
        if not _is_of(certificate, key):
            return "it is for another key"
        # No principals at all stands for every user. Source: OpenSSH, PROTOCOL.certkeys.
        if certificate.valid_principals and self._user.encode() not in certificate.valid_principals:
            return f"it does not name the user {self._user}"
        return self._date_fault_of(certificate)

    def _date_fault_of(self, certificate: SSHCertificate) -> str | None:
        now_s = self._clock.now().timestamp()
        if certificate.valid_after > now_s + _CLOCK_SKEW.total_seconds():
            return f"it is valid only from {_shown(certificate.valid_after)}: the clock may be wrong"
        if certificate.valid_before <= now_s:
            return f"it expired at {_shown(certificate.valid_before)}: the clock may be wrong"
        return None


def _certificate_of(line: str) -> SSHCertificate | None:
    try:
        identity = load_ssh_public_identity(line.encode("ascii"))
        if not isinstance(identity, SSHCertificate):
            return None
        identity.verify_cert_signature()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        return None
    return identity


def _is_of(certificate: SSHCertificate, key: Ed25519PublicKey) -> bool:
    certified = certificate.public_key()
    return isinstance(certified, Ed25519PublicKey) and certified.public_bytes_raw() == key.public_bytes_raw()


def _public_line(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


def _shown(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return "an instant beyond the calendar"
