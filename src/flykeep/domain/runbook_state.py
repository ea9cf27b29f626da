"""How a runbook stands in a store: what is wrong where it could not be renewed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from flykeep.domain.compliance_org import OrgCompliance
from flykeep.domain.findings import Finding, FindingCode, Severity
from flykeep.domain.ids import AppName
from flykeep.domain.signed_json import instant_text
from flykeep.domain.subjects import app_subject


@dataclass(frozen=True, slots=True)
class StaleRunbook:
    """A runbook that a store does not hold as it should be, `since_at`, and why."""

    app: AppName
    store: str
    since_at: datetime
    reason: str

    def to_note(self) -> str:
        return json.dumps({"since_at": instant_text(self.since_at), "reason": self.reason}, ensure_ascii=False)


def stale_runbook_of(app: AppName, store: str, note: str | None) -> StaleRunbook | None:
    """What `to_note` remembered; None where there is nothing to remember."""
    if not note:
        return None
    said = json.loads(note)
    return StaleRunbook(app, store, datetime.fromisoformat(said["since_at"]), said["reason"])


def with_stale_runbooks(org: OrgCompliance, stale: Iterable[StaleRunbook]) -> OrgCompliance:
    """The same with the runbooks that are not what they should be."""
    found = tuple(_finding(each) for each in stale)
    return replace(org, findings=(*org.findings, *found)) if found else org


def _finding(stale: StaleRunbook) -> Finding:
    return Finding(
        code=FindingCode.RUNBOOK_STALE,
        severity=Severity.WARNING,
        subject=app_subject(stale.app),
        summary=f"The runbook of {stale.app} in store {stale.store} could not be renewed: {stale.reason}",
        since_at=stale.since_at,
        last_good_at=None,
        next_step=f"flykeep doctor --store {stale.store}",
        store=stale.store,
    )
