"""A misspelt field, query name or GraphQL field is refused by the shipped judge and by the published shapes."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.flysim.simulated import MEANT_WRONG, Rig, rig
from tests.shared_shapes.published import published
from tests.shared_shapes.session_check import violations


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


def last_record(fly: Rig) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(fly.sim.requests[-1].to_json())
    return record


async def send_misspelt_field(fly: Rig) -> None:
    body = {"name": "scratch", "region": "iad", "sise_gb": 1}
    answer = await fly.http.post("/apps/my-crocbot/volumes", json=body, headers=MEANT_WRONG)
    assert answer.status_code == 400
    assert answer.headers["x-flysim-judge"] == "refused"
    assert "sise_gb" in answer.json()["error"]


async def send_misspelt_query_name(fly: Rig) -> None:
    answer = await fly.http.get("/apps/my-crocbot/volumes", params={"sumary": "true"}, headers=MEANT_WRONG)
    assert answer.status_code == 400
    assert answer.headers["x-flysim-judge"] == "refused"
    assert "sumary" in answer.json()["error"]


async def send_misspelt_graphql_field(fly: Rig) -> None:
    body = {"query": '{ app(name: "my-crocbot") { organisation { id } } }'}
    answer = await fly.http.post(f"{fly.sim.api_base_url}/graphql", json=body, headers=MEANT_WRONG)
    assert answer.status_code == 200
    assert answer.headers["x-flysim-judge"] == "refused"
    assert "organisation" in answer.json()["errors"][0]["message"]


async def send_misspelt_graphql_variable_field(fly: Rig) -> None:
    query = "mutation ($input: IssueCertificateInput!) { issueCertificate(input: $input) { certificate } }"
    body = {"query": query, "variables": {"input": {"organizationId": "x", "validHrs": 1}}}
    answer = await fly.http.post(f"{fly.sim.api_base_url}/graphql", json=body, headers=MEANT_WRONG)
    assert answer.headers["x-flysim-judge"] == "refused"
    assert "validHrs" in answer.text


SENDERS = [
    pytest.param(send_misspelt_field, "sise_gb", id="field"),
    pytest.param(send_misspelt_query_name, "sumary", id="query name"),
    pytest.param(send_misspelt_graphql_field, "organisation", id="GraphQL field"),
    pytest.param(send_misspelt_graphql_variable_field, "validHrs", id="GraphQL variable"),
]


@pytest.mark.parametrize(("send", "name"), SENDERS)
async def test_the_shipped_judge_refuses_what_is_misspelt(fly: Rig, send: Any, name: str) -> None:
    await send(fly)

    assert fly.sim.requests[-1].is_judged_refused


@pytest.mark.needs_shared
@pytest.mark.parametrize(("send", "name"), SENDERS)
async def test_the_published_shapes_refuse_what_is_misspelt(fly: Rig, send: Any, name: str) -> None:
    await send(fly)

    objections = published().objections(last_record(fly))

    assert len(objections) == 1
    assert name in objections[0]


@pytest.mark.needs_shared
async def test_only_requests_marked_as_wrong_and_refused_are_let_pass(fly: Rig) -> None:
    await send_misspelt_field(fly)
    record = last_record(fly)

    assert violations([record]) == []
    assert len(violations([record | {"is_meant_wrong": False}])) == 1
    assert len(violations([record | {"is_judged_refused": False}])) == 1


async def test_a_missing_field_that_fly_needs_is_refused(fly: Rig) -> None:
    answer = await fly.http.post("/apps/my-crocbot/volumes", json={"name": "scratch"}, headers=MEANT_WRONG)

    assert answer.status_code == 400
    assert "region" in answer.json()["error"]


async def test_a_wrong_type_is_refused(fly: Rig) -> None:
    body = {"name": "scratch", "region": "iad", "size_gb": "1"}
    answer = await fly.http.post("/apps/my-crocbot/volumes", json=body, headers=MEANT_WRONG)

    assert answer.status_code == 400
    assert "size_gb" in answer.json()["error"]


async def test_a_body_where_none_is_taken_is_refused(fly: Rig) -> None:
    answer = await fly.http.post(f"{fly.machine_path}/start", json={"force": True}, headers=MEANT_WRONG)

    assert answer.status_code == 400
