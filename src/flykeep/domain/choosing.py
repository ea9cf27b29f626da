"""Which candidate a person means: by its id, as the newest, or by a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from flykeep.domain.candidates import Candidate, CandidateKind
from flykeep.domain.errors import NoCandidateError, NotFoundError, UsageError
from flykeep.domain.wording import instant, span

LATEST = "latest"
_AGO = re.compile(r"(?:\d+\s*(?:s|min|m|h|d|w)\s*)+(?=ago$)")
_PART = re.compile(r"(\d+)\s*(s|min|m|h|d|w)")
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_FORMS = "Write an id, `latest`, a time such as 2026-03-01T04:00 (a zone may follow: Z, +01:00), or `2h ago`."


@dataclass(frozen=True, slots=True)
class Choice:
    """`why` says how it was found; `notes` what a person should know before it is used."""

    candidate: Candidate
    why: str
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.candidate.id


def choose(
    candidates: Sequence[Candidate],
    text: str,
    *,
    now: datetime,
    timezone: str = "UTC",
    kind: CandidateKind | None = None,
    unread: Sequence[str] = (),
) -> Choice:
    """The one candidate that `text` means, of one `kind` where it is given.

    An id means itself, whatever is doubted of it. `latest` and a time mean the newest contents that nothing is known
    against, at or before that time: proven or not, for what was lost since an older proven one is lost for certain.
    `timezone` is for a time without a zone. `unread` names the volumes whose snapshots could not be listed.
    Raises UsageError for a text that is neither, NotFoundError for an unknown id, NoCandidateError where the id cannot
    be restored or nothing is old enough; each names what is nearest.
    """
    wanted = [one for one in candidates if kind in {None, one.kind}]
    text = text.strip()
    known = next((one for one in wanted if one.id == text), None)
    if known is not None:
        return _named(known, wanted)
    if text == LATEST:
        return _newest(wanted, at=None, text=text, now=now, unread=unread)
    other = next((one for one in candidates if one.id == text), None)
    if other is not None:
        raise UsageError(f"{text} is of another kind: {other.kind.value}", hint=f"Write --{other.kind.value} {text}.")
    at = read_time(text, now=now, timezone=timezone)
    if at is None:
        raise _unknown(text, wanted)
    return _newest(wanted, at=at, text=text, now=now, unread=unread)


def read_time(text: str, *, now: datetime, timezone: str = "UTC") -> datetime | None:
    """The instant a person wrote; None where it is no time at all.

    An hour that the clock shows twice means the earlier one, so that nothing younger is brought back. Raises
    UsageError for a time that does not exist, lies ahead, or is a day only.
    """
    at = _ago(text, now) if _AGO.match(text) else _written(text, timezone)
    if at is not None and at > now:
        raise UsageError(f"{instant(at)} lies ahead", hint="Write `latest` for the newest one.")
    return at


def _ago(text: str, now: datetime) -> datetime:
    try:
        return now - sum((int(number) * _UNITS[unit] for number, unit in _PART.findall(text)), timedelta())
    except OverflowError:
        raise UsageError(f"{text!r} is too long ago", hint=_FORMS) from None


def _written(text: str, timezone: str) -> datetime | None:
    if _DATE.fullmatch(text):
        raise UsageError(
            f"{text!r} is a whole day, and its first and last backup differ", hint=f"Add the hour: {text}T23:59."
        )
    if not _TIME.match(text):
        return None
    try:
        at = datetime.fromisoformat(text)
        local = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(timezone))
        found = local.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is not a time: {error}", hint=_FORMS) from error
    if at.tzinfo is None and found.astimezone(local.tzinfo).replace(tzinfo=None) != at:
        raise UsageError(
            f"the clock in {timezone} never showed {text}: it was put forward", hint="Write it with its zone."
        )
    return found


def _named(known: Candidate, wanted: Sequence[Candidate]) -> Choice:
    if known.why_not is not None:
        raise NoCandidateError(
            f"{known.kind.value} {known.id} cannot be restored: {known.why_not}", hint=_nearest(wanted, known.as_of_at)
        )
    doubts = (known.doubt,) if known.doubt else ()
    return Choice(known, "named by its id", (*doubts, *_unlisted(known)))


def _newest(
    wanted: Sequence[Candidate], *, at: datetime | None, text: str, now: datetime, unread: Sequence[str]
) -> Choice:
    in_time = [one for one in wanted if at is None or one.until_at <= at]
    safe = [one for one in in_time if one.is_safe_choice]
    if not safe:
        raise _none(wanted, in_time, at=at, now=now, unread=unread)
    best = max(safe, key=_rank)
    why = "the newest" if at is None else f"the newest at or before {instant(at)} ({text})"
    return Choice(best, why, (*_passed_over(in_time, best), *_unlisted(best), *_unread(unread)))


def _rank(one: Candidate) -> tuple[datetime, bool, bool, str]:
    """Newest contents first; of the same contents what Fly lists now, then a snapshot, which restores fastest."""
    return one.as_of_at, one.is_listed, one.kind is CandidateKind.SNAPSHOT, one.id


def _passed_over(in_time: Sequence[Candidate], best: Candidate) -> tuple[str, ...]:
    newer = [one for one in in_time if one.as_of_at > best.as_of_at]
    notes = [
        f"{one.kind.value} {one.id} of {instant(one.as_of_at)} is newer and was passed over: {one.doubt or one.why_not}"
        for one in sorted(newer, key=_rank, reverse=True)[:3]
    ]
    if len(newer) > len(notes):
        notes.append(f"{len(newer) - len(notes)} more newer ones were passed over")
    proven = [one for one in in_time if one.is_safe_choice and one.proof and one.proof.is_own]
    if proven and not (best.proof and best.proof.is_own):
        one = max(proven, key=_rank)
        notes.append(f"the newest that a drill restored itself is {one.kind.value} {one.id} of {instant(one.as_of_at)}")
    return tuple(notes)


def _unlisted(one: Candidate) -> tuple[str, ...]:
    if one.is_listed:
        return ()
    return (f"{one.id} is known from the catalog only; whether Fly still has it shows when its volume is made",)


def _unread(unread: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"the snapshots of {volume} could not be read: there may be a better one" for volume in unread)


def _none(
    wanted: Sequence[Candidate],
    in_time: Sequence[Candidate],
    *,
    at: datetime | None,
    now: datetime,
    unread: Sequence[str],
) -> NoCandidateError:
    when = f" as of {instant(at)}" if at else ""
    message = f"nothing restorable is known{when}"
    doubted = [one for one in in_time if one.is_restorable]
    if doubted:
        one = max(doubted, key=_rank)
        message += f"; {one.kind.value} {one.id} of {instant(one.as_of_at)} is doubted: {one.doubt}"
        hint = f"Name it to use it all the same: {one.id}."
    else:
        hint = _nearest(wanted, at or now)
    message += "".join(f"; {note}" for note in _unread(unread))
    return NoCandidateError(message, hint=hint)


def _unknown(text: str, wanted: Sequence[Candidate]) -> NotFoundError | UsageError:
    looks_like_id = text.startswith("vs_") or any(len(text) == len(one.id) for one in wanted)
    near = get_close_matches(text, [one.id for one in wanted], n=3, cutoff=0.6)
    if near or looks_like_id:
        hint = f"Did you mean {' or '.join(near)}?" if near else "`flykeep restore TARGET` lists what there is."
        return NotFoundError(f"{text!r} is no candidate of this target", hint=hint)
    return UsageError(f"{text!r} is neither an id nor a time", hint=_FORMS)


def _nearest(wanted: Sequence[Candidate], at: datetime) -> str:
    """The restorable ones on both sides of an instant."""
    usable = [one for one in wanted if one.is_safe_choice]
    before = max((one for one in usable if one.until_at <= at), key=_rank, default=None)
    after = min((one for one in usable if one.until_at > at), key=_rank, default=None)
    names = [
        f"{one.id} ({one.kind.value} of {instant(one.as_of_at)}, {span(abs(one.as_of_at - at))} {side})"
        for one, side in ((before, "before"), (after, "after"))
        if one is not None
    ]
    return f"Nearest: {'; '.join(names)}." if names else "Nothing else can be restored: see `flykeep status`."
