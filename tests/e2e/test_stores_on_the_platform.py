"""A store that is lost together with the Fly account is said to be one wherever a person looks."""

from __future__ import annotations

from tests.e2e.nursery import Household

TARGET = "shop/shop_data"


async def test_exports_that_stay_on_the_platform_are_named_by_every_verb_that_judges(quiet: Household) -> None:
    quiet.kit.edit("visible_to_workers = true", "visible_to_workers = true\non_platform = true")

    warned = await quiet.verb("config", "check")
    assert "policies.standard.copies: go to offsite only, which is lost together with the Fly account" in warned.stdout

    checked = await quiet.verb("check", "--json")
    (verdict,) = [one for one in checked.document["targets"] if one["target"] == TARGET]
    assert ("export.on_platform", "info") in {(one["code"], one["severity"]) for one in verdict["findings"]}

    status = await quiet.verb("status")
    assert f"exports that stay on the platform, lost with the account: {TARGET}" in status.stdout

    tried = await quiet.verb("doctor", "--store", "offsite")
    assert tried.code == 0, tried
    assert "warn store offsite: place: on the platform: lost together with the Fly account" in tried.stdout
