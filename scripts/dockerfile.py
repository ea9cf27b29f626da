"""Reads a Dockerfile into stages and steps: as much of the language as ours uses, and a refusal for the rest."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

# Instructions that describe the running container and change no file of it.
DESCRIPTIVE = frozenset({"CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "STOPSIGNAL", "VOLUME"})
EXECUTED = frozenset({"RUN", "COPY", "WORKDIR", "ENV", "USER"})


class UnreadableDockerfileError(Exception):
    """The Dockerfile uses something this reader does not know."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction with its flags (`--from=build`) taken apart from its arguments."""

    line: int
    instruction: str
    flags: dict[str, str]
    arguments: str

    def words(self) -> list[str]:
        """Return the arguments as a list: a JSON array, or words as a shell would split them."""
        if self.arguments.startswith("["):
            return [str(word) for word in json.loads(self.arguments)]
        return shlex.split(self.arguments)

    def settings(self) -> dict[str, str]:
        """Return the `NAME=value` pairs of ENV."""
        pairs = (word.partition("=") for word in self.words())
        return {name: value for name, _, value in pairs}


@dataclass(slots=True)
class Stage:
    """One `FROM` and the steps below it."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def last(self, instruction: str) -> Step | None:
        """Return the step that decides where an instruction may be repeated."""
        return next((step for step in reversed(self.steps) if step.instruction == instruction), None)

    def health_command(self) -> list[str]:
        """Return the command of HEALTHCHECK; raises where there is none."""
        step = self.last("HEALTHCHECK")
        if step is None or not step.arguments.startswith("CMD "):
            msg = "no HEALTHCHECK with a command"
            raise UnreadableDockerfileError(msg)
        return [str(word) for word in json.loads(step.arguments.removeprefix("CMD "))]


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join continued lines and drop comments; yields the number of the first line with each."""
    started, parts = 0, list[str]()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if line.startswith("#") or not line:
            continue
        started = started or number
        parts.append(line.removesuffix("\\").strip())
        if not line.endswith("\\"):
            yield started, " ".join(parts)
            started, parts = 0, []
    if parts:
        msg = f"line {started}: continued, but nothing follows"
        raise UnreadableDockerfileError(msg)


def _step(number: int, line: str) -> Step:
    instruction, _, rest = line.partition(" ")
    flags: dict[str, str] = {}
    rest = rest.strip()
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        flags[match[1]] = match[2]
        rest = rest[match.end() :]
    if "<<" in rest:
        msg = f"line {number}: here-documents are not read"
        raise UnreadableDockerfileError(msg)
    return Step(line=number, instruction=instruction.upper(), flags=flags, arguments=rest)


def read_dockerfile(text: str) -> list[Stage]:
    """Return the stages in order; raises UnreadableDockerfileError for what this reader does not know."""
    stages: list[Stage] = []
    for number, line in _logical_lines(text):
        step = _step(number, line)
        if step.instruction == "FROM":
            words = step.words()
            name = words[2] if len(words) == 3 and words[1].upper() == "AS" else str(len(stages))
            stages.append(Stage(base=words[0], name=name))
        elif step.instruction not in DESCRIPTIVE | EXECUTED:
            msg = f"line {number}: {step.instruction} is not read"
            raise UnreadableDockerfileError(msg)
        elif not stages:
            msg = f"line {number}: {step.instruction} before any FROM"
            raise UnreadableDockerfileError(msg)
        else:
            stages[-1].steps.append(step)
    if not stages:
        msg = "no FROM"
        raise UnreadableDockerfileError(msg)
    return stages
