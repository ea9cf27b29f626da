"""Long work as a person watches it: steps as lines, bytes as a moving line on a terminal and silence elsewhere."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from flykeep.cli.render import bytes_text, print_indented
from flykeep.domain.run import Step
from flykeep.jobs.runner import Watcher
from flykeep.ports.worker import Progress


def step_text(step: Step) -> str:
    """`04:00:01 plan: source ssh, the whole volume`."""
    detail = json.loads(step.detail) if step.detail.startswith("{") else {}
    text = ", ".join(f"{name} {value}" for name, value in detail.items() if value is not None)
    return f"{step.at:%H:%M:%S} {step.name}" + (f": {text}" if text else "")


class ProgressView:
    """Shows what happens while the context is open; on a terminal its own line disappears at the end."""

    def __init__(self, out: Console, title: str) -> None:
        self._out = out
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._bar = Bar(*columns, console=out, transient=True, disable=not out.is_terminal)
        self._task = self._bar.add_task(title, total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def watcher(self) -> Watcher:
        """What the executing process tells."""
        return Watcher(on_step=self._step, on_progress=self.progress)

    def progress(self, progress: Progress) -> None:
        """The bytes so far."""
        read, stored = bytes_text(progress.tar_bytes), bytes_text(progress.stored_bytes)
        sizes = f": {read} read, {stored} stored" if progress.tar_bytes else ""
        self._bar.update(self._task, description=progress.phase + sizes)

    def _step(self, step: Step) -> None:
        print_indented(self._out, step_text(step), by=2, style="dim")
        coming = json.loads(step.detail).get("then") if step.detail.startswith("{") else None
        self._bar.update(self._task, description=f"{step.name}; next: {coming}" if coming else step.name)
