"""What is shipped to be read: the example, the schema, the reference page."""

import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flykeep.plugins import load_notifiers
from flykeep.settings import Level, check_settings, json_schema, load_settings, settings_reference

PROJECT = Path(__file__).resolve().parents[3]
EXAMPLE = PROJECT / "config.example.toml"


@pytest.fixture
def example() -> dict[str, Any]:
    return tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))


def test_the_example_passes_the_check_with_warnings_for_secrets_only() -> None:
    settings = load_settings(EXAMPLE, {})
    plugins = load_notifiers({notifier.type for notifier in settings.notifiers})
    problems = check_settings(settings, plugins=plugins)
    assert [problem for problem in problems if problem.level is Level.ERROR] == []
    assert all("not set here" in problem.message for problem in problems if problem.level is Level.WARNING)


def test_the_example_shows_every_table(example: dict[str, Any]) -> None:
    later = {"scratch", "drill"}
    schema: Any = json_schema()
    assert set(example) == set(schema["properties"]) - later


def test_the_schema_accepts_the_example(example: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(example, json_schema())


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("fly", "orgg", "x"),
        ("fly", "ssh_port", 0),
        ("worker", "deadline", "soon"),
        ("daemon", "max_parallel_runs", "two"),
        ("stores", "broken", {"type": "ftp"}),
        ("policies", "broken", {"snapshot": {"retention_days": 61}}),
    ],
)
def test_the_schema_refuses_what_flykeep_refuses(example: dict[str, Any], table: str, key: str, value: object) -> None:
    example[table][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(example, json_schema())


def test_the_reference_page_is_the_model() -> None:
    page = PROJECT / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8") == settings_reference(), "run `make docs`"


def test_the_reference_page_explains_every_key() -> None:
    page = settings_reference()
    schema: Any = json_schema()
    tables = [schema, *schema["$defs"].values()]
    keys = [(key, node) for table in tables for key, node in table.get("properties", {}).items()]
    assert [key for key, _ in keys if f"`{key}`" not in page and f"[{key}" not in page] == []
    assert [key for key, node in keys if not node.get("description")] == []
