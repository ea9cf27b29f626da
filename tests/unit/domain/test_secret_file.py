"""Secrets in the two ways people keep them, and refusals that repeat no value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.errors import UsageError
from flykeep.domain.secret_file import parse_secrets


def test_lines_may_be_plain_quoted_exported_or_comments() -> None:
    text = (
        "# my bot\n\nPLAIN=one two\nexport TOKEN=abc#def  # a comment\n"
        'QUOTED=\'with # and "\' # more\nDOUBLE="a\\n\\"b\\" \\$"\n  SPACED  =  x  \nEMPTY=\n'
        "KEY='-----BEGIN\nMIDDLE\nEND'\nLAST=z"
    )
    assert parse_secrets(text, is_toml=False) == {
        "PLAIN": "one two",
        "TOKEN": "abc#def",
        "QUOTED": 'with # and "',
        "DOUBLE": 'a\n"b" $',
        "SPACED": "x",
        "EMPTY": "",
        "KEY": "-----BEGIN\nMIDDLE\nEND",
        "LAST": "z",
    }


def test_toml_may_be_a_document_or_a_table_of_its_own() -> None:
    assert parse_secrets('A = "1"\nB = """x\ny"""', is_toml=True) == {"A": "1", "B": "x\ny"}
    assert parse_secrets('[secrets]\nA = "1"\n[other]\nB = 2', is_toml=True) == {"A": "1"}


@pytest.mark.parametrize(
    ("text", "is_toml", "reason"),
    [
        ("A=1\nplanted-value", False, "no NAME=value in line 2"),
        ("A='planted-value", False, "opens a quote in line 1"),
        ("A='x' planted-value", False, "after the closing quote in line 1"),
        ("A=planted-value\nA=2", False, "names A twice"),
        ("A = 'planted-value", True, "is not TOML, "),
        ('A = "1"\nA = "planted-value"', True, "is not TOML"),
        ("A = 7", True, "gives A a value that is not text"),
        ('"planted-value" = "x"', True, "a name that Fly takes for no secret"),
    ],
)
def test_what_is_wrong_is_told_without_a_value(text: str, is_toml: bool, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as refused:
        parse_secrets(text, is_toml=is_toml)
    assert "planted-value" not in f"{refused.value}{refused.value.next_step}{refused.value.__cause__}"


_VALUES = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,6}", fullmatch=True), _VALUES, max_size=4))
def test_what_is_written_in_double_quotes_is_read_again(values: dict[str, str]) -> None:
    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    lines = "\n".join(f"{name}={quoted(value)}" for name, value in values.items())
    assert parse_secrets(lines, is_toml=False) == values
    document = "\n".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
    assert parse_secrets(document, is_toml=True) == values
