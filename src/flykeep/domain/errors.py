"""The one error tree.

Every class carries a stable dotted `code`, whether trying again may help (`is_retryable`), the exit code of the
command line, and a `hint`: the next step for a person. Instances carry facts about this occurrence. Adapters
translate foreign errors into these once; nothing else crosses a port.

    FlykeepError
    ├── UsageError              usage.*      exit 2
    │   └── ConfigError         config.*
    ├── RefusalError            refused.*    exit 4
    ├── FlyError                fly.*        exit 5
    ├── SshError                ssh.*        exit 5
    ├── StoreError              store.*      exit 6
    ├── IntegrityError          integrity.*  exit 7
    ├── InterruptedRunError     run.*        exit 8
    ├── WorkerError             worker.*     exit 1
    ├── UnpackError             unpack.*     exit 1
    ├── StateError              state.*      exit 1
    ├── NotifyError             notify.*     exit 1
    └── InternalError           internal.*   exit 1
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar


class FlykeepError(Exception):
    """Something went wrong that a person must be able to act on."""

    code: ClassVar[str] = "internal.error"
    exit_code: ClassVar[int] = 1
    is_retryable: ClassVar[bool] = False
    hint: ClassVar[str] = "Run the command again with -v and report what it prints."

    def __init__(
        self, message: str, *, hint: str | None = None, facts: Mapping[str, str | int | None] | None = None
    ) -> None:
        """Say what happened; `facts` names the app, volume, run or Fly request id it happened to."""
        super().__init__(message)
        self.message = message
        self.next_step = hint or self.hint
        self.facts: Mapping[str, str] = MappingProxyType(
            {name: str(value) for name, value in (facts or {}).items() if value is not None}
        )

    def __str__(self) -> str:
        facts = " ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.message} ({facts})" if facts else self.message

    def with_facts(self, **facts: str | int | None) -> FlykeepError:
        """The same error, knowing more; facts already present win."""
        merged = {name: str(value) for name, value in facts.items() if value is not None} | dict(self.facts)
        self.facts = MappingProxyType(merged)
        return self


class UsageError(FlykeepError):
    code = "usage.invalid"
    exit_code = 2
    hint = "See `flykeep --help` or `flykeep COMMAND --help`."


class ConfigError(UsageError):
    code = "config.invalid"
    hint = "Run `flykeep config check` and correct the named key."


class TargetNotFoundError(UsageError):
    code = "usage.unknown_target"
    hint = "Run `flykeep status` to see the targets flykeep knows."


class AmbiguousTargetError(UsageError):
    code = "usage.ambiguous_target"
    hint = "Name the machine too: app/volume@machine."


class NotFoundError(UsageError):
    code = "usage.not_found"
    hint = "Run `flykeep runs` or `flykeep artifacts` to see what exists."


class RefusalError(FlykeepError):
    """A guard said no; nothing was changed."""

    code = "refused.guard"
    exit_code = 4
    hint = "Nothing was changed. Read the reason, then decide."


class BusyError(RefusalError):
    code = "refused.busy"
    hint = "Another run holds this target. Follow it with `flykeep runs`, then try again."


class NoCandidateError(RefusalError):
    """Nothing that could be restored is what was asked for."""

    code = "refused.no_candidate"
    hint = "`flykeep restore TARGET` lists what there is, and why some of it cannot be restored."


class FlyError(FlykeepError):
    """Fly answered, or failed to answer, in a way that stops the work."""

    code = "fly.error"
    exit_code = 5
    hint = "Look at https://status.flyio.net and try again; quote the request id to Fly's support."

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        hint: str | None = None,
        facts: Mapping[str, str | int | None] | None = None,
    ) -> None:
        super().__init__(message, hint=hint, facts={**(facts or {}), "status": status, "request_id": request_id})
        self.status = status
        self.request_id = request_id


class FlyUnauthorizedError(FlyError):
    code = "fly.unauthorized"
    hint = "The token is missing, expired or wrong: make one with `fly tokens create org` and set FLY_API_TOKEN."


class FlyForbiddenError(FlyError):
    code = "fly.forbidden"
    hint = "The token may not do this: check its scope, and that the app belongs to the configured organization."


class FlyNotFoundError(FlyError):
    code = "fly.not_found"
    hint = "Check the name; a volume id changes when Fly moves its machine to another host."


class FlyInvalidRequestError(FlyError):
    code = "fly.invalid_request"
    hint = "flykeep sent what Fly does not accept: report it with the request id."


class FlyConflictError(FlyError):
    """409: a lease is held, another snapshot runs, a version moved on, or capacity is short."""

    code = "fly.conflict"
    hint = "Something else works on this machine or volume, often a deploy: try again in a few minutes."


class FlyPreconditionError(FlyError):
    """412: the machine or volume is in the wrong state for this call."""

    code = "fly.precondition"
    hint = "Check the machine's state with `fly machine status`."


class FlyCapacityError(FlyError):
    """409 or 412 for want of room: this region or host cannot hold a volume or machine of this size now."""

    code = "fly.capacity"
    hint = "Name more regions in [scratch] regions, or try again later."


class FlyNameTakenError(FlyError):
    """An app or machine of that name exists already."""

    code = "fly.name_taken"
    hint = "Names of apps are unique at Fly, and those of machines within their app: choose another one."


class FlyRateLimitedError(FlyError):
    code = "fly.rate_limited"
    is_retryable = True
    hint = "Fly limits requests per action and app: flykeep waits and tries again; fewer parallel tools help."

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        status: int | None = 429,
        request_id: str | None = None,
        facts: Mapping[str, str | int | None] | None = None,
    ) -> None:
        super().__init__(message, status=status, request_id=request_id, facts=facts)
        self.retry_after = retry_after


class FlyUnavailableError(FlyError):
    """5xx, 408 or a broken connection: the answer is unknown, and for a write so is the effect."""

    code = "fly.unavailable"
    is_retryable = True


class FlyUnexpectedAnswerError(FlyError):
    """The answer does not have the shape Fly documents, so nothing may be concluded from it."""

    code = "fly.unexpected_answer"
    hint = "Update flykeep; if that does not help, report it with the request id."


class CommandFailedError(FlyError):
    """A command run inside a machine ended with a failure."""

    code = "fly.command_failed"
    hint = "Run the command by hand with `fly ssh console` and read its output."


class SnapshotFailedError(FlyError):
    code = "fly.snapshot_failed"
    hint = "Take one by hand with `fly volumes snapshots create`; if that fails too, write to Fly's support."


class SnapshotTimeoutError(FlyError):
    code = "fly.snapshot_timeout"
    hint = "The snapshot may still finish: `flykeep check` will see it."


class SshError(FlykeepError):
    code = "ssh.failed"
    exit_code = 5
    is_retryable = True
    hint = "The machine must be started, and flykeep must run in the organization's private network."


class StoreError(FlykeepError):
    code = "store.failed"
    exit_code = 6
    hint = "Check the store's credentials, endpoint and free space with `flykeep doctor`."


class StoreUnavailableError(StoreError):
    code = "store.unavailable"
    is_retryable = True


class StorePreconditionError(StoreError):
    """A create-only write met an object that exists already."""

    code = "store.exists"
    hint = "Nothing was overwritten. Another flykeep may use the same prefix."


class StoreNotFoundError(StoreError):
    code = "store.not_found"
    hint = "The object is not in the store: look whether a lifecycle rule or another tool removed it."


class StoreToolMissingError(StoreError):
    """What this needs is not installed here; nothing was asked of the store."""

    code = "store.tool_missing"
    hint = "Install flykeep with its extra `s3-sweep`; until then let a rule of the bucket abort unfinished uploads."


class IntegrityError(FlykeepError):
    """What was read is not what was written."""

    code = "integrity.failed"
    exit_code = 7
    hint = "Do not rely on this artifact. Export again, then find out what changed it."


class TruncatedStreamError(IntegrityError):
    """The tar stream ended without its proper end; nothing was committed."""

    code = "integrity.truncated"
    is_retryable = True
    hint = "Nothing was stored. The export is tried again at the next slot, or now with `flykeep export`."


class UnsafeArchiveError(IntegrityError):
    """An archive holds an entry that must not be written, or more than it may hold."""

    code = "integrity.unsafe"
    hint = "Nothing outside the target was written. Find out who made this archive before you use any of it."


class SignatureError(IntegrityError):
    code = "integrity.signature"
    hint = "The manifest was not signed by a key this flykeep trusts: somebody else may have written it."


class DrillFailedError(IntegrityError):
    """A restore was rehearsed, and what came out is not what it must be."""

    code = "integrity.drill"
    hint = "Do not rely on this backup. See the proof with `flykeep runs RUN`, then find out what is wrong with it."


class InterruptedRunError(FlykeepError):
    code = "run.interrupted"
    exit_code = 8
    hint = "The process running it ended. Start it again; `flykeep reconcile` shows what it left."


class RunFailedError(FlykeepError):
    """A run executed by another process failed; carries that failure's code and exit code."""

    code = "run.failed"
    hint = "See its steps with `flykeep runs RUN`."


class WorkerError(FlykeepError):
    """The worker process died or spoke nonsense."""

    code = "worker.failed"
    is_retryable = True
    hint = "See the daemon's log for the worker's last words; a worker killed by the kernel needs more memory."


class UnpackError(FlykeepError):
    """A file could not be written where it was asked for."""

    code = "unpack.failed"
    hint = "Check the directory's permissions and the free space of its disk."


class StateError(FlykeepError):
    code = "state.failed"
    hint = "Check that the state database can be reached and its disk is not full."


class NotifyError(FlykeepError):
    """A notifier could not deliver; `is_permanent` says that trying again will not help."""

    code = "notify.failed"
    hint = "Test it with `flykeep notify test NAME`."

    def __init__(
        self, message: str, *, is_permanent: bool = False, facts: Mapping[str, str | int | None] | None = None
    ) -> None:
        super().__init__(message, facts=facts)
        self.is_permanent = is_permanent


class PluginError(ConfigError):
    code = "config.plugin"
    hint = "See `flykeep config show`; a notifier of this type may need a package installed."


class InternalError(FlykeepError):
    """A defect in flykeep itself."""

    code = "internal.bug"
    hint = "This is a defect in flykeep: report it with the log around it."
