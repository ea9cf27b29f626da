"""Every verb as a person or a script meets it: what it prints, and what it answers."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from flykeep.bootstrap import open_application
from flykeep.settings import load_settings
from flykeep.testing.flysim.scenario import Progress, Scenario
from tests.e2e.warm import warm_flykeep
from tests.flykit import Ended, Kit
from tests.integration.worker.trees import Fact, facts

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"
MAIN = "my-crocbot/crocbot_data"
STALE = "wiki/wiki_data"


@dataclass
class Story:
    """One operator's morning: each command once with `--json`, in this order, and what it answered."""

    kit: Kit
    told: dict[str, Ended] = field(default_factory=dict)
    looks: list[tuple[dict[bytes, Fact], int]] = field(default_factory=list)

    def look(self) -> None:
        """The live volume as it is, and how much Fly was asked by now."""
        volume = self.kit.sim.world.find_volume(*MAIN.split("/"))
        self.looks.append((facts(volume.directory), len(self.kit.sim.requests)))

    async def tell(self, name: str, *words: str) -> dict[str, Any]:
        self.told[name] = await self.kit.run(*words, "--json")
        return self.told[name].document

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.told[name].document

    def code(self, name: str) -> int:
        return self.told[name].code


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    scenario = Scenario.shipped().model_copy(update={"snapshot_progress": Progress(polls=0)})
    async with warm_flykeep(tmp_path_factory.mktemp("cli"), scenario=scenario) as kit:
        told = Story(kit)
        await before_the_first_export(told)
        await with_an_artifact(told)
        await afterwards(told)
        yield told


async def before_the_first_export(told: Story) -> None:
    await told.tell("status of nothing", "status")
    await asyncio.gather(
        told.tell("config check", "config", "check"),
        told.tell("config show", "config", "show"),
        told.tell("doctor", "doctor"),
    )
    await told.tell("check", "check")
    await told.tell("check one", "check", MAIN)
    await told.tell("status", "status")
    await told.tell("incidents before", "incidents")
    await told.tell("check and notify", "check", "--notify")


async def with_an_artifact(told: Story) -> None:
    export_id = (await told.tell("export", "export", MAIN, "--reason", "the story"))["export_id"]
    await asyncio.gather(
        told.tell("artifacts", "artifacts", MAIN),
        told.tell("show", "artifact", "show", export_id),
        told.tell("files", "artifact", "files", export_id, "--grep", "crocbot.json"),
    )
    await told.tell("manifest", "artifact", "verify", export_id, "--level", "manifest")
    await told.tell("bytes", "artifact", "verify", export_id)
    await told.tell("contents refused", "artifact", "verify", export_id, "--level", "contents")
    identity = (told.kit.sim.directory / "age-identity.txt").read_text().split("AGE-SECRET-KEY-")[1].split()[0]
    told.kit.extra["AGE_IDENTITY"] = f"AGE-SECRET-KEY-{identity}"
    told.kit.edit("[encryption]\n", '[encryption]\nidentity_secret = "AGE_IDENTITY"\n')
    await told.tell("contents", "artifact", "verify", export_id, "--level", "contents")
    got = ("artifact", "get", export_id, "--path", "crocbot.json", "--to", str(told.kit.directory / "got"))
    await told.tell("get", *got)
    await told.tell("get again", *got)
    await told.tell("rebuild", "catalog", "rebuild")
    told.kit.edit("[worker]\nimage = ", "[worker]\n# image = ")  # without machines it is restored here, in no time
    await told.tell("drill", "drill", MAIN)
    await told.tell("check after the drill", "check")
    await told.tell("status proven", "status")
    match = f'match = "{MAIN}"\n'
    told.kit.edit(match, match + 'probes = [{ kind = "json", path = "crocbot.json" }]\n')
    told.look()
    await told.tell("inspect", "inspect", MAIN)
    told.look()
    await told.tell("import plan", "import", MAIN, "--artifact", export_id, "--path", "crocbot.json", "--plan")
    imported = ("--artifact", export_id, "--path", "crocbot.json", "--no-restart", "--yes")
    run = (await told.tell("import", "import", MAIN, *imported))["import_id"]
    await told.tell("import confirm", "import", "confirm", run, "--yes")


async def with_the_volume(told: Story) -> None:
    """Its care; no rule's file is old enough to go."""
    told.kit.edit(f'match = "{MAIN}"\n', f'match = "{MAIN}"\nclean = [{{ glob = "logs/*.log", older_than = "9d" }}]\n')
    await asyncio.gather(
        told.tell("volume usage", "volume", "usage", MAIN),
        told.tell("volume clean", "volume", "clean", MAIN),
        told.tell("volume extend", "volume", "extend", STALE, "--size", "+1", "--yes"),
        told.tell("volume retention", "volume", "retention", "batch-jobs/jobs_data", "--days", "6"),
    )


async def afterwards(told: Story) -> None:
    await with_the_volume(told)
    await told.tell("checkpoint", "checkpoint", STALE, "--skip-export")
    await told.tell("restore list", "restore", MAIN)
    await told.tell("restore plan", "restore", STALE, "--snapshot", "latest", "--plan")
    await told.tell("restore", "restore", STALE, "--snapshot", "latest", "--yes")
    run_id = (await told.tell("snapshot", "snapshot", STALE))["run_id"]
    await asyncio.gather(
        told.tell("snapshots", "snapshots", STALE), told.tell("runs", "runs"), told.tell("run", "runs", run_id)
    )
    first, second = (await told.tell("incidents", "incidents"))["incidents"][:2]
    await told.tell("ack", "incidents", "ack", first["incident_id"])
    await told.tell("mute", "incidents", "mute", second["incident_id"], "--for", "8h")
    await told.tell("pause", "pause", "ledger-api/ledger_db", "--for", "8h", "--reason", "migration")
    await told.tell("status paused", "status", "ledger-api")
    await told.tell("resume", "resume", "ledger-api/ledger_db")
    await asyncio.gather(
        told.tell("notify", "notify", "test", "hook"),
        told.tell("prune", "prune", MAIN),
        told.tell("reconcile", "reconcile"),
        told.tell("unknown target", "check", "my-crocbot/crocbot_dat"),
    )
    await what_is_ended(told)


async def what_is_ended(told: Story) -> None:
    export_id = told["export"]["export_id"]
    await told.tell("pin", "artifact", "pin", export_id, "--reason", "evidence")
    await told.tell("prune applied", "prune", "--apply", "--yes")
    await told.tell("unpin", "artifact", "unpin", export_id)
    await told.tell("retire", "retire", "batch-jobs/jobs_data", "--yes", "--reason", "the job is done")
    await told.tell("resume retired", "resume", "batch-jobs/jobs_data")
    await told.tell("audit", "audit")
    world = told.kit.sim.world
    old = world.find_volume("batch-jobs", "jobs_data")
    world.volumes["vol_rebuilt"] = replace(old, id="vol_rebuilt", attached_machine_id=None)
    world.remove_volume(old)
    await told.tell("adopt", "adopt", "batch-jobs/jobs_data", "vol_rebuilt", "--yes", "--reason", "rebuilt")
    await what_is_lost(told)


async def what_is_lost(told: Story) -> None:
    """An app without secrets or exports, for there is nothing to wait for; it is there again afterwards."""
    world = told.kit.sim.world
    kept = world.apps["ledger-api"], world.machines_of("ledger-api"), world.volumes_of("ledger-api")
    world.remove_app("ledger-api")
    recover = ("recover", "ledger-api", "--as", "ledger-api-2")
    await asyncio.gather(
        told.tell("recover plan", *recover, "--plan"), told.tell("runbook", "recover", "ledger-api", "--runbook")
    )
    await told.tell("recover", *recover, "--yes")
    world.remove_app("ledger-api-2")
    world.apps["ledger-api"] = kept[0]
    world.machines |= {machine.id: machine for machine in kept[1]}
    world.volumes |= {volume.id: volume for volume in kept[2]}
    for machine in kept[1]:
        world.start_machine(machine)


class TestDocuments:
    async def test_every_answer_is_one_object_that_names_its_schema(self, story: Story) -> None:
        schemas = {name: story[name]["schema"] for name in story.told}

        assert {name for name, schema in schemas.items() if not re.fullmatch(r"flykeep\.[a-z.]+/1", schema)} == set()
        assert schemas["config check"] == "flykeep.config.check/1"
        assert schemas["ack"] == "flykeep.incidents.ack/1"
        assert schemas["unknown target"] == "flykeep.error/1"

    async def test_a_lost_app_is_planned_and_rebuilt(self, story: Story) -> None:
        assert (story.code("recover plan"), story.code("recover")) == (0, 0)
        (volume,) = story["recover plan"]["plan"]["volumes"]
        assert (volume["name"], volume["source"]) == ("ledger_db", None)
        (machine,) = story["recover"]["result"]["machines"]
        assert (machine["name"], machine["is_well"]) == ("old-forest-7", True)

    async def test_every_field_of_every_answer_is_documented_and_nothing_else_is(self, story: Story) -> None:
        documented = fields_on_the_page()
        answered: dict[str, set[str]] = {}
        for ended in story.told.values():
            answered.setdefault(ended.document["schema"], set()).update(paths_of(ended.document))

        for schema, paths in answered.items():
            patterns = documented[schema]
            assert sorted(path for path in paths if not any(is_about(one, path) for one in patterns)) == [], schema
            unseen = {one for one in patterns if not any(is_about(one, path) for path in paths)}
            assert {one for one in unseen if "[]" not in one and not one.startswith("error.")} == set(), schema
        assert documented.keys() - answered.keys() == {"flykeep.demo/1", "flykeep.init/1", "flykeep.run/1"}

    async def test_nothing_secret_is_in_any_of_them(self, story: Story) -> None:
        secrets = (story.kit.sim.token, story.kit.sim.webhook_secret, story.kit.extra["AGE_IDENTITY"])
        spoken = "".join(ended.stdout + ended.stderr for ended in story.told.values())

        assert [secret for secret in secrets if secret in spoken] == []


class TestHealth:
    async def test_a_status_of_what_was_never_checked_is_not_healthy(self, story: Story) -> None:
        assert story.code("status of nothing") == 3
        assert story["status of nothing"]["is_healthy"] is False

    async def test_a_check_finds_the_stale_and_the_unprotected_volume(self, story: Story) -> None:
        codes = {finding["code"] for finding in story["check"]["findings"]}

        assert story.code("check") == 3
        assert codes == {"snapshot.stale", "volume.unprotected"}

    async def test_a_check_of_one_target_is_about_that_one(self, story: Story) -> None:
        assert story.code("check one") == 0
        assert [row["target"] for row in story["check one"]["targets"]] == [MAIN]
        assert story["check one"]["findings"] == []

    async def test_only_a_check_that_notifies_opens_incidents(self, story: Story) -> None:
        assert story["incidents before"]["incidents"] == []
        assert {one["code"] for one in story["incidents"]["incidents"]} >= {"snapshot.stale", "volume.unprotected"}

    async def test_a_pause_shows_as_one_and_ends(self, story: Story) -> None:
        [row] = story["status paused"]["targets"]

        assert (row["verdict"], row["reason"]) == ("paused", "paused: migration")
        assert story["resume"] == {
            "schema": "flykeep.resume/1",
            "target": "ledger-api/ledger_db",
            "paused": False,
            "was_paused": True,
            "was_retired": False,
        }

    async def test_a_retired_target_comes_back_and_the_audit_knows_who_and_why(self, story: Story) -> None:
        assert story.code("retire") == 0
        assert story["resume retired"]["was_retired"] is True
        entries = [(entry["action"], entry["reason"]) for entry in story["audit"]["entries"]]
        assert entries == [("resumed", ""), ("retired", "the job is done"), ("unpinned", ""), ("pinned", "evidence")]
        assert all(entry["actor"] for entry in story["audit"]["entries"])

    async def test_a_rebuilt_app_goes_on_under_its_old_identity(self, story: Story) -> None:
        found = story["adopt"]
        assert (story.code("adopt"), found["is_applied"], found["volume_id"]) == (0, True, "vol_rebuilt")
        assert len(found["former_volume_ids"]) == 1
        assert story["resume retired"]["target"] == found["target"] == "batch-jobs/jobs_data"

    async def test_a_verdict_nobody_renewed_says_nothing_any_more(self, story: Story) -> None:
        assert (await story.kit.run("status", MAIN, "--json")).document["targets"][0]["verdict"] == "healthy"
        await age_the_verdict_of(story.kit, MAIN, timedelta(days=2))

        ended = await story.kit.run("status", MAIN)

        assert ended.code == 3
        assert "nobody can say" in ended.stdout.splitlines()[0]
        assert "last judged healthy, but not checked since" in ended.stdout

    async def test_a_configured_target_that_nothing_matches_is_not_passed_over(self, story: Story) -> None:
        story.kit.config.write_text(
            story.kit.config.read_text() + '\n[[targets]]\nmatch = "my-crocbot/gone"\npolicy = "standard"\n'
        )
        ended = await story.kit.run("status")
        story.kit.edit('\n[[targets]]\nmatch = "my-crocbot/gone"\npolicy = "standard"\n', "")

        assert ended.code == 3
        assert "my-crocbot/gone: no known volume matches this target" in ended.stdout


class TestArtifacts:
    async def test_an_export_answers_with_run_and_artifact(self, story: Story) -> None:
        assert story.code("export") == 0
        assert story["export"]["run_id"]
        assert [one["export_id"] for one in story["artifacts"]["artifacts"]] == [story["export"]["export_id"]]
        assert story["show"]["manifest"]["outcome"] == "complete"

    async def test_files_are_searched_in_the_index(self, story: Story) -> None:
        assert [file["path"] for file in story["files"]["files"]] == ["crocbot.json"]
        assert story["files"]["files"][0]["sha256"]

    async def test_three_levels_of_proof_the_last_of_them_with_the_identity_only(self, story: Story) -> None:
        assert [story.code(level) for level in ("manifest", "bytes", "contents")] == [0, 0, 0]
        assert story.code("contents refused") == 2
        assert "identity_secret" in story["contents refused"]["error"]["hint"]
        assert story["contents"]["verified"]["entries_compared"] > story["bytes"]["verified"]["entries_compared"]

    async def test_a_file_comes_back_and_is_not_replaced_unasked(self, story: Story) -> None:
        listed = next(file for file in story["files"]["files"] if file["path"] == "crocbot.json")
        content = (Path(story["get"]["directory"]) / "crocbot.json").read_bytes()

        assert story.code("get") == 0
        assert story["get"]["restored"]["files"] == 1
        assert hashlib.sha256(content).hexdigest() == listed["sha256"]
        assert (story.code("get again"), story["get again"]["error"]["code"]) == (4, "refused.guard")


class TestRestore:
    async def test_without_a_source_the_candidates_are_listed_newest_first(self, story: Story) -> None:
        found = story["restore list"]
        instants = [one["as_of_at"] for one in found["candidates"]]
        assert (story.code("restore list"), found["is_complete"], instants) == (0, True, sorted(instants, reverse=True))
        assert {one["kind"] for one in found["candidates"]} == {"snapshot", "artifact"}

    async def test_latest_is_the_snapshot_that_was_taken_last(self, story: Story) -> None:
        assert story.code("restore") == 0
        chosen = story["restore plan"]["choice"]["candidate"]["id"]
        assert chosen == story["restore plan"]["plan"]["snapshot_id"] == story["checkpoint"]["result"]["snapshot_id"]


class TestCheckpoint:
    async def test_go_is_exit_0_with_the_way_back(self, story: Story) -> None:
        assert (story.code("checkpoint"), story["checkpoint"]["is_go"]) == (0, True)
        result = story["checkpoint"]["result"]
        assert result["way_back"] == f"flykeep restore {STALE} --snapshot {result['snapshot_id']}"


class TestInspection:
    async def test_the_live_volume_is_looked_at_beside_the_newest_artifact(self, story: Story) -> None:
        found = story["inspect"]
        assert (story.code("inspect"), found["is_healthy"]) == (0, True)
        assert {probe["state"] for probe in found["probes"]} == {"passed"}
        assert found["artifact"]["export_id"] == story["export"]["export_id"]
        assert [found["diff"][name]["entries"] for name in ("brought_back", "overwritten", "lost")] == [0, 0, 0]
        assert found["diff"]["equal"]["entries"] >= found["files"] + found["directories"]

    async def test_nothing_on_the_volume_or_at_fly_is_changed_by_looking(self, story: Story) -> None:
        (before, start), (after, end) = story.looks
        assert before == after
        asked = {(request.method, request.path) for request in story.kit.sim.requests[start:end]}
        assert {path for method, path in asked if method != "GET"} == {"/graphql"}  # an SSH certificate

    async def test_what_a_restore_would_change_is_told_to_a_person_and_a_failed_probe_is_exit_3(
        self, story: Story
    ) -> None:
        volume = story.kit.sim.world.find_volume(*MAIN.split("/")).directory
        good = (volume / "crocbot.json").read_text()
        (volume / "crocbot.json").write_text("{ spoilt")
        ended = await story.kit.run("inspect", MAIN)
        (volume / "crocbot.json").write_text(good)
        assert ended.code == 3
        assert "FAILED  json crocbot.json: crocbot.json is not JSON, line 1 column 3" in ended.stdout
        assert "1 entry, 8 B would be overwritten" in ended.stdout
        assert "'crocbot.json'  has another size" in ended.stdout


class TestDrills:
    async def test_a_drill_answers_with_its_proof_and_the_status_says_what_the_backup_is_worth(
        self, story: Story
    ) -> None:
        proof = story["drill"]["proof"]

        assert story.code("drill") == 0, story.told["drill"].stderr
        assert (proof["proof_id"], proof["outcome"]) == (story["drill"]["run_id"], "passed")
        assert proof["source"]["kind"] == "artifact"
        [before] = [one for one in story["status"]["targets"] if one["target"] == MAIN]
        [after] = [one for one in story["status proven"]["targets"] if one["target"] == MAIN]
        assert before["headline"].endswith(", never proven")
        assert re.fullmatch(r"restorable as of .* ago, proven .* ago, took .*", after["headline"])
        assert after["proof"]["proof_id"] == proof["proof_id"]

    async def test_a_person_sees_it_too(self, story: Story) -> None:
        ended = await story.kit.run("status", MAIN, "--explain")

        assert re.search(r"restorable as of .* ago, proven .* ago, took", ended.stdout), ended.stdout


class TestActing:
    async def test_a_snapshot_is_waited_for_and_listed(self, story: Story) -> None:
        assert (story.code("snapshot"), story["snapshot"]["state"]) == (0, "succeeded")
        listed = [row["snapshot"]["id"] for row in story["snapshots"]["snapshots"]]
        assert story["snapshot"]["result"]["snapshot_id"] in listed

    async def test_runs_tell_their_steps(self, story: Story) -> None:
        kinds = {"snapshot", "export", "drill", "import", "volume", "checkpoint", "restore"}
        assert {run["kind"] for run in story["runs"]["runs"]} == kinds
        assert "request snapshot" in [step["name"] for step in story["run"]["steps"]]

    async def test_incidents_are_acknowledged_and_muted(self, story: Story) -> None:
        assert story["ack"]["acknowledged_at"] is not None
        assert story["mute"]["muted_until"] > story["mute"]["opened_at"]

    async def test_a_notifier_is_tried_by_name(self, story: Story) -> None:
        assert story["notify"]["notifiers"] == [{"name": "hook", "error": None}]
        assert any(b'"kind": "test"' in hook.body or b'"kind":"test"' in hook.body for hook in story.kit.sim.webhooks)

    async def test_a_reconciliation_without_apply_changes_nothing(self, story: Story) -> None:
        assert story.code("reconcile") == 0
        assert story["reconcile"]["reconcile"]["is_applied"] is False

    async def test_doctor_finds_nothing_wrong(self, story: Story) -> None:
        assert story.code("doctor") == 0
        assert {one["subject"] for one in story["doctor"]["examined"]} >= {"Fly token", "store offsite", f"ssh {MAIN}"}


class TestText:
    async def test_status_answers_the_question_in_its_first_line(self, story: Story) -> None:
        await story.kit.run("check")
        ended = await story.kit.run("status")

        assert ended.stdout.splitlines()[0] == "every target is restorable as wanted, but 2 incidents open"

    async def test_common_options_stand_anywhere(self, story: Story) -> None:
        config = str(story.kit.config)
        before, after, equal = await asyncio.gather(
            story.kit.run("--json", "--config", config, "artifacts"),
            story.kit.run("artifacts", "--config", config, "--json"),
            story.kit.run("artifacts", f"--config={config}", "-v", "--json"),
        )

        assert before.document == after.document == equal.document

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("config", "check"), "valid: 4 target(s)"),
            (("config", "show"), "fly.org"),
            (("snapshots", STALE), "created"),
            (("artifacts",), "complete"),
            (("runs",), "succeeded"),
            (("incidents", "--all"), "next: "),
            (("inspect", STALE), "no artifact to compare with: make one with `flykeep export wiki/wiki_data`"),
            (("recover", "wiki", "--runbook"), "# How to bring `wiki` back by hand\n"),
            (("doctor", "--store", "offsite"), "ok   store offsite: create: an object was stored"),
            (("reconcile",), "nothing to reconcile"),
            (("notify", "test"), "hook: accepted"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    async def test_a_person_reads_text(self, story: Story, words: tuple[str, ...], said: str) -> None:
        ended = await story.kit.run(*words)

        assert ended.code == 0, ended.stderr
        assert said in ended.stdout
        assert not ended.stdout.startswith("{")


async def age_the_verdict_of(kit: Kit, label: str, age: timedelta) -> None:
    settings = load_settings(kit.config, kit.environment)
    async with open_application(settings) as application:
        async with application.catalog.transaction() as tx:
            [verdict] = [one for one in await tx.verdicts() if one.label == label]
        with sqlite3.connect(kit.sim.directory / "flykeep.db") as database:  # an older one replaces no newer one
            database.execute("delete from verdicts where lineage_id = ?", [verdict.lineage_id])
        async with application.catalog.transaction() as tx:
            await tx.save_verdict(replace(verdict, evaluated_at=verdict.evaluated_at - age))


def paths_of(value: object, prefix: str = "") -> set[str]:
    """The fields of a document: `targets[].findings[].code`."""
    if isinstance(value, dict):
        return {path for name, item in value.items() for path in paths_of(item, f"{prefix}.{name}".lstrip("."))}
    if isinstance(value, list):
        return {path for item in value for path in paths_of(item, f"{prefix}[]")} or {prefix}
    return {prefix}


def is_about(pattern: str, path: str) -> bool:
    """Whether a documented field is this one, or what it holds is: an empty list or a null shows no fields."""
    if pattern.endswith(".*") and path.startswith(pattern[:-2]):
        return True
    return path == pattern or pattern.startswith((f"{path}[]", f"{path}."))


def fields_on_the_page() -> dict[str, set[str]]:
    """Of each schema its documented fields; a row that links to a shared section has all of that section's fields."""
    shared: dict[str, set[str]] = {}
    schemas: dict[str, set[str]] = {}
    for section in REFERENCE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, body = section.split("\n", 1)
        own: set[str] = set()
        for name, text in re.findall(r"^\| `([^`]+)` \| (.*) \|$", body, flags=re.MULTILINE):
            list_of = re.match(r"\[([a-z]+)\]\(#", text)
            prefix = "" if name == "*" else f"{name}."
            own |= {prefix + inner for inner in shared[list_of[1]]} if list_of else {name}
        names = re.findall(r"`(flykeep\.[a-z.]+/\d)`", title)
        for name in names:
            schemas[name] = own | {"schema"}
        if not names:
            shared[title.strip().lower()] = own
    return schemas
