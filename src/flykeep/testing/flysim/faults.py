"""Scripted faults: which request goes wrong, how, and how often."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from enum import StrEnum


class FaultKind(StrEnum):
    """What can be made to go wrong."""

    RATE_LIMITED = "rate_limited"  # 429, with Retry-After where retry_after_s is set
    ERROR_BEFORE = "error_before"  # a status before the effect
    ERROR_AFTER = "error_after"  # the effect happens, the answer is a status
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    HTML_502 = "html_502"
    SLOW_BODY = "slow_body"  # half of the body, then `duration_s` of the clock, then the rest
    HANG = "hang"  # no answer for `duration_s` of the clock
    GRAPHQL_ERROR = "graphql_error"  # HTTP 200 with `errors`
    HOST_UNREACHABLE = "host_unreachable"
    CAPACITY = "capacity"
    SNAPSHOT_STUCK = "snapshot_stuck"
    SNAPSHOT_STATUS = "snapshot_status"  # the new snapshot ends in `text`
    SNAPSHOT_CONFLICT = "snapshot_conflict"
    NO_GRAPH_ID = "no_graph_id"
    MIGRATION = "migration"  # the app's volumes move to other hosts before the request is answered
    LEASE_HELD = "lease_held"
    EXEC_TOO_LARGE = "exec_too_large"  # HTTP 200 whose body is not JSON
    EXEC_DEADLINE = "exec_deadline"  # 408; the command runs on
    MACHINE_LOST = "machine_lost"  # the machine's program is killed before the request is answered
    CHECKS_FAIL = "checks_fail"  # from this request on, the machine's health checks fail
    ERROR_REGIONS = "error_regions"
    SSH_REFUSE = "ssh_refuse"  # action ssh.connect: the connection is closed at once
    SSH_CUT = "ssh_cut"  # action ssh.exec: the connection is lost after `after_bytes` of output
    SSH_NEW_HOST_KEY = "ssh_new_host_key"  # action ssh.connect: the next connections see another host key


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One scripted fault: skips `after` matching requests, then strikes `times` times (0: for ever).

    `action`, `app` and `method` are globs; actions are named like `snapshot.create`, `machine.exec`, `org.volumes`,
    `graphql.issueCertificate`, `ssh.connect`, `ssh.exec`.
    """

    kind: FaultKind
    action: str = "*"
    app: str = "*"
    method: str = "*"
    after: int = 0
    times: int = 1
    status: int = 503
    retry_after_s: int | None = None
    duration_s: float = 30.0
    after_bytes: int = 65536
    text: str = ""
    regions: tuple[str, ...] = ("ams",)

    def matches(self, *, action: str, app: str | None, method: str) -> bool:
        """Whether a request is one this fault is about."""
        return (
            fnmatch.fnmatchcase(action, self.action)
            and fnmatch.fnmatchcase(app or "", self.app)
            and fnmatch.fnmatchcase(method, self.method)
        )


@dataclass(slots=True)
class _Armed:
    fault: Fault
    seen: int = 0
    struck: int = 0


@dataclass(slots=True)
class FaultScript:
    """The faults of a simulator, in the order they were added; the first that is due strikes."""

    _armed: list[_Armed] = field(default_factory=list)

    def add(self, *faults: Fault) -> None:
        """Arm faults."""
        self._armed.extend(_Armed(fault) for fault in faults)

    def clear(self) -> None:
        """Disarm all faults; what they already did stays done."""
        self._armed.clear()

    def struck(self, kind: FaultKind) -> int:
        """How often faults of a kind have struck."""
        return sum(armed.struck for armed in self._armed if armed.fault.kind is kind)

    def take(self, *, action: str, app: str | None, method: str = "") -> Fault | None:
        """The fault that strikes this request, counted as used."""
        for armed in self._armed:
            if not armed.fault.matches(action=action, app=app, method=method):
                continue
            armed.seen += 1
            is_due = armed.seen > armed.fault.after
            if is_due and (armed.fault.times == 0 or armed.struck < armed.fault.times):
                armed.struck += 1
                return armed.fault
        return None
