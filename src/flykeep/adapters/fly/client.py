"""The Fly client: the port `flykeep.ports.fly.Fly` over HTTP."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import httpx
from pydantic import SecretStr

from flykeep.adapters.fly import facts
from flykeep.adapters.fly.errors import Answer, Call, unexpected
from flykeep.adapters.fly.graphql import FlyGraphql
from flykeep.adapters.fly.http import FlyHttp, Repeat, WireTimeouts
from flykeep.adapters.fly.pacing import GET_MACHINE
from flykeep.adapters.fly.rest import MachinesApi
from flykeep.adapters.fly.retrying import Retrying
from flykeep.adapters.fly.tokens import parse_tokens
from flykeep.adapters.fly.wire import (
    MACHINES,
    METADATA,
    SNAPSHOTS,
    WireApps,
    WireExec,
    WireMachine,
    WireSnapshotRequest,
    WireTokens,
    WireVolume,
    WireWait,
    parse,
)
from flykeep.domain.errors import (
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyNotFoundError,
    FlyPreconditionError,
    FlyUnexpectedAnswerError,
)
from flykeep.domain.fly import (
    App,
    CommandResult,
    Inventory,
    Machine,
    SnapshotRequest,
    TokenInfo,
    Volume,
    VolumeSnapshot,
)
from flykeep.domain.ids import AppName, MachineId, SnapshotId, VolumeId
from flykeep.ports.clock import Clock, IdSource

MACHINES_API = "https://api.machines.dev"
PLATFORM_API = "https://api.fly.io"
_LONGEST_EXEC = timedelta(seconds=60)
_LONGEST_WAIT = timedelta(seconds=60)
# Source: third parties' measurements: 15.8 KB of arguments ran, 23.7 KB did not.
_MOST_ARGUMENT_BYTES = 15_000
_MOST_INPUT_BYTES = 60_000  # above about 64 kB third parties saw it fail
_PAYLOAD_REFUSED = "Unhandled rejection: Rejection([PayloadTooLarge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Something a token may or may not do; `action` is letters of `rwcdC`: read, write, create, delete, control."""

    action: str
    org_slug: str
    app: AppName | None = None
    machine_id: MachineId | None = None
    volume_id: VolumeId | None = None
    mutation: str | None = None

    def body(self) -> dict[str, object]:
        named = {
            "action": self.action,
            "org_slug": self.org_slug,
            "app_name": self.app,
            "machine_id": self.machine_id,
            "volume_id": self.volume_id,
            "mutation": self.mutation,
        }
        return {name: value for name, value in named.items() if value is not None}


class FlyClient:
    """Reads and asks Fly at the pace Fly allows; every failure is a FlyError that names Fly's request id.

    Base URLs stand without `/v1`; `http://_api.internal:4280` serves inside Fly's private network. The token appears
    in no repr, error or log.
    """

    def __init__(
        self,
        *,
        token: SecretStr,
        org: str,
        flaps_base_url: str = MACHINES_API,
        api_base_url: str = PLATFORM_API,
        clock: Clock,
        ids: IdSource,
        transport: httpx.AsyncBaseTransport | None = None,
        timeouts: WireTimeouts | None = None,
    ) -> None:
        self._tokens = parse_tokens(token.get_secret_value())
        self._org = org
        self._clock = clock
        self._http = FlyHttp(
            tokens=self._tokens,
            clock=clock,
            retrying=Retrying(clock=clock, ids=ids),
            timeouts=timeouts or WireTimeouts(),
            transport=transport,
        )
        self._api = MachinesApi(http=self._http, tokens=self._tokens, base_url=flaps_base_url)
        self._graphql = FlyGraphql(http=self._http, tokens=self._tokens, url=api_base_url.rstrip("/") + "/graphql")

    def __repr__(self) -> str:
        return f"FlyClient(org={self._org!r})"

    @property
    def api(self) -> MachinesApi:
        """For the other clients of the same Fly: they share the token, the pace and the connections."""
        return self._api

    async def aclose(self) -> None:
        await self._http.aclose()

    # -- what there is

    async def inventory(self) -> Inventory:
        """Machines, then volumes, as of the moment the first was asked for."""
        read_at = self._clock.now()
        machines, silent_for_machines = await self._api.machine_rows(self._org)
        volumes, silent_for_volumes = await self._api.volume_rows(self._org)
        return Inventory(
            read_at=read_at,
            # This listing's configuration is an extract, whatever it holds.
            machines=tuple(
                replace(facts.machine_of(row, app=AppName(row.app_name)), config_json=None) for row in machines
            ),
            volumes=tuple(facts.volume_of(row, app=AppName(row.app_name)) for row in volumes),
            incomplete_regions=tuple(sorted(silent_for_machines | silent_for_volumes)),
        )

    async def apps(self) -> tuple[App, ...]:
        request = self._api.get(
            "apps", action="app.list", identifier=self._org, query={"org_slug": self._org}, facts={"org": self._org}
        )
        listed = await self._api.read(request, WireApps)
        return tuple(facts.app_of(row) for row in listed.apps)

    async def machine(self, app: AppName, machine_id: MachineId) -> Machine:
        request = self._api.get(
            *_machine_path(app, machine_id),
            action=GET_MACHINE,
            identifier=machine_id,
            facts={"app": app, "machine": machine_id},
        )
        return facts.machine_of(await self._api.read(request, WireMachine), app=app)

    async def machines(self, app: AppName) -> tuple[Machine, ...]:
        request = self._api.get("apps", app, "machines", action="machine.list", identifier=app, facts={"app": app})
        return tuple(facts.machine_of(row, app=app) for row in await self._api.read(request, MACHINES))

    async def volume(self, app: AppName, volume_id: VolumeId) -> Volume:
        request = self._api.get(
            *_volume_path(app, volume_id),
            action="volume.get",
            identifier=app,
            facts={"app": app, "volume": volume_id},
        )
        return facts.volume_of(await self._api.read(request, WireVolume), app=app)

    # -- snapshots

    async def snapshots(self, app: AppName, volume_id: VolumeId) -> tuple[VolumeSnapshot, ...]:
        request = self._api.get(
            *_volume_path(app, volume_id),
            "snapshots",
            action="snapshot.list",
            identifier=app,
            facts={"app": app, "volume": volume_id},
        )
        rows = await self._api.read(request, SNAPSHOTS)
        return facts.newest_first([facts.snapshot_of(row) for row in rows])

    async def request_snapshot(self, app: AppName, volume_id: VolumeId) -> SnapshotRequest:
        """Sent once, unless Fly's rate limit refused it. An answer that can't be read names no snapshot: look."""
        request = self._api.post(
            *_volume_path(app, volume_id),
            "snapshots",
            action="snapshot.create",
            identifier=app,
            repeat=Repeat.NEVER,
            facts={"app": app, "volume": volume_id},
        )
        return await self._api.send(request, lambda answer: _snapshot_request(answer, call=request.call))

    # -- commands, waiting, metadata

    async def execute(
        self, app: AppName, machine_id: MachineId, command: tuple[str, ...], *, within: timedelta, stdin: str = ""
    ) -> CommandResult:
        """As the port says; sent once, unless Fly's rate limit refused it. `stdin` enters no error and no log.

        Raises FlyInvalidRequestError, without asking Fly, for a command Fly would not take: over 60 s, over 15 kB of
        arguments or 60 kB of input, or empty.
        """
        named: dict[str, str | int | None] = {"app": app, "machine": machine_id}
        _require_acceptable(command, stdin=stdin, within=within, named=named)
        body: dict[str, object] = {"command": list(command), "timeout": max(1, math.ceil(within.total_seconds()))}
        request = self._api.post(
            *_machine_path(app, machine_id),
            "exec",
            action="machine.exec",
            identifier=machine_id,
            repeat=Repeat.NEVER,
            body=body | ({"stdin": stdin} if stdin else {}),
            facts=named,
        )
        request = replace(request, is_long=True)
        return await self._api.send(request, lambda answer: _command_result(answer, call=request.call))

    async def wait_machine(self, app: AppName, machine_id: MachineId, state: str, within: timedelta) -> None:
        """Return once the machine is in `state`: started, stopped, suspended, destroyed, failed or settled.

        Raises FlyPreconditionError when it is not there `within` that time, FlyNotFoundError when there is no such
        machine, which is success where `destroyed` was waited for.
        """
        ends_s = self._clock.monotonic() + within.total_seconds()
        while (left_s := ends_s - self._clock.monotonic()) > 0:
            left = min(timedelta(seconds=left_s), _LONGEST_WAIT)
            if await self._is_reached(app, machine_id, state=state, within=left):
                return
        raise FlyPreconditionError(
            f"The machine did not become {state} within {within.total_seconds():.0f} s",
            facts={"app": app, "machine": machine_id},
        )

    async def _is_reached(self, app: AppName, machine_id: MachineId, *, state: str, within: timedelta) -> bool:
        request = self._api.get(
            *_machine_path(app, machine_id),
            "wait",
            action="machine.wait",
            identifier=machine_id,
            query={"state": state, "timeout": max(1, math.ceil(within.total_seconds()))},
            facts={"app": app, "machine": machine_id},
        )
        # 408 is this call's way to say "not yet": asking again is the caller's loop, not a retry.
        request = replace(request, is_long=True, answering_statuses=frozenset({408}))
        try:
            return await self._api.send(request, lambda answer: _has_waited(answer, call=request.call))
        except FlyNotFoundError:
            if state == "destroyed":
                return True
            raise

    async def machine_metadata(self, app: AppName, machine_id: MachineId) -> Mapping[str, str]:
        request = self._api.get(
            *_machine_path(app, machine_id),
            "metadata",
            action="metadata.list",
            identifier=machine_id,
            facts={"app": app, "machine": machine_id},
        )
        return await self._api.read(request, METADATA)

    async def set_machine_metadata(self, app: AppName, machine_id: MachineId, *, key: str, value: str) -> None:
        """Set one key; the machine is neither restarted nor given a new version."""
        request = self._api.post(
            *_machine_path(app, machine_id),
            "metadata",
            key,
            action="metadata.set",
            identifier=machine_id,
            repeat=Repeat.HARMLESS,
            body={"value": value},
            facts={"app": app, "machine": machine_id},
        )
        await self._api.send(request, lambda _answer: None)

    # -- tokens and certificates

    async def token_info(self) -> tuple[TokenInfo, ...]:
        request = self._api.get("tokens", "current", action="token.current", identifier=self._org)
        answer = await self._api.read(request, WireTokens)
        return tuple(facts.token_of(row) for row in answer.tokens)

    async def may(self, access: Access) -> bool:
        """Whether the token permits something, asked of Fly without doing it.

        Raises FlyUnauthorizedError for a token that Fly does not accept at all.
        """
        request = self._api.post(
            "tokens",
            "authorize",
            action="token.authorize",
            identifier=self._org,
            repeat=Repeat.HARMLESS,
            body={"header": self._tokens.machines_authorization(), "access": access.body()},
            facts={"app": access.app},
        )
        try:
            await self._api.send(request, lambda _answer: None)
        except FlyForbiddenError:
            return False
        return True

    async def issue_certificate(self, app: AppName, public_key: str) -> str:
        return await self._graphql.issue_certificate(app, public_key)


def _machine_path(app: AppName, machine_id: MachineId) -> tuple[str, ...]:
    return "apps", app, "machines", machine_id


def _volume_path(app: AppName, volume_id: VolumeId) -> tuple[str, ...]:
    return "apps", app, "volumes", volume_id


def _snapshot_request(answer: Answer, *, call: Call) -> SnapshotRequest:
    """Fly has accepted: an unreadable body must not look like a failure, for the snapshot is being made."""
    try:
        backup = parse(WireSnapshotRequest, answer=answer, call=call).Msg.backup
    except FlyUnexpectedAnswerError:
        return SnapshotRequest(graph_id=None, state="unknown")
    # `id` is an internal number; only `graph_id` is the name the list uses.
    return SnapshotRequest(graph_id=SnapshotId(backup.graph_id) if backup.graph_id else None, state=backup.state)


def _require_acceptable(
    command: tuple[str, ...], *, stdin: str, within: timedelta, named: Mapping[str, str | int | None]
) -> None:
    argument_bytes = sum(len(word.encode("utf-8", errors="surrogateescape")) + 1 for word in command)
    reason = None
    if not command:
        reason = "there is no command"
    elif within > _LONGEST_EXEC:
        reason = "Fly lets a command run for 60 s at most"
    elif argument_bytes > _MOST_ARGUMENT_BYTES:
        reason = f"its arguments take {argument_bytes} bytes and Fly takes {_MOST_ARGUMENT_BYTES}"
    elif len(stdin.encode()) > _MOST_INPUT_BYTES:
        reason = f"its input takes more than the {_MOST_INPUT_BYTES} bytes Fly takes"
    if reason:
        raise FlyInvalidRequestError(
            f"The command cannot be run: {reason}", hint="Shorten the command or its timeout.", facts=named
        )


def _command_result(answer: Answer, *, call: Call) -> CommandResult:
    """The result; a refusal that Fly dresses as a success, as text or as output, is an error."""
    if answer.body.lstrip().startswith(_PAYLOAD_REFUSED.encode()):
        raise _payload_refused(answer, call=call)
    result = parse(WireExec, answer=answer, call=call)
    if result.stdout.startswith(_PAYLOAD_REFUSED) or result.stderr.startswith(_PAYLOAD_REFUSED):
        raise _payload_refused(answer, call=call)
    if result.error is not None:
        raise unexpected("is an error with a successful status", answer=answer, call=call)
    return facts.command_result_of(result)


def _payload_refused(answer: Answer, *, call: Call) -> FlyInvalidRequestError:
    return FlyInvalidRequestError(
        "Fly did not run the command: it is too large",
        status=answer.status,
        request_id=answer.request_id,
        hint="Shorten the command.",
        facts=call.facts,
    )


def _has_waited(answer: Answer, *, call: Call) -> bool:
    if answer.status == 408:
        return False
    parse(WireWait, answer=answer, call=call)
    return True
