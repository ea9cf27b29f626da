"""What is wrong with the organization as a whole, and which incidents one check may resolve."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from flykeep.domain.compliance_retention import RetentionFacts, retention_findings
from flykeep.domain.findings import Compliance, Finding, FindingCode, Severity, Subject
from flykeep.domain.fly import Inventory, Volume
from flykeep.domain.policy import TargetRule
from flykeep.domain.proof import ProofFlaw
from flykeep.domain.subjects import (
    APP,
    LINEAGE,
    RULE,
    VOLUME,
    notifier_subject,
    org_subject,
    rule_subject,
    store_subject,
    volume_subject,
)
from flykeep.domain.target import Lineage
from flykeep.domain.wording import instant

_NAMED = 3


@dataclass(frozen=True, slots=True)
class OrgFacts:
    """What a check of the whole organization learned; `inventory` None means that Fly could not be read.

    `failure` is the words of the error then. `fly_seen_at` is when Fly last answered completely. `unprotected` and
    `lineages` (those current, gone, unseen or retired) come from the resolved inventory. `lax_stores` let a create
    overwrite, each since it was first seen to. `retention` None means that no copy has a keep rule.
    """

    org: str
    inventory: Inventory | None
    rules: tuple[TargetRule, ...] = ()
    unprotected: tuple[Volume, ...] = ()
    lineages: tuple[Lineage, ...] = ()
    fly_seen_at: datetime | None = None
    failure: str | None = None
    lax_stores: tuple[tuple[str, datetime], ...] = ()
    retention: RetentionFacts | None = None


@dataclass(frozen=True, slots=True)
class OrgCompliance:
    subject: Subject
    findings: tuple[Finding, ...]
    is_conclusive: bool
    is_inventory_complete: bool


def evaluate_org(facts: OrgFacts, *, now: datetime) -> OrgCompliance:
    """Judge what no single lineage shows: whether Fly answers, what nobody protects, which rules protect nothing."""
    subject = org_subject(facts.org)
    inventory = facts.inventory
    if inventory is None:
        findings: tuple[Finding, ...] = (_unreachable(subject, facts, now=now),)
        return OrgCompliance(subject, findings, is_conclusive=False, is_inventory_complete=False)
    findings = tuple(_unprotected(volume) for volume in facts.unprotected)
    findings += tuple(_create_ignored(store, since_at) for store, since_at in facts.lax_stores)
    if facts.retention is not None:
        findings += retention_findings(subject, facts.retention, now=now)
    if inventory.is_complete:
        findings += tuple(_matches_nothing(rule, now=now) for rule in facts.rules if not _has_matches(rule, facts))
    else:
        findings += (_incomplete(subject, facts, inventory.incomplete_regions, now=now),)
    return OrgCompliance(subject, findings, is_conclusive=True, is_inventory_complete=inventory.is_complete)


def notifier_finding(name: str, *, error: str, since_at: datetime, last_good_at: datetime | None) -> Finding:
    """A notifier that does not deliver: told through the others. `last_good_at` is its last delivery."""
    return Finding(
        code=FindingCode.NOTIFIER_FAILING,
        severity=Severity.WARNING,
        subject=notifier_subject(name),
        summary=f"Notifier {name} does not deliver: {error}",
        since_at=since_at,
        last_good_at=last_good_at,
        next_step=f"flykeep notify test {name}",
    )


def with_proof_flaws(org: OrgCompliance, flaws: tuple[ProofFlaw, ...], *, now: datetime) -> OrgCompliance:
    """The same with the objects in the stores that say they are proofs and are not to be believed."""
    if not flaws:
        return org
    named = "; ".join(f"{flaw.key} in {flaw.store} ({flaw.why})" for flaw in flaws[:_NAMED])
    count = "1 object" if len(flaws) == 1 else f"{len(flaws)} objects"
    finding = Finding(
        code=FindingCode.PROOF_REFUSED,
        severity=Severity.WARNING,
        subject=org.subject,
        summary=f"{count} among the stored proofs cannot be believed and count for nothing: {named}",
        since_at=now,
        last_good_at=None,
        next_step="find out who wrote it; trust the key in [drill] trusted_signers, or delete the object",
    )
    return replace(org, findings=(*org.findings, finding))


@dataclass(frozen=True, slots=True)
class CheckScope:
    """Which findings a check would have repeated if they were still true: the incidents it may resolve.

    `conclusive` and `standing` are subject keys that were evaluated with and without a conclusion. `is_whole` says that
    everything there is was evaluated, so that a subject which no longer exists is covered too.
    """

    conclusive: frozenset[str]
    standing: frozenset[str]
    is_whole: bool

    def covers(self, finding: Finding) -> bool:
        key = finding.subject.key
        if key in self.conclusive:
            return True
        return self.is_whole and key not in self.standing and key.startswith((LINEAGE, VOLUME, APP, RULE))


def check_scope(compliances: Iterable[Compliance], org: OrgCompliance | None) -> CheckScope:
    """The scope of one check; `org` None means that only the lineages of `compliances` were looked at."""
    evaluated = tuple(compliances)
    conclusive = {_key(compliance) for compliance in evaluated if compliance.is_conclusive}
    standing = {_key(compliance) for compliance in evaluated if not compliance.is_conclusive}
    if org is not None and org.is_conclusive:
        conclusive.add(org.subject.key)
    is_whole = org is not None and org.is_inventory_complete
    return CheckScope(frozenset(conclusive), frozenset(standing), is_whole)


def _key(compliance: Compliance) -> str:
    return f"{LINEAGE}{compliance.lineage_id}"


def _unreachable(subject: Subject, facts: OrgFacts, *, now: datetime) -> Finding:
    seen = f"it last answered at {instant(facts.fly_seen_at)}" if facts.fly_seen_at else "it never answered"
    reason = f": {facts.failure}" if facts.failure else ""
    return Finding(
        code=FindingCode.FLY_UNREACHABLE,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"Fly's API can't be read; {seen}{reason}. Verdicts stand as they were until it answers.",
        since_at=facts.fly_seen_at or now,
        last_good_at=facts.fly_seen_at,
        next_step="flykeep doctor; see https://status.flyio.net",
    )


def _incomplete(subject: Subject, facts: OrgFacts, regions: tuple[str, ...], *, now: datetime) -> Finding:
    return Finding(
        code=FindingCode.FLY_INCOMPLETE,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"Fly's inventory lacks {', '.join(regions)}: what is missing from it may still exist.",
        since_at=facts.fly_seen_at or now,
        last_good_at=facts.fly_seen_at,
        next_step="flykeep check; see https://status.flyio.net",
    )


def _unprotected(volume: Volume) -> Finding:
    return Finding(
        code=FindingCode.VOLUME_UNPROTECTED,
        severity=Severity.WARNING,
        subject=volume_subject(volume),
        summary=f"Volume {volume.id} ({volume.size_gb} GB, {volume.region}) matches no target: nobody protects it.",
        since_at=volume.created_at,
        last_good_at=None,
        next_step=f'add [[targets]] with match = "{volume.app}/{volume.name}" to the configuration',
    )


def _create_ignored(store: str, since_at: datetime) -> Finding:
    """Not a warning: keys carry an id of their own, so that only another program could take one, and it is noticed."""
    return Finding(
        code=FindingCode.STORE_CREATE_IGNORED,
        severity=Severity.INFO,
        subject=store_subject(store),
        summary=f"Store {store} lets a create overwrite: flykeep looks before it writes there and reads back after.",
        since_at=since_at,
        last_good_at=None,
        next_step=f"let nothing else write under its prefix; flykeep doctor --store {store}",
        store=store,
    )


def _has_matches(rule: TargetRule, facts: OrgFacts) -> bool:
    lineages = facts.lineages
    return any(
        rule.matches(lineage.app, lineage.volume_name, machine)
        for lineage in lineages
        for machine in (lineage.machine_name, lineage.machine_id)
    )


def _matches_nothing(rule: TargetRule, *, now: datetime) -> Finding:
    return Finding(
        code=FindingCode.TARGET_MATCHES_NOTHING,
        severity=Severity.WARNING,
        subject=rule_subject(rule.match),
        summary=f"The target {rule.match!r} matches no volume.",
        since_at=now,
        last_good_at=None,
        next_step="correct its match, or remove it, in the configuration; flykeep status lists what exists",
    )
