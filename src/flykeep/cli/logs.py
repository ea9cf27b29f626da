"""Structured logs on standard error: JSON lines, or text for people on a terminal."""

from __future__ import annotations

import logging
import sys

import structlog

from flykeep.domain.defects import places_of


def configure_logs(*, is_verbose: bool, is_daemon: bool = False) -> None:
    """Verbs log warnings only, unless asked for more; the daemon logs what it does.

    Fly keeps each line of output as one log event, so that off a terminal an event is one JSON object.
    """
    level = logging.DEBUG if is_verbose else logging.INFO if is_daemon else logging.WARNING
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _without_none,
            _without_words,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _without_words(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Exceptions as kind and places: their own words, and the values a terminal would show, may hold a secret."""
    info = event.pop("exc_info", None)
    error = sys.exception() if info is True else info
    return {**event, "places": places_of(error)} if isinstance(error, BaseException) else event


def _without_none(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: value for key, value in event.items() if value is not None}
