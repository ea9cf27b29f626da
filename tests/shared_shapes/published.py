"""Fly's published shapes, where they lie beside this checkout, as a second judge that shares no code with the first."""

import copy
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import GraphQLSchema, build_schema
from jsonschema import Draft202012Validator

from flykeep.testing.flysim.graph import GraphRequest, graphql_objections
from flykeep.testing.flysim.judge import EXTRAS, OVERRIDES, REQUIRED

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY.parent / "shared" / "fly"

# Names in these maps are removed by a null, which the published shapes do not say (fly-go sends them).
NULLABLE_MAPS = frozenset({"metadata", "values"})


def is_present() -> bool:
    return (FOLDER / "openapi.json").is_file() and (FOLDER / "schema.graphql").is_file()


@dataclass(frozen=True)
class Published:
    document: dict[str, Any]
    graphql: GraphQLSchema

    def objections(self, record: dict[str, Any]) -> list[str]:
        """What is wrong with one logged request."""
        if record["path"] == "/graphql":
            body = record["body"] if isinstance(record["body"], dict) else {}
            asked = GraphRequest(str(body.get("query", "")), body.get("variables") or {})
            return graphql_objections(self.graphql, asked)
        return self._rest_objections(record)

    def _rest_objections(self, record: dict[str, Any]) -> list[str]:
        method, path = record["method"], record["path"].removeprefix("/v1")
        template = self._template(path)
        operation = self.document["paths"].get(template, {}).get(method.lower())
        if operation is None:
            return [f"unknown operation {method} {path}"]
        known = {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"}
        known |= {extra.query for extra in EXTRAS if (extra.method, extra.path) == (method, template)}
        wrong = [f"unknown query name {name!r}" for name in record["query"] if name not in known]
        return wrong + self._body_objections(method, template, operation, record["body"])

    def _body_objections(self, method: str, template: str, operation: dict[str, Any], body: Any) -> list[str]:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            return [] if body in (None, {}) else ["no body is taken here"]
        missing = [path for path in REQUIRED.get((method, template), ()) if _missing(body, path.split("."))]
        wrong = [f"missing field {path!r}" for path in missing]
        if body is None:
            return wrong
        validator = Draft202012Validator({"$defs": self._closed(), **close(content["schema"])})
        found = validator.iter_errors(_without_removals(body))
        return wrong + [f"{error.json_path}: {error.message}" for error in found]

    def _template(self, path: str) -> str:
        for template in sorted(self.document["paths"], key=lambda text: text.count("{")):
            if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path):
                return str(template)
        return ""

    @lru_cache(maxsize=1)  # noqa: B019 - one object per process
    def _closed(self) -> dict[str, Any]:
        return {name: close(schema) for name, schema in (self.document["components"]["schemas"] | OVERRIDES).items()}

    def __hash__(self) -> int:
        return id(self)


@lru_cache(maxsize=1)
def published() -> Published:
    """The published shapes; only where `is_present`."""
    document = json.loads((FOLDER / "openapi.json").read_text(encoding="utf-8"))
    return Published(document, build_schema((FOLDER / "schema.graphql").read_text(encoding="utf-8")))


def close(schema: Any) -> Any:
    """The schema in JSON Schema's words, with `additionalProperties: false` wherever properties are named."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": "#/$defs/" + schema["$ref"].rsplit("/", 1)[1]}
    if "allOf" in schema and len(schema["allOf"]) == 1:
        return close(schema["allOf"][0])
    closed = {k: copy.deepcopy(v) for k, v in schema.items() if k in {"type", "enum", "required"}}
    if "items" in schema:
        closed["items"] = close(schema["items"])
    if "properties" in schema:
        closed["properties"] = {name: close(part) for name, part in schema["properties"].items()}
        closed["additionalProperties"] = False
    if isinstance(schema.get("additionalProperties"), dict):
        closed["additionalProperties"] = close(schema["additionalProperties"])
    return closed


def _missing(body: Any, path: list[str]) -> bool:
    for name in path:
        if not isinstance(body, dict) or name not in body:
            return True
        body = body[name]
    return False


def _without_removals(body: Any, key: str = "") -> Any:
    if isinstance(body, dict):
        kept = {k: v for k, v in body.items() if v is not None or key not in NULLABLE_MAPS}
        return {k: _without_removals(v, k) for k, v in kept.items()}
    if isinstance(body, list):
        return [_without_removals(item) for item in body]
    return body
