"""What the built-in notifiers send, byte by byte, to a real server on loopback."""

import asyncio
import contextlib
import hashlib
import hmac
import io
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from flykeep.adapters.notifiers import apprise, http_post
from flykeep.adapters.notifiers.apprise import scrubbed
from flykeep.adapters.notifiers.document import as_json
from flykeep.adapters.notifiers.log import LogNotifier
from flykeep.adapters.notifiers.webhook import signature
from flykeep.domain.errors import ConfigError, NotifyError
from flykeep.domain.findings import MessageKind, Severity
from flykeep.plugins import load_notifiers
from flykeep.ports.notifier import Notifier
from flykeep.ports.plugin import NotifierDeps
from flykeep.testing.clock import ManualClock
from flykeep.testing.contracts.notifier import sample_message, told_by
from tests.contract.notifiers.http_sink import Sink

# apprise's import reaches a module of the standard library that a later Python removes.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

PLANTED = "hunter2-planted-secret"


def built(type_: str, table: Mapping[str, object], secrets: Mapping[str, str]) -> Notifier:
    deps = NotifierDeps(clock=ManualClock(), secret=secrets.__getitem__)
    return load_notifiers([type_])[type_].build("sample", table, deps)


def webhook(sink: Sink, **more: str) -> Notifier:
    return built("webhook", {"url_secret": "HOOK_URL", **more}, {"HOOK_URL": f"{sink.url}/in", "HOOK_KEY": PLANTED})


async def test_a_webhook_gets_the_whole_message_as_a_versioned_document(sink: Sink) -> None:
    await webhook(sink).send(sample_message(MessageKind.OPENED))
    [received] = sink.received
    assert (received.method, received.path) == ("POST", "/in")
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["X-Flykeep-Message-Id"] == "incident-1:opened:0"
    assert "X-Flykeep-Signature" not in received.headers
    assert json.loads(received.body) == {
        "schema": "flykeep.message/1",
        "id": "incident-1:opened:0",
        "kind": "opened",
        "created_at": "2026-03-01T04:00:00Z",
        "severity": "critical",
        "title": "[CRITICAL] my-crocbot/crocbot_data: snapshot.stale",
        "body": "The newest snapshot is 40 h old.\n\nDo next: flykeep snapshot my-crocbot/crocbot_data",
        "code": "snapshot.stale",
        "subject": "my-crocbot/crocbot_data",
        "app": "my-crocbot",
        "volume_id": "vol_1",
        "since_at": "2026-03-01T04:00:00Z",
        "last_good_at": "2026-03-01T04:00:00Z",
        "next_step": "flykeep snapshot my-crocbot/crocbot_data",
        "incident_id": "incident-1",
        "is_healthy": False,
    }


async def test_a_webhook_is_signed_over_time_and_body(sink: Sink) -> None:
    await webhook(sink, signing_secret="HOOK_KEY").send(sample_message(MessageKind.OPENED))
    [received] = sink.received
    parts = dict(part.split("=") for part in received.headers["X-Flykeep-Signature"].split(","))
    assert int(parts["t"]) == int(ManualClock().now().timestamp())
    expected = hmac.new(PLANTED.encode(), parts["t"].encode() + b"." + received.body, hashlib.sha256).hexdigest()
    assert parts["v1"] == expected
    assert signature(received.body + b" ", key=PLANTED, timestamp=int(parts["t"])).partition("v1=")[2] != expected


@pytest.mark.parametrize(
    ("status", "is_permanent"),
    [
        *((status, True) for status in (301, 400, 401, 404, 410)),
        *((status, False) for status in (408, 425, 429, 500, 503)),
    ],
)
@pytest.mark.parametrize("type_", ["webhook", "healthchecks"])
async def test_a_refusal_tells_whether_another_try_may_help(
    sink: Sink, type_: str, status: int, is_permanent: bool
) -> None:
    sink.status = status
    notifier = built(type_, {"url_secret": "HOOK_URL"}, {"HOOK_URL": sink.url})
    with pytest.raises(NotifyError, match=f"status {status}") as refused:
        await notifier.send(sample_message(MessageKind.TEST))
    assert refused.value.is_permanent is is_permanent
    assert refused.value.facts["notifier"] == "sample"


async def test_a_server_that_does_not_answer_is_given_up(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_post, "TIMEOUT_S", 0.05)
    sink.is_open.clear()
    with pytest.raises(NotifyError, match="could not be reached") as late:
        await webhook(sink).send(sample_message(MessageKind.TEST))
    assert not late.value.is_permanent


@pytest.mark.parametrize("url", ["", "http://", PLANTED, f"ftp://x/{PLANTED}", f"http://x:{PLANTED}"])
@pytest.mark.parametrize("type_", ["webhook", "healthchecks"])
async def test_a_secret_that_is_no_url_is_refused_for_good_and_not_told(type_: str, url: str) -> None:
    with pytest.raises(NotifyError, match="does not hold") as refused:
        await built(type_, {"url_secret": "HOOK_URL"}, {"HOOK_URL": url}).send(sample_message(MessageKind.TEST))
    assert refused.value.is_permanent
    assert PLANTED not in told_by(refused.value)


async def test_a_dead_man_switch_hears_of_health_of_failure_and_of_tests(sink: Sink) -> None:
    notifier = built("healthchecks", {"url_secret": "PING"}, {"PING": f"{sink.url}/ping/uuid/?rid=1\n"})
    assert notifier.kinds == {MessageKind.CHECKED, MessageKind.TEST}
    checked = sample_message(MessageKind.CHECKED)
    await notifier.send(replace(checked, is_healthy=True))
    await notifier.send(checked)
    await notifier.send(sample_message(MessageKind.TEST))
    assert [received.path for received in sink.received] == [
        "/ping/uuid/?rid=1",
        "/ping/uuid/fail?rid=1",
        "/ping/uuid/log?rid=1",
    ]
    assert sink.received[1].body.decode().startswith(checked.title)


@pytest.mark.parametrize(
    ("kind", "severity", "type_"),
    [
        (MessageKind.OPENED, Severity.CRITICAL, "failure"),
        (MessageKind.REMINDED, Severity.WARNING, "warning"),
        (MessageKind.RESOLVED, Severity.INFO, "success"),
        (MessageKind.TEST, Severity.INFO, "info"),
    ],
)
async def test_apprise_gets_title_body_and_severity(
    sink: Sink, kind: MessageKind, severity: Severity, type_: str
) -> None:
    notifier = built("apprise", {"url_secret": "URL"}, {"URL": f"json://127.0.0.1:{sink.port}/in"})
    message = sample_message(kind, severity=severity)
    await notifier.send(message)
    document = json.loads(sink.received[0].body)
    assert (document["title"], document["message"], document["type"]) == (message.title, message.body, type_)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that reaches the root logger at the most talkative level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(1)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("type_", ["apprise", "webhook", "healthchecks"])
async def test_no_log_names_the_url_however_talkative_it_is(
    sink: Sink, logged: io.StringIO, capsys: pytest.CaptureFixture[str], type_: str, status: int
) -> None:
    sink.status = status
    scheme = "json://user:pass@" if type_ == "apprise" else "http://"
    notifier = built(type_, {"url_secret": "URL"}, {"URL": f"{scheme}127.0.0.1:{sink.port}/{PLANTED}?token={PLANTED}"})
    with contextlib.suppress(NotifyError):
        await notifier.send(sample_message(MessageKind.TEST))
    assert len(sink.received) == 1
    printed = capsys.readouterr()
    assert PLANTED not in logged.getvalue() + printed.out + printed.err


async def test_apprise_tells_what_the_service_said_and_nothing_of_the_url(sink: Sink) -> None:
    sink.status = 403
    url = f"json://user:{PLANTED}@127.0.0.1:{sink.port}/{PLANTED}?token={PLANTED}"
    with pytest.raises(NotifyError, match=r"was refused: .*403") as refused:
        await built("apprise", {"url_secret": "URL"}, {"URL": url}).send(sample_message(MessageKind.TEST))
    assert PLANTED not in told_by(refused.value)


async def test_two_apprise_calls_at_once_keep_their_words_apart(sink: Sink, dead_port: int) -> None:
    sink.status = 403
    refusing = built("apprise", {"url_secret": "URL"}, {"URL": f"json://127.0.0.1:{sink.port}"})
    dead = built("apprise", {"url_secret": "URL"}, {"URL": f"json://127.0.0.1:{dead_port}/{PLANTED}"})
    message = sample_message(MessageKind.TEST)
    answers = await asyncio.gather(refusing.send(message), dead.send(message), return_exceptions=True)
    assert "403" in str(answers[0])
    assert "403" not in str(answers[1])
    assert PLANTED not in str(answers[0]) + str(answers[1])


async def test_apprise_is_given_up_when_its_service_does_not_answer(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apprise, "TIMEOUT_S", 0.05)
    sink.is_open.clear()
    notifier = built("apprise", {"url_secret": "URL"}, {"URL": f"json://127.0.0.1:{sink.port}"})
    with pytest.raises(NotifyError, match="did not answer"):
        await notifier.send(sample_message(MessageKind.TEST))


async def test_a_url_apprise_does_not_know_is_refused_for_good() -> None:
    with pytest.raises(NotifyError, match="a URL that apprise knows") as refused:
        await built("apprise", {"url_secret": "URL"}, {"URL": f"nope://{PLANTED}"}).send(
            sample_message(MessageKind.TEST)
        )
    assert refused.value.is_permanent
    assert PLANTED not in told_by(refused.value)


def test_scrubbing_removes_every_part_of_a_url_however_it_is_written() -> None:
    url = "tgram://123456:AAbb%2Fcc/chat99?to=me%40x.org"
    words = f"failed {url} bot 123456 AAbb%2Fcc AAbb/cc chat99 me@x.org\nline two"
    text = scrubbed(words, url)
    assert not any(piece in text for piece in ("123456", "AAbb", "chat99", "me@x", "x.org"))
    assert text.startswith("failed *** bot ***")
    assert "\n" not in text
    assert len(scrubbed("word " * 1000, url)) <= 300


async def test_the_log_writes_one_json_line_per_message() -> None:
    stream = io.StringIO()
    message = sample_message(MessageKind.OPENED)
    await LogNotifier("log", stream=stream).send(message)
    [line] = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["notifier"]) == (message.title, "error", "log")
    assert entry["message"] == json.loads(as_json(message))


async def test_the_log_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    await built("log", {}, {}).send(sample_message(MessageKind.TEST))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert json.loads(printed.err)["message"]["kind"] == "test"


async def test_a_log_that_cannot_be_written_is_an_error() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(NotifyError, match="can't be written"):
        await LogNotifier("log", stream=stream).send(sample_message(MessageKind.TEST))


@pytest.mark.parametrize(
    ("type_", "table", "message", "hint"),
    [
        ("webhook", {"url": PLANTED}, "notifiers.sample.url: would put a secret", "url_secret = "),
        ("webhook", {"url_secret": f"http://{PLANTED}"}, "must be the NAME of an environment variable", "Capitals"),
        ("webhook", {"url_secret": "A", "sining_secret": "B"}, "sining_secret: is not a known key", "signing_secret"),
        ("healthchecks", {}, "notifiers.sample.url_secret: is missing", "docs/reference/notifiers.md"),
        ("apprise", {"url_secret": 5}, "notifiers.sample.url_secret: must be the NAME", "Capitals"),
        ("log", {"level": "info"}, "level: is not a known key", "Valid keys: none"),
    ],
)
def test_a_wrong_table_is_refused_by_name(type_: str, table: Mapping[str, object], message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        load_notifiers([type_])[type_].validate("sample", table)
    assert hint in refused.value.next_step
    assert PLANTED not in told_by(refused.value)


def test_the_type_may_be_left_in_the_table() -> None:
    load_notifiers(["log"])["log"].validate("sample", {"type": "log"})
