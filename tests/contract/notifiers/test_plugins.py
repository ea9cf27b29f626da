"""Extensions of other packages, installed for real into a folder of their own."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flykeep.domain.errors import PluginError
from flykeep.plugins import available_notifiers, load_notifiers

GOOD = """
from flykeep.ports.plugin import NotifierPlugin
PLUGIN = NotifierPlugin(type="pager", summary="A pager.", build=None, validate=lambda name, table: None)
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a package with one entry point where Python finds it."""
    modules: list[str] = []

    def installed(package: str, code: str, *, entry: str = "pager") -> None:
        module = package.replace("-", "_")
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[flykeep.notifiers]\n{entry} = {module}:PLUGIN\n", encoding="utf-8")

    monkeypatch.syspath_prepend(str(tmp_path))
    yield installed
    for module in modules:
        sys.modules.pop(module, None)


def test_a_notifier_of_another_package_is_found_and_loaded(install: Install) -> None:
    install("flykeep-pager", GOOD)
    assert ("pager", "flykeep-pager") in available_notifiers()
    assert load_notifiers(["pager"])["pager"].summary == "A pager."


def test_only_what_is_named_is_imported(install: Install) -> None:
    install("flykeep-broken", "raise RuntimeError('must not be imported')")
    assert set(load_notifiers(["log", "webhook", "log"])) == {"log", "webhook"}
    assert "flykeep_broken" not in sys.modules


@pytest.mark.parametrize(
    "code", ["raise RuntimeError('boom')", "import no_such_module_anywhere", "x = 1", "PLUGIN = 1", "def :"]
)
def test_a_broken_package_is_named(install: Install, code: str) -> None:
    install("flykeep-broken", code)
    with pytest.raises(PluginError, match="package flykeep-broken") as broken:
        load_notifiers(["pager"])
    assert broken.value.exit_code == 2
    assert "flykeep-broken" in broken.value.next_step


def test_a_plugin_under_a_foreign_name_is_refused(install: Install) -> None:
    install("flykeep-pager", GOOD, entry="beeper")
    with pytest.raises(PluginError, match="is not a notifier of that type"):
        load_notifiers(["beeper"])


def test_a_type_that_two_packages_bring_is_refused(install: Install) -> None:
    install("flykeep-pager", GOOD)
    install("other-pager", GOOD)
    with pytest.raises(PluginError, match="brought by flykeep-pager and other-pager"):
        load_notifiers(["pager"])


def test_a_type_nobody_brings_names_the_nearest() -> None:
    with pytest.raises(PluginError, match="no installed package brings") as missing:
        load_notifiers(["webhok"])
    assert missing.value.next_step == "Did you mean webhook?"
