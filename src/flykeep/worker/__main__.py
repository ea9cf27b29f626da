"""The worker program: one order from standard input, JSON lines to standard output, then the end.

Standard input stays open while the work goes on; its end means stop. Exit code: 0, or that of the reported failure.
"""

# ruff: noqa: PLC0415 - what only one kind of order needs is loaded for that kind
from __future__ import annotations

import ctypes
import os
import sys
import threading
import traceback
from typing import NoReturn

from flykeep.adapters.launchers.wire import (
    AnyOrder,
    CleanedLine,
    DrilledLine,
    ExportedLine,
    ExtractedLine,
    FailureLine,
    ImportedLine,
    IndexedLine,
    InspectedLine,
    PlacedLine,
    ReachedLine,
    ResultLine,
    TriedLine,
    VerifiedLine,
    decode_order,
)
from flykeep.adapters.system import SystemClock
from flykeep.domain.errors import FlykeepError, InternalError
from flykeep.ports.cleaning import CleanOrder
from flykeep.ports.importing import ImportOrder, PlaceOrder
from flykeep.ports.inspecting import InspectOrder
from flykeep.ports.store_trial import TrialOrder
from flykeep.ports.worker import DrillOrder, ExportOrder, ExtractOrder, IndexOrder, ReachOrder, VerifyOrder
from flykeep.worker.channel import Flow, StoppedError
from flykeep.worker.guard import refuse_fly_tokens
from flykeep.worker.report import Reporter
from flykeep.worker.stop import Watch, die_with_parent, stop_on_signals

_ORDER_LIMIT_BYTES = 64 << 20
_SWITCH_INTERVAL_S = 0.0005  # pyrage takes the interpreter's lock for every 8 KiB: long turns of others starve it
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # source: glibc's malloc.h
_REUSED_BYTES = 4 << 20  # above the pieces between stages, below an upload's parts
_KEPT_BYTES = 16 << 20
_ARENAS = 2


def main() -> NoReturn:
    """Do one order and end the process without running exit handlers: obstore's can abort there."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    _reuse_memory()
    die_with_parent()
    reporter = Reporter(sys.stdout.buffer, SystemClock())
    code = _serve(reporter)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _reuse_memory() -> None:
    """Keep freed pieces for the next ones.

    By default glibc maps each of about 1 MiB anew, and the kernel clears its pages every time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # only glibc has it
        mallopt(_M_MMAP_THRESHOLD, _REUSED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)


def _serve(reporter: Reporter) -> int:
    flow = Flow()
    watch: Watch | None = None
    try:
        refuse_fly_tokens(os.environ)
        order = decode_order(_read_line())
        stop_on_signals(flow)
        watch = Watch(flow, clock=SystemClock(), deadline_s=order.deadline_s)
        line = _do(order, flow=flow, reporter=reporter)
        flow.check()
        reporter.line(line)
    except BrokenPipeError:
        return InternalError.exit_code
    except BaseException as error:  # noqa: BLE001 - the last frame of a process: everything must be reported
        failure = _translated(error, flow)
        reporter.line(FailureLine.of(failure))
        return failure.exit_code
    finally:
        if watch is not None:
            watch.done()
    return 0


def _do(order: AnyOrder, *, flow: Flow, reporter: Reporter) -> ResultLine:
    """Each kind loads what it alone needs: memory is scarce where workers run."""
    if isinstance(order, ExportOrder):
        from flykeep.worker.export import Export

        return ExportedLine(Export(order, flow=flow, reporter=reporter).run())
    if isinstance(order, ImportOrder | PlaceOrder | CleanOrder):
        return _change_files(order, flow=flow, reporter=reporter)
    if isinstance(order, DrillOrder):
        from flykeep.worker.drill import Drill

        return DrilledLine(Drill(order, flow=flow, reporter=reporter, clock=SystemClock()).run())
    if isinstance(order, TrialOrder):
        from flykeep.worker.trial import try_store

        return TriedLine(try_store(order, flow=flow))
    if isinstance(order, ReachOrder | InspectOrder):
        return _look_at_machine(order, flow=flow, reporter=reporter)
    return _look_into(order, flow=flow, reporter=reporter)


def _look_at_machine(order: ReachOrder | InspectOrder, *, flow: Flow, reporter: Reporter) -> ResultLine:
    if isinstance(order, InspectOrder):
        from flykeep.worker.inspect import Inspection

        return InspectedLine(Inspection(order, flow=flow, reporter=reporter).run())
    from flykeep.worker.machine import reach

    return ReachedLine(reach(order, flow=flow))


def _look_into(order: VerifyOrder | ExtractOrder | IndexOrder, *, flow: Flow, reporter: Reporter) -> ResultLine:
    if isinstance(order, ExtractOrder):
        from flykeep.worker.extract import Extraction

        return ExtractedLine(Extraction(order, flow=flow, reporter=reporter).run())
    from flykeep.worker.verify import Verification, report_index

    if isinstance(order, VerifyOrder):
        return VerifiedLine(Verification(order, flow=flow, reporter=reporter).run())
    return IndexedLine(report_index(order, flow=flow, reporter=reporter))


def _change_files(order: ImportOrder | PlaceOrder | CleanOrder, *, flow: Flow, reporter: Reporter) -> ResultLine:
    if isinstance(order, CleanOrder):
        from flykeep.worker.clean import clean

        return CleanedLine(clean(order, flow=flow))
    from flykeep.worker.import_ import Import, place

    if isinstance(order, PlaceOrder):
        return PlacedLine(place(order, flow=flow))
    return ImportedLine(Import(order, flow=flow, reporter=reporter).run())


def _read_line() -> bytes:
    """The order, byte by byte past the buffer, so that the watch sees all that follows."""
    pieces = bytearray()
    while not pieces.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece or len(pieces) > _ORDER_LIMIT_BYTES:
            break
        pieces += piece
    return bytes(pieces)


def _translated(error: BaseException, flow: Flow) -> FlykeepError:
    """The failure that came first; what is none of ours is a defect, told with its place but not its values."""
    if isinstance(error, StoppedError) and flow.failure is not None:
        error = flow.failure
    if isinstance(error, FlykeepError):
        return error
    places = "".join(traceback.format_tb(error.__traceback__))
    sys.stderr.write(f"{type(error).__name__} in thread {threading.current_thread().name}\n{places}")
    return InternalError(f"the worker met {type(error).__name__}")


if __name__ == "__main__":
    main()
