"""Judges requests by the shipped, reduced shapes of Fly's API: what they do not name is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from flykeep.testing.flysim.model import JsonObject


@dataclass(frozen=True, slots=True)
class Extra:
    """A query name that the published shapes lack but that Fly is known to take."""

    method: str
    path: str
    query: str
    reason: str


# Source: flyctl and fly-go; the published OpenAPI document lags behind what its own client sends.
EXTRAS: Final = (
    Extra("POST", "/apps", "wait", "flyctl waits for a new app"),
    Extra("DELETE", "/apps/{app_name}/machines/{machine_id}", "kill", "flyctl destroys with it"),
    Extra("POST", "/apps/{app_name}/machines/{machine_id}/lease", "ttl", "flyctl sends no body here"),
    Extra("POST", "/apps/{app_name}/machines/{machine_id}/restart", "force_stop", "flyctl restarts with it"),
    Extra("GET", "/apps/{app_name}/secrets", "version", "fly-go's name of min_version"),
)

# Schemas that the published document words otherwise than the wire: an action is a string of the letters rwcdC.
# Source: superfly/macaroon, resset.Action, which is written as text.
OVERRIDES: Final[Mapping[str, JsonObject]] = {"resset.Action": {"type": "string"}}

# The published shapes mark next to nothing as required; these are refused by Fly when they are missing.
REQUIRED: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("POST", "/apps"): ("name", "org_slug"),
    ("POST", "/apps/{app_name}/certificates/acme"): ("hostname",),
    ("POST", "/apps/{app_name}/ip_assignments"): ("type",),
    ("POST", "/apps/{app_name}/machines"): ("config", "config.image"),
    ("POST", "/apps/{app_name}/machines/{machine_id}"): ("config", "config.image"),
    ("PUT", "/apps/{app_name}/machines/{machine_id}/metadata"): ("metadata",),
    ("PATCH", "/apps/{app_name}/machines/{machine_id}/metadata"): ("metadata",),
    ("POST", "/apps/{app_name}/machines/{machine_id}/metadata/{key}"): ("value",),
    ("POST", "/apps/{app_name}/machines/{machine_id}/signal"): ("signal",),
    ("POST", "/apps/{app_name}/secrets"): ("values",),
    ("POST", "/apps/{app_name}/secrets/{secret_name}"): ("value",),
    ("POST", "/apps/{app_name}/volumes"): ("name", "region"),
    ("PUT", "/apps/{app_name}/volumes/{volume_id}/extend"): ("size_gb",),
}

# A null removes the key in these maps, which the published shapes do not say.
_NULLABLE_MAPS: Final = frozenset({"metadata", "values"})
_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


class Judge:
    """Answers what is wrong with a request; works on any OpenAPI 3.0 document, the published one too."""

    def __init__(self, document: JsonObject) -> None:
        self._schemas: JsonObject = document["components"]["schemas"] | OVERRIDES
        self._paths: JsonObject = document["paths"]
        self._patterns = [
            (re.compile("^" + re.sub(r"\{[^}]+\}", "[^/]+", path) + "$"), path)
            for path in sorted(self._paths, key=lambda path: path.count("{"))
        ]

    @classmethod
    def shipped(cls) -> Judge:
        """The judge the simulator works with."""
        return cls(shipped_document())

    def template(self, path: str) -> str | None:
        """The path template a concrete path (without `/v1`) belongs to."""
        return next((template for pattern, template in self._patterns if pattern.match(path)), None)

    def objections(self, *, method: str, path: str, query: Mapping[str, str], body: Any) -> list[str]:
        """What is wrong, in words; empty where nothing is. `body` is None where none was sent."""
        template = self.template(path)
        operation = self._paths.get(template or "", {}).get(method.lower())
        if template is None or operation is None:
            return [f"unknown operation {method} {path}"]
        return [
            *self._judge_query(method, template, operation, query),
            *self._judge_body(method, template, operation, body),
        ]

    @staticmethod
    def _judge_query(method: str, template: str, operation: JsonObject, query: Mapping[str, str]) -> list[str]:
        known = {p["name"]: p for p in operation.get("parameters", []) if p.get("in") == "query"}
        extras = {extra.query for extra in EXTRAS if (extra.method, extra.path) == (method, template)}
        wrong = [f"unknown query name {name!r}" for name in query if name not in known and name not in extras]
        missing = [name for name, p in known.items() if p.get("required") and name not in query]
        wrong += [f"missing query name {name!r}" for name in missing]
        for name, value in query.items():
            wanted = known.get(name, {}).get("schema", {}).get("type", "string")
            if (wanted == "integer" and not value.lstrip("-").isdigit()) or (
                wanted == "boolean" and value not in {"true", "false"}
            ):
                wrong.append(f"query {name!r} is not a {wanted}")
        return wrong

    def _judge_body(self, method: str, template: str, operation: JsonObject, body: Any) -> list[str]:
        content = operation.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        if schema is None:
            return [] if body in (None, {}) else ["no body is taken here"]
        wrong = [] if body is None else self._compare(schema, body, "body")
        for path in REQUIRED.get((method, template), ()):
            if not _has(body, path.split(".")):
                wrong.append(f"missing field {path!r}")
        if template.endswith("/exec") and not ({"command", "cmd"} & set(body if isinstance(body, dict) else ())):
            wrong.append("missing field 'command'")
        return wrong

    def _compare(self, schema: JsonObject, value: Any, where: str) -> list[str]:
        schema = self._resolve(schema)
        wanted = str(schema.get("type", ""))
        if value is None:
            return [] if schema.get("nullable") or not wanted else [f"{where} is null"]
        if wanted in _TYPES and not _is(value, wanted):
            return [f"{where} is not of type {wanted}"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{where} is none of {schema['enum']}"]
        if isinstance(value, dict):
            return self._compare_object(schema, value, where)
        if isinstance(value, list) and "items" in schema:
            found = [self._compare(schema["items"], item, f"{where}[{index}]") for index, item in enumerate(value)]
            return [objection for part in found for objection in part]
        return []

    def _compare_object(self, schema: JsonObject, value: JsonObject, where: str) -> list[str]:
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties", not properties and schema.get("type") is None)
        wrong = [f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            if name in properties:
                wrong += self._compare(properties[name], item, f"{where}.{name}")
            elif isinstance(rest, dict):
                is_removal = item is None and where.rsplit(".", 1)[-1] in _NULLABLE_MAPS
                wrong += [] if is_removal else self._compare(rest, item, f"{where}.{name}")
            elif not rest:
                wrong.append(f"unknown field {where}.{name}")
        return wrong

    def _resolve(self, schema: JsonObject) -> JsonObject:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rsplit("/", 1)[1]]
        if "allOf" not in schema:
            return schema
        merged: JsonObject = {key: value for key, value in schema.items() if key != "allOf"}
        merged["properties"] = dict(schema.get("properties", {}))
        for part in schema["allOf"]:
            resolved = self._resolve(part)
            merged["properties"] |= resolved.get("properties", {})
            # The published document says "object" beside a reference to a scalar: what is referred to is right.
            merged["type"] = resolved.get("type") or merged.get("type")
        return merged


def shipped_document() -> JsonObject:
    """The reduced OpenAPI document that comes with flykeep."""
    source = resources.files("flykeep.testing.flysim").joinpath("shapes", "machines.json")
    document: JsonObject = json.loads(source.read_text(encoding="utf-8"))
    return document


def shipped_graphql() -> str:
    """The reduced GraphQL schema that comes with flykeep."""
    return resources.files("flykeep.testing.flysim").joinpath("shapes", "api.graphql").read_text(encoding="utf-8")


def _is(value: Any, wanted: str) -> bool:
    if isinstance(value, bool) and wanted in {"integer", "number"}:
        return False
    return isinstance(value, _TYPES[wanted])


def _has(body: Any, path: list[str]) -> bool:
    for name in path:
        if not isinstance(body, dict) or name not in body:
            return False
        body = body[name]
    return body not in (None, "")
