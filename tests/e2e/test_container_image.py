"""The container image is built and started where no container engine runs: step by step, in a chroot."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.chroot_run import StepFailedError, obstacle, release_of
from tests.full import full

PROJECT = Path(__file__).parents[2]


@full("the Dockerfile's steps take a minute of both cores")
@pytest.mark.timeout(840)
def test_every_step_of_the_dockerfile_runs_and_the_daemon_answers_from_inside() -> None:
    reason = obstacle()
    if reason is not None:
        pytest.skip(f"the Dockerfile's steps need a chroot, {reason}")

    done = subprocess.run(
        [sys.executable, "-m", "scripts.chroot_run"],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "is replaced by Debian bookworm with Debian's own Python" in done.stdout
    assert "healthy=True user=10001 exit=0" in done.stdout
    assert list((PROJECT / "build" / "chroot").glob("run-*")) == []


def test_a_base_image_of_unknown_release_is_not_guessed_at() -> None:
    assert release_of("python:3.13-slim-bookworm") == "bookworm"
    with pytest.raises(StepFailedError, match="not known"):
        release_of("python:3.13")
