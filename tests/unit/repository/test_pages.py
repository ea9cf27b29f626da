"""The pages say what the code says, link to what exists, and fragments of the changelog follow their rules."""

import re
from pathlib import Path

import pytest

from scripts.docs import error_classes, main, pages

PROJECT = Path(__file__).parents[3]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("changelog/*.md")])
KINDS = "feature|fix|change|security|removal"


def page_id(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def test_generated_pages_are_those_the_code_gives_today(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_every_error_stands_on_its_page_under_a_code_of_its_own() -> None:
    page = pages()["errors.md"]()
    codes = [kind.code for kind in error_classes()]

    assert len(set(codes)) == len(codes)
    assert [code for code in codes if f"| `{code}` |" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    inside = [target for target in targets if "://" not in target and not target.startswith("mailto:")]

    assert [target for target in inside if not (page.parent / target).exists()] == []


def test_every_page_is_reachable_from_the_index() -> None:
    index = (PROJECT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {(PROJECT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)\)", index)}

    assert [page_id(page) for page in PROJECT.glob("docs/*/**/*.md") if page.resolve() not in linked] == []


def test_the_map_of_contributing_names_places_that_exist() -> None:
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    places = [place for row in rows for place in re.findall(r"`((?:src|tests|scripts|docs|requirements)/[^`*]*)`", row)]

    assert len(places) > 10
    assert [place for place in places if not (PROJECT / place).exists()] == []


def test_fragments_of_the_changelog_bear_a_kind_and_hold_a_sentence() -> None:
    fragments = [path for path in PROJECT.glob("changelog/*") if path.name != "README.md"]

    assert [path.name for path in fragments if not re.fullmatch(rf"[a-z0-9-]+\.({KINDS})\.md", path.name)] == []
    assert [path.name for path in fragments if not path.read_text(encoding="utf-8").strip().endswith(".")] == []
