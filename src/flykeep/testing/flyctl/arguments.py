"""flyctl's command lines: which commands and flags are known, and what one command line says.

Names, short forms and defaults are those of flyctl's own reference pages. What is not listed here is refused, so that a
page that names a flag which flyctl lacks is found out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class UsageError(Exception):
    """flyctl would not understand this command line."""


@dataclass(frozen=True, slots=True)
class Flag:
    """`default` None makes a switch, which `=false` turns off and which is off unless `is_on`."""

    name: str
    short: str = ""
    default: str | None = ""
    is_on: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """`most` None takes any number of arguments."""

    words: tuple[str, ...]
    flags: tuple[Flag, ...] = ()
    least: int = 0
    most: int | None = 0


@dataclass(frozen=True, slots=True)
class Invocation:
    """One command line, understood: every flag of the command has its value, given or by default."""

    command: Command
    arguments: tuple[str, ...]
    values: Mapping[str, str]
    switches: Mapping[str, bool]
    given: frozenset[str] = field(default_factory=frozenset)

    def text(self, name: str) -> str:
        return self.values[name]

    def whole(self, name: str) -> int:
        """A flag's value as a whole number; raises `UsageError`."""
        try:
            return int(self.values[name])
        except ValueError as error:
            raise UsageError(f'invalid argument "{self.values[name]}" for "--{name}" flag') from error

    def is_on(self, name: str) -> bool:
        return self.switches[name]


def _switch(name: str, short: str = "", *, is_on: bool = False) -> Flag:
    return Flag(name, short, None, is_on)


_APP = Flag("app", "a")
_ORG = Flag("org", "o")
_REGION = Flag("region", "r")
_JSON = _switch("json", "j")
_YES = _switch("yes", "y")
_GUEST = (Flag("vm-size"), Flag("vm-cpu-kind"), Flag("vm-cpus", default="0"), Flag("vm-memory"))

COMMANDS = (
    Command(("version",)),
    Command(("auth", "whoami"), (_JSON,)),
    Command(("apps", "list"), (_ORG, _JSON, _switch("quiet", "q"))),
    Command(("apps", "create"), (_ORG, Flag("network"), _JSON, _YES), least=1, most=1),
    Command(("status",), (_APP, _JSON)),
    Command(("checks", "list"), (_APP, _JSON, Flag("check-name"))),
    Command(("secrets", "import"), (_APP, _switch("stage"), _switch("detach"))),
    Command(("ips", "list"), (_APP, _JSON)),
    Command(("ips", "allocate-v4"), (_APP, _REGION, _switch("shared"), _YES)),
    Command(("ips", "allocate-v6"), (_APP, _REGION, _switch("private"), _ORG, Flag("network"))),
    Command(("certs", "add"), (_APP, _JSON), least=1, most=1),
    Command(
        ("volumes", "create"),
        (
            *(_APP, _REGION, _JSON, _YES, Flag("size", "s", "1"), Flag("snapshot-id"), *_GUEST),
            *(Flag("snapshot-retention", default="5"), _switch("scheduled-snapshots", is_on=True)),
            *(_switch("require-unique-zone", is_on=True), _switch("no-encryption")),
        ),
        least=1,
        most=1,
    ),
    Command(("volumes", "list"), (_APP, _JSON)),
    Command(("volumes", "snapshots", "list"), (_APP, _JSON), least=1, most=1),
    Command(
        ("machine", "run"),
        (
            *(_APP, _REGION, Flag("name", "n"), Flag("volume", "v"), Flag("machine-config"), Flag("restart"), *_GUEST),
            *(_switch("detach"), _switch("skip-dns-registration")),
        ),
        least=1,
        most=None,
    ),
    Command(("machine", "list"), (_APP, _JSON, _switch("quiet", "q"))),
    Command(("machine", "destroy"), (_APP, _switch("force", "f")), least=1, most=None),
    Command(("ssh", "console"), (_APP, Flag("command", "C"), Flag("machine"), _switch("quiet", "q"))),
)


def understood(words: Sequence[str]) -> Invocation:
    """Which command it is and what its flags say; raises `UsageError`."""
    command = _command(words)
    flags = {flag.name: flag for flag in command.flags}
    shorts = {flag.short: flag for flag in command.flags if flag.short}
    values = {flag.name: flag.default for flag in command.flags if flag.default is not None}
    switches = {flag.name: flag.is_on for flag in command.flags if flag.default is None}
    arguments: list[str] = []
    given: set[str] = set()
    rest = list(words[len(command.words) :])
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments += rest
            break
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            continue
        name, has_value, value = word.lstrip("-").partition("=")
        flag = flags.get(name) if word.startswith("--") else shorts.get(name)
        if flag is None:
            raise UsageError(f"unknown flag: {word} (fly {' '.join(command.words)})")
        given.add(flag.name)
        if flag.default is None:
            switches[flag.name] = not has_value or value == "true"
        elif has_value or rest:
            values[flag.name] = value if has_value else rest.pop(0)
        else:
            raise UsageError(f"flag needs an argument: {word}")
    _counted(command, arguments)
    return Invocation(command, tuple(arguments), values, switches, frozenset(given))


def _command(words: Sequence[str]) -> Command:
    fitting = [command for command in COMMANDS if tuple(words[: len(command.words)]) == command.words]
    if not fitting:
        raise UsageError(f"unknown command: fly {' '.join(words[:3])}")
    return max(fitting, key=lambda command: len(command.words))


def _counted(command: Command, arguments: Sequence[str]) -> None:
    is_fitting = command.least <= len(arguments) and (command.most is None or len(arguments) <= command.most)
    if not is_fitting:
        raise UsageError(f"fly {' '.join(command.words)} does not take {len(arguments)} arguments")
