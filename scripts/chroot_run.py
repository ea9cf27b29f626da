"""Executes the Dockerfile step by step in a chroot, where no container engine runs: `python -m scripts.chroot_run`.

Needs root and debootstrap. It ends with the daemon answering its health check from inside, as the container would, in a
network of its own. One substitution, said aloud in the output: the base image is a bare Debian of the same release with
Debian's Python, because image registries are not asked for anything.

Everything is mounted in a private namespace and every process lives in one, so nothing stays behind; the bootstrapped
system and pip's downloads are kept below `build/chroot` for the next run.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.chroot_host import environment_for_steps, lend_host_files
from scripts.chroot_serve import DaemonFailedError, serve_and_ask
from scripts.dockerfile import Stage, Step, read_dockerfile

PROJECT = Path(__file__).resolve().parent.parent
CACHE = PROJECT / "build" / "chroot"
PATH_INSIDE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STEP_SECONDS_MOST = 600


class StepFailedError(Exception):
    """A step of the Dockerfile did not succeed in the chroot."""


@dataclass(slots=True)
class Root:
    """One stage's file system and what its steps have set so far."""

    path: Path
    environment: dict[str, str]
    working_directory: str = "/"
    user: str = "root"

    def inside(self, name: str) -> Path:
        """Return the host's path of a path inside; relative ones start at the working directory."""
        return self.path / os.path.normpath(f"{self.working_directory}/{name}" if name[0] != "/" else name).lstrip("/")


def say(text: str) -> None:
    """Print one line at once, also into a pipe."""
    print(text, flush=True)


def obstacle() -> str | None:
    """Name what keeps this machine from running the chroot, if anything does."""
    if os.geteuid() != 0:
        return "not root"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in ("debootstrap", "unshare", "chroot", "tar") if shutil.which(name, path=path) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def release_of(base: str) -> str:
    """Return the Debian release a Python base image stands on, by the last part of its tag."""
    match = re.fullmatch(r"python:[0-9.]+-slim-([a-z]+)", base)
    if match is None:
        msg = f"base image {base!r}: its Debian release is not known"
        raise StepFailedError(msg)
    return match[1]


def mirrors() -> list[str]:
    """Return the archive this machine itself installs from, or nothing, which leaves debootstrap its default."""
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True, check=False
    )
    return answer.stdout.split()[:1]


def bootstrapped(release: str) -> Path:
    """Return the archived bare system of a release, making it when it is not there yet."""
    archive = CACHE / f"{release}-{platform.machine()}.tar"
    if archive.exists():
        return archive
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="bootstrap-") as folder:
        root, partial = Path(folder) / "root", Path(folder) / "partial.tar"
        packages = "--include=python3,python3-venv,ca-certificates"
        run_logged(["debootstrap", "--variant=minbase", packages, release, str(root), *mirrors()])
        shutil.rmtree(root / "var/cache/apt/archives")
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        run_logged(["tar", "-C", str(root), "--numeric-owner", "--xattrs", "-cf", str(partial), "."])
        partial.rename(archive)
    return archive


def run_logged(command: list[str], *, environment: dict[str, str] | None = None) -> None:
    """Run a command to its end; raises StepFailedError with the end of its output when it fails."""
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=STEP_SECONDS_MOST,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-40:])
        msg = f"exit {done.returncode} from {' '.join(command)}\n{tail}"
        raise StepFailedError(msg)


def execute_run(root: Root, step: Step) -> None:
    """RUN: a shell inside, with the image's environment and what the host lends for its network."""
    inside = f"cd {root.working_directory} && {step.arguments}"
    command = ["chroot", f"--userspec={root.user}", str(root.path), "/bin/sh", "-c", inside]
    run_logged(command, environment=environment_for_steps(root.path) | root.environment)


def execute_copy(root: Root, step: Step, stages: dict[str, Root]) -> None:
    """COPY: from the project folder or an earlier stage; raises where a source is absent."""
    *sources, target = step.words()
    origin = stages[step.flags["from"]].path if "from" in step.flags else PROJECT
    destination = root.inside(target)
    into_folder = target.endswith("/") or len(sources) > 1
    for source in sources:
        found = origin / source.lstrip("/")
        goal = destination / found.name if into_folder and not found.is_dir() else destination
        if not found.exists():
            msg = f"COPY: {source} does not exist"
            raise StepFailedError(msg)
        goal.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            ignored = shutil.ignore_patterns("__pycache__") if origin == PROJECT else None
            shutil.copytree(found, goal, symlinks=True, dirs_exist_ok=True, ignore=ignored)
        else:
            shutil.copy2(found, goal)
        if "chmod" in step.flags:
            goal.chmod(int(step.flags["chmod"], 8))


def execute(root: Root, step: Step, stages: dict[str, Root]) -> None:
    """Execute one step; the descriptive ones are used where the container is started."""
    match step.instruction:
        case "RUN":
            execute_run(root, step)
        case "COPY":
            execute_copy(root, step, stages)
        case "WORKDIR":
            root.working_directory = step.arguments
            root.inside(step.arguments).mkdir(parents=True, exist_ok=True)
        case "ENV":
            root.environment |= step.settings()
        case "USER":
            root.user = step.arguments
        case _:
            pass


def build_stage(stage: Stage, *, folder: Path, stages: dict[str, Root]) -> Root:
    """Unpack a bare system and execute a stage's steps in it."""
    release = release_of(stage.base)
    path = folder / stage.name
    path.mkdir()
    run_logged(["tar", "-C", str(path), "--numeric-owner", "--xattrs", "-xf", str(bootstrapped(release))])
    lend_host_files(path, pip_cache=CACHE / "pip")
    run_logged(["mount", "-t", "proc", "proc", str(path / "proc")])
    root = Root(path=path, environment={"PATH": PATH_INSIDE, "HOME": "/root"})
    say(f"stage {stage.name}: {stage.base} is replaced by Debian {release} with Debian's own Python")
    for step in stage.steps:
        started = time.monotonic()
        execute(root, step, stages)
        say(f"  {time.monotonic() - started:6.1f} s  line {step.line}: {step.instruction} {step.arguments[:80]}")
    return root


def inside(folder: Path) -> None:
    """Execute the whole Dockerfile; called in the private namespaces."""
    stages: dict[str, Root] = {}
    read = read_dockerfile((PROJECT / "Dockerfile").read_text(encoding="utf-8"))
    for stage in read:
        stages[stage.name] = build_stage(stage, folder=folder, stages=stages)
    final = stages[read[-1].name]
    serve_and_ask(final.path, stage=read[-1], environment=final.environment, working_directory=final.working_directory)
    say("chroot run: every step succeeded and the daemon answered from inside")


def outside() -> int:
    """Start `inside` in namespaces of its own and remove what it made."""
    reason = obstacle()
    if reason is not None:
        say(f"chroot run: impossible here: {reason}")
        return 2
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=CACHE, prefix="run-"))
    folder.chmod(0o755)
    isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    environment = os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    try:
        command = [*isolated, sys.executable, "-m", "scripts.chroot_run", str(folder)]
        return subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode
    finally:
        shutil.rmtree(folder)


def main(arguments: list[str]) -> int:
    """Run outside or, with the folder as argument, inside the namespaces; returns the exit code."""
    if not arguments:
        return outside()
    try:
        inside(Path(arguments[0]))
    except StepFailedError as error:
        say(f"chroot run: failed: {error}")
        return 1
    except DaemonFailedError:
        say("chroot run: failed: the daemon did not answer, ran as root, or did not end cleanly")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
