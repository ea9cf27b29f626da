"""The two Authorization headers that a token setting becomes."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.adapters.fly.tokens import FlyTokens, parse_tokens

_BODY = st.text(string.ascii_letters + string.digits + "+/=_-", min_size=6, max_size=40)
_MACAROON = st.builds("{}{}".format, st.sampled_from(["fm1r_", "fm1a_", "fm2_"]), _BODY)
_OAUTH = st.text(string.ascii_letters + string.digits, min_size=8, max_size=40).filter(
    lambda text: not text.startswith("fm")
)
_SCHEME = st.sampled_from(["", "FlyV1 ", "flyv1 ", "Bearer ", "BEARER ", "Bearer FlyV1 ", "FlyV1 FlyV1  "])


@pytest.mark.parametrize(
    ("setting", "machines", "graphql"),
    [
        ("fm2_a", "FlyV1 fm2_a", "FlyV1 fm2_a"),
        ("FlyV1 fm2_a,fm2_b", "FlyV1 fm2_a,fm2_b", "FlyV1 fm2_a,fm2_b"),
        ("bearer flyv1 fm1r_a , fm1a_b\n", "FlyV1 fm1r_a,fm1a_b", "FlyV1 fm1r_a,fm1a_b"),
        ("userToken", "Bearer userToken", "Bearer userToken"),
        ("userToken,fm2_a", "FlyV1 fm2_a", "FlyV1 fm2_a,userToken"),
        ("one,two", "Bearer one,two", "Bearer one,two"),
    ],
)
def test_headers_follow_the_kinds_of_tokens(setting: str, machines: str, graphql: str) -> None:
    tokens = parse_tokens(setting)

    assert tokens.machines_authorization() == machines
    assert tokens.graphql_authorization() == graphql


@given(scheme=_SCHEME, macaroons=st.lists(_MACAROON, max_size=4), oauth=st.lists(_OAUTH, max_size=3))
def test_every_part_of_a_setting_is_kept_in_order_and_no_scheme_stands_twice(
    scheme: str, macaroons: list[str], oauth: list[str]
) -> None:
    tokens = parse_tokens(scheme + ", ".join(macaroons + oauth))

    assert tokens.macaroons == tuple(macaroons)
    assert tokens.oauth == tuple(oauth)
    assert tokens.is_sendable == bool(macaroons or oauth)
    for header in (tokens.machines_authorization(), tokens.graphql_authorization()):
        assert header.startswith("FlyV1 " if macaroons else "Bearer ")
        assert header.lower().count("flyv1 ") + header.lower().count("bearer ") == 1


@given(macaroons=st.lists(_MACAROON, min_size=1, max_size=3), oauth=st.lists(_OAUTH, max_size=2), text=st.text())
def test_a_scrubbed_text_holds_no_token(macaroons: list[str], oauth: list[str], text: str) -> None:
    tokens = FlyTokens(macaroons=tuple(macaroons), oauth=tuple(oauth))

    scrubbed = tokens.scrub(f"{text} {','.join(macaroons + oauth)} {text}")

    assert not any(part in scrubbed for part in macaroons)
    assert not any(part in scrubbed for part in oauth if part not in text and part not in "[redacted]")


def test_a_strangers_macaroon_is_scrubbed_too() -> None:
    assert parse_tokens("fm2_mine").scrub("seen fm2_theirs== there") == "seen [redacted] there"


def test_tokens_never_show_in_their_repr() -> None:
    assert "fm2" not in repr(parse_tokens("fm2_secret"))


@pytest.mark.parametrize("setting", ["", "  ", "FlyV1 ", ",", "fm2_a b", "fm2_ä", "one\ntwo"])
def test_what_cannot_stand_in_a_header_is_not_sendable(setting: str) -> None:
    assert not parse_tokens(setting).is_sendable
