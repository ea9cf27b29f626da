"""Durations as a person types them after `--for`."""

from __future__ import annotations

from datetime import timedelta

from flykeep.domain.errors import UsageError


def typed_span(text: str) -> timedelta:
    """Raises UsageError for what is no duration, or none at all."""
    from flykeep.settings.durations import parse_duration  # noqa: PLC0415 - heavy; `--help` must not wait for it

    try:
        span = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{text!r} {error}") from error
    if not span:
        raise UsageError(f"{text!r} is no time at all", hint="Write such as 8h or 2d.")
    return span
