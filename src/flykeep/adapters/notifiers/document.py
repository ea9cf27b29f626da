"""A message as a JSON document. The document's schema is a published, versioned contract."""

from __future__ import annotations

import json
from datetime import datetime

from flykeep.domain.findings import Message, MessageKind

SCHEMA = "flykeep.message/1"

ALERTS = frozenset({MessageKind.OPENED, MessageKind.REMINDED, MessageKind.RESOLVED, MessageKind.TEST})
"""What people are told; finished checks are for dead-man switches only."""


def as_json(message: Message) -> str:
    """One line. Keys are never renamed within a schema version; new ones may be added."""
    document = {
        "schema": SCHEMA,
        "id": message.id,
        "kind": message.kind.value,
        "created_at": _instant(message.created_at),
        "severity": message.severity.value,
        "title": message.title,
        "body": message.body,
        "code": message.code,
        "subject": message.subject,
        "app": message.app,
        "volume_id": message.volume_id,
        "since_at": _instant(message.since_at),
        "last_good_at": _instant(message.last_good_at),
        "next_step": message.next_step,
        "incident_id": message.incident_id,
        "is_healthy": message.is_healthy,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _instant(at: datetime | None) -> str | None:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None
