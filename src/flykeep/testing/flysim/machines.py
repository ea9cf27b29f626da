"""What Fly does with machines: life cycle, waiting, leases, metadata, exec."""

from __future__ import annotations

import asyncio
import copy
from datetime import timedelta

from flykeep.testing.flysim import durations
from flykeep.testing.flysim.commands import CommandRunner, kill
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.model import JsonObject, Lease, Machine, Refusal, Volume
from flykeep.testing.flysim.volumes import look as look_at_volume
from flykeep.testing.flysim.world import World

_WAITABLE = frozenset({"started", "stopped", "suspended", "destroyed", "failed", "settled"})
_EXEC_ARGUMENT_LIMIT_BYTES = 16_000
_EXEC_STDIN_LIMIT_BYTES = 65_536
_TOO_LARGE = 'Unhandled rejection: Rejection([PayloadTooLarge, MethodNotAllowed, MissingHeader("content-type")])'
_UNMOUNTABLE = frozenset({"creating", "restoring"})
_POLL = timedelta(milliseconds=250)
_NO_SUCH_COMMAND = 127


class Machines:
    """Acts on machines of a world; the commands they run are real."""

    def __init__(self, world: World, runner: CommandRunner) -> None:
        self._world = world
        self._runner = runner
        self._start_polls: dict[str, int] = {}
        self._mains: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End the main processes of machines."""
        for task in self._mains:
            task.cancel()
        if self._mains:
            await asyncio.wait(set(self._mains), timeout=5)

    # -- life cycle

    def create(self, app: str, body: JsonObject, fault: Fault | None) -> Machine:
        """A new machine in state `created`; it starts by itself unless `skip_launch`."""
        if fault is not None and fault.kind is FaultKind.CAPACITY:
            raise _no_room(body, fault)
        world = self._world
        name = body.get("name") or f"sim-machine-{world.new_id('', 6)}"
        if world.scenario.unique_machine_names and any(
            m.name == name and m.state != "destroyed" for m in world.machines_of(app)
        ):
            raise Refusal(409, f"already_exists: unique machine name violation, machine ID with name {name!r} exists")
        machine_id = world.new_id("", 14)
        config = _new_config(body)
        volume = self._claim(app, config, machine_id)
        machine = Machine(
            id=machine_id,
            app=app,
            name=name,
            region=volume.region if volume else body.get("region", world.scenario.region),
            config=config,
            private_ip=world.new_address(),
            created_at=world.now(),
            updated_at=world.now(),
            version=world.new_id("01", 26).upper(),
            hidden_gets=world.scenario.new_machine_hidden_gets,
        )
        machine.is_without_secrets = _is_without_secrets(body)
        machine.is_cordoned = bool(body.get("skip_service_registration"))
        if _strikes(fault, FaultKind.CHECKS_FAIL):
            machine.failing_checks.update(config.get("checks") or {})
        machine.versions.append((machine.version, config))
        world.machines[machine.id] = machine
        world.record_event(machine, "launch", "created")
        if body.get("lease_ttl"):
            self.acquire_lease(machine, ttl_s=body["lease_ttl"], description="", nonce=None)
        if not body.get("skip_launch"):
            self._start_polls[machine.id] = world.scenario.start_polls
        return machine

    def _claim(self, app: str, config: JsonObject, machine_id: str) -> Volume | None:
        mounts = config.get("mounts") or []
        if len(mounts) > 1:
            raise Refusal(400, "invalid_argument: only one mount is supported")
        if not mounts or not mounts[0].get("volume"):
            return None
        volume = self._world.volume(app, mounts[0]["volume"])
        if volume.attached_machine_id is not None:
            raise Refusal(412, "volume already claimed")
        if volume.host_status != "ok":
            raise Refusal(412, f"insufficient resources to create new machine with existing volume '{volume.id}'")
        volume.attached_machine_id, volume.updated_at = machine_id, self._world.now()
        if not self._world.sees_mounts:
            mounts[0]["path"] = str(volume.directory)
        return volume

    def look(self, machine: Machine) -> None:
        """One poll of a machine; one that is starting comes nearer to `started`."""
        machine.check_polls = max(0, machine.check_polls - 1)
        left = self._start_polls.get(machine.id)
        if left is None:
            return
        volume = self._world.volumes.get(machine.volume_id or "")
        if volume is not None:
            look_at_volume(volume)
        if left > 0 or (volume is not None and volume.state in _UNMOUNTABLE):
            self._start_polls[machine.id] = left - 1
            return
        del self._start_polls[machine.id]
        self._begin(machine)

    def _begin(self, machine: Machine) -> None:
        machine.state, machine.check_polls = "started", self._world.scenario.check_polls
        self._world.record_event(machine, "start", "started")
        machine.main_process = asyncio.get_running_loop().create_task(self._main(machine))
        self._mains.add(machine.main_process)
        machine.main_process.add_done_callback(self._mains.discard)

    async def _main(self, machine: Machine) -> None:
        try:
            process = await self._runner.start_main(machine)
            if process is None:
                return
            try:
                code = await process.wait()
            finally:
                kill(process)
                self._runner.end_all(machine)
                await process.wait()
        except OSError:
            code = _NO_SUCH_COMMAND
        exited = {
            "exit_code": max(code, 0),
            "guest_exit_code": max(code, 0),
            "signal": max(-code, 0),
            "oom_killed": False,
        }
        machine.state = "stopped"
        self._world.record_event(machine, "exit", "stopped", request={"exit_event": exited, "restart_count": 0})
        if machine.config.get("auto_destroy"):
            self._destroy(machine)

    def start(self, machine: Machine) -> str:
        """Start it; answers the state it was in."""
        before = machine.state
        if before not in {"stopped", "created", "suspended", "started"}:
            raise Refusal(412, f"failed_precondition: unable to start machine from current state: '{before}'")
        self.refuse_sick(machine)
        self._start_polls.pop(machine.id, None)
        volume = self._world.volumes.get(machine.volume_id or "")
        if volume is not None and volume.state in _UNMOUNTABLE:
            machine.state, self._start_polls[machine.id] = "starting", 0  # it waits for its volume
        elif before != "started":
            self._begin(machine)
        return before

    def stop(self, machine: Machine, *, into: str = "stopped") -> None:
        """Stop or suspend it at once."""
        self.refuse_sick(machine)
        if machine.state == "destroyed":
            raise Refusal(412, "failed_precondition: machine is destroyed")
        self._start_polls.pop(machine.id, None)
        self._end_main(machine)
        machine.state = into
        self._world.record_event(machine, "stop", into)

    def lose(self, machine: Machine) -> None:
        """Let its program die, as the kernel's want of memory kills one; nothing happens where none runs."""
        if machine.main_process is not None:
            self._end_main(machine)
            exited = {"exit_code": 137, "guest_exit_code": 137, "signal": 9, "oom_killed": True}
            machine.state = "stopped"
            self._world.record_event(machine, "exit", "stopped", request={"exit_event": exited, "restart_count": 0})

    def update(self, machine: Machine, body: JsonObject) -> None:
        """Replace the whole configuration; mounts must stay as they are."""
        self.refuse_sick(machine)
        if body.get("current_version") not in {None, machine.version}:
            raise Refusal(409, "aborted: current_version does not match the machine's version")
        config = _new_config(body)
        if _mounted(config) != machine.volume_id:
            raise Refusal(400, "invalid_argument: can't update the attached volume")
        machine.config, machine.version = config, self._world.new_id("01", 26).upper()
        machine.versions.append((machine.version, config))
        was_started = machine.state == "started"
        self._end_main(machine)
        self._start_polls.pop(machine.id, None)
        if body.get("skip_launch"):
            machine.state = "stopped" if was_started or machine.state in {"starting", "suspended"} else machine.state
            self._world.record_event(machine, "update", machine.state)
        else:
            self._world.record_event(machine, "update", "replacing")
            self._begin(machine)

    def destroy(self, machine: Machine, *, is_forced: bool) -> None:
        """Destroy it; a running one only by force."""
        if machine.state in {"started", "starting"} and not is_forced:
            raise Refusal(412, f"failed_precondition: unable to destroy machine from current state: '{machine.state}'")
        if machine.state != "destroyed":
            self._destroy(machine)

    def _destroy(self, machine: Machine) -> None:
        self._start_polls.pop(machine.id, None)
        self._end_main(machine)
        machine.state, machine.lease = "destroyed", None
        self._world.record_event(machine, "destroy", "destroyed")

    def _end_main(self, machine: Machine) -> None:
        current = asyncio.current_task()
        if machine.main_process is not None and machine.main_process is not current:
            machine.main_process.cancel()
            self._runner.end_all(machine)
        machine.main_process = None

    @staticmethod
    def refuse_sick(machine: Machine) -> None:
        """Refuse what only a machine's own host can do."""
        if machine.host_status == "unreachable":
            raise Refusal(503, "unavailable: host is unreachable")

    # -- waiting

    async def wait(self, machine: Machine, *, states: frozenset[str], timeout_s: float) -> None:
        """Return when it is in one of the states; 408 after `timeout_s` of the clock."""
        if not 1 <= timeout_s <= 60:
            raise Refusal(
                400,
                "invalid_argument: invalid WaitMachineRequest.Timeout: value must be inside range [1s, 1m0s]",
            )
        if not states <= _WAITABLE:
            raise Refusal(400, f"invalid_argument: unknown state {min(states - _WAITABLE)!r}")
        if "destroyed" in states and machine.state == "destroyed":
            raise Refusal(404, "machine not found")
        deadline_s = self._world.clock.monotonic() + timeout_s
        while not _is_reached(machine, states):
            self.look(machine)
            if _is_reached(machine, states):
                return
            if self._world.clock.monotonic() >= deadline_s:
                wanted = ",".join(sorted(states))
                raise Refusal(
                    408,
                    f"deadline_exceeded: machine failed to reach desired state, {wanted}, currently {machine.state}",
                )
            await self._world.clock.sleep(_POLL)

    # -- leases

    def lease(self, machine: Machine) -> Lease | None:
        """The lease that holds now; an expired one is gone."""
        if machine.lease is not None and machine.lease.expires_at <= self._world.now():
            machine.lease = None
        return machine.lease

    def refuse_leased(self, machine: Machine, nonce: str | None) -> None:
        """Refuse a change while somebody else holds the machine."""
        lease = self.lease(machine)
        if lease is None and nonce:
            raise Refusal(412, "failed_precondition: machine lease nonce does not match")
        if lease is not None and lease.nonce != nonce:
            expires = lease.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
            raise Refusal(
                409, f"aborted: machine ID {machine.id} lease currently held by {lease.owner}, expires at {expires}"
            )

    def acquire_lease(self, machine: Machine, *, ttl_s: int, description: str, nonce: str | None) -> Lease:
        """Take or refresh the lease."""
        self.refuse_sick(machine)
        held = self.lease(machine)
        self.refuse_leased(machine, nonce)
        lease = Lease(
            nonce=held.nonce if held else self._world.new_id("", 16),
            owner="flysim@tokens.fly.io",
            description=description,
            expires_at=self._world.now() + timedelta(seconds=ttl_s),
            version=machine.version,
        )
        machine.lease = lease
        return lease

    # -- exec

    async def execute(self, machine: Machine, body: JsonObject, nonce: str | None, fault: Fault | None) -> JsonObject:
        """Run a command; the answer leaves zero and empty fields out, as Go's encoding does."""
        if fault is not None and fault.kind is FaultKind.LEASE_HELD:
            self._world.hold_lease(machine)
        self.refuse_leased(machine, nonce)
        self.refuse_sick(machine)
        if machine.state != "started":
            raise Refusal(412, f"failed_precondition: unable to exec, machine is in state '{machine.state}'")
        timeout_s = body.get("timeout", 30)
        if timeout_s > 60:
            raise Refusal(400, "timeout must not exceed 60 seconds")
        argv = list(body.get("command") or str(body.get("cmd", "")).split())
        if not argv:
            raise Refusal(400, "invalid_argument: command is required")
        stdin = str(body.get("stdin", "")).encode()
        is_too_large = sum(len(word.encode()) for word in argv) > _EXEC_ARGUMENT_LIMIT_BYTES
        if is_too_large or len(stdin) > _EXEC_STDIN_LIMIT_BYTES or _strikes(fault, FaultKind.EXEC_TOO_LARGE):
            raise Refusal(200, "", raw_body=_TOO_LARGE)
        try:
            allowed_s = 0.0 if _strikes(fault, FaultKind.EXEC_DEADLINE) else float(timeout_s or 30)
            result = await self._runner.run(machine, argv, stdin=stdin, timeout_s=allowed_s)
        except TimeoutError as error:
            raise Refusal(
                408,
                'deadline_exceeded: Post "http://unix/v1/exec": net/http: request canceled '
                "(Client.Timeout exceeded while awaiting headers)",
            ) from error
        answer: JsonObject = {
            "exit_code": result.exit_code,
            "exit_signal": result.exit_signal,
            "stdout": result.stdout.decode(errors="replace"),
            "stderr": result.stderr.decode(errors="replace"),
        }
        return {key: value for key, value in answer.items() if value}


def _strikes(fault: Fault | None, kind: FaultKind) -> bool:
    return fault is not None and fault.kind is kind


def _is_reached(machine: Machine, states: frozenset[str]) -> bool:
    if "settled" in states and machine.state in {"started", "stopped", "suspended", "failed", "destroyed"}:
        return True
    return machine.state in states


def _new_config(body: JsonObject) -> JsonObject:
    config: JsonObject = copy.deepcopy(body["config"])
    durations.store(config)
    return config


def _mounted(config: JsonObject) -> str | None:
    mounts = config.get("mounts") or []
    return mounts[0].get("volume") if mounts else None


def _is_without_secrets(body: JsonObject) -> bool:
    processes = body["config"].get("processes") or []
    return bool(body.get("skip_secrets")) or (
        bool(processes) and all(process.get("ignore_app_secrets") for process in processes)
    )


def _no_room(body: JsonObject, fault: Fault) -> Refusal:
    """As Fly words it for a region, or with the fault's status 412 for the host that the volume is on."""
    mounts = body["config"].get("mounts") or [{}]
    if fault.status == 412:
        volume = mounts[0].get("volume")
        return Refusal(412, f"insufficient resources to create new machine with existing volume '{volume}'")
    return Refusal(409, "aborted: insufficient resources available to fulfill request", code="insufficient_capacity")
