"""Messages as signed JSON documents to a URL of the operator."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from flykeep.adapters.notifiers.document import ALERTS, SCHEMA, as_json
from flykeep.adapters.notifiers.http_post import parse_url, post
from flykeep.adapters.notifiers.tables import NotifierTable, SecretName, secret_of, validated
from flykeep.domain.findings import Message, MessageKind
from flykeep.ports.notifier import Notifier
from flykeep.ports.plugin import NotifierDeps, NotifierPlugin

SIGNATURE_HEADER = "X-Flykeep-Signature"
ID_HEADER = "X-Flykeep-Message-Id"


class WebhookTable(NotifierTable):
    """`signing_secret` names the key of the signature; without it documents go unsigned."""

    url_secret: SecretName
    signing_secret: SecretName | None = None


class WebhookNotifier:
    """One POST per message. Trying again is the outbox's business; receivers drop an id they have seen."""

    def __init__(self, name: str, *, table: WebhookTable, deps: NotifierDeps) -> None:
        self.name = name
        self.kinds: frozenset[MessageKind] = ALERTS
        self._table = table
        self._deps = deps

    async def send(self, message: Message) -> None:
        body = as_json(message).encode()
        headers = {"Content-Type": "application/json", "X-Flykeep-Schema": SCHEMA, ID_HEADER: message.id}
        if self._table.signing_secret is not None:
            key = secret_of(self._deps, self._table.signing_secret)
            signed_at = int(self._deps.clock.now().timestamp())
            headers[SIGNATURE_HEADER] = signature(body, key=key, timestamp=signed_at)
        url = parse_url(secret_of(self._deps, self._table.url_secret), notifier=self.name)
        await post(url, content=body, headers=headers, notifier=self.name)


def signature(body: bytes, *, key: str, timestamp: int) -> str:
    """`t=<seconds>,v1=<hex>`: HMAC-SHA256 over the timestamp in decimal, a dot, and the body's bytes."""
    digest = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def _build(name: str, table: Mapping[str, object], deps: NotifierDeps) -> Notifier:
    return WebhookNotifier(name, table=validated(WebhookTable, name, table), deps=deps)


def _validate(name: str, table: Mapping[str, object]) -> None:
    validated(WebhookTable, name, table)


PLUGIN = NotifierPlugin(
    type="webhook", summary="JSON documents to a URL, signed with HMAC-SHA256.", build=_build, validate=_validate
)
