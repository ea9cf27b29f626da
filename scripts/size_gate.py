"""Holds the sizes and names of modules and functions: `python scripts/size_gate.py [ROOT]`.

A long module does two jobs, a long function hides a step, and a module called `utils` has no subject. Exit 1 with one
line per violation; what is measured is printed either way.
"""

import ast
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LINES_PER_MODULE = {"src": 400, "scripts": 400, "benchmarks": 400, "tests": 600}
FUNCTION_LINES_MOST = 60
FUNCTION_LINES_NINE_IN_TEN = 30
# The functions of these folders are measured too; a test may be as long as its story.
FOLDERS_WITH_MEASURED_FUNCTIONS = ("src", "scripts", "benchmarks")
NAMES_WITHOUT_A_SUBJECT = frozenset(
    {"base", "common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
)


@dataclass(frozen=True, slots=True)
class Function:
    """One function or method; its lines count from `def` to the last statement."""

    place: str
    name: str
    lines: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured, and what is too big or badly named."""

    modules: int
    functions: int
    nine_in_ten_lines: int
    longest: Function | None
    violations: tuple[str, ...]


def python_files(root: Path, folder: str) -> list[Path]:
    """List the modules below one folder, in order; caches are left out."""
    return sorted(path for path in (root / folder).rglob("*.py") if "__pycache__" not in path.parts)


def functions_of(source: str, place: str) -> Iterator[Function]:
    """Yield every function of a module, nested ones and methods too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            last = node.end_lineno or node.lineno
            yield Function(place=f"{place}:{node.lineno}", name=node.name, lines=last - node.lineno + 1)


def percentile(lengths: list[int], share: float) -> int:
    """Return the smallest length that at least this share of all lengths does not exceed; 0 for none."""
    if not lengths:
        return 0
    return sorted(lengths)[math.ceil(share * len(lengths)) - 1]


def module_violations(path: Path, *, place: str, lines: int, limit: int) -> Iterator[str]:
    """Yield what is wrong with one module as a whole."""
    if lines > limit:
        yield f"{place}: {lines} lines, at most {limit}: which second job does it do?"
    if path.stem in NAMES_WITHOUT_A_SUBJECT:
        yield f"{place}: a module is named by its subject, not {path.stem!r}"
    if path.name == "__init__.py" and path.parent.name in NAMES_WITHOUT_A_SUBJECT:
        yield f"{place}: a package is named by its subject, not {path.parent.name!r}"


def function_violations(functions: list[Function]) -> Iterator[str]:
    """Yield the functions that are too long, and the whole where too many are."""
    for function in functions:
        if function.lines > FUNCTION_LINES_MOST:
            yield f"{function.place}: {function.name} has {function.lines} lines, at most {FUNCTION_LINES_MOST}"
    nine_in_ten = percentile([function.lines for function in functions], 0.9)
    if nine_in_ten > FUNCTION_LINES_NINE_IN_TEN:
        yield f"nine functions in ten have up to {nine_in_ten} lines, at most {FUNCTION_LINES_NINE_IN_TEN}"


def measure(root: Path) -> Verdict:
    """Read every module below `root` and judge it."""
    violations: list[str] = []
    functions: list[Function] = []
    modules = 0
    for folder, limit in LINES_PER_MODULE.items():
        for path in python_files(root, folder):
            modules += 1
            place = path.relative_to(root).as_posix()
            source = path.read_text(encoding="utf-8")
            violations += module_violations(path, place=place, lines=len(source.splitlines()), limit=limit)
            if folder in FOLDERS_WITH_MEASURED_FUNCTIONS:
                functions += functions_of(source, place)
    violations += function_violations(functions)
    return Verdict(
        modules=modules,
        functions=len(functions),
        nine_in_ten_lines=percentile([function.lines for function in functions], 0.9),
        longest=max(functions, key=lambda function: function.lines, default=None),
        violations=tuple(violations),
    )


def main(arguments: list[str]) -> int:
    """Print the verdict on a tree and return the exit code."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    verdict = measure(root)
    for violation in verdict.violations:
        print(violation)
    longest = f"{verdict.longest.name} with {verdict.longest.lines}" if verdict.longest else "none"
    print(
        f"size gate: {verdict.modules} modules, {verdict.functions} functions, "
        f"nine in ten up to {verdict.nine_in_ten_lines} lines, longest {longest}, {len(verdict.violations)} violations"
    )
    if verdict.modules == 0:
        print(f"size gate: no module below {root}: nothing was measured")
        return 1
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
