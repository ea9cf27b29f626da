"""A session in which one request does not fit the published shapes fails, in one process and in several."""

import json

import pytest

from flykeep.testing.flysim.serve import REQUEST_LOG_VARIABLE

pytest_plugins = ["pytester"]

RECORD = {
    "method": "GET",
    "path": "/v1/apps/a/volumes",
    "query": {},
    "body": None,
    "action": "volume.list",
    "is_judged_refused": False,
    "is_meant_wrong": False,
}
INNER = """
import json, os
from pathlib import Path

def test_asks():
    folder = Path(os.environ[{variable!r}])
    with (folder / "requests.jsonl").open("a") as log:
        log.write({line!r} + "\\n")
        log.write('{{"cut": ')
"""


def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, record: dict[str, object]) -> pytest.RunResult:
    monkeypatch.delenv(REQUEST_LOG_VARIABLE, raising=False)
    pytester.makepyfile(INNER.format(variable=REQUEST_LOG_VARIABLE, line=json.dumps(record)))
    return pytester.runpytest_inprocess(
        "-p", "tests.shared_shapes.session_check", "-o", "asyncio_default_fixture_loop_scope=function"
    )


@pytest.mark.needs_shared
def test_a_session_whose_requests_fit_passes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    result = session(pytester, monkeypatch, RECORD)

    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 requests compared, 0 violations"])


@pytest.mark.needs_shared
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"query": {"sumary": "true"}}, "*unknown query name 'sumary'*"),
        ({"path": "/v1/apps/a/volume"}, "*unknown operation GET /apps/a/volume*"),
        ({"method": "POST", "body": {"name": "v", "region": "iad", "sise_gb": 1}}, "*sise_gb*"),
        ({"method": "POST", "body": {"name": "v"}}, "*missing field 'region'*"),
        ({"path": "/graphql", "body": {"query": "{ vieweer { email } }"}}, "*vieweer*"),
    ],
)
def test_a_session_with_one_wrong_request_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], named: str
) -> None:
    result = session(pytester, monkeypatch, RECORD | change)

    result.assert_outcomes(passed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines([named])
