"""With FLYKEEP_NO_SKIPS=1 a skip fails the run and says why it was skipped."""

import pytest

pytest_plugins = ["pytester"]

SKIPPING = """
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="no such program here")
def test_marked():
    pass

def test_decides_itself():
    pytest.skip("decided so")

@pytest.mark.xfail(strict=True, reason="known")
def test_expected_to_fail():
    assert False
"""
PUBLISHED = """
import pytest

@pytest.mark.needs_shared
def test_compares_with_the_published_shapes():
    pass

def test_other():
    pass
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "tests.no_skips", "-p", "no:asyncio", "-ra", *arguments)


@pytest.fixture(autouse=True)
def _not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLYKEEP_NO_SKIPS", raising=False)


def test_without_the_variable_a_skip_is_listed_with_its_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SKIPPING)

    result = run(pytester)

    result.assert_outcomes(passed=1, skipped=2, xfailed=1)
    result.stdout.fnmatch_lines(["SKIPPED*no such program here*"])
    assert result.ret == 0


def test_with_the_variable_a_skip_fails_and_keeps_its_reason(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYKEEP_NO_SKIPS", "1")
    pytester.makepyfile(SKIPPING)

    result = run(pytester)

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*nothing may be skipped*no such program here*"])
    result.stdout.fnmatch_lines(["*nothing may be skipped*decided so*"])
    outcomes = result.parseoutcomes()
    assert outcomes.get("passed") == 1
    assert outcomes.get("xfailed") == 1
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 2
    assert "skipped" not in outcomes


def test_with_the_variable_a_module_that_skips_itself_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYKEEP_NO_SKIPS", "1")
    pytester.makepyfile("import pytest\npytest.importorskip('no_such_module')\n")

    result = run(pytester)

    assert result.ret != 0
    result.stdout.fnmatch_lines(["*nothing may be skipped*no_such_module*"])


def test_the_published_shapes_are_left_out_by_name_only_where_they_are_absent(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYKEEP_NO_SKIPS", "1")
    project = pytester.mkdir("project")
    (project / "test_shapes.py").write_text(PUBLISHED, encoding="utf-8")
    (project / "pytest.ini").write_text("[pytest]\nmarkers = needs_shared\n", encoding="utf-8")

    absent = run(pytester, str(project), "-c", str(project / "pytest.ini"))
    absent.assert_outcomes(passed=1, deselected=1)
    absent.stdout.fnmatch_lines(["*left out*", "*::test_compares_with_the_published_shapes"])

    pytester.mkdir("shared").joinpath("fly").mkdir()
    run(pytester, str(project), "-c", str(project / "pytest.ini")).assert_outcomes(passed=2)


def test_the_processes_of_a_parallel_run_hand_the_list_to_the_summary(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("FLYKEEP_NO_SKIPS", "1")
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    project = pytester.mkdir("project")
    (project / "test_shapes.py").write_text(PUBLISHED + SKIPPING, encoding="utf-8")
    (project / "pytest.ini").write_text("[pytest]\nmarkers = needs_shared\n", encoding="utf-8")

    result = pytester.runpytest_subprocess(
        "-p", "tests.no_skips", "-p", "no:asyncio", "-n", "1", "--rootdir", str(project), str(project)
    )

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*left out*", "*::test_compares_with_the_published_shapes"])
    outcomes = result.parseoutcomes()
    assert (outcomes.get("failed"), outcomes.get("errors")) == (1, 1)
    assert "skipped" not in outcomes
