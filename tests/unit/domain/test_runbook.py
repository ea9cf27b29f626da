"""What stands in a runbook, and that every command of it is one that flyctl knows."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flykeep.domain.app_description import AddressKind, DescribedAddress, DescribedSecret
from flykeep.domain.artifact import ArtifactOutcome, ChangedFile, Consistency
from flykeep.domain.page import command_blocks
from flykeep.testing.flyctl.arguments import UsageError, understood
from tests.full import examples
from tests.unit.domain.builders import NOW
from tests.unit.domain.runbook_world import (
    CONFIG,
    IMAGE,
    OFFSITE,
    SHELF,
    block,
    described,
    described_machine,
    described_volume,
    known_snapshot,
    page_of,
    stored,
)


def fly_commands(page: str) -> list[list[str]]:
    """Every command line of flyctl in the blocks of a page."""
    text = "\n".join(body for name, body in command_blocks(page).items() if not name.startswith("machine-"))
    text += "\n".join(
        body.split("END_OF_MACHINE\n")[-1] for name, body in command_blocks(page).items() if "machine-" in name
    )
    joined = text.replace("\\\n", " ").replace(" |\n", "\n").replace("<", "\n<").replace("&& ", "\n")
    lines = [line.strip() for line in joined.splitlines()]
    return [shlex.split(line.partition(" > ")[0])[1:] for line in lines if line.startswith("fly ")]


def full_page() -> str:
    app = described(
        network="backstage",
        machines=(described_machine(), described_machine("m2", {"image": IMAGE})),
        addresses=tuple(DescribedAddress(f"::{n}", kind, "fra") for n, kind in enumerate(AddressKind)),
        gaps=("network",),
    )
    copies = (stored(store="shelf"), stored(store="offsite", parts=2))
    return page_of(app, snapshots=(known_snapshot("vs_1", 2),), artifacts=copies)


def test_every_command_of_a_full_page_is_one_that_flyctl_understands() -> None:
    commands = fly_commands(full_page())

    assert {understood(words).command.words for words in commands} >= {
        ("apps", "create"),
        ("secrets", "import"),
        ("ips", "allocate-v4"),
        ("ips", "allocate-v6"),
        ("volumes", "create"),
        ("machine", "run"),
        ("ssh", "console"),
        ("machine", "destroy"),
        ("certs", "add"),
        ("checks", "list"),
    }


def test_a_spoiled_command_is_not_understood() -> None:
    spoiled = full_page().replace("--snapshot-id", "--snapshot")

    with pytest.raises(UsageError, match="unknown flag: --snapshot"):
        [understood(words) for words in fly_commands(spoiled)]


def test_the_real_ids_stand_in_the_commands() -> None:
    page = full_page()

    assert "fly apps create my-crocbot --org personal --network backstage" in block(page, "app")
    assert "--region fra --size 3" in block(page, "volume-1-from-snapshot")
    assert "--snapshot-id vs_1" in block(page, "volume-1-from-snapshot")
    assert "--snapshot-retention 14" in block(page, "volume-1-empty")
    assert "--vm-cpu-kind performance --vm-cpus 2 --vm-memory 4096" in block(page, "volume-1-empty")
    assert "--name name-of-m1 --region fra" in block(page, "machine-1")
    assert block(page, "certificates") == "fly certs add bot.example.com -a my-crocbot\n"
    assert "never read these parts of the app, so they are missing here: `network`" in page


@pytest.mark.parametrize("network", ["default", "", None])
def test_the_organizations_own_network_is_not_asked_for(network: str | None) -> None:
    assert block(page_of(described(network=network)), "app") == "fly apps create my-crocbot --org personal\n"


def test_the_machine_is_made_from_its_whole_configuration_without_its_standbys() -> None:
    config = CONFIG | {"standbys": ["m9"]}
    page = page_of(described(machines=(described_machine(config=config),)))
    text = block(page, "machine-1").split("\n", 1)[1].split("\nEND_OF_MACHINE\n")[0]

    assert json.loads(text) == CONFIG
    assert block(page, "machine-1").endswith(f'--volume "$(cat volume-1.id)":/data {IMAGE}\n')


def test_a_machine_whose_image_is_unknown_is_deployed_from_its_source() -> None:
    page = page_of(described(machines=(described_machine(config={"mounts": CONFIG["mounts"]}),)))

    assert "machine-1" not in command_blocks(page)
    assert "flykeep does not know its image.\nDeploy from the app's source: `fly deploy -a my-crocbot" in page


def test_machines_without_a_volume_come_after_the_volumes_and_passing_ones_not_at_all() -> None:
    others = (
        described_machine("web", {"image": IMAGE}),
        described_machine("release", {"image": IMAGE}, process_group="fly_app_release_command"),
    )
    page = page_of(described(machines=(*others, described_machine())))

    assert [name for name in command_blocks(page) if name.startswith("machine-")] == ["machine-1", "machine-2"]
    assert "--name name-of-web" in block(page, "machine-2")
    assert "--volume" not in block(page, "machine-2")
    assert "name-of-release" not in page


def test_a_volume_that_no_machine_holds_is_brought_back_too() -> None:
    page = page_of(described(machines=(), volumes=(described_volume(machine_id=None),)), artifacts=(stored(),))

    assert "--vm-" not in block(page, "volume-1-empty")
    assert '--volume "$(cat volume-1.id)":/data' in block(page, "helper-1")
    assert "machine-1" not in command_blocks(page)


def test_an_app_without_volumes_secrets_and_addresses_says_so() -> None:
    page = page_of(described(machines=(), volumes=(), secrets=(), addresses=(), certificates=()))

    assert list(command_blocks(page)) == [
        *("folder", "tools", "store-offsite", "store-shelf", "look", "app", "health", "new-addresses")
    ]
    assert "## 5. Volumes\nThe app had none." in page


@given(st.lists(st.sampled_from(["vol_1", "vol_2", "vol_gone", None]), max_size=4))
def test_every_machine_is_spoken_of_once_and_no_volume_is_given_twice(mounted: list[str | None]) -> None:
    machines = tuple(
        described_machine(f"m{at}", {"image": IMAGE, "mounts": [{"volume": volume, "path": "/data"}] if volume else []})
        for at, volume in enumerate(mounted)
    )
    page = page_of(described(machines=machines, volumes=(described_volume(), described_volume("vol_2"))))
    made = "".join(body for name, body in command_blocks(page).items() if name.startswith("machine-"))
    given = re.findall(r"cat (volume-\d)", made)

    assert sorted(re.findall(r"^### Machine `(.+)`$", page, re.MULTILINE)) == sorted(each.name for each in machines)
    assert len(given) == len(set(given)) == len({"vol_1", "vol_2"} & set(mounted))
    assert made.count("fly machine run") == len(given) + mounted.count(None)


def test_a_machine_described_before_its_volume_moved_gets_the_volume_of_that_name() -> None:
    page = page_of(described(volumes=(described_volume("vol_9"),)))

    assert '--volume "$(cat volume-1.id)":/data' in block(page, "machine-1")


def test_half_a_surrogate_pair_in_a_configuration_is_written_as_json_writes_it() -> None:
    page = page_of(described(machines=(described_machine(config=CONFIG | {"env": {"A": "\ud800 \udcff"}}),)))
    text = block(page, "machine-1").split("\n", 1)[1].split("\nEND_OF_MACHINE\n")[0]

    assert page.encode()
    assert json.loads(text)["env"] == {"A": "\ud800 \udcff"}


def test_two_volumes_of_one_name_are_told_apart_by_their_numbers() -> None:
    second = CONFIG | {"mounts": [{"volume": "vol_2", "path": "/srv/my data"}]}
    machines = (described_machine(), described_machine("m2", second))
    page = page_of(described(machines=machines, volumes=(described_volume(), described_volume("vol_2"))))
    names = re.findall(r"^```sh (\S+)$", page, re.MULTILINE)

    assert len(names) == len(set(names))
    assert "--name name-of-m1" in block(page, "machine-1")
    assert "--name name-of-m2" in block(page, "machine-2")
    assert """--volume "$(cat volume-2.id)":'/srv/my data'""" in block(page, "machine-2")


def test_a_volume_without_any_backup_is_told_of() -> None:
    page = page_of()

    assert "**flykeep knew of no backup of this volume.**" in page
    assert "volume-1-empty" in command_blocks(page)
    assert "helper-1" not in command_blocks(page)


def test_volumes_are_set_as_they_were() -> None:
    quiet = described_volume(retention_days=None, is_automatic_snapshot_on=False)
    made = block(page_of(described(volumes=(quiet,))), "volume-1-empty")

    assert "--scheduled-snapshots=false" in made
    assert "--snapshot-retention" not in made


def test_the_newest_snapshot_is_used_first_and_older_ones_are_listed_with_their_volumes() -> None:
    page = page_of(snapshots=(known_snapshot("vs_2", 1, gib=4.5), known_snapshot("vs_1", 9, volume="vol_0")))

    assert "--size 5" in block(page, "volume-1-from-snapshot")
    assert "--snapshot-id vs_2" in block(page, "volume-1-from-snapshot")
    assert page.index("| `vs_2` | 2026-03-02 11:00 UTC | `vol_1` |") < page.index("| `vs_1` | 2026-03-02 03:00 UTC")
    assert block(page, "snapshots-1").splitlines() == [
        "fly volumes snapshots list vol_1 -a my-crocbot",
        "fly volumes snapshots list vol_0 -a my-crocbot",
    ]


def test_the_parts_of_an_artifact_are_read_in_their_order_from_a_bucket_and_from_a_folder() -> None:
    page = page_of(artifacts=(stored(store="offsite", parts=2), stored(store="shelf", parts=2)))
    keys = [f"my-crocbot/crocbot_data/2026/20260301T040000Z/data.tar.zst.age.0000{n}" for n in (1, 2)]

    assert (
        "if curl -fsS --aws-sigv4 aws:amz:auto:s3 -K store-offsite.curl "
        f"{OFFSITE.place}/{keys[0]} {OFFSITE.place}/{keys[1]} |" in block(page, "fill-1-offsite")
    )
    assert f"if cat store-shelf/{keys[0]} store-shelf/{keys[1]} |" in block(page, "fill-1-shelf")
    assert block(page, "store-shelf").startswith("ln -sfn '/mnt/usb stick/backups' store-shelf\n")


def test_the_stores_are_tried_in_the_order_given() -> None:
    copies = (stored(store="offsite"), stored(store="shelf"))
    names = [name for name in command_blocks(page_of(artifacts=copies, doors=(SHELF, OFFSITE))) if "fill" in name]

    assert names == ["fill-1-shelf", "fill-1-offsite"]


def test_an_artifact_that_counts_as_a_backup_goes_before_a_newer_one_that_does_not() -> None:
    torn = stored("20260302T040000Z", consistency=Consistency.LIVE, open_databases=("a.db-wal",))
    page = page_of(artifacts=(torn, stored()))

    assert "/20260301T040000Z/" in block(page, "fill-1-offsite")
    assert "**not a full backup**: read live while SQLite databases" in page


def test_an_artifact_that_does_not_count_is_better_than_none_and_a_failed_one_is_not() -> None:
    torn = stored("20260301T040000Z", consistency=Consistency.LIVE, open_databases=("a.db-wal",))
    leaving = replace(stored("20260302T050000Z"), leaving_at=NOW)
    page = page_of(artifacts=(leaving, stored("20260302T040000Z", is_failed=True), torn))

    assert "/20260301T040000Z/" in block(page, "fill-1-offsite")
    assert "20260302" not in page


def test_a_degraded_artifact_says_what_it_lacks() -> None:
    made = stored()
    changed = (ChangedFile("a", "vanished"),)
    made = replace(made, manifest=replace(made.manifest, outcome=ArtifactOutcome.DEGRADED, changed=changed))

    assert "1 file vanished or changed while they were read" in page_of(artifacts=(made,))


def test_an_artifact_says_which_paths_were_never_exported() -> None:
    made = stored()
    origin = replace(made.manifest.origin, paths=("agents/**", "x.json"), excluded=("logs/\udcff",))
    page = page_of(artifacts=(replace(made, manifest=replace(made.manifest, origin=origin)),))

    assert "**only these paths were ever exported**: `agents/**`, `x.json`, without `logs/\\xff`." in page
    assert "exported**" not in page_of(artifacts=(made,))


def test_what_is_not_encrypted_is_not_decrypted() -> None:
    made = stored()
    made = replace(made, manifest=replace(made.manifest, encryption="none", recipients=()))

    assert "age -d" not in block(page_of(artifacts=(made,)), "fill-1-offsite")


def test_secrets_are_named_and_only_names_a_shell_can_hold_are_looked_for() -> None:
    page = page_of(described(secrets=(DescribedSecret("API_KEY", "d"), DescribedSecret("odd-name", "d"))))

    assert "- `odd-name`" in page
    assert block(page, "secrets-check").startswith("for name in API_KEY; do")


def test_addresses_are_asked_for_where_they_were() -> None:
    kinds = (
        DescribedAddress("1.2.3.4", AddressKind.V4, "fra"),
        DescribedAddress("::1", AddressKind.V6, None),
        DescribedAddress("::2", AddressKind.PRIVATE_V6, "global"),
        DescribedAddress("::3", AddressKind.EGRESS, "fra"),
    )
    page = page_of(described(addresses=kinds))

    assert block(page, "addresses").splitlines() == [
        "fly ips allocate-v4 --yes -a my-crocbot --region fra",
        "fly ips allocate-v6 -a my-crocbot",
        "fly ips allocate-v6 --private -a my-crocbot",
    ]
    assert "`fly ips allocate-egress`" in page


def test_the_same_facts_give_the_same_page() -> None:
    assert full_page() == full_page()


TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
CONFIGS = st.fixed_dictionaries({"image": TEXTS.filter(bool)}, optional={"env": JSON, "guest": JSON, "checks": JSON})


@given(config=CONFIGS, name=TEXTS, path=TEXTS)
@settings(max_examples=examples(60))
def test_whatever_fly_says_of_an_app_no_word_of_it_becomes_a_command(
    config: dict[str, Any], name: str, path: str
) -> None:
    """Names and configurations come from Fly and from whoever may deploy: a page must not run what they say."""
    config = {"mounts": [{"volume": "vol_1", "path": path}]} | config
    page = page_of(described(machines=(described_machine(config=config, name=name),)), artifacts=(stored(),))
    text, run = block(page, "machine-1").split("\n", 1)[1].split("\nEND_OF_MACHINE\n")

    assert json.loads(text) == config
    words = shlex.split(run)
    assert words[words.index("--name") + 1] == name
    assert words[-1] == config["image"]
