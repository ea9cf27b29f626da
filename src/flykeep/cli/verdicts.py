"""How verdicts and findings look, on a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Console

from flykeep.cli.render import age_text, print_indented
from flykeep.domain.documents import Plain, plain
from flykeep.domain.findings import Compliance, Finding, Proven, Severity, Verdict
from flykeep.domain.wording import span, took

STYLES = {
    Verdict.HEALTHY: "bold green",
    Verdict.UNHEALTHY: "bold red",
    Verdict.UNKNOWN: "bold yellow",
    Verdict.PAUSED: "dim",
    Verdict.UNWATCHED: "dim",
}
FINE = frozenset({Verdict.HEALTHY, Verdict.PAUSED, Verdict.UNWATCHED})
SEVERITY_STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.INFO: "dim"}


def finding_document(finding: Finding) -> dict[str, Plain]:
    """A finding as the JSON contract shows it."""
    return {
        "code": finding.code.value,
        "severity": finding.severity.value,
        "subject": finding.subject.label,
        "app": finding.subject.app,
        "volume_id": finding.subject.volume_id,
        "store": finding.store,
        "summary": finding.summary,
        "since_at": plain(finding.since_at),
        "last_good_at": plain(finding.last_good_at),
        "next_step": finding.next_step,
    }


def headline(verdict: Compliance, *, now: datetime) -> str:
    """What a backup is worth, in one line: how old, how proven, how fast."""
    at = verdict.restorable_as_of
    restorable = f"restorable as of {span(now - at)} ago" if at else "nothing is restorable"
    return f"{restorable}, {'proven ' if verdict.proof else ''}{proven_text(verdict.proof, now=now)}"


def proven_text(proof: Proven | None, *, now: datetime) -> str:
    """`3 d ago, took 4 min 12 s`."""
    if proof is None:
        return "never proven"
    later = "" if proof.is_newest else "; a later drill FAILED"
    return f"{span(now - proof.at)} ago, took {took(timedelta(seconds=proof.took_s))}{later}"


def verdict_document(verdict: Compliance) -> dict[str, Plain]:
    """A verdict as the JSON contract shows it."""
    return {
        "target": verdict.label,
        "lineage_id": verdict.lineage_id or None,
        "verdict": verdict.verdict.value,
        "reason": verdict.reason,
        "is_conclusive": verdict.is_conclusive,
        "evaluated_at": plain(verdict.evaluated_at),
        "newest_snapshot_at": plain(verdict.newest_snapshot_at),
        "newest_export_at": plain(verdict.newest_export_at),
        "restorable_as_of": plain(verdict.restorable_as_of),
        "proof": plain(verdict.proof),
        "findings": [finding_document(finding) for finding in verdict.findings],
    }


def print_findings(out: Console, findings: Sequence[Finding], *, now: datetime) -> None:
    """Each finding: what, since when, the last good backup, what to do next."""
    for finding in findings:
        out.print(f"  {finding.severity.value:<8}", style=SEVERITY_STYLES[finding.severity], end=" ")
        out.print(f"{finding.code.value}  {finding.subject.label}", markup=False)
        print_indented(out, finding.summary, by=11)
        good = f"; last good {age_text(finding.last_good_at, now=now)}" if finding.last_good_at else ""
        print_indented(out, f"since {age_text(finding.since_at, now=now)}{good}", by=11, style="dim")
        print_indented(out, f"next: {finding.next_step}", by=11)
