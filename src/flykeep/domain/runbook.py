"""How a person rebuilds a lost app without flykeep: one page, from top to bottom, with the real ids in it.

It holds the machines' configurations as they are, and these hold `env` and `files`, which may be confidential: a page
is kept sealed. Values of secrets are known to nobody here. The same facts give the same page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from flykeep.domain.app_description import (
    AddressKind,
    AppDescription,
    DescribedAddress,
    DescribedMachine,
    DescribedVolume,
)
from flykeep.domain.page import PageWriter, quoted
from flykeep.domain.runbook_facts import RunbookFacts, StoreDoor, config_of, mount_path
from flykeep.domain.runbook_volume import VolumeStep, curl, write_volume
from flykeep.domain.wording import instant

_DEFAULT_NETWORKS = frozenset({None, "", "default"})
_END = "END_OF_MACHINE"  # no line of indented JSON is this
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STATUS = "See <https://status.flyio.net>: where Fly itself is down, wait."


def runbook(facts: RunbookFacts) -> str:
    """The whole page as Markdown."""
    page = PageWriter()
    _write_head(page, facts)
    _write_preparation(page, facts)
    _write_look(page, facts.described)
    _write_app(page, facts.described)
    _write_secrets(page, facts.described)
    _write_addresses(page, facts.described)
    _write_volumes(page, facts)
    _write_rest(page, facts)
    _write_health(page, facts.described)
    _write_names(page, facts.described)
    _write_afterwards(page, facts.described)
    return page.whole()


def _write_head(page: PageWriter, facts: RunbookFacts) -> None:
    described = facts.described
    page.text(f"# How to bring `{described.app}` back by hand")
    page.text(
        f"This page rebuilds the Fly app `{described.app}` (organization `{described.org}`) without flykeep.",
        f"It shows the app as it was on {instant(described.described_at)}, and the backups known when it was written.",
    )
    page.text(
        "**Keep this page to yourself.** It holds the values of the machines' environment.",
        "It holds no secrets of the app: you need those from your own file.",
    )
    page.text("How to use it:")
    page.items(
        [
            "Go from top to bottom. Copy one block, paste it, wait until it has ended.",
            "Compare with *Expect*. Where it differs, do what *If not* says before you go on.",
            "No command here deletes a backup, a volume or an app. You may stop at any point and go on later.",
        ]
    )
    if described.gaps:
        page.text(
            f"flykeep could never read these parts of the app, so they are missing here: {_named(described.gaps)}."
        )


def _write_preparation(page: PageWriter, facts: RunbookFacts) -> None:
    page.text("## 0. Get ready")
    page.text("You need `fly` (<https://fly.io/docs/flyctl/install/>), `age`, `zstd` and `curl`, in bash or zsh.")
    page.text("Make a folder and go into it. In every new terminal, go into it again.")
    folder = quoted(f"recover-{facts.described.app}")
    page.block(
        "folder",
        f"mkdir -p {folder} && cd {folder}",
        expect="nothing.",
        otherwise=["Choose a folder that you may write to."],
    )
    page.text("Put two files into it:")
    page.items(
        [
            "`identity.txt`: the age key that opened this page.",
            "`secrets.env`: the values of the app's secrets, see step 3.",
        ]
    )
    page.block(
        "tools",
        "ls identity.txt && age --version && zstd --version && fly version && fly auth whoami",
        expect="the name of the file, three versions, and who you are at Fly.",
        otherwise=[
            "A program is missing: install it.",
            "`fly auth whoami` fails: run `fly auth login`.",
            "There is no person to log in as: `export FLY_API_TOKEN=...` with a token that may make apps.",
        ],
    )
    for door in facts.doors:
        _write_door(page, door)


def _write_door(page: PageWriter, door: StoreDoor) -> None:
    if door.is_folder:
        page.text(f"Store `{door.name}` is a folder. If it is elsewhere now, put its place into this block.")
        lines = [f"ln -sfn {quoted(door.place)} store-{door.name}", f"ls store-{door.name}/RESTORE.md"]
    else:
        page.text(
            f"Store `{door.name}` is a bucket. Write its access key into a file `store-{door.name}.curl`,",
            "one line, with the quotes:",
        )
        page.example('user = "ACCESS_KEY_ID:SECRET_ACCESS_KEY"')
        lines = [f"{curl(door)} -o RESTORE.md {quoted(f'{door.place}/RESTORE.md')}", "ls RESTORE.md"]
    page.block(
        f"store-{door.name}",
        *lines,
        expect="the name of the file `RESTORE.md`, which is in every store.",
        otherwise=["`403`: it is the wrong key.", "Leave this store out: another one, or a snapshot, may be enough."],
    )


def _write_look(page: PageWriter, described: AppDescription) -> None:
    page.text("## 1. Is the app really gone?")
    page.block(
        "look",
        f"fly apps list --org {quoted(described.org)}",
        expect=f"a table without `{described.app}`: it is gone. Go on with step 2.",
        otherwise=[
            f"`{described.app}` is in the table: it is **not** gone. Skip steps 2 to 4, and make only what is missing.",
            f"What it still has: `fly status -a {described.app}` and `fly volumes list -a {described.app}`.",
            f"The command fails: it is your login, or Fly. {_STATUS}",
        ],
    )


def _write_app(page: PageWriter, described: AppDescription) -> None:
    page.text("## 2. Make the app")
    network = "" if described.network in _DEFAULT_NETWORKS else f" --network {quoted(str(described.network))}"
    page.block(
        "app",
        f"fly apps create {quoted(described.app)} --org {quoted(described.org)}{network}",
        expect=f"`New app created: {described.app}`.",
        otherwise=[
            "The name is taken by somebody else: choose a new one, and put it behind every `-a` on this page.",
            "You may not: log in as somebody who may make apps in this organization.",
        ],
    )


def _write_secrets(page: PageWriter, described: AppDescription) -> None:
    page.text("## 3. Set the secrets")
    if not described.secrets:
        page.text("The app had no secrets that flykeep knew of. Go on with step 4.")
        return
    page.text(
        "Write their values into `secrets.env`, one `NAME=VALUE` a line.",
        'A value with quotes, `#` or several lines stands between `"""`. The app had these:',
    )
    page.items(f"`{name}`" for name in described.secret_names)
    names = " ".join(name for name in described.secret_names if _VARIABLE.fullmatch(name))
    page.block(
        "secrets-check",
        f'for name in {names}; do grep -q "^$name=" secrets.env || echo "missing: $name"; done',
        expect="nothing.",
        otherwise=["Add what is missing, or know that you leave it out."],
    )
    page.block(
        "secrets",
        f"fly secrets import --stage -a {quoted(described.app)} < secrets.env",
        expect="that the secrets are staged. The machines will see them when they are made.",
        otherwise=["`NAME=VALUE`: a line of the file is something else."],
    )


def _write_addresses(page: PageWriter, described: AppDescription) -> None:
    page.text("## 4. Get addresses")
    commands = [line for line in (_allocation(described, each) for each in described.addresses) if line]
    if not commands:
        page.text("The app had no public addresses that flykeep knew of. Go on with step 5.")
        return
    page.text(f"The old ones do not come back: {_named([each.address for each in described.addresses])}.")
    page.block(
        "addresses",
        *commands,
        expect="one new address for each command.",
        otherwise=[
            "An address of that kind is there already: go on.",
            "You may go on without; nobody can reach the app then.",
        ],
    )
    if any(each.kind is AddressKind.EGRESS for each in described.addresses):
        page.text("It had addresses for outgoing traffic too: `fly ips allocate-egress`, once its machines are there.")


def _allocation(described: AppDescription, address: DescribedAddress) -> str | None:
    app, region = quoted(described.app), address.region or "global"
    where = "" if region == "global" else f" --region {quoted(region)}"
    return {
        AddressKind.SHARED_V4: f"fly ips allocate-v4 --shared -a {app}",
        AddressKind.V4: f"fly ips allocate-v4 --yes -a {app}{where}",
        AddressKind.V6: f"fly ips allocate-v6 -a {app}{where}",
        AddressKind.PRIVATE_V6: f"fly ips allocate-v6 --private -a {app}",
    }.get(address.kind)


def _write_volumes(page: PageWriter, facts: RunbookFacts) -> None:
    if not facts.described.volumes:
        page.text("## 5. Volumes", "The app had none.")
    for number, volume in enumerate(facts.described.volumes, start=1):
        step = VolumeStep(facts, volume, number)
        write_volume(page, step)
        if step.holder is not None:
            path = quoted(mount_path(step.holder))
            _write_machine(page, facts.described, step.holder, f"{number}", f'"$(cat {step.id_file})":{path}')


def _write_rest(page: PageWriter, facts: RunbookFacts) -> None:
    machines = facts.machines_without_data
    if machines:
        page.text("## 6. The machines without a volume")
    for number, machine in enumerate(machines, start=len(facts.described.volumes) + 1):
        if machine.volume_ids:
            page.text(f"### Machine `{machine.name}`")
            page.text(
                f"Its volume {_named(machine.volume_ids)} is another machine's, or nobody knows it: leave it out."
            )
        else:
            _write_machine(page, facts.described, machine, f"{number}", None)


def _write_machine(
    page: PageWriter, described: AppDescription, machine: DescribedMachine, number: str, volume: str | None
) -> None:
    page.text(f"### Machine `{machine.name}`")
    if not machine.image:
        page.text("flykeep does not know its image.", _from_source(described))
        return
    page.text("Make it as it was. This starts it, and waits for its health checks.")
    mounted = f" --volume {volume}" if volume else ""
    named = f"--name {quoted(machine.name)} --region {quoted(machine.region)}"
    page.block(
        f"machine-{number}",
        f"cat > machine-{number}.json <<'{_END}'",
        json.dumps(config_of(machine), indent=2, sort_keys=True, ensure_ascii=False),
        _END,
        f"fly machine run -a {quoted(described.app)} {named} \\",
        f"  --machine-config machine-{number}.json{mounted} {quoted(machine.image)}",
        expect="`Machine started`.",
        otherwise=[
            f"The image is not found: it went away with the app. {_from_source(described)}",
            "The volume is claimed: remove the helper machine first.",
            f"It waits, as for a large volume from a snapshot: look with `fly machine list -a {described.app}`.",
            "The machine is there, but not started: `fly machine start` it. Do not make a second one.",
            "Its checks do not pass: go on with step 7.",
        ],
    )


def _from_source(described: AppDescription) -> str:
    return (
        f"Deploy from the app's source: `fly deploy -a {described.app} --ha=false`. "
        "It takes the volume that you have just made, by its name."
    )


def _write_health(page: PageWriter, described: AppDescription) -> None:
    app = quoted(described.app)
    page.text("## 7. Does it live?")
    page.block(
        "health",
        f"fly status -a {app}",
        f"fly checks list -a {app}",
        expect="every machine `started`, every check `passing`. Then look at the app itself, as its users do.",
        otherwise=[f"Read what it says: `fly logs -a {described.app}`."],
    )


def _write_names(page: PageWriter, described: AppDescription) -> None:
    app = quoted(described.app)
    page.text("## 8. Names and certificates")
    page.text("Where DNS names point at the old addresses, let them point at these:")
    page.block("new-addresses", f"fly ips list -a {app}", expect="the new addresses.", otherwise=["Do step 4."])
    if described.certificates:
        page.block(
            "certificates",
            *(f"fly certs add {quoted(hostname)} -a {app}" for hostname in described.certificates),
            expect="for each name, what its DNS must hold. The certificate comes once it does.",
            otherwise=["The name belongs to another app: remove it there first."],
        )


def _write_afterwards(page: PageWriter, described: AppDescription) -> None:
    page.text("## 9. Afterwards")
    page.items(
        [
            "Delete the folder of step 0: it holds your key and your secrets.",
            "Take a backup now.",
            *(_adoption(described, volume, number) for number, volume in enumerate(described.volumes, start=1)),
        ]
    )


def _adoption(described: AppDescription, volume: DescribedVolume, number: int) -> str:
    what = f"`flykeep adopt {described.app}/{volume.name} VOLUME`"
    return f"With flykeep, let its history go on: {what}, the id being that in `volume-{number}.id`."


def _named(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
