"""The locks name versions and hashes, and leave where to get them to whoever installs."""

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
LOCKS = ("dev.txt", "runtime.txt", "build.txt")


def read(name: str) -> str:
    return (PROJECT / "requirements" / name).read_text(encoding="utf-8")


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==(\S+)", text, flags=re.MULTILINE))


def normal(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def unhashed(text: str) -> list[str]:
    """The requirements of a lock without a hash: pip would refuse the whole file for one of them."""
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    return [block.split()[0] for block in blocks if "--hash=sha256:" not in block]


def odd_lines(text: str) -> list[str]:
    """What is neither a pinned requirement with its hashes nor a comment, or leads somewhere."""
    known = re.compile(r"[a-z0-9.-]+(\[[a-z,]+\])?==\S+( ; .+)? \\| {4}--hash=sha256:[0-9a-f]+( \\)?| *#.*")
    return [line for line in text.splitlines() if not known.fullmatch(line) or "://" in line]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index_and_no_host(name: str) -> None:
    assert odd_lines(read(name)) == []


def test_an_option_or_an_address_in_a_lock_would_be_noticed() -> None:
    good = "a==1 \\\n    --hash=sha256:00\n    # via b"
    bad = ["--option somewhere", "a @ file://b", "# from https://c"]

    assert odd_lines("\n".join([good, *bad])) == bad


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_of_a_lock_has_a_hash(name: str) -> None:
    text = read(name)

    assert pins(text)
    assert unhashed(text) == []


def test_a_requirement_without_a_hash_would_be_noticed() -> None:
    assert unhashed("a==1 \\\n    --hash=sha256:00\nb==2\n    # via a\n") == ["b==2"]


@pytest.mark.parametrize("name", ["runtime.txt", "build.txt"])
def test_what_is_shipped_is_what_was_tested(name: str) -> None:
    assert pins(read(name)).items() <= pins(read("dev.txt")).items()


def test_the_image_gets_no_development_tool() -> None:
    assert {"pytest", "ruff", "mypy", "moto"}.isdisjoint(pins(read("runtime.txt")))


def test_every_dependency_of_the_project_is_locked() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    needed = [*project["project"]["dependencies"], *extras["postgres"], *extras["s3-sweep"]]
    developed = [entry for entry in project["dependency-groups"]["dev"] if isinstance(entry, str)]

    assert {normal(entry) for entry in needed} <= set(pins(read("runtime.txt")))
    assert {normal(entry) for entry in [*needed, *developed]} <= set(pins(read("dev.txt")))
    assert {normal(entry) for entry in project["dependency-groups"]["build"]} <= set(pins(read("build.txt")))
