"""The reduced shapes that flykeep ships say nothing that Fly's published ones do not say."""

from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
)

from flykeep.testing.flysim.judge import shipped_document, shipped_graphql
from tests.shared_shapes.published import published


def schema_excess(small: Any, large: Any, where: str) -> list[str]:
    """What a reduced schema says differently from the published one."""
    if not isinstance(small, dict):
        return [] if small == large else [f"{where}: {small!r} is not {large!r}"]
    found = []
    for key, value in small.items():
        if key not in large:
            found.append(f"{where}.{key} is not published")
        elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
            pairs = zip(value, large[key], strict=True)
            found += [line for a, b in pairs for line in schema_excess(a, b, f"{where}.{key}")]
        else:
            found += schema_excess(value, large[key], f"{where}.{key}")
    return found


def rest_excess(small: dict[str, Any], large: dict[str, Any]) -> list[str]:
    found = []
    for path, operations in small["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            theirs = large["paths"].get(path, {}).get(method)
            if theirs is None:
                found.append(f"{where} is not published")
                continue
            known = {p["name"]: p for p in theirs.get("parameters", []) if p["in"] == "query"}
            for parameter in operation["parameters"]:
                published_one = {"required": False} | known.get(parameter["name"], {})
                found += schema_excess(parameter, published_one, f"{where} {parameter['name']}")
            required = {name for name, p in known.items() if p.get("required")}
            found += [f"{where} lacks {name}" for name in required - {p["name"] for p in operation["parameters"]}]
            body = operation.get("requestBody")
            found += schema_excess(body, theirs.get("requestBody", {}), where) if body else []
    small_parts, large_parts = small["components"]["schemas"], large["components"]["schemas"]
    return found + schema_excess(small_parts, large_parts, "schemas")


def graphql_excess(small: GraphQLSchema, large: GraphQLSchema) -> list[str]:
    found = []
    for name, kind in small.type_map.items():
        if name.startswith("__"):
            continue
        theirs: Any = large.type_map.get(name)
        if theirs is None or type(theirs) is not type(kind):
            found.append(f"{name} is not published as such")
        elif isinstance(kind, GraphQLEnumType):
            found += [f"{name}.{value} is not published" for value in kind.values if value not in theirs.values]
        elif isinstance(kind, (GraphQLObjectType, GraphQLInterfaceType, GraphQLInputObjectType)):
            found += field_excess(name, kind, theirs)
    return found


def field_excess(name: str, kind: Any, theirs: Any) -> list[str]:
    found = []
    for field_name, field in kind.fields.items():
        published_field = theirs.fields.get(field_name)
        if published_field is None or str(published_field.type) != str(field.type):
            found.append(f"{name}.{field_name} is not published as {field.type}")
            continue
        if isinstance(kind, GraphQLInputObjectType):
            continue
        for argument_name, argument in field.args.items():
            known = published_field.args.get(argument_name)
            if known is None or str(known.type) != str(argument.type):
                found.append(f"{name}.{field_name}({argument_name}) is not published as {argument.type}")
    if isinstance(kind, GraphQLInputObjectType):
        required = {n for n, f in theirs.fields.items() if str(f.type).endswith("!")}
        found += [f"{name} lacks {missing}" for missing in sorted(required - set(kind.fields))]
    return found


@pytest.mark.needs_shared
def test_the_shipped_shapes_are_subsets_of_the_published_ones() -> None:
    shapes = published()

    assert rest_excess(shipped_document(), shapes.document) == []
    assert graphql_excess(build_schema(shipped_graphql()), shapes.graphql) == []


@pytest.mark.needs_shared
def test_a_shape_that_fly_does_not_publish_is_found() -> None:
    shapes = published()
    document = shipped_document()
    document["components"]["schemas"]["CreateVolumeRequest"]["properties"]["sise_gb"] = {"type": "integer"}
    document["paths"]["/apps/{app_name}/volumes"]["get"]["parameters"][0]["name"] = "sumary"
    schema = build_schema(shipped_graphql().replace("sshCertificate", "sshCertifikate"))

    assert len(rest_excess(document, shapes.document)) >= 2
    assert graphql_excess(schema, shapes.graphql) == ["Organization.sshCertifikate is not published as String"]
