"""Every notifier found through entry points holds to the contract."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flykeep.domain.errors import ConfigError, NotifyError
from flykeep.plugins import available_notifiers, load_notifiers
from flykeep.ports.plugin import NotifierPlugin
from flykeep.testing.clock import ManualClock
from flykeep.testing.contracts import notifier as contract
from flykeep.testing.contracts.notifier import NotifierCase
from tests.contract.notifiers.http_sink import Sink

# apprise's import reaches a module of the standard library that a later Python removes.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

PROJECT = Path(__file__).resolve().parents[3]
PLANTED = "hunter2-planted-secret"
TYPES = [type_ for type_, _ in available_notifiers()]

Urls = Callable[[str], str]


def case_of(type_: str, *, accepting: str, dead: str) -> NotifierCase:
    """`accepting` and `dead` are base URLs; the refusing service is the accepting one, told to refuse."""
    plugin = load_notifiers([type_])[type_]
    if type_ == "log":
        return NotifierCase(plugin, {}, accepting={}, refusing=None, dead=None, planted=(PLANTED,))
    scheme = {"apprise": f"json://user:{PLANTED}@"}.get(type_, "http://")

    def url(base: str) -> str:
        return base.replace("http://", scheme) + f"/{PLANTED}"

    table: dict[str, object] = {"url_secret": "HOOK_URL"}
    live, gone = {"HOOK_URL": url(accepting)}, {"HOOK_URL": url(dead)}
    if type_ == "webhook":
        table["signing_secret"] = "HOOK_KEY"
        live["HOOK_KEY"] = gone["HOOK_KEY"] = PLANTED
    return NotifierCase(plugin, table, accepting=live, refusing=live, dead=gone, planted=(PLANTED,))


@pytest.fixture
def case(request: pytest.FixtureRequest, sink: Sink, dead_port: int) -> NotifierCase:
    return case_of(request.param, accepting=sink.url, dead=f"http://127.0.0.1:{dead_port}")


every_notifier = pytest.mark.parametrize("case", TYPES, indirect=True)


def test_the_built_in_notifiers_are_found() -> None:
    assert {"log", "webhook", "apprise", "healthchecks"} <= set(TYPES)


@every_notifier
def test_it_declares_its_kinds_and_hides_its_secrets(case: NotifierCase) -> None:
    contract.check_declares_its_kinds(case, ManualClock())


@every_notifier
def test_it_judges_its_own_table(case: NotifierCase) -> None:
    contract.check_judges_its_table(case)


@every_notifier
async def test_it_delivers_every_kind_it_declares(case: NotifierCase, sink: Sink) -> None:
    await contract.check_delivers_every_kind(case, ManualClock())
    assert bool(sink.received) == (case.refusing is not None)


@every_notifier
@pytest.mark.parametrize("status", [301, 400, 403, 404, 410, 429, 500, 503])
async def test_it_reports_a_refusal_without_its_secret(case: NotifierCase, sink: Sink, status: int) -> None:
    sink.status = status
    await contract.check_reports_refusal(case, ManualClock())


@every_notifier
async def test_it_reports_a_dead_address(case: NotifierCase) -> None:
    await contract.check_reports_a_dead_address(case, ManualClock())


@every_notifier
async def test_it_reports_a_missing_secret_when_it_sends(case: NotifierCase) -> None:
    await contract.check_reports_a_missing_secret(case, ManualClock())


@every_notifier
async def test_the_whole_contract_can_be_run_at_once(case: NotifierCase, sink: Sink) -> None:
    if case.refusing is not None:
        refusing = {**case.refusing, "HOOK_URL": "nope://x"}
        case = NotifierCase(case.plugin, case.table, case.accepting, refusing, case.dead, case.planted)
    await contract.check_notifier(case, ManualClock())


@pytest.mark.parametrize("type_", TYPES)
def test_its_reference_page_names_it(type_: str) -> None:
    page = (PROJECT / "docs" / "reference" / "notifiers.md").read_text(encoding="utf-8")
    assert f"## `{type_}`" in page
    assert load_notifiers([type_])[type_].summary in page


class Careless:
    """A notifier that breaks the contract."""

    name = "sample"

    def __init__(self, kinds: frozenset, error: Exception | None) -> None:
        self.kinds = kinds
        self._error = error

    async def send(self, message: object) -> None:
        if self._error:
            raise self._error


@pytest.mark.parametrize(
    "error", [None, NotifyError(f"can't reach http://x/{PLANTED}"), NotifyError("no", is_permanent=True)]
)
async def test_the_contract_catches_a_careless_notifier(error: Exception | None) -> None:
    def accept(name: str, table: object) -> None:
        if "no_such_key" in table:  # type: ignore[operator]
            raise ConfigError(f"no_such_key: {PLANTED}")

    plugin = NotifierPlugin("x", "x", build=lambda *_: Careless(frozenset(), error), validate=accept)
    case = NotifierCase(plugin, {}, {"A": "a"}, {"A": "a"}, {"A": "a"}, planted=(PLANTED,))
    with pytest.raises(AssertionError):
        contract.check_declares_its_kinds(case, ManualClock())
    with pytest.raises(AssertionError):
        contract.check_judges_its_table(case)
    with pytest.raises(AssertionError):
        await contract.check_reports_a_dead_address(case, ManualClock())
