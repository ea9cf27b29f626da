"""What the pages on notifiers show is run: a reader copies it."""

import re
from pathlib import Path
from typing import Any

import pytest

from flykeep.adapters.notifiers.document import as_json
from flykeep.adapters.notifiers.webhook import signature
from flykeep.domain.findings import MessageKind
from flykeep.testing.clock import ManualClock
from flykeep.testing.contracts import notifier as contract

DOCS = Path(__file__).resolve().parents[3] / "docs"


def first_python_of(page: str) -> dict[str, Any]:
    """The names the first Python block of a page defines."""
    found = re.search(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(found.group(1), page, "exec"), names)
    return names


def test_the_receiver_of_the_page_accepts_our_signature_and_no_other() -> None:
    verify = first_python_of("reference/notifiers.md")["is_from_flykeep"]
    body = as_json(contract.sample_message(MessageKind.OPENED)).encode()
    header = signature(body, key="key", timestamp=1_767_225_600)
    assert verify(body, header, "key", 1_767_225_610.0)
    assert not verify(body + b" ", header, "key", 1_767_225_610.0)
    assert not verify(body, header, "other", 1_767_225_610.0)
    assert not verify(body, header, "key", 1_767_226_000.0)


def test_the_document_of_the_page_has_the_keys_we_send() -> None:
    page = (DOCS / "reference/notifiers.md").read_text(encoding="utf-8")
    table = page[page.index("| `schema` |") : page.index("`X-Flykeep-Signature: ")]
    keys = {
        key for line in table.splitlines() for key in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    assert keys == set(re.findall(r'"(\w+)":', as_json(contract.sample_message(MessageKind.OPENED))))


@pytest.fixture
def pager() -> contract.NotifierCase:
    plugin = first_python_of("how-to/add-a-notifier.md")["PLUGIN"]
    table = {"number": "112", "token_secret": "PAGER_TOKEN"}
    planted = "hunter2-planted-secret"
    return contract.NotifierCase(plugin, table, {"PAGER_TOKEN": planted}, None, None, (planted,))


async def test_the_notifier_of_the_how_to_holds_to_the_contract(pager: contract.NotifierCase) -> None:
    contract.check_declares_its_kinds(pager, ManualClock())
    contract.check_judges_its_table(pager)
    await contract.check_reports_a_missing_secret(pager, ManualClock())
