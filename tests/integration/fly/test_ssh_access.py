"""Access to machines: a fresh key, and a certificate that covers it or an error that says why not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
    load_ssh_public_key,
)

from flykeep.adapters.ssh.keys import SshAccessIssuer
from flykeep.adapters.system import SystemClock
from flykeep.domain.errors import SshError
from flykeep.domain.fly import HostStatus, Machine
from flykeep.domain.ids import AppName, MachineId
from flykeep.testing.clock import ManualClock
from tests.integration.fly.simulated_fly import APP, simulated_fly

_MACHINE = Machine(
    id=MachineId("3d8d9914b32183"),
    app=APP,
    name="m",
    state="started",
    region="iad",
    private_ip="fdaa:0:1::3",
    host_status=HostStatus.OK,
)


class Authority:
    """Issues what a test wants instead of what was asked for."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.keys: list[str] = []

    async def issue_certificate(self, app: AppName, public_key: str) -> str:
        self.keys.append(public_key)
        now_s = int(self.clock.now().timestamp())
        builder = certificate(load_ssh_public_key(public_key.encode()), after_s=now_s, before_s=now_s + 3600)
        return builder.sign(Ed25519PrivateKey.generate()).public_bytes().decode() + " comment"


def certificate(
    key: Any,
    *,
    after_s: int,
    before_s: int,
    kind: SSHCertificateType = SSHCertificateType.USER,
    principals: list[bytes] | None = None,
) -> SSHCertificateBuilder:
    builder = (
        SSHCertificateBuilder().public_key(key).type(kind).key_id(b"test").valid_after(after_s).valid_before(before_s)
    )
    if principals == []:
        return builder.valid_for_all_principals()
    return builder.valid_principals([b"root", b"fly"] if principals is None else principals)


async def test_every_access_has_a_key_of_its_own_and_shows_none_of_it() -> None:
    authority = Authority()
    issuer = SshAccessIssuer(authority, clock=authority.clock)

    first, second = await issuer.access(_MACHINE), await issuer.access(_MACHINE)

    assert (first.host, first.port, first.user) == ("fdaa:0:1::3", 22, "root")
    assert first.private_key != second.private_key
    assert len(set(authority.keys)) == 2
    loaded = load_ssh_private_key(first.private_key.encode(), None)
    assert isinstance(loaded, Ed25519PrivateKey)
    assert authority.keys[0].startswith("ssh-ed25519 ")
    assert "PRIVATE" not in repr(first)
    assert first.certificate not in repr(first)


async def test_a_machine_without_an_address_cannot_be_reached_and_no_certificate_is_asked_for() -> None:
    authority = Authority()

    with pytest.raises(SshError, match="no private address"):
        await SshAccessIssuer(authority, clock=authority.clock).access(replace(_MACHINE, private_ip=None))

    assert authority.keys == []


async def test_a_certificate_for_all_users_covers_root() -> None:
    authority = Authority()
    now_s = int(authority.clock.now().timestamp())

    class ForAll(Authority):
        async def issue_certificate(self, app: AppName, public_key: str) -> str:
            key = load_ssh_public_key(public_key.encode())
            builder = certificate(key, after_s=now_s, before_s=now_s + 60, principals=[])
            return builder.sign(Ed25519PrivateKey.generate()).public_bytes().decode()

    assert (await SshAccessIssuer(ForAll(), clock=authority.clock).access(_MACHINE)).certificate


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"key": "other"}, "another key"),
        ({"kind": SSHCertificateType.HOST}, "no user certificate"),
        ({"principals": [b"nobody"]}, "the user root"),
        ({"after": 3 * 60}, "only from"),
        ({"before": 0}, "expired"),
        ({"before": -60, "after": -3600}, "expired"),
    ],
)
async def test_a_certificate_that_does_not_cover_the_access_is_refused(wrong: dict[str, Any], reason: str) -> None:
    clock = ManualClock()
    now_s = int(clock.now().timestamp())

    class Wrong:
        async def issue_certificate(self, app: AppName, public_key: str) -> str:
            own = load_ssh_public_key(public_key.encode())
            builder = certificate(
                Ed25519PrivateKey.generate().public_key() if "key" in wrong else own,
                after_s=now_s + wrong.get("after", -60),
                before_s=now_s + wrong.get("before", 3600),
                kind=wrong.get("kind", SSHCertificateType.USER),
                principals=wrong.get("principals"),
            )
            return builder.sign(Ed25519PrivateKey.generate()).public_bytes().decode()

    with pytest.raises(SshError, match=reason) as caught:
        await SshAccessIssuer(Wrong(), clock=clock).access(_MACHINE)

    assert caught.value.facts["machine"] == _MACHINE.id


@pytest.mark.parametrize("line", ["", "ssh-ed25519-cert-v01@openssh.com AAAA", "é", "plain"])
async def test_what_is_no_certificate_is_refused(line: str) -> None:
    class Nonsense:
        async def issue_certificate(self, app: AppName, public_key: str) -> str:
            return public_key if line == "plain" else line

    with pytest.raises(SshError, match="not an SSH certificate"):
        await SshAccessIssuer(Nonsense(), clock=ManualClock()).access(_MACHINE)


async def test_a_certificate_changed_on_the_way_is_refused() -> None:
    class Changed(Authority):
        async def issue_certificate(self, app: AppName, public_key: str) -> str:
            kind, body, *_ = (await super().issue_certificate(app, public_key)).split()
            swapped = "A" if body[-12] != "A" else "B"
            return f"{kind} {body[:-12]}{swapped}{body[-11:]}"

    with pytest.raises(SshError, match="not an SSH certificate"):
        await SshAccessIssuer(Changed(), clock=ManualClock()).access(_MACHINE)


async def test_the_access_opens_the_simulated_machine(tmp_path: Path) -> None:
    """The simulator's authority dates certificates by the machine's own clock, as SSH servers check them."""
    async with simulated_fly(tmp_path) as simulated:
        await simulated.sim.ssh.settled()
        machine = await simulated.fly.machine(APP, simulated.machine_id)
        issuer = SshAccessIssuer(simulated.fly, clock=SystemClock(), port=simulated.sim.ssh_port)

        access = await issuer.access(machine)

        key = asyncssh.import_private_key(access.private_key)
        signed = asyncssh.import_certificate(access.certificate)
        async with asyncssh.connect(
            access.host, access.port, username=access.user, client_keys=[(key, signed)], known_hosts=None, config=None
        ) as connection:
            result = await connection.run("echo reached", timeout=20)
        assert result.stdout == "reached\n"


async def test_an_expired_certificate_of_fly_is_refused_before_it_is_used(tmp_path: Path) -> None:
    async with simulated_fly(tmp_path) as simulated:
        simulated.sim.authority.is_issuing_expired = True
        machine = await simulated.fly.machine(APP, simulated.machine_id)

        with pytest.raises(SshError, match="expired"):
            await SshAccessIssuer(simulated.fly, clock=SystemClock()).access(machine)
