"""What of a command line the simulated flyctl understands, and that it refuses the rest."""

import pytest

from flykeep.testing.flyctl.arguments import UsageError, understood


def test_flags_stand_before_and_after_arguments_in_every_form() -> None:
    call = understood(
        [
            "volumes",
            "create",
            "-a",
            "shop",
            "data",
            "--size=3",
            "--region",
            "fra",
            "--yes",
            "--scheduled-snapshots=false",
        ]
    )

    assert call.command.words == ("volumes", "create")
    assert call.arguments == ("data",)
    assert (call.text("app"), call.text("region"), call.whole("size")) == ("shop", "fra", 3)
    assert call.is_on("yes")
    assert not call.is_on("scheduled-snapshots")
    assert call.given == {"app", "size", "region", "yes", "scheduled-snapshots"}


def test_what_is_not_given_has_flyctls_default() -> None:
    call = understood(["volumes", "create", "data"])

    assert (call.whole("size"), call.whole("snapshot-retention"), call.text("snapshot-id")) == (1, 5, "")
    assert call.is_on("scheduled-snapshots")
    assert call.is_on("require-unique-zone")
    assert not call.is_on("json")


def test_the_longest_command_is_meant_and_its_arguments_follow() -> None:
    assert understood(["volumes", "snapshots", "list", "vol_1"]).command.words == ("volumes", "snapshots", "list")
    assert understood(["machine", "run", "debian", "sleep", "--", "--rm"]).arguments == ("debian", "sleep", "--rm")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("volumes make data", "unknown command: fly volumes make data"),
        ("volumes create data --sise 3", "unknown flag: --sise"),
        ("volumes create data -z", "unknown flag: -z"),
        ("volumes create data --region", "flag needs an argument: --region"),
        ("volumes create", "does not take 0 arguments"),
        ("volumes list data", "does not take 1 arguments"),
    ],
)
def test_what_flyctl_lacks_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        understood(line.split())


def test_a_number_must_be_one() -> None:
    with pytest.raises(UsageError, match='invalid argument "x" for "--size" flag'):
        understood(["volumes", "create", "data", "--size", "x"]).whole("size")
