"""From findings to incidents to messages, in one transaction: state and its announcement never part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from flykeep.domain.compliance_org import OrgCompliance, check_scope
from flykeep.domain.findings import Compliance, Finding, FindingCode, Message, MessageKind, Severity
from flykeep.domain.incidents import IncidentChange, transition
from flykeep.domain.messages import checked_message, message_for
from flykeep.domain.policy import TargetRule
from flykeep.domain.subjects import NOTIFIER, notifier_subject
from flykeep.ports.catalog import Catalog, Transaction
from flykeep.ports.clock import Clock, IdSource

_REMIND_EVERY = timedelta(hours=24)


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
            changes = await self._apply(tx, findings, is_conclusive=scope.covers)
            open_incidents = await tx.incidents(is_open=True)
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
        finding = Finding(
            code=FindingCode.NOTIFIER_FAILING,
            severity=Severity.WARNING,
            subject=notifier_subject(name),
            summary=f"Notifier {name} does not deliver: {reason}.",
            since_at=since_at,
            last_good_at=None,
            next_step=f"flykeep notify test {name}",
        )
        async with self.catalog.transaction() as tx:
            await self._apply(tx, [finding], is_conclusive=_never, not_through=name)

    async def notifier_works(self, name: str) -> None:
        """Resolve the incident about this notifier, where there is one."""
        key = notifier_subject(name).key
        async with self.catalog.transaction() as tx:
            await self._apply(tx, [], is_conclusive=lambda finding: finding.subject.key == key)

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
            await tx.incidents(is_open=True, limit=10_000),
            findings,
            is_conclusive=is_conclusive,
            now=now,
            remind_every=self._remind_every,
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

    def _remind_every(self, finding: Finding) -> timedelta | None:
        """The interval of the target's policy; a day for what belongs to no target."""
        label = finding.subject.label.partition("@")[0]
        app, _, volume_name = label.partition("/")
        if finding.subject.lineage_id is not None:
            for rule in self.rules:
                if rule.matches(app, volume_name):
                    return rule.policy.remind_every
        return None if finding.subject.key.startswith(NOTIFIER) else _REMIND_EVERY


def _never(_: Finding) -> bool:
    return False
