"""The Dockerfile passes its linter, invents no digest and copies only what exists."""

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.dockerfile import Stage, UnreadableDockerfileError, read_dockerfile

PROJECT = Path(__file__).parents[3]
HADOLINT = Path(sys.executable).parent / "hadolint"


def dockerfile() -> str:
    return (PROJECT / "Dockerfile").read_text(encoding="utf-8")


def stages() -> list[Stage]:
    return read_dockerfile(dockerfile())


def lint(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HADOLINT, "-"], input=text, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_the_linter_finds_nothing() -> None:
    done = lint(dockerfile())

    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_finds_what_is_wrong_on_purpose() -> None:
    done = lint(dockerfile() + "RUN cd /tmp && sudo ls\n")

    assert done.returncode != 0
    assert "DL3004" in done.stdout


def test_base_images_are_named_by_tag_and_no_digest_is_invented() -> None:
    assert {stage.base for stage in stages()} == {"python:3.13-slim-bookworm"}
    assert "sha256:" not in dockerfile()


def test_every_copied_file_exists_and_is_let_into_the_build() -> None:
    let_in = {
        line[1:] for line in (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"
    }
    copies = [step for stage in stages() for step in stage.steps if step.instruction == "COPY"]
    sources = {word for step in copies if "from" not in step.flags for word in step.words()[:-1]}

    assert sources == let_in
    assert [name for name in sources if not (PROJECT / name).exists()] == []


def test_both_locks_are_installed_with_their_hashes() -> None:
    runs = " ".join(step.arguments for stage in stages() for step in stage.steps if step.instruction == "RUN")

    assert runs.count(" -r ") == 2
    assert runs.count("--no-deps --require-hashes -r") == 2


def test_a_person_can_open_an_artifact_inside_the_image() -> None:
    final = stages()[-1]
    install = next(step.arguments for step in final.steps if "apt-get install" in step.arguments)

    assert {"age", "zstd", "tar", "openssh-client", "ca-certificates"} <= set(install.split())


def test_the_image_starts_the_daemon_and_stops_it_as_fly_does() -> None:
    final = stages()[-1]
    command, stop = final.last("CMD"), final.last("STOPSIGNAL")

    assert command is not None
    assert command.words() == ["flykeep", "run"]
    assert stop is not None
    assert stop.arguments == "SIGINT"
    assert "http://127.0.0.1:8080/healthz" in final.health_command()[-1]


def test_the_command_of_the_image_leaves_root_behind() -> None:
    wrapper = (PROJECT / "scripts" / "container" / "flykeep").read_text(encoding="utf-8")

    assert "setpriv --reuid=flykeep" in wrapper
    assert wrapper.index("worker stand") < wrapper.index("setpriv --reuid=flykeep"), "it reads files of any owner"
    assert subprocess.run(["sh", "-n", "scripts/container/flykeep"], cwd=PROJECT, check=False).returncode == 0


def test_continued_lines_flags_and_comments_are_read() -> None:
    [stage] = read_dockerfile(
        "FROM a:1 AS b\n# no\nRUN one \\\n  # neither\n  && two\nCOPY --from=x --chmod=0755 c d\n"
    )
    run, copy = stage.steps

    assert (stage.base, stage.name) == ("a:1", "b")
    assert (run.line, run.arguments) == (3, "one && two")
    assert (copy.flags, copy.words()) == ({"from": "x", "chmod": "0755"}, ["c", "d"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no FROM"),
        ("RUN x\n", "before any FROM"),
        ("FROM a:1\nADD x y\n", "ADD is not read"),
        ("FROM a:1\nRUN <<EOF\n", "here-documents"),
        ("FROM a:1\nRUN x \\\n", "nothing follows"),
    ],
)
def test_what_the_reader_does_not_know_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UnreadableDockerfileError, match=complaint):
        read_dockerfile(text)
