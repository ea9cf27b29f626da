"""A worker that stands in a machine of its own: real processes, the calls that exec would make, and every death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.adapters.launchers.wire import ExportedLine, FailureLine, ProgressLine, encode_order
from flykeep.adapters.system import SystemClock
from flykeep.domain.errors import RefusalError, SshError
from flykeep.ports.fly import SshAccess
from flykeep.ports.store import StoreOrder
from flykeep.ports.worker import ReachOrder
from tests.integration.worker.exporting import Keys, export_order
from tests.integration.worker.standing import Standing, called, standing, standing_over

PROGRESS = '{"progress":{"phase":"reading","tar_bytes":1,"stored_bytes":1,"entries":1},"type":"progress"}'
FAILURE = '{"code":"run.interrupted","message":"stopped","hint":"","exit_code":8,"facts":{},"type":"failure"}'
WORKS_UNTIL_TOLD = f"read -r order; echo '{PROGRESS}'; cat >/dev/null; echo '{FAILURE}'"
DEAF = f"read -r order; echo '{PROGRESS}'; exec sleep 600"
SECRET = "the-store's-secret-key"


@pytest.fixture
def order(tree: Path, store: StoreOrder, keys: Keys) -> bytes:
    (tree / "file").write_bytes(b"content")
    return encode_order(export_order(None, tree, store, keys))


def failure_in(worker: Standing) -> FailureLine:
    *_, last = worker.whole_report()
    assert isinstance(last, FailureLine)
    return last


def test_an_order_that_was_handed_in_is_carried_out_and_reported(order: bytes) -> None:
    with standing() as worker:
        assert worker.hand_in(order)
        *progress, last = worker.whole_report()
        assert isinstance(last, ExportedLine)
        assert last.result.totals.files == 1
        assert all(isinstance(line, ProgressLine) for line in progress)


def test_it_ends_by_itself_once_its_result_was_read(order: bytes) -> None:
    with standing() as worker:
        worker.hand_in(order)
        worker.whole_report()
        _, answer = worker.report()
        assert worker.process.poll() is None, "an answer may be lost: it waits to be asked again"
        assert worker.report(answer["offset"])[1] == {"offset": answer["offset"], "lines": [], "is_over": True}
        assert worker.ended() == 0
        assert isinstance(worker.whole_report()[-1], ExportedLine), "the report is still there"


def test_the_same_order_is_accepted_again_and_carried_out_once_and_another_is_refused() -> None:
    with standing_over(f"read -r order; echo '{FAILURE}'") as worker:
        assert worker.hand_in(b'{"order": 1}\n')
        assert worker.hand_in(b'{"order": 1}')
        assert not worker.hand_in(b'{"order": 2}')
        assert len(worker.whole_report()) == 1
        assert worker.hand_in(b'{"order": 1}'), "its answer may have been lost even now"


def test_an_empty_order_is_refused() -> None:
    with standing_over(WORKS_UNTIL_TOLD) as worker:
        assert not worker.hand_in(b"\n")
        assert worker.hand_in(b"{}")


def test_a_child_that_is_killed_is_reported_with_its_last_words(order: bytes) -> None:
    with standing_over(f"read -r order; echo '{PROGRESS}'; echo about to die >&2; printf half; kill -9 $$") as worker:
        worker.hand_in(order)
        progress, failure = worker.whole_report()
        assert isinstance(progress, ProgressLine)
        assert isinstance(failure, FailureLine)
        assert "ended with -9 and no result: about to die" in failure.message


def test_a_killed_child_of_the_program_itself_is_a_failure(order: bytes) -> None:
    with standing() as worker:
        worker.hand_in(order)
        worker.child().kill()
        failure = failure_in(worker)
        assert (failure.code, failure.facts) == ("worker.failed", {"exit_code": "-9"})


def test_a_worker_that_died_itself_is_over_and_its_child_gone(order: bytes) -> None:
    with standing_over(WORKS_UNTIL_TOLD) as worker:
        worker.hand_in(order)
        child = worker.child()
        worker.process.kill()
        worker.process.wait()
        lines = worker.whole_report()
        assert isinstance(lines[-1], FailureLine)
        assert "the standing worker died" in lines[-1].message
        assert psutil.wait_procs([child], timeout=30)[1] == []
        assert worker.whole_report() == lines


def test_it_ends_at_its_deadline_although_no_order_came() -> None:
    with standing(deadline_s=0.2) as worker:
        assert worker.ended() == 0
        assert "no order came" in failure_in(worker).message


def test_it_waits_for_an_order_for_a_bounded_time_only() -> None:
    with standing_over(WORKS_UNTIL_TOLD, limits="1000, order_s=0.1") as worker:
        assert worker.ended() == 0
        assert "no order came" in failure_in(worker).message


def test_at_its_deadline_the_child_is_told_to_stop_and_says_so_itself(order: bytes) -> None:
    with standing_over(WORKS_UNTIL_TOLD, limits="1.5, unread_s=0.0") as worker:
        worker.hand_in(order)
        assert worker.ended() == 0
        assert failure_in(worker).code == "run.interrupted"


def test_a_child_that_does_not_stop_is_killed(order: bytes, tmp_path: Path) -> None:
    with standing_over(DEAF, limits="100, stop_s=0.1") as worker:
        worker.hand_in(order)
        child = worker.child()
        worker.process.terminate()
        assert worker.ended() == 0
        assert not child.is_running()
        assert "was killed" in failure_in(worker).message


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_machine_that_is_stopped_stops_the_work_in_order(order: bytes, number: int) -> None:
    with standing_over(WORKS_UNTIL_TOLD) as worker:
        worker.hand_in(order)
        assert worker.report()[1]["is_over"] is False
        worker.process.send_signal(number)
        assert worker.ended() == 0
        assert failure_in(worker).code == "run.interrupted"


def test_a_result_that_nobody_reads_does_not_keep_it_alive(order: bytes) -> None:
    with standing_over(f"read -r order; echo '{FAILURE}'", limits="1000, unread_s=0.1") as worker:
        worker.hand_in(order)
        assert worker.ended() == 0


def test_a_long_report_comes_in_pages_of_bounded_size() -> None:
    count = 20_000
    script = f"read -r order; yes '{PROGRESS}' | head -n {count}; echo '{FAILURE}'"
    with standing_over(script) as worker:
        worker.hand_in(b"{}")
        worker.whole_report()
        offset, lines, pages, is_over = 0, 0, 0, False
        while not is_over:
            found, answer = worker.report(offset)
            assert answer["offset"] - offset <= 256 << 10
            offset, is_over = answer["offset"], answer["is_over"]
            lines, pages = lines + len(found), pages + 1
        assert lines == count + 1
        assert pages > 6


def test_the_orders_secrets_are_in_no_file_argument_environment_or_log(
    tree: Path, store: StoreOrder, keys: Keys
) -> None:
    given = export_order(None, tree, replace(store, secret_access_key=SECRET), keys)
    with standing() as worker:
        worker.hand_in(encode_order(given))
        child = worker.child()
        child.suspend()
        for pid in (worker.process.pid, child.pid):
            for name in ("cmdline", "environ"):
                assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
        child.resume()
        worker.whole_report()
        files = [path for path in worker.directory.parent.rglob("*") if path.is_file()]
        assert {path.name for path in files} == {"report.jsonl", "log"}
        assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_the_directory_and_what_is_in_it_are_for_its_user_alone() -> None:
    with standing() as worker:
        worker.hand_in(b"{}")
        assert worker.directory.stat().st_mode & 0o777 == 0o700
        assert (worker.directory / "order.sock").stat().st_mode & 0o777 == 0o600
        assert (worker.directory / "report.jsonl").stat().st_mode & 0o077 == 0


def test_a_directory_in_which_a_worker_stood_is_refused_and_its_report_kept(order: bytes) -> None:
    with standing_over(WORKS_UNTIL_TOLD) as worker:
        worker.hand_in(order)
        second = called("stand", "--directory", str(worker.directory), "--deadline", "5")
        assert second.returncode == RefusalError.exit_code
        assert b"a worker stands here" in second.stderr
        assert worker.report()[1]["is_over"] is False


def test_without_a_worker_there_is_no_answer(tmp_path: Path) -> None:
    for words in (("hand-in",), ("report", "--from", "0")):
        done = called(*words, "--directory", str(tmp_path), stdin=b"{}")
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"worker.failed: no worker stands here" in done.stderr


@pytest.mark.parametrize("words", [("report",), ("report", "--from", "-1"), ("stand", "--deadline", "0"), ("sit",)])
def test_words_that_mean_nothing_are_a_usage_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert called(*words, "--directory", str(tmp_path)).returncode == 2


@pytest.mark.parametrize("name", ["FLY_API_TOKEN", "FLY_ACCESS_TOKEN"])
def test_a_worker_that_could_talk_to_fly_refuses_to_run(tmp_path: Path, order: bytes, name: str) -> None:
    env = os.environ | {name: "fo1_secret"}
    stand = called("stand", "--directory", str(tmp_path / "worker"), "--deadline", "5", env=env)
    assert stand.returncode == RefusalError.exit_code
    assert name.encode() in stand.stderr
    assert not (tmp_path / "worker").exists()
    bare = called(stdin=order, env=env)
    assert bare.returncode == RefusalError.exit_code
    assert json.loads(bare.stdout)["code"] == "refused.guard"
    assert b"fo1_secret" not in stand.stderr + stand.stdout + bare.stdout + bare.stderr


async def test_a_child_of_the_daemon_never_sees_the_daemons_token() -> None:
    workers = LocalWorkers(clock=SystemClock(), environment=os.environ | {"FLY_API_TOKEN": "fo1_secret"})
    nowhere = ReachOrder(SshAccess("127.0.0.1", 1, "root", "key", "certificate"), deadline_s=20)
    with pytest.raises(SshError):
        await workers.reach(nowhere)


def test_what_is_asked_for_every_few_seconds_imports_next_to_nothing(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from flykeep.__main__ import main\n"
        "sys.argv[1:] = sys.argv[2:]\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "print(code, *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    heavy = {"typer", "rich", "pydantic", "obstore", "sqlalchemy", "asyncio", "httpx", "pyrage", "importlib_metadata"}
    with standing_over(WORKS_UNTIL_TOLD) as worker:
        assert worker.hand_in(b"{}")
        for words in (("hand-in",), ("report", "--from", "0")):
            command = [sys.executable, "-c", script, "-", "worker", *words, "--directory", str(worker.directory)]
            done = subprocess.run(command, input=b"{}", capture_output=True, check=False)
            code, *modules = done.stderr.decode().split()
            assert code == "0", done.stderr
            assert not heavy & set(modules)
