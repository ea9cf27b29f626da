"""From findings to incidents to messages, in one transaction: state and its announcement never part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from flykeep.domain.compliance_org import OrgCompliance, check_scope, notifier_finding
from flykeep.domain.findings import Compliance, Finding, Message, MessageKind
from flykeep.domain.incidents import IncidentChange, transition
from flykeep.domain.lineages import rule_of
from flykeep.domain.messages import checked_message, message_for
from flykeep.domain.policy import TargetRule
from flykeep.domain.subjects import NOTIFIER, notifier_subject
from flykeep.ports.catalog import Catalog, Transaction
from flykeep.ports.clock import Clock, IdSource

_REMIND_EVERY = timedelta(hours=24)
_ALL = 10_000


@dataclass(frozen=True, slots=True)
class Recipient:
    """A configured notifier, as far as the outbox has to know it."""

    name: str
    kinds: frozenset[MessageKind]


@dataclass(frozen=True, slots=True)
class Alerting:
    catalog: Catalog
    clock: Clock
    ids: IdSource
    recipients: tuple[Recipient, ...]
    rules: tuple[TargetRule, ...]

    async def record(
        self, verdicts: Iterable[Compliance], org: OrgCompliance, *, check_id: str
    ) -> tuple[IncidentChange, ...]:
        """Open, remind and resolve what this check found, and enqueue every message about it."""
        judged = tuple(verdicts)
        scope = check_scope(judged, org)
        findings = [finding for verdict in judged for finding in verdict.findings] + list(org.findings)
        async with self.catalog.transaction() as tx:
            changes = await self._apply(
                tx,
                findings,
                is_conclusive=lambda finding: scope.covers(finding) or self._is_of_removed_notifier(finding),
            )
            open_incidents = await tx.incidents(is_open=True, limit=_ALL)
            checked = checked_message(
                judged,
                open_incidents,
                check_id=check_id,
                org=org.subject.label,
                now=self.clock.now(),
            )
            await self._enqueue(tx, checked)
        return changes

    async def notifier_fails(self, name: str, reason: str, *, since_at: datetime) -> None:
        """Report a notifier that can't deliver, through the others."""
        finding = notifier_finding(name, error=reason, since_at=since_at, last_good_at=None)
        async with self.catalog.transaction() as tx:
            await self._apply(tx, [finding], is_conclusive=_never, not_through=name)

    async def notifier_works(self, name: str) -> None:
        """Resolve the incident about this notifier, where there is one."""
        key = notifier_subject(name).key
        async with self.catalog.transaction() as tx:
            await self._apply(tx, [], is_conclusive=lambda finding: finding.subject.key == key)

    def _is_of_removed_notifier(self, finding: Finding) -> bool:
        """Nobody will ever deliver through it again, so that nothing else could resolve its incident."""
        known = {notifier_subject(recipient.name).key for recipient in self.recipients}
        return finding.subject.key.startswith(NOTIFIER) and finding.subject.key not in known

    async def _apply(
        self,
        tx: Transaction,
        findings: Iterable[Finding],
        *,
        is_conclusive: Callable[[Finding], bool],
        not_through: str | None = None,
    ) -> tuple[IncidentChange, ...]:
        now = self.clock.now()
        changes = transition(
            await tx.incidents(is_open=True, limit=_ALL),
            findings,
            is_conclusive=is_conclusive,
            now=now,
            remind_every=await self._intervals(tx),
            new_id=self.ids.token,
        )
        for change in changes:
            await tx.save_incident(change.incident)
            if change.is_told:
                await self._enqueue(tx, message_for(change, now=now), not_through=not_through)
        return changes

    async def _enqueue(self, tx: Transaction, message: Message, *, not_through: str | None = None) -> None:
        for recipient in self.recipients:
            if message.kind in recipient.kinds and recipient.name != not_through:
                await tx.enqueue(recipient.name, message, now=self.clock.now())

    async def _intervals(self, tx: Transaction) -> Callable[[Finding], timedelta]:
        """The reminder interval of a finding's target; a day for what belongs to no target."""
        rules = {lineage.id: rule_of(lineage, self.rules) for lineage in await tx.lineages()}

        def interval(finding: Finding) -> timedelta:
            rule = rules.get(finding.subject.lineage_id) if finding.subject.lineage_id else None
            return rule.policy.remind_every if rule else _REMIND_EVERY

        return interval


def _never(_: Finding) -> bool:
    return False
