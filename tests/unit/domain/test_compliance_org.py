"""What is said of the organization, and which incidents a check may resolve."""

from dataclasses import replace
from typing import Any

from flykeep.domain.compliance_org import OrgCompliance, OrgFacts, check_scope, evaluate_org, notifier_finding
from flykeep.domain.findings import Compliance, Finding, FindingCode, Severity, Verdict
from flykeep.domain.ids import LineageId
from flykeep.domain.policy import TargetRule
from flykeep.domain.presets import PRODUCTION
from flykeep.domain.subjects import lineage_subject, notifier_subject, org_subject, rule_subject, volume_subject
from tests.unit.domain.builders import HOUR, NOW, finding, inventory, lineage, volume

RULE = TargetRule("my-crocbot/*", PRODUCTION)


def judge(**changes: Any) -> OrgCompliance:
    fields: dict[str, Any] = {"org": "personal", "inventory": inventory(), "rules": (RULE,), "lineages": (lineage(),)}
    return evaluate_org(OrgFacts(**(fields | changes)), now=NOW)


def only(org: OrgCompliance) -> Finding:
    (found,) = org.findings
    return found


def test_an_organization_in_order_has_no_findings() -> None:
    assert judge() == OrgCompliance(org_subject("personal"), (), is_conclusive=True, is_inventory_complete=True)


def test_an_unreachable_fly_is_one_finding_that_tells_when_it_last_answered() -> None:
    org = judge(inventory=None, failure="503 from api.machines.dev", fly_seen_at=NOW - HOUR, rules=())
    found = only(org)
    assert (found.code, found.severity) == (FindingCode.FLY_UNREACHABLE, Severity.WARNING)
    assert (found.since_at, found.last_good_at) == (NOW - HOUR, NOW - HOUR)
    assert "503 from api.machines.dev" in found.summary
    assert not org.is_conclusive


def test_a_fly_that_never_answered_is_unreachable_since_now() -> None:
    found = only(judge(inventory=None))
    assert found.since_at == NOW
    assert "never answered" in found.summary


def test_an_incomplete_inventory_names_its_regions_and_calls_no_rule_idle() -> None:
    found = only(judge(inventory=inventory(missing=("ams", "fra")), lineages=(), fly_seen_at=NOW - HOUR))
    assert (found.code, found.severity, found.since_at) == (
        FindingCode.FLY_INCOMPLETE,
        Severity.WARNING,
        NOW - HOUR,
    )
    assert "ams, fra" in found.summary
    assert only(judge(inventory=inventory(missing=("ams",)), lineages=())).since_at == NOW


def test_a_volume_nobody_protects_is_a_finding_of_its_own() -> None:
    found = only(judge(unprotected=(volume("vol_9"),)))
    assert (found.code, found.severity) == (FindingCode.VOLUME_UNPROTECTED, Severity.WARNING)
    assert (found.subject.volume_id, found.since_at) == ("vol_9", volume().created_at)
    assert 'match = "my-crocbot/crocbot_data"' in found.next_step


def test_a_rule_that_matches_nothing_is_a_finding() -> None:
    found = only(judge(rules=(RULE, TargetRule("crocbot/*", PRODUCTION))))
    assert (found.code, found.severity) == (FindingCode.TARGET_MATCHES_NOTHING, Severity.WARNING)
    assert "'crocbot/*'" in found.summary


def test_a_rule_may_match_by_the_machine_of_a_lineage() -> None:
    rules = (TargetRule("*/*@m1", PRODUCTION), TargetRule("*/*@name-of-m1", PRODUCTION))
    assert judge(rules=rules).findings == ()


def test_a_notifier_that_does_not_deliver_is_a_finding_of_its_own() -> None:
    found = notifier_finding("oncall", error="410 Gone", since_at=NOW, last_good_at=NOW - HOUR)
    assert (found.code, found.severity, found.subject.key) == (
        FindingCode.NOTIFIER_FAILING,
        Severity.WARNING,
        "notifier:oncall",
    )
    assert (found.since_at, found.last_good_at, found.next_step) == (NOW, NOW - HOUR, "flykeep notify test oncall")
    assert "410 Gone" in found.summary


def compliance(id: str, *, is_conclusive: bool) -> Compliance:  # noqa: A002
    return Compliance(LineageId(id), id, Verdict.HEALTHY, (), NOW, is_conclusive=is_conclusive)


class TestScope:
    JUDGED = finding(subject=lineage_subject(lineage("judged"), "judged"))
    STANDING = finding(subject=lineage_subject(lineage("standing"), "standing"))
    FORGOTTEN = finding(subject=lineage_subject(lineage("forgotten"), "forgotten"))
    VOLUME = finding(FindingCode.VOLUME_UNPROTECTED, subject=volume_subject(volume("vol_9")))
    RULE = finding(FindingCode.TARGET_MATCHES_NOTHING, subject=rule_subject("x/*"))
    ORG = finding(FindingCode.FLY_UNREACHABLE, subject=org_subject("personal"))
    NOTIFIER = finding(FindingCode.NOTIFIER_FAILING, subject=notifier_subject("oncall"))
    EVALUATED = (compliance("judged", is_conclusive=True), compliance("standing", is_conclusive=False))

    def covered(self, org: OrgCompliance | None) -> set[str]:
        scope = check_scope(self.EVALUATED, org)
        every = (self.JUDGED, self.STANDING, self.FORGOTTEN, self.VOLUME, self.RULE, self.ORG, self.NOTIFIER)
        return {one.subject.label for one in every if scope.covers(one)}

    def test_a_whole_check_covers_what_it_judged_and_what_no_longer_exists(self) -> None:
        assert self.covered(judge()) == {
            "judged",
            "forgotten",
            "my-crocbot/crocbot_data",
            "x/*",
            "organization personal",
        }

    def test_an_incomplete_one_covers_only_what_it_judged(self) -> None:
        assert self.covered(judge(inventory=inventory(missing=("ams",)))) == {"judged", "organization personal"}

    def test_one_without_fly_covers_neither_the_organization_nor_what_it_did_not_see(self) -> None:
        assert self.covered(judge(inventory=None)) == {"judged"}

    def test_one_of_a_single_target_covers_that_target(self) -> None:
        assert self.covered(None) == {"judged"}


def test_a_label_that_changes_leaves_the_finding_the_same() -> None:
    one = lineage_subject(lineage(), "app/data")
    other = lineage_subject(replace(lineage(), machine_name="x"), "app/data@x")
    assert finding(subject=one).key == finding(subject=other).key
