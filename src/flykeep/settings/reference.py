"""The configuration explained from its model: the JSON schema, and docs/reference/settings.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flykeep.domain.documents import Plain
from flykeep.settings.model import FileModel

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_HEAD = """\
# Settings

<!-- made by `make docs` from `flykeep.settings.model`; change it there -->

One TOML file, named by `--config` or `FLYKEEP_CONFIG`; `config.example.toml` is a whole one. `flykeep config check`
reads it offline, `flykeep config show` tells each effective value and where it comes from, `flykeep config schema`
prints a JSON schema for editors.

- The environment beats the file: `FLYKEEP_` and then the key path in capitals with `__` between levels, such as
  `FLYKEEP_STORES__OFFSITE__BUCKET`. Lists and whole tables are JSON.
- Keys ending in `_secret` hold the NAME of an environment variable. Where the variable is not set, `NAME_FILE` may
  hold the path of a file with the value. Secrets are read when they are used and never shown. A secret written out is
  refused.
- Durations: `20s`, `90m`, `26h`, `8d`, `1h30m`. Cron: five fields, Sunday is 0 and 7, read in the policy's `timezone`.
- Unknown keys are errors that name the key, its line and the nearest valid key.
- Presets are `production`, `development` and `critical`. A policy inherits from `extends` (or, where it bears a
  preset's name, from that preset) key by key; `copies` is replaced as a whole. A preset exports only where `copies`
  names a store.
- The first target that matches a volume wins. Paths are globs from the volume's root.

From the environment alone: `FLY_ACCESS_TOKEN`, else `FLY_API_TOKEN`, each also with `_FILE`; `FLY_FLAPS_BASE_URL`,
`FLY_API_BASE_URL`. `FLY_REGION` and `FLY_APP_NAME` are not settings: inside a machine they describe flykeep itself.
"""


def json_schema() -> dict[str, Plain]:
    """The JSON schema of the configuration file."""
    schema: dict[str, Any] = FileModel.model_json_schema()
    return {"$schema": SCHEMA_DIALECT, **schema}


def settings_reference() -> str:
    """The text of docs/reference/settings.md."""
    schema = json_schema()
    lines = [_HEAD]
    for section in _sections(schema):
        lines += [f"## `{section.title}`", "", section.description, ""]
        lines += ["| key | value | default | meaning |", "|---|---|---|---|", *_rows(section, schema), ""]
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    description: str
    table: Any


_SUBTABLES = (
    ("PolicyTable", "snapshot", "[policies.NAME.snapshot]"),
    ("PolicyTable", "export", "[policies.NAME.export]"),
    ("PolicyTable", "drill", "[policies.NAME.drill]"),
    ("PolicyTable", "copies", "[[policies.NAME.copies]]"),
    ("CopyTable", "keep", "keep = { ... }"),
    ("TargetTable", "hooks", "hooks.WHEN = { ... }"),
    ("HooksTable", "before_snapshot", "a hook"),
    ("TargetTable", "probes", "probes = [ { ... } ]"),
    ("TargetTable", "clean", "clean = [ { ... } ]"),
)


def _sections(schema: Any) -> Iterator[_Section]:
    for name, node in schema["properties"].items():
        description = node.get("description", "")
        tables = _tables_in(node, schema)
        for table in tables:
            kind = table["properties"].get("type", {}).get("const")
            title = _header(name, node)
            yield _Section(f'{title} type = "{kind}"' if kind else title, description, table)
        if name in {"policies", "targets"}:
            yield from _subsections(schema, "PolicyTable" if name == "policies" else "TargetTable")


def _subsections(schema: Any, owner: str) -> Iterator[_Section]:
    for model, key, title in _SUBTABLES:
        node = schema["$defs"][model]["properties"][key]
        is_below = model == owner or (owner, model) in {("PolicyTable", "CopyTable"), ("TargetTable", "HooksTable")}
        if is_below:
            yield _Section(title, node.get("description", ""), _tables_in(node, schema)[0])


def _header(name: str, node: Any) -> str:
    """How the table's header is written in the file."""
    if node.get("type") == "array":
        return f"[[{name}]]"
    is_named = "additionalProperties" in node or "patternProperties" in node
    return f"[{name}.NAME]" if is_named else f"[{name}]"


def _tables_in(node: Any, schema: Any) -> list[Any]:
    """The tables a node refers to, through lists, names and alternatives."""
    if "$ref" in node:
        found = schema["$defs"][node["$ref"].rpartition("/")[2]]
        return [found] if "properties" in found else []
    inner = [*node.get("oneOf", ()), *node.get("anyOf", ()), *node.get("allOf", ())]
    inner += [node["items"]] if isinstance(node.get("items"), dict) else []
    inner += node.get("patternProperties", {}).values()
    inner += [node["additionalProperties"]] if isinstance(node.get("additionalProperties"), dict) else []
    return [table for one in inner for table in _tables_in(one, schema)]


def _rows(section: _Section, schema: Any) -> Iterator[str]:
    required = section.table.get("required", ())
    for key, node in section.table["properties"].items():
        default = "**needed**" if key in required else _default(node, schema)
        yield f"| `{key}` | {_type(node, schema)} | {default} | {node.get('description', '')} |"


def _default(node: Any, schema: Any) -> str:
    value = node.get("default")
    if value is None or value in ([], {}) or _tables_in(node, schema):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _type(node: Any, schema: Any) -> str:
    if _tables_in(node, schema):
        return "list of tables" if "items" in str(node) else "table"
    choices = [member for member in node.get("anyOf", [node]) if member.get("type") != "null"]
    return " or ".join(dict.fromkeys(_one_type(choice) for choice in choices))


def _one_type(node: Any) -> str:
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if "26h" in node.get("examples", ()):
        return "duration"
    if "anyOf" in node:
        return " or ".join(_one_type(one) for one in node["anyOf"] if one.get("type") != "null")
    if node.get("type") == "array":
        return "list"
    return {"integer": "number", "boolean": "true or false"}.get(node.get("type", ""), "text")
