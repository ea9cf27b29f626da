"""The sides that are measured: flykeep's worker as the daemon starts it, and what a careful operator would type."""

# ruff: noqa: INP001 - part of a program of its own
from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.watching import Figures, watching
from benchmarks.world import ACCESS_KEY, BUCKET, SECRET_KEY, Data, World, ssh_command
from flykeep.adapters.launchers.wire import FailureLine, ProgressLine, decode_line, encode_order
from flykeep.domain.ids import ExportId
from flykeep.ports.importing import ArtifactSource, ImportOrder
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.ports.worker import CompressionOrder, ExportOrder, ExportResult, Order

_DEADLINE_S = 3600.0
_REPOSITORIES = itertools.count(1)
_SFTP_SERVER = "/usr/lib/openssh/sftp-server"  # the server of the tests has no such subsystem


@dataclass(frozen=True)
class Pipelines:
    """Each method is one run of one side."""

    world: World

    def shell_export(self, data: Data) -> Figures:
        """`ssh tar | zstd -T0 -3 | age | rclone rcat`"""
        world = self.world
        with ssh_command(world.access()) as ssh:
            return self._bash(
                f"{shlex.join([*ssh, _tar(data)])} | zstd -q -T0 -3 | age -r {world.recipient}"
                f" | rclone rcat :s3:{BUCKET}/shell.tar.zst.age",
                _rclone(world),
            )

    def bare_read(self, data: Data, *, port: int) -> Figures:
        """`ssh tar` into nothing: what a source gives at most."""
        with ssh_command(self.world.access(port=port)) as ssh:
            return self._bash(f"{shlex.join([*ssh, _tar(data)])} | cat >/dev/null", {})

    def restic_export(self, data: Data, *, is_in_memory: bool = False) -> Figures:
        """`ssh tar | restic backup --stdin`, into a new repository on the S3 server that all sides write to.

        In memory means a folder there: without HTTP, which nobody else is spared.
        """
        folder = self.world.emptied("restic")
        bucket = f"s3:{self.world.endpoint}/{BUCKET}/restic-{next(_REPOSITORIES)}"
        environment = {
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_REPOSITORY": str(folder / "repository") if is_in_memory else bucket,
            "RESTIC_CACHE_DIR": str(folder / "cache"),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        subprocess.run(["restic", "-q", "init"], env=os.environ | environment, check=True)
        with ssh_command(self.world.access()) as ssh:
            figures = self._bash(
                f"{shlex.join([*ssh, _tar(data)])} | restic -q backup --stdin --stdin-filename volume.tar", environment
            )
        self.world.emptied("restic")
        if not is_in_memory:  # the server keeps objects in memory, and a repository's names are new each time
            emptied = ["rclone", "delete", bucket.replace(f"s3:{self.world.endpoint}/", ":s3:")]
            subprocess.run(emptied, env=os.environ | _rclone(self.world), check=True)
        return figures

    def manual_export(self, data: Data) -> Figures:
        """`ssh tar czf` on the machine, then `sftp get`."""
        staged, fetched = self.world.emptied("staged") / "volume.tar.gz", self.world.emptied("fetched")
        with ssh_command(self.world.access()) as ssh:
            *options, _, user, host = ssh
            port = options.index("-p")
            sftp = ["sftp", "-q", "-s", _SFTP_SERVER, *options[1:port], "-P", options[port + 1], f"{user}@{host}"]
            sftp = [word for word in sftp if word != "-T"]
            remote = f"tar czf {shlex.quote(str(staged))} -C {shlex.quote(str(data.path))} ."
            figures = self._bash(
                f"{shlex.join([*ssh, remote])} && {shlex.join([*sftp[:-1], f'{sftp[-1]}:{staged}', str(fetched)])}", {}
            )
        self.world.emptied("staged")
        self.world.emptied("fetched")
        return figures

    def flykeep_export(self, data: Data, *, threads: int, port: int | None = None) -> Figures:
        figures, _ = self._worker(self._export_order(data, threads=threads, port=port))
        return figures

    def artifact_of(self, data: Data) -> ArtifactSource:
        """Export once more, to restore from it."""
        order = self._export_order(data, threads=0, port=None)
        _, result = self._worker(order)
        assert isinstance(result, ExportResult)
        identity = self.world.identity
        return ArtifactSource(order.store, result.data, result.index, identity, identity, True, result.totals)

    def shell_restore(self, artifact: ArtifactSource) -> Figures:
        """`curl | age -d | zstd -d | ssh tar x`"""
        world, folder = self.world, self.world.emptied("restored")
        identity = world.home / "identity"
        identity.write_text(world.identity)
        with ssh_command(world.access()) as ssh:
            remote = f"tar xpf - --numeric-owner -C {shlex.quote(str(folder))}"
            figures = self._bash(
                f"curl -sf {world.endpoint}/{BUCKET}/{artifact.objects[0].key} | age -d -i {identity} | zstd -dcq"
                f" | {shlex.join([*ssh, remote])}",
                {},
            )
        world.emptied("restored")
        return figures

    def flykeep_restore(self, artifact: ArtifactSource) -> tuple[Figures, Figures]:
        """An import: until all is unpacked, as far as the shell goes; and until it was compared with the index there.

        Both bear the CPU time of the whole.
        """
        folder, phases = self.world.emptied("restored"), dict[str, float]()
        order = ImportOrder("BENCH", self.world.access(), str(folder), artifact, (), _DEADLINE_S)
        whole, _ = self._worker(order, phases)
        self.world.emptied("restored")
        return replace(whole, seconds=phases["comparing"]), whole

    def _export_order(self, data: Data, *, threads: int, port: int | None) -> ExportOrder:
        world = self.world
        return ExportOrder(
            export_id=ExportId("BENCH"),
            key_prefix=f"volume/{data.name}/2026/BENCH",
            access=world.access(port=port),
            directory=str(data.path),
            include=(),
            exclude=(),
            store=StoreOrder(
                name="bench",
                type=StoreType.S3,
                bucket=BUCKET,
                endpoint=world.endpoint,
                access_key_id=ACCESS_KEY,
                secret_access_key=SECRET_KEY,
            ),
            recipients=(world.recipient,),
            index_recipient=world.index_recipient,
            compression=CompressionOrder(threads=threads),
            expected_bytes=None,
            deadline_s=_DEADLINE_S,
        )

    @staticmethod
    def _worker(order: Order, phases: dict[str, float] | None = None) -> tuple[Figures, object]:
        """One worker process; `phases` gets the second at which each began."""
        source = str(Path(__file__).resolve().parents[1] / "src")
        with watching() as watch:
            child = subprocess.Popen(
                [sys.executable, "-m", "flykeep.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": source, "LANG": "C.UTF-8"},
            )
            if child.stdin is None or child.stdout is None:
                raise AssertionError
            with child.stdin, child.stdout:
                child.stdin.write(encode_order(order))
                child.stdin.flush()
                for line in child.stdout:
                    last = decode_line(line)
                    if phases is not None and isinstance(last, ProgressLine):
                        phases.setdefault(last.progress.phase, watch.elapsed_s())
                if isinstance(last, FailureLine):
                    raise SystemExit(f"the worker failed: {last}")
                return watch.figures(child), getattr(last, "result", None)

    @staticmethod
    def _bash(script: str, environment: dict[str, str]) -> Figures:
        with watching() as watch:
            child = subprocess.Popen(
                ["bash", "-c", f"set -o pipefail; {script}"],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
            )
            return watch.figures(child)


def _tar(data: Data) -> str:
    return f"tar cf - -C {shlex.quote(str(data.path))} ."


def _rclone(world: World) -> dict[str, str]:
    return {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_LOG_LEVEL": "ERROR",
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENDPOINT": world.endpoint,
        "RCLONE_S3_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_S3_SECRET_ACCESS_KEY": SECRET_KEY,
        "RCLONE_S3_NO_CHECK_BUCKET": "true",
        "RCLONE_S3_FORCE_PATH_STYLE": "true",
    }
