"""The size gate stops what it is there to stop."""

from pathlib import Path

import pytest

from scripts.size_gate import main, measure, percentile

PROJECT = Path(__file__).parents[3]


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def function_of(lines: int, name: str = "long") -> str:
    return f"def {name}():\n" + "    x = 1\n" * (lines - 1)


def test_this_repository_passes_its_own_gate() -> None:
    verdict = measure(PROJECT)

    assert verdict.violations == ()
    assert verdict.modules > 0


@pytest.mark.parametrize(
    ("name", "lines", "is_accepted"),
    [
        ("src/flykeep/domain/model.py", 400, True),
        ("src/flykeep/domain/model.py", 401, False),
        ("tests/unit/test_model.py", 600, True),
        ("tests/unit/test_model.py", 601, False),
    ],
)
def test_a_module_may_reach_its_limit_but_not_pass_it(tmp_path: Path, name: str, lines: int, is_accepted: bool) -> None:
    write(tmp_path, name, "x = 1\n" * lines)

    violations = measure(tmp_path).violations

    assert (violations == ()) == is_accepted
    assert is_accepted or f"{name}: {lines} lines" in violations[0]


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "base", "manager", "misc"])
def test_a_module_without_a_subject_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"src/flykeep/{name}.py", "")
    write(tmp_path, f"src/flykeep/{name}/__init__.py", "")

    assert len(measure(tmp_path).violations) == 2


def test_a_function_of_61_lines_is_refused_and_named(tmp_path: Path) -> None:
    short = "\n".join(function_of(5, f"short_{number}") for number in range(20))
    write(tmp_path, "src/flykeep/a.py", short + "\n" + function_of(60))
    assert measure(tmp_path).violations == ()

    write(tmp_path, "src/flykeep/a.py", short + "\n" + function_of(61))
    [violation] = measure(tmp_path).violations
    assert "long has 61 lines" in violation


def test_methods_and_nested_functions_are_measured_too(tmp_path: Path) -> None:
    method = "class A:\n" + "".join(f"    {line}\n" for line in function_of(61).splitlines())
    write(tmp_path, "src/flykeep/a.py", method)

    assert any("long has 61 lines" in violation for violation in measure(tmp_path).violations)


def test_too_many_middling_functions_are_refused_as_a_whole(tmp_path: Path) -> None:
    functions = [function_of(31 if number < 2 else 5, f"f{number}") for number in range(10)]
    write(tmp_path, "src/flykeep/a.py", "\n".join(functions))

    [violation] = measure(tmp_path).violations

    assert violation == "nine functions in ten have up to 31 lines, at most 30"


def test_a_test_function_may_be_as_long_as_its_story(tmp_path: Path) -> None:
    write(tmp_path, "tests/unit/test_a.py", function_of(100))

    assert measure(tmp_path).violations == ()


def test_the_command_fails_with_a_violation_and_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "src/flykeep/utils.py", "")

    assert main([str(tmp_path)]) == 1
    assert "src/flykeep/utils.py: a module is named by its subject" in capsys.readouterr().out


def test_a_gate_that_measured_nothing_fails(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("lengths", "share", "expected"), [([], 0.9, 0), ([7], 0.9, 7), (list(range(1, 11)), 0.9, 9), ([1, 100], 0.5, 1)]
)
def test_the_percentile_is_a_length_that_occurs(lengths: list[int], share: float, expected: int) -> None:
    assert percentile(lengths, share) == expected
