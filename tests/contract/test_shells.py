"""Every shell behind `worker.machine.Shell` runs scripts alike, here and over SSH."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psutil
import pytest

from flykeep.adapters.shells.running import Ended, RunningCommand
from flykeep.domain.errors import FlykeepError, SshError, WorkerError
from flykeep.worker.machine import Shell, shell_on
from tests.sshd import Sshd, running_sshd

LOST = {"here": WorkerError, "ssh": SshError}


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(params=["here", "ssh"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shell(where: str, request: pytest.FixtureRequest) -> Iterator[Shell]:
    server: Sshd | None = request.getfixturevalue("sshd") if where == "ssh" else None
    with shell_on(server.access() if server else None) as found:
        yield found


def started(shell: Shell, script: bytes) -> RunningCommand:
    command = shell.start()
    command.give(script)
    return command


def run(shell: Shell, script: bytes) -> tuple[bytes, Ended]:
    command, pieces = started(shell, script), list[bytes]()
    try:
        ended = command.output(stall_s=30, on_chunk=pieces.append)
    finally:
        command.close()
    return b"".join(pieces), ended


def test_output_errors_and_exit_code_arrive_separately(shell: Shell) -> None:
    output, ended = run(shell, b"printf 'a\\377'; echo one >&2; echo two >&2; exit 3\n")
    assert (output, ended) == (b"a\xff", Ended(3, (b"one", b"two")))
    assert not ended.is_lost


def test_a_script_may_hold_any_bytes(shell: Shell) -> None:
    output, ended = run(shell, b"printf %s 'odd \xff\xfe \"name\"'\nexec cat </dev/null\n")
    assert (output, ended.code) == (b'odd \xff\xfe "name"', 0)


def test_more_output_than_any_buffer_holds_arrives_whole(shell: Shell) -> None:
    output, ended = run(shell, b"exec head -c 5000000 /dev/zero\n")
    assert (len(output), ended.code) == (5_000_000, 0)


def test_a_killed_command_ends_its_output_and_is_lost(shell: Shell, where: str) -> None:
    command = started(shell, b"echo begun; sleep 600; echo never\n")
    buffer = memoryview(bytearray(6))
    assert command.fill(buffer, stall_s=30) == 6
    killer = threading.Timer(0.01, command.kill)
    killer.start()
    ended = command.output(stall_s=30, on_chunk=lambda _: None)
    assert ended.is_lost
    assert type(shell.lost(ended)) is LOST[where]
    command.kill()
    command.close()


def test_a_command_that_was_killed_over_there_is_lost(shell: Shell) -> None:
    _, ended = run(shell, b"kill -9 $$\n")
    assert ended.is_lost


def test_silence_is_not_waited_for_without_end(shell: Shell, where: str) -> None:
    command = started(shell, b"exec sleep 600\n")
    with pytest.raises(FlykeepError, match=r"nothing arrived for 0\.05 s") as failed:
        command.fill(memoryview(bytearray(1)), stall_s=0.05)
    assert type(failed.value) is LOST[where]
    command.close()


def test_what_a_command_here_started_ends_with_it() -> None:
    with shell_on(None) as shell:
        command = started(shell, b"sleep 600 >/dev/null & echo $!; wait\n")
        buffer = bytearray(1 << 10)
        command.fill(memoryview(buffer)[:2], stall_s=30)
        command.kill()
        rest = bytearray()
        command.output(stall_s=30, on_chunk=rest.extend)
        command.close()
    pid = int((bytes(buffer[:2]) + bytes(rest)).split()[0])
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(pid).status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
