"""What is kept of a reading of an app, when it is read again, and what is said where something is not known."""

from __future__ import annotations

from dataclasses import replace

from flykeep.domain.app_description import AddressKind, DescribedAddress, DescribedSecret, canonical_config
from flykeep.domain.compliance_org import OrgFacts, evaluate_org
from flykeep.domain.describing import (
    FOUND_AFTER,
    AppReading,
    DescriptionState,
    describe,
    fingerprint,
    volumes_of,
    with_undescribed,
)
from flykeep.domain.findings import Finding
from flykeep.domain.fly import App
from flykeep.domain.ids import AppName, RunId
from flykeep.domain.restore_config import fence
from flykeep.domain.scratch import machine_name, volume_name
from tests.unit.domain.builders import DAY, HOUR, NOW, inventory, machine, volume

APP = AppName("my-crocbot")
CONFIG = canonical_config({"image": "registry.fly.io/a:1", "metadata": {"fly_process_group": "web"}})
IMAGE = "registry.fly.io/a@sha256:00"
WHOLE = AppReading(
    app=App(APP, "deployed", "private", "acme"),
    machines=(machine(config_json=CONFIG, image=IMAGE), machine("m0", config_json="{}")),
    volumes=(volume(), volume("vol_0", machine=None)),
    secrets=(DescribedSecret("A", "d"),),
    addresses=(DescribedAddress("37.16.1.1", AddressKind.V4),),
    certificates=("a.example",),
)
SILENT = AppReading(None, (machine(),), (volume(),), None, None, None)


def test_a_whole_reading_becomes_a_whole_description() -> None:
    described = describe(APP, WHOLE, None, org="ignored", now=NOW)
    assert (described.org, described.network, described.described_at, described.gaps) == ("acme", "private", NOW, ())
    assert [(one.id, one.process_group, one.image) for one in described.machines] == [
        ("m0", None, ""),
        ("m1", "web", IMAGE),
    ]
    assert [(one.id, one.machine_id, one.retention_days) for one in described.volumes] == [
        ("vol_0", None, 14),
        ("vol_1", "m1", 14),
    ]
    assert (described.secret_names, described.certificates) == (("A",), ("a.example",))


def test_what_could_not_be_read_stays_as_it_was_whole_last() -> None:
    first = describe(APP, WHOLE, None, org="acme", now=NOW)
    later = describe(APP, SILENT, first, org="acme", now=NOW + DAY)
    assert later == replace(first, machines=(first.machines[1],), volumes=(first.volumes[1],), described_at=NOW + DAY)


def test_what_was_never_read_is_a_gap_and_never_half_taken() -> None:
    described = describe(APP, SILENT, None, org="acme", now=NOW)
    assert described.gaps == ("network", "machine name-of-m1", "secrets", "addresses", "certificates")
    assert (described.machines, described.secrets, described.org) == ((), (), "acme")


def test_the_instant_is_when_the_content_changed_and_not_when_it_was_read() -> None:
    first = describe(APP, WHOLE, None, org="acme", now=NOW)
    assert describe(APP, WHOLE, first, org="acme", now=NOW + DAY) is first
    changed = describe(APP, replace(WHOLE, certificates=()), first, org="acme", now=NOW + DAY)
    assert changed.described_at == NOW + DAY


def test_the_machines_of_an_app_that_has_none_now_stay_described() -> None:
    first = describe(APP, WHOLE, None, org="acme", now=NOW)
    taken_apart = describe(APP, replace(WHOLE, machines=()), first, org="acme", now=NOW + DAY)
    assert taken_apart is first
    assert describe(APP, replace(WHOLE, machines=()), None, org="acme", now=NOW).machines == ()


def test_temporary_and_leaving_things_are_not_part_of_an_app() -> None:
    temporary = volume("vol_t", name=volume_name_of())
    leaving = volume("vol_l", state="pending_destroy")
    foreign = volume("vol_f", app=AppName("other"))
    seen = inventory(volume(), temporary, leaving, foreign)
    assert [one.id for one in volumes_of(seen, APP)] == ["vol_1"]
    worker = machine("w", name=machine_name_of(), config_json="{}")
    gone = machine("g", state="destroyed", config_json="{}")
    described = describe(APP, replace(WHOLE, machines=(worker, gone)), None, org="acme", now=NOW)
    assert described.machines == ()


def volume_name_of() -> str:
    return volume_name(RunId("0123456789abcdefghij"), 1)


def machine_name_of() -> str:
    return machine_name(RunId("0123456789abcdefghij"), 1)


def test_what_a_restore_has_replaced_is_not_rebuilt_beside_what_replaced_it() -> None:
    old = machine("m_old", config_json=fence(CONFIG).config_json, state="stopped")
    reading = replace(
        WHOLE,
        machines=(old, machine("m_new", config_json=CONFIG, image=IMAGE)),
        volumes=(volume("vol_old", machine="m_old"), volume("vol_new", machine="m_new")),
    )
    described = describe(APP, reading, describe(APP, WHOLE, None, org="acme", now=NOW), org="acme", now=NOW)
    assert [one.id for one in described.machines] == ["m_new"]
    assert [one.id for one in described.volumes] == ["vol_new"]


def test_the_fingerprint_changes_with_machines_and_volumes_of_this_app_only() -> None:
    seen = inventory(volume(), machines=(machine(instance_id="1"),))
    same = inventory(volume(), machines=(machine(instance_id="1"), machine("x", app=AppName("other"))))
    assert fingerprint(seen, APP) == fingerprint(same, APP)
    for changed in (
        replace(seen, machines=(machine(instance_id="2"),)),
        replace(seen, volumes=(volume(size_gb=4),)),
        replace(seen, volumes=(volume("vol_2"),)),
    ):
        assert fingerprint(changed, APP) != fingerprint(seen, APP)


def findings(state: DescriptionState) -> list[Finding]:
    org = evaluate_org(OrgFacts("acme", inventory()), now=NOW)
    return list(with_undescribed(org, (state,), now=NOW).findings)


def test_an_app_that_could_not_be_rebuilt_is_found() -> None:
    (found,) = findings(DescriptionState(APP, None, "machines: 403", NOW - HOUR))
    assert "could not be rebuilt: machines: 403" in found.summary
    assert (found.since_at, found.last_good_at, found.subject.key) == (NOW - HOUR, None, "app:my-crocbot")


def test_a_gap_is_found_at_once_and_an_old_reading_after_two_days() -> None:
    whole = describe(APP, WHOLE, None, org="acme", now=NOW - 9 * DAY)
    (gap,) = findings(DescriptionState(APP, replace(whole, gaps=("secrets",)), None, None))
    assert "is not known: secrets (Fly did not say)" in gap.summary
    assert findings(DescriptionState(APP, whole, "secrets: 403", NOW - FOUND_AFTER)) == []
    (old,) = findings(DescriptionState(APP, whole, "secrets: 403", NOW - FOUND_AFTER - HOUR))
    assert "as it was at 2026-02-21 12:00 UTC: secrets: 403" in old.summary
    assert findings(DescriptionState(APP, whole, None, None)) == []
