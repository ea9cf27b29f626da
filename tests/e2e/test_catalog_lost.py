"""The database is gone, the stores are not: everything an artifact is for works again after one verb."""

from __future__ import annotations

from pathlib import Path

from flykeep.testing.flysim.scenario import Progress, Scenario
from tests.e2e.warm import warm_flykeep
from tests.full import full

MAIN = "my-crocbot/crocbot_data"


@full("a dozen verbs after a loss")
async def test_after_a_rebuild_artifacts_are_listed_searched_verified_and_opened_again(tmp_path: Path) -> None:
    scenario = Scenario.shipped().model_copy(update={"snapshot_progress": Progress(polls=0)})
    async with warm_flykeep(tmp_path, scenario=scenario) as kit:
        identity = str(kit.sim.directory / "age-identity.txt")
        await kit.run("check", "--notify")
        export_id = (await kit.run("export", MAIN, "--json")).document["export_id"]
        for database in kit.sim.directory.rglob("flykeep.db*"):
            database.unlink()
        assert (await kit.run("artifact", "show", export_id)).code == 2
        await kit.run("check", "--notify")  # as a daemon that starts again does before anybody comes

        rebuilt = await kit.run("catalog", "rebuild", "--identity", identity, "--json")
        (store,) = rebuilt.document["rebuilt"]["stores"]
        assert (rebuilt.code, store["restored"], store["refused"]) == (0, 1, [])

        files = await kit.run("artifact", "files", export_id, "--grep", "crocbot.json", "--json")
        assert [file["path"] for file in files.document["files"]] == ["crocbot.json"]
        assert (await kit.run("artifact", "verify", export_id)).code == 0
        to = str(tmp_path / "got")
        got = await kit.run("artifact", "get", export_id, "--path", "agents", "--to", to, "--identity", identity)
        assert (got.code, (tmp_path / "got" / "agents").is_dir()) == (0, True)
        assert [row["export_id"] for row in (await kit.run("artifacts", MAIN, "--json")).document["artifacts"]] == [
            export_id
        ]
