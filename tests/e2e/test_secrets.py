"""Planted secrets come to light nowhere: not when all goes well, and not in any of the ways in which it may not."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import pty
import re
import signal
import sys
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyrage
import pytest

from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Progress, Scenario, Seed, SnapshotSpec, VolumeSpec
from tests.e2e.planted import Found, Troublemaker, Watcher, dead_port, forms
from tests.flykit import Kit, flykeep
from tests.full import full
from tests.s3_standin import S3Standin

pytestmark = pytest.mark.timeout(300)

SHOP, ATTIC = "shop/shop_data", "attic/boxes"
_LIMIT_S = 60

TWO_APPS = Scenario(
    rate_limits=False,
    snapshot_progress=Progress(polls=0, seconds=None),
    apps=tuple(
        AppSpec(
            name=app,
            machines=(MachineSpec(name=f"{app}-1", volume=volume),),
            volumes=(
                VolumeSpec(name=volume, seed=Seed(count=40, bytes_each=4096), snapshots=(SnapshotSpec(age_hours=40),)),
            ),
        )
        for app, volume in (("shop", "shop_data"), ("attic", "boxes"))
    ),
)

# As an operator would have them; the token, the webhook's signing secret and the age identity are the simulator's.
PLANTED = {
    "pager key": "pAger+Signing/Key=with odd&signs%31",
    "pager path": "pagerpath-5f0c9d1be77a4c",
    "apprise password": "appr1se-p4ssw0rd-0d9f27",
    "apprise path": "apprisepath-81c2e09bd4",
    "healthchecks uuid": "0b6cbb7e-3e0a-4ab8-9d8e-77f1c0ffee42",
    "store key id": "AKPLANTEDKEYID77XQ",
    "store key": "pl4nted/St0re+Secret/key==0123456789",
    "database password": "datab4se-p4ss-77ab01",
    "other token": "fm2_wr0ngT0kenThatIsSecretAllTheSame0123456789",
    "other identity": "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ",
    "mistaken name": "Th1sIsNoName-but-a-secret-9b1d",
}

_EXTRA = """
[stores.bucket]
type = "s3"
bucket = "backups"
endpoint = "{endpoint}"
region = "us-east-1"
access_key_id_secret = "STORE_KEY_ID"
secret_access_key_secret = "STORE_KEY"

[notifiers.pager]
type = "webhook"
url_secret = "PAGER_URL"
signing_secret = "PAGER_KEY"

[notifiers.mail]
type = "apprise"
url_secret = "APPRISE_URL"

[notifiers.deadman]
type = "healthchecks"
url_secret = "HEALTH_URL"
"""

# A defect somewhere below: every frame of its traceback holds the token, and so do its words.
_DEFECT = """
import os
if os.environ.get("TEST_DEFECT"):
    from flykeep.adapters.fly.client import FlyClient
    async def broken(self, *_, **__):
        secret = os.environ["FLY_API_TOKEN"]
        raise ValueError(f"a defect that quotes {secret}")
    FlyClient.snapshots = broken
"""


@dataclass(frozen=True)
class Case:
    """One thing done with flykeep: how it is set up, and the exit codes that show that it went as meant."""

    name: str
    arguments: tuple[str, ...]
    codes: tuple[int, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    edit: Callable[[str], str] = lambda text: text
    faults: tuple[Fault, ...] = ()
    kills_worker: bool = False
    is_on_terminal: bool = False
    stop_after: str | None = None  # for the daemon: the log event after which it is stopped


def replaced(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text, old
        return text.replace(old, new)

    return edit


def added(text: str) -> Callable[[str], str]:
    return lambda known: known + text


def fly(url: str) -> dict[str, str]:
    return {"FLY_FLAPS_BASE_URL": url, "FLY_API_BASE_URL": url}


@dataclass
class Bench:
    """Everything a case needs, and everything it says."""

    kit: Kit
    watcher: Watcher
    trouble: Troublemaker
    bucket: S3Standin
    secrets: dict[str, str]
    said: dict[str, bytes] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        planted, url = self.secrets, self.trouble.url
        port = self.trouble.server_port
        return self.kit.environment | {
            "PAGER_URL": url("ok", f"{planted['pager path']}"),
            "PAGER_KEY": planted["pager key"],
            "APPRISE_URL": f"json://operator:{planted['apprise password']}@127.0.0.1:{port}/ok/"
            + planted["apprise path"],
            "HEALTH_URL": url("ok", planted["healthchecks uuid"]),
            "STORE_KEY_ID": planted["store key id"],
            "STORE_KEY": planted["store key"],
            "IDENTITY": planted["identity"],
        }

    def config(self, case: Case) -> Path:
        text = self.kit.config.read_text()
        text = text.replace("[encryption]\n", '[encryption]\nidentity_secret = "IDENTITY"\n')
        text = text.replace(
            "\n[[targets]]", '\n[[policies.standard.copies]]\nstore = "bucket"\nkeep = { min = 2 }\n\n[[targets]]', 1
        )
        head, targets = text.split("\n[[targets]]", 1)
        text = head + _EXTRA.format(endpoint=self.bucket.endpoint) + "\n[[targets]]" + targets
        path = self.kit.directory / "configs" / f"{re.sub(r'[^a-z0-9]+', '-', case.name.lower())}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(case.edit(text))
        return path

    async def run(self, case: Case) -> bytes:
        """Do it, and keep every word."""
        if case.kills_worker:
            self.watcher.kill_next(b"flykeep.worker")
        words = ["--config", str(self.config(case)), "-v", *([] if case.is_on_terminal else ["--json"])]
        command = [sys.executable, "-m", "flykeep", *case.arguments, *words]
        environment = self.environment | dict(case.environment)
        terminal, theirs = pty.openpty() if case.is_on_terminal else (None, asyncio.subprocess.PIPE)
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            cwd=self.kit.directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=theirs,
        )
        if terminal is not None:
            os.close(theirs)
        try:
            with self.watcher.watching(process.pid):
                async with asyncio.timeout(_LIMIT_S):
                    output = await _output(process, terminal, case.stop_after)
        except TimeoutError:
            self.surprises.append(f"{case.name}: did not end")
            return b""
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
        self.said[case.name] = output
        if process.returncode not in case.codes:
            self.surprises.append(f"{case.name}: {process.returncode}\n{output.decode()[-3000:]}")
        return output


async def _output(process: asyncio.subprocess.Process, terminal: int | None, stop_after: str | None) -> bytes:
    """All it says until it has ended, on both streams."""
    if stop_after is not None:
        return await _stopped(process, stop_after.encode())
    shown = asyncio.to_thread(_everything, terminal) if terminal is not None else _nothing()
    (out, err), more = await asyncio.gather(process.communicate(), shown)
    return out + (err or b"") + more


async def _stopped(process: asyncio.subprocess.Process, event: bytes) -> bytes:
    """What a daemon says until it has said `event` and was then asked to stop."""
    assert process.stderr is not None
    assert process.stdout is not None
    said, is_asked = bytearray(), False
    async for line in process.stderr:
        said += line
        if event in line and not is_asked:
            is_asked = True
            process.send_signal(signal.SIGTERM)
    said += await process.stdout.read()
    await process.wait()
    return bytes(said)


async def _nothing() -> bytes:
    return b""


def _everything(terminal: int) -> bytes:
    shown = bytearray()
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(terminal, 65536):
            shown += piece
    os.close(terminal)
    return bytes(shown)


def going_well(export_id: str) -> tuple[Case, ...]:
    return (
        Case("config show", ("config", "show"), (0,)),
        Case("status", ("status",), (3,)),
        Case("check --notify", ("check", "--notify"), (3,)),
        Case("doctor", ("doctor",), (0, 3)),  # the bucket is a stand-in that may not know every request
        Case("notify test", ("notify", "test"), (0,)),
        Case("snapshot", ("snapshot", ATTIC), (0,)),
        Case("artifact show", ("artifact", "show", export_id), (0,)),
        Case("artifact files", ("artifact", "files", export_id), (0,)),
        Case("verify contents", ("artifact", "verify", export_id, "--level", "contents"), (0,)),
        Case("verify in the bucket", ("artifact", "verify", export_id, "--store", "bucket"), (0,)),
        Case("runs", ("runs",), (0,)),
        Case("incidents", ("incidents",), (0, 3)),
    )


def going_wrong_with_fly(trouble: Troublemaker) -> tuple[Case, ...]:
    check = ("check", "--notify")
    return (
        Case("bad token", check, (3,), {"FLY_API_TOKEN": f"FlyV1 {PLANTED['other token']}"}),
        Case("a token no header can carry", check, (3,), {"FLY_API_TOKEN": f"FlyV1 {PLANTED['other token']}\nX: y"}),
        Case("403 that repeats the token", check, (3,), fly(trouble.url("json-403"))),
        Case("404 that repeats the token", check, (3,), fly(trouble.url("text-404"))),
        Case("a storm of 429", check, (3,), fly(trouble.url("json-429"))),
        Case("5xx that repeats the token", ("snapshot", SHOP), (5,), fly(trouble.url("json-500"))),
        Case("a snapshot that Fly fails", ("snapshot", SHOP), (5,)),
        Case("HTML for an answer", check, (3,), fly(trouble.url("html-200"))),
        Case("sent elsewhere", check, (3,), fly(trouble.url("moved"))),
        Case("dead API", check, (3,), fly(f"http://127.0.0.1:{dead_port()}")),
        Case(
            "everything broken, for the doctor",
            ("doctor",),
            (3,),
            fly(trouble.url("json-403"))
            | {
                "STORE_KEY": "wrong-" + PLANTED["mistaken name"],
            },
            endpoint(f"http://127.0.0.1:{dead_port()}"),
        ),
    )


def going_wrong_with_stores(trouble: Troublemaker, export_id: str, identity: str) -> tuple[Case, ...]:
    probe = ("doctor", "--store", "bucket")
    return (
        Case("dead store", probe, (3,), edit=endpoint(f"http://127.0.0.1:{dead_port()}")),
        Case("wrong store key", probe, (3,), edit=endpoint(trouble.url("xml-403"))),
        Case("wrong store endpoint", probe, (3,), edit=endpoint(trouble.url("html-404"))),
        Case("export to a store with the wrong key", ("export", SHOP), (6,), edit=endpoint(trouble.url("xml-403"))),
        Case(
            "wrong identity", ("artifact", "verify", export_id, "--level", "contents"), (2, 7), {"IDENTITY": identity}
        ),
        Case(
            "an identity that is none",
            ("artifact", "verify", export_id, "--level", "contents"),
            (1, 2, 7),
            {"IDENTITY": PLANTED["other identity"]},
        ),
    )


def endpoint(url: str) -> Callable[[str], str]:
    return lambda text: re.sub(r'^endpoint = ".*"$', f'endpoint = "{url}"', text, flags=re.MULTILINE)


def going_wrong_with_notifiers(trouble: Troublemaker) -> tuple[Case, ...]:
    path, password = PLANTED["apprise path"], PLANTED["apprise password"]
    port = trouble.server_port
    apprise = {"APPRISE_URL": f"json://operator:{password}@127.0.0.1:{port}/text-403/{path}"}
    return (
        Case(
            "dead webhook",
            ("notify", "test", "pager"),
            (1,),
            {"PAGER_URL": f"http://127.0.0.1:{dead_port()}/{PLANTED['pager path']}"},
        ),
        Case(
            "webhook 500",
            ("notify", "test", "pager"),
            (1,),
            {"PAGER_URL": trouble.url("text-500", PLANTED["pager path"])},
        ),
        Case("webhook that is no URL", ("notify", "test", "pager"), (1,), {"PAGER_URL": PLANTED["pager path"]}),
        Case("apprise refused", ("notify", "test", "mail"), (1,), apprise),
        Case("apprise unknown", ("notify", "test", "mail"), (1,), {"APPRISE_URL": f"nonsense://{password}@{path}"}),
        Case(
            "healthchecks 410",
            ("notify", "test", "deadman"),
            (1,),
            {"HEALTH_URL": trouble.url("text-410", PLANTED["healthchecks uuid"])},
        ),
        Case(
            "a check whose every message is refused",
            ("check", "--notify"),
            (3,),
            {"PAGER_URL": trouble.url("text-410", PLANTED["pager path"])} | apprise,
        ),
    )


def going_wrong_in_the_configuration() -> tuple[Case, ...]:
    secret, key = PLANTED["mistaken name"], PLANTED["other identity"]
    return (
        Case("a secret in place of a name", ("check",), (2,), edit=replaced('"PAGER_KEY"', f'"{secret}"')),
        Case(
            "a secret in place of a store's key", ("config", "check"), (2,), edit=replaced('"STORE_KEY"', f'"{secret}"')
        ),
        Case(
            "a secret key among the recipients",
            ("config", "check"),
            (2,),
            edit=replaced('recipients = ["', f'recipients = ["{key}", "'),
        ),
        Case(
            "a URL written out",
            ("config", "check"),
            (2,),
            edit=added(f'\n[notifiers.more]\ntype = "webhook"\nurl = "https://example.org/{secret}"\n'),
        ),
        Case(
            "broken TOML beside a secret",
            ("config", "check"),
            (2,),
            edit=added(f'\n[notifiers.more]\nurl_secret = "{secret}\n'),
        ),
        Case(
            "a wrong value from the environment",
            ("config", "check"),
            (2,),
            {"FLYKEEP_ENCRYPTION__RECIPIENTS": f'["{key}"]'},
        ),
        Case("a missing secret", ("check",), (2,), {"STORE_KEY": ""}),
        Case(
            "a dead database with a password",
            ("status",),
            (1,),
            {"STATE_URL": f"postgresql://flykeep:{PLANTED['database password']}@127.0.0.1:{dead_port()}/flykeep"},
            lambda text: re.sub(
                r'^url = "sqlite.*"$', 'url_secret = "STATE_URL"\ndirectory = "/tmp"', text, flags=re.MULTILINE
            ),
        ),
    )


def going_wrong_on_machines() -> tuple[Case, ...]:
    """With faults of the simulator, and a daemon that takes up what others submit: one after the other."""
    export = ("export", ATTIC)
    hook = added('\nhooks.before_export = { run = ["sh", "-c", "env >&2; exit 3"] }\n')
    return (
        Case("the daemon", ("run",), (0,), stop_after="run.ended"),
        Case("ssh refused", export, (5,), faults=(Fault(kind=FaultKind.SSH_REFUSE, action="ssh.connect", times=0),)),
        Case(
            "ssh cut",
            export,
            (5, 7),
            faults=(Fault(kind=FaultKind.SSH_CUT, action="ssh.exec", after_bytes=20000, times=0),),
        ),
        Case("worker killed", export, (1,), kills_worker=True),
        Case("hook failing", export, (5,), edit=hook),
        Case(
            "certificate refused",
            export,
            (5,),
            faults=(Fault(kind=FaultKind.ERROR_BEFORE, action="graphql.issueCertificate", status=403, times=0),),
        ),
    )


def defects(path: Path) -> tuple[Case, ...]:
    with_defect = {"TEST_DEFECT": "1", "PYTHONPATH": str(path)}
    return (
        Case("a defect in a run", ("snapshot", SHOP), (1,), with_defect),
        Case("a defect in a run, on a terminal", ("snapshot", SHOP), (1,), with_defect, is_on_terminal=True),
        Case("a defect in a check", ("check",), (1,), with_defect),
        Case("a defect in a check, on a terminal", ("check",), (1,), with_defect, is_on_terminal=True),
        Case(
            "a defect in the daemon",
            ("run",),
            (0,),
            with_defect,
            replaced("/flykeep.db", "/other.db"),
            stop_after="run.defect",
        ),
    )


async def spread(bench: Bench, cases: tuple[Case, ...]) -> None:
    """Cases that do not stand in each other's way, three at a time."""
    turns = asyncio.Semaphore(3)

    async def one(case: Case) -> None:
        async with turns:
            await bench.run(case)

    async with asyncio.TaskGroup() as group:
        for case in cases:
            group.create_task(one(case))


@full("all the failing verbs, cold, take two minutes")
async def test_no_planted_secret_comes_to_light_whatever_happens(tmp_path: Path) -> None:
    bucket = S3Standin()
    bucket.start()
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_DEFECT)
    async with flykeep(tmp_path, scenario=TWO_APPS) as kit:
        with Troublemaker() as trouble, Watcher() as watcher, contextlib.closing(bucket):
            identity = next(
                line
                for line in (kit.sim.directory / "age-identity.txt").read_text().splitlines()
                if line.startswith("AGE-SECRET-KEY-")
            )
            secrets = PLANTED | {"token": kit.sim.token, "webhook key": kit.sim.webhook_secret, "identity": identity}
            for number, macaroon in enumerate(kit.sim.token.removeprefix("FlyV1 ").split(",")):
                secrets[f"macaroon {number}"] = macaroon
            bench = Bench(kit, watcher, trouble, bucket, secrets)
            export = await bench.run(Case("export", ("export", SHOP), (0,)))
            export_id = json.loads(export.splitlines()[0])["result"]["export_id"]
            fails = (
                *going_wrong_with_fly(trouble),
                *going_wrong_with_stores(trouble, export_id, identity_of_somebody_else()),
                *going_wrong_with_notifiers(trouble),
                *going_wrong_in_the_configuration(),
            )
            kit.sim.faults.add(
                Fault(kind=FaultKind.SNAPSHOT_STATUS, action="snapshot.create", app="shop", text="failed", times=0)
            )
            await spread(bench, (*fails, *going_well(export_id)))
            alone = (*going_wrong_on_machines(), *defects(site))
            for case in alone:
                kit.sim.faults.clear()
                kit.sim.faults.add(*case.faults)
                await bench.run(case)
            corrupted = corrupt(kit.sim.directory / "store", export_id)
            await bench.run(Case("a corrupted artifact", ("artifact", "verify", export_id, "--store", "offsite"), (7,)))
            found = searched(bench)
            # Last, for nothing works after it.
            for path in kit.sim.directory.glob("flykeep.db*"):
                path.write_bytes(b"no database at all" * 100)
            broken = Case("a state file that is none", ("run",), (1,))
            found.search("output of " + broken.name, await bench.run(broken))
    assert corrupted
    assert len(fails) + len(alone) + 2 >= 30
    assert watcher.killed == 1
    assert_children_hold_nothing(watcher, found)
    assert found.searched_bytes > 100_000
    assert found.leaks == []
    assert bench.surprises == []


def identity_of_somebody_else() -> str:
    return str(pyrage.x25519.Identity.generate())


def corrupt(store: Path, export_id: str) -> bool:
    data = next(path for path in store.rglob("data.tar.zst.age") if export_id in str(path))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.chmod(0o600)
    data.write_bytes(bytes(content))
    return True


def searched(bench: Bench) -> Found:
    """Everything anybody could read afterwards."""
    found = Found(bench.secrets)
    for name, output in bench.said.items():
        found.search(f"output of {name}", output)
    found.search_tree(bench.kit.sim.directory, without=frozenset({"age-identity.txt", "config.toml"}))
    for key, content in bench.bucket.contents.objects.items():
        found.search(f"bucket: {key}", content)
    found.search("requests to the bucket", "\n".join(bench.bucket.contents.requests).encode())
    for request in bench.kit.sim.requests:
        found.search(f"request log: {request.action}", request.to_json().encode())
    assert any(place.endswith("flykeep.db") for place in found.places)
    assert any(place.endswith("webhooks.jsonl") for place in found.places)
    assert any(place.startswith("bucket: ") for place in found.places)
    return found


def assert_children_hold_nothing(watcher: Watcher, found: Found) -> None:
    """Programs flykeep starts: what `ps` shows of them, and what their own environment holds."""
    children = watcher.children
    workers = [child for child in children if b"flykeep.worker" in child.command]
    assert len(workers) >= 5
    assert [child for child in children if child.command.startswith(b"ssh\0")]
    for command in watcher.root_commands:
        found.search("a command line of flykeep", command)
    for child in children:
        found.search(f"command line of {child.command[:40]!r}", child.command)
        found.search(f"environment of {child.command[:40]!r}", child.environment)
    for worker in workers:
        names = {line.split(b"=")[0].decode() for line in worker.environment.split(b"\0") if line}
        assert not [name for name in names if name.startswith(("FLY", "PAGER", "STORE", "APPRISE", "HEALTH", "IDENT"))]


@pytest.mark.parametrize("form", ["raw", "url", "json", "base64", "base64 behind", "hex"])
def test_the_search_finds_a_secret_that_is_there_in_any_form(form: str) -> None:
    secret = PLANTED["pager key"]
    shown = {
        "raw": secret.encode(),
        "url": urllib.parse.quote(secret, safe="").encode(),
        "json": json.dumps({"key": secret}).encode(),
        "base64": base64.b64encode(secret.encode()),
        "base64 behind": base64.b64encode(b"operator:" + secret.encode() + b"!"),
        "hex": secret.encode().hex().encode(),
    }[form]
    found = Found({"pager key": secret})
    found.search("nothing", b"\0" * 1000)
    assert found.leaks == []
    found.search("something", b"\0" * 1000 + shown + b"\0" * 1000)
    assert len(found.leaks) == 1


async def test_the_search_sees_the_environment_and_the_arguments_of_children() -> None:
    secret = PLANTED["store key"]
    script = "import subprocess,sys; subprocess.run([sys.executable,'-c','import time; time.sleep(0.4)',sys.argv[1]])"
    with Watcher() as watcher:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, secret, env={"PATH": os.environ["PATH"], "STORE_KEY": secret}
        )
        with watcher.watching(process.pid):
            await process.wait()
    found = Found({"store key": secret})
    for child in watcher.children:
        found.search("command", child.command)
        found.search("environment", child.environment)
    assert len(found.leaks) == 2
    assert forms(secret)
