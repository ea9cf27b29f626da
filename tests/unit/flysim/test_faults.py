"""Fault scripts say which request goes wrong."""

from flykeep.testing.flysim.faults import Fault, FaultKind, FaultScript


def struck(script: FaultScript, action: str, *, app: str | None = "a", method: str = "GET") -> bool:
    return script.take(action=action, app=app, method=method) is not None


def test_a_fault_skips_then_strikes_then_rests() -> None:
    script = FaultScript()
    script.add(Fault(kind=FaultKind.HTML_502, after=2, times=2))

    assert [struck(script, "app.get") for _ in range(6)] == [False, False, True, True, False, False]
    assert script.struck(FaultKind.HTML_502) == 2


def test_a_fault_that_never_rests_strikes_until_it_is_cleared() -> None:
    script = FaultScript()
    script.add(Fault(kind=FaultKind.HTML_502, times=0))
    assert all(struck(script, "app.get") for _ in range(50))

    script.clear()

    assert not struck(script, "app.get")


def test_a_fault_strikes_only_what_it_names() -> None:
    script = FaultScript()
    script.add(Fault(kind=FaultKind.HTML_502, action="snapshot.*", app="my-*", method="POST", times=0))

    assert struck(script, "snapshot.create", app="my-crocbot", method="POST")
    assert not struck(script, "snapshot.create", app="my-crocbot", method="GET")
    assert not struck(script, "snapshot.create", app="wiki", method="POST")
    assert not struck(script, "volume.create", app="my-crocbot", method="POST")


def test_the_next_fault_strikes_when_the_first_is_used_up() -> None:
    script = FaultScript()
    script.add(Fault(kind=FaultKind.HTML_502), Fault(kind=FaultKind.RESET_BEFORE))

    kinds = [script.take(action="app.get", app=None) for _ in range(3)]

    assert [fault and fault.kind for fault in kinds] == [FaultKind.HTML_502, FaultKind.RESET_BEFORE, None]
