"""What a target could be restored from, as `restore TARGET` lists it, and which of it a person means."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from flykeep.cli.context import Common, console, print_document
from flykeep.cli.render import age_text, bytes_text, print_table
from flykeep.domain.candidates import Candidate, CandidateKind
from flykeep.domain.choosing import Choice
from flykeep.domain.documents import Plain, plain
from flykeep.domain.errors import UsageError
from flykeep.domain.target import Lineage
from flykeep.domain.wording import instant, span, took
from flykeep.jobs.candidates import CandidateReport

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


async def list_candidates(application: Application, options: Common, lineage: Lineage) -> int:
    """Print every candidate, newest first, as a table or as the document of the verb at work."""
    report = await application.candidates.read(lineage)
    now = application.clock.now()
    if options.is_json:
        print_document(candidates_document(report))
        return 0
    _print(options, report, now=now)
    return 0


async def chosen(application: Application, lineage: Lineage, *, snapshot: str | None, artifact: str | None) -> Choice:
    """The candidate that `--snapshot ID|latest|TIME` or `--artifact ID|latest|TIME` means.

    Raises UsageError where both or none are given, and as `CandidateReader.choose`.
    """
    if (snapshot is None) == (artifact is None):
        raise UsageError("name one source", hint="Give --snapshot ID|latest|TIME, or --artifact ID|latest|TIME.")
    if snapshot is not None:
        return await application.candidates.choose(lineage, snapshot, kind=CandidateKind.SNAPSHOT)
    return await application.candidates.choose(lineage, artifact or "", kind=CandidateKind.ARTIFACT)


def print_choice(options: Common, choice: Choice, *, now: datetime) -> None:
    """What was chosen, why, and what should be known of it."""
    out, one = console(options), choice.candidate
    age = span(now - one.as_of_at)
    out.print(f"{one.kind.value} {one.id}: contents of {instant(one.as_of_at)}, {age} old; {choice.why}", markup=False)
    out.print(f"  proof: {_proof_text(one, now=now)}", markup=False)
    for note in (*one.notes, *choice.notes):
        out.print(Text(f"  {note}", style="yellow"))


def candidates_document(report: CandidateReport) -> dict[str, Plain]:
    """The candidates as the JSON contract shows them."""
    return {
        "target": report.lineage.label,
        "lineage_id": report.lineage.id,
        "is_complete": not report.unread,
        "unread": plain(report.unread),
        "candidates": [_document(one) for one in report.candidates],
    }


def choice_document(choice: Choice) -> dict[str, Plain]:
    """A choice as the JSON contract shows it."""
    return {"candidate": _document(choice.candidate), "why": choice.why, "notes": plain(choice.notes)}


def _document(one: Candidate) -> dict[str, Plain]:
    document = plain(one)
    assert isinstance(document, dict)
    return document | {"is_restorable": one.is_restorable}


def _print(options: Common, report: CandidateReport, *, now: datetime) -> None:
    out, found = console(options), report.candidates
    rows = [
        (
            one.id,
            one.kind.value,
            age_text(one.as_of_at, now=now),
            "-" if one.size_bytes is None else bytes_text(one.size_bytes),
            ", ".join(one.places),
            _proof_text(one, now=now),
            _standing(one, now=now),
        )
        for one in found
    ]
    if rows:
        print_table(out, "id", "kind", "contents of", "size", "where", "proven", "standing", rows=rows)
    else:
        out.print(f"{report.lineage.label} has nothing that could be restored")
    for unread in report.unread:
        text = f"the snapshots of {unread.volume_id} could not be read, so there may be more: {unread.why}"
        out.print(Text(text, style="yellow"))
    usable = next((one for one in found if one.is_safe_choice), None)
    if usable is not None:
        command = f"flykeep restore {report.lineage.label} --{usable.kind.value} {usable.id} --plan"
        out.print(Text("next", style="bold").append(f" {command}", style="not bold"))


def _proof_text(one: Candidate, *, now: datetime) -> str:
    proof = one.proof
    if proof is None:
        return "never"
    later = "; a later drill FAILED" if proof.has_later_failure else ""
    whose = "itself" if proof.is_own else f"its kind ({one.kind.value}s)"
    return f"{whose} {span(now - proof.at)} ago, took {took(proof.took)}{later}"


def _standing(one: Candidate, *, now: datetime) -> str:
    if one.why_not is not None:
        return f"cannot be restored: {one.why_not}"
    said = [one.doubt] if one.doubt else []
    if one.is_pinned:
        said.append("pinned")
    if one.verified_level is not None:
        said.append(f"verified ({one.verified_level})")
    if one.expires_at is not None and one.expires_at > now:
        said.append(f"kept for {span(one.expires_at - now)}")
    return "; ".join((*said, *one.notes)) or "restorable"
