"""The SSH side: certificates from GraphQL, OpenSSH's own client, real commands that see the volume at its mount."""

import asyncio
import shlex
import tarfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest

from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.model import Machine
from tests.integration.flysim.simulated import Rig, rig

ISSUE = "mutation ($input: IssueCertificateInput!) { issueCertificate(input: $input) { certificate } }"


def exists(path: Path) -> bool:
    return path.exists()


async def until(holds: Callable[[], bool]) -> None:
    """Return once something holds; it must within ten seconds."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - a file system sends no events
            await asyncio.sleep(0.02)


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path / "sim") as made:
        yield made


@dataclass
class Ended:
    code: int
    stdout: bytes
    stderr: str


@dataclass
class Terminal:
    """OpenSSH's client with one key pair and one certificate."""

    fly: Rig
    folder: Path
    key: asyncssh.SSHKey

    async def issue(
        self, *, apps: tuple[str, ...] = ("my-crocbot",), principals: tuple[str, ...] = ("root", "fly")
    ) -> str:
        organization = await self.fly.graphql('{ app(name: "my-crocbot") { organization { id } } }')
        answer = await self.fly.graphql(
            ISSUE,
            input={
                "organizationId": organization["data"]["app"]["organization"]["id"],
                "appNames": list(apps),
                "principals": list(principals),
                "publicKey": self.key.export_public_key("openssh").decode().strip(),
                "validHours": 1,
            },
        )
        line: str = answer["data"]["issueCertificate"]["certificate"]
        (self.folder / "key-cert.pub").write_text(line + "\n")
        return line

    async def run(self, command: str, *, machine: Machine | None = None, stdin: bytes = b"") -> Ended:
        where = (machine or self.fly.machine).private_ip
        argv = [
            "ssh",
            "-F",
            "none",
            "-i",
            str(self.folder / "key"),
            "-o",
            f"CertificateFile={self.folder}/key-cert.pub",
        ]
        for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "LogLevel=ERROR"):
            argv += ["-o", option]
        process = await asyncio.create_subprocess_exec(
            *argv, "-p", str(self.fly.sim.ssh_port), f"root@{where}", command,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(30):
                stdout, stderr = await process.communicate(stdin)
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        return Ended(process.returncode or 0, stdout, stderr.decode())


@pytest.fixture
async def terminal(fly: Rig, tmp_path: Path) -> Terminal:
    key = asyncssh.generate_private_key("ssh-ed25519")
    path = tmp_path / "key"
    path.write_bytes(key.export_private_key("openssh"))
    path.chmod(0o600)
    made = Terminal(fly, tmp_path, key)
    await made.issue()
    return made


async def test_a_tar_stream_of_the_mount_holds_the_volume(fly: Rig, terminal: Terminal, tmp_path: Path) -> None:
    mount = shlex.quote(fly.machine.mount_path or "")

    ended = await terminal.run(f"tar -C {mount} -cf - .")

    assert (ended.code, ended.stderr) == (0, "")
    (tmp_path / "got.tar").write_bytes(ended.stdout)
    with tarfile.open(tmp_path / "got.tar") as archive:
        members = {member.name: member for member in archive}
        there = {f"./{path.relative_to(fly.volume.directory)}" for path in fly.volume.directory.rglob("*")}
        assert set(members) == there | {"."}
        config = archive.extractfile("./crocbot.json")
        assert config is not None
        assert config.read() == (fly.volume.directory / "crocbot.json").read_bytes()
    assert members["./credentials/telegram.json"].mode == 0o600
    assert members["./logs/current.log"].issym()


async def test_the_exit_status_streams_and_signals_come_through(terminal: Terminal) -> None:
    ended = await terminal.run("cat; echo oops >&2; exit 7", stdin=b"\x00\xff" * 100_000)
    killed = await terminal.run("kill -9 $$")

    assert (ended.code, ended.stdout, ended.stderr) == (7, b"\x00\xff" * 100_000, "oops\n")
    assert killed.code == 255


async def test_a_machine_sees_its_own_environment_and_nothing_of_the_host(fly: Rig, terminal: Terminal) -> None:
    ended = await terminal.run("env; ls -A /tmp /root")

    assert f"FLY_MACHINE_ID={fly.machine.id}" in ended.stdout.decode()
    assert "PYTEST" not in ended.stdout.decode()
    if fly.sim.world.sees_mounts:
        assert ended.stdout.decode().endswith("/root:\n\n/tmp:\n")


async def test_what_a_command_leaves_in_tmp_is_found_by_the_next(fly: Rig, terminal: Terminal) -> None:
    if not fly.sim.world.sees_mounts:
        pytest.skip("no mount namespaces here")
    await terminal.run("echo staged > /tmp/left-behind")

    assert (await terminal.run("cat /tmp/left-behind")).stdout == b"staged\n"
    assert (fly.sim.directory / "machines" / fly.machine.id / "tmp" / "left-behind").read_text() == "staged\n"


async def test_a_certificate_opens_only_the_apps_it_was_issued_for(fly: Rig, terminal: Terminal) -> None:
    wiki = fly.sim.world.find_machine("wiki")

    refused = await terminal.run("true", machine=wiki)
    await terminal.issue(apps=("my-crocbot", "wiki"))
    allowed = await terminal.run("true", machine=wiki)

    assert (refused.code, allowed.code) == (255, 0)
    assert "Permission denied (publickey)" in refused.stderr


async def test_an_expired_certificate_is_refused(fly: Rig, terminal: Terminal) -> None:
    fly.sim.authority.is_issuing_expired = True
    await terminal.issue()

    ended = await terminal.run("true")

    assert ended.code == 255
    assert "Permission denied (publickey)" in ended.stderr


async def test_a_certificate_for_another_user_is_refused(terminal: Terminal) -> None:
    await terminal.issue(principals=("postgres",))

    assert (await terminal.run("true")).code == 255


async def test_a_key_without_a_certificate_is_refused(terminal: Terminal) -> None:
    (terminal.folder / "key-cert.pub").unlink()

    assert (await terminal.run("true")).code == 255


async def test_a_certificate_from_another_authority_is_refused(terminal: Terminal) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    certificate = stranger.generate_user_certificate(terminal.key, "stranger", principals=["root"])
    certificate.write_certificate(str(terminal.folder / "key-cert.pub"), "openssh")

    assert (await terminal.run("true")).code == 255


async def test_only_started_machines_on_known_hosts_are_reachable(fly: Rig, terminal: Terminal) -> None:
    machine = fly.machine
    fly.sim.world.stop_machine(machine)
    stopped = await terminal.run("true")
    fly.sim.world.start_machine(machine)
    await fly.sim.ssh.settled()
    started = await terminal.run("true")
    fly.sim.world.set_host_status("my-crocbot", "unreachable")
    lost = await terminal.run("true")

    assert [stopped.code, started.code, lost.code] == [255, 0, 255]


async def test_a_machine_that_moved_answers_at_its_new_address_only(fly: Rig, terminal: Terminal) -> None:
    old = fly.machine.private_ip
    fly.sim.world.migrate(fly.volume)
    await fly.sim.ssh.settled()

    assert (await terminal.run(f"ls {fly.machine.mount_path}/crocbot.json")).code == 0
    with pytest.raises(OSError, match=r"."):
        await asyncio.open_connection(old, fly.sim.ssh_port)


async def seen_host_key(fly: Rig) -> str:
    key = await asyncssh.get_server_host_key(fly.machine.private_ip, fly.sim.ssh_port, config=None)
    assert key is not None
    return key.export_public_key("openssh").decode()


async def test_the_host_key_is_ed25519_and_changes_when_told_to(fly: Rig) -> None:
    first, second = await seen_host_key(fly), await seen_host_key(fly)
    fly.sim.world.rotate_host_key(fly.machine)
    await fly.sim.ssh.settled()
    third = await seen_host_key(fly)
    fly.sim.faults.add(Fault(kind=FaultKind.SSH_NEW_HOST_KEY, action="ssh.connect"))
    await seen_host_key(fly)
    last = await seen_host_key(fly)

    assert first.startswith("ssh-ed25519 ")
    assert first == second
    assert len({first, third, last}) == 3


async def test_a_scripted_refusal_closes_the_connection(fly: Rig, terminal: Terminal) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.SSH_REFUSE, action="ssh.connect", app="my-crocbot"))

    assert (await terminal.run("true")).code == 255
    assert (await terminal.run("true")).code == 0


async def test_a_cut_stream_ends_early_and_does_not_look_finished(fly: Rig, terminal: Terminal) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.SSH_CUT, action="ssh.exec", after_bytes=100_000))

    cut = await terminal.run("head -c 5000000 /dev/zero")
    whole = await terminal.run("head -c 5000000 /dev/zero")

    assert cut.code == 255
    assert len(cut.stdout) <= 100_000
    assert (whole.code, len(whole.stdout)) == (0, 5_000_000)


@pytest.mark.parametrize("who", ["client", "machine"])
async def test_a_command_ends_when_either_side_is_gone(fly: Rig, terminal: Terminal, who: str) -> None:
    mount = fly.machine.mount_path
    running = asyncio.create_task(terminal.run(f"echo $$ > {mount}/pid; exec sleep 600"))
    pid_file = fly.volume.directory / "pid"
    await until(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
    process = Path("/proc") / pid_file.read_text().strip()
    assert exists(process)

    if who == "client":
        running.cancel()
    else:
        fly.sim.world.stop_machine(fly.machine)

    await until(lambda: not exists(process))
    await asyncio.wait([running])


# exec, the small way in over HTTP


async def test_exec_answers_200_with_the_exit_code_of_the_command(fly: Rig) -> None:
    path = f"{fly.machine_path}/exec"
    failed = await fly.http.post(path, json={"command": ["sh", "-c", "cat; echo no >&2; exit 3"], "stdin": "hello"})
    fine = await fly.http.post(path, json={"command": ["ls", fly.machine.mount_path], "timeout": 25})
    killed = await fly.http.post(path, json={"cmd": "sh -c kill${IFS}-9${IFS}$$"})

    assert (failed.status_code, failed.json()) == (200, {"exit_code": 3, "stdout": "hello", "stderr": "no\n"})
    assert fine.status_code == 200
    assert "exit_code" not in fine.json()
    assert "crocbot.json" in fine.json()["stdout"]
    assert killed.json() == {"exit_signal": 9}


async def test_exec_refuses_what_fly_refuses(fly: Rig) -> None:
    path, command = f"{fly.machine_path}/exec", {"command": ["true"]}
    long = await fly.http.post(path, json=command | {"timeout": 61})
    fly.sim.world.hold_lease(fly.machine)
    leased = await fly.http.post(path, json=command)
    fly.sim.world.release_lease(fly.machine)
    fly.sim.world.stop_machine(fly.machine)
    stopped = await fly.http.post(path, json=command)

    assert (long.status_code, long.json()["error"]) == (400, "timeout must not exceed 60 seconds")
    assert leased.status_code == 409
    assert stopped.status_code == 412


async def test_exec_answers_200_to_a_request_that_is_too_large(fly: Rig) -> None:
    answer = await fly.http.post(f"{fly.machine_path}/exec", json={"command": ["echo", "x" * 23_700]})

    assert answer.status_code == 200
    assert answer.text.startswith("Unhandled rejection: Rejection([PayloadTooLarge")


async def test_exec_gives_up_with_408_and_the_command_runs_on(fly: Rig) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.EXEC_DEADLINE, action="machine.exec"))
    marker = f"{fly.machine.mount_path}/finished"
    gate = f"{fly.machine.mount_path}/gate"
    command = ["sh", "-c", f"mkfifo {gate}; cat {gate} >/dev/null; touch {marker}"]

    answer = await fly.http.post(f"{fly.machine_path}/exec", json={"command": command})

    assert answer.status_code == 408
    assert answer.json()["error"].startswith("deadline_exceeded: ")
    directory = fly.volume.directory
    await until((directory / "gate").exists)
    await asyncio.to_thread((directory / "gate").write_bytes, b"go")
    await until((directory / "finished").exists)


async def test_a_lease_taken_by_a_fault_ends_by_itself(fly: Rig) -> None:
    fly.sim.faults.add(Fault(kind=FaultKind.LEASE_HELD, action="machine.exec"))
    path, body = f"{fly.machine_path}/exec", {"command": ["true"]}

    first = await fly.http.post(path, json=body)
    await fly.clock.advance(timedelta(minutes=5))
    second = await fly.http.post(path, json=body)

    assert (first.status_code, second.status_code) == (409, 200)
