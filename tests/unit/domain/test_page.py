import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.page import PageWriter, command_blocks, quoted, quoted_again


def test_a_page_is_read_from_top_to_bottom() -> None:
    page = PageWriter()
    page.text("# Title")
    page.text("One sentence.", "Another.")
    page.items(["first", "second"])
    page.table(["a", "b"], [("1", "2")])
    page.block("do-it", "true", "false", expect="nothing.", otherwise=["stop"])

    assert page.whole() == (
        "# Title\n\nOne sentence.\nAnother.\n\n- first\n- second\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "```sh do-it\ntrue\nfalse\n```\n\n*Expect:* nothing.\n\n*If not:*\n\n- stop\n"
    )


def test_an_empty_list_or_table_leaves_nothing_behind() -> None:
    page = PageWriter()
    page.items([])
    page.table(["a"], [])

    assert page.whole() == "\n"


def test_blocks_are_found_by_name_in_their_order_and_other_fences_are_not() -> None:
    page = PageWriter()
    page.block("second", "b", expect="", otherwise=[])
    page.example("not for a shell")
    page.block("first", "a", "aa", expect="", otherwise=[])

    assert list(command_blocks(page.whole()).items()) == [("second", "b\n"), ("first", "a\naa\n")]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_whatever_is_quoted_is_one_word_again(text: str) -> None:
    assert shlex.split(quoted(text)) == [text]
    assert shlex.split(quoted_again(text)) == [text]


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("tar -x -C /data", "'tar -x -C /data'"),
        ("sh -c 'ls | wc -l'", "\"sh -c 'ls | wc -l'\""),
        ("echo '$x'", "'echo '\"'\"'$x'\"'\"''"),
    ],
)
def test_a_command_is_quoted_in_the_way_that_stays_readable(command: str, word: str) -> None:
    assert quoted_again(command) == word


def test_a_name_with_line_breaks_stays_one_word_on_one_line_and_opens_no_block() -> None:
    evil = "a\n```sh evil\nrm -rf 'x' \\ \x07\n```\n"
    page = PageWriter()
    page.text(f"## Machine {evil}")
    page.items([evil])
    page.table(["a"], [[evil]])
    page.block("good", f"printf %s {quoted(evil)}", expect=evil, otherwise=[evil])

    (text,) = command_blocks(page.whole()).values()
    assert text.count("\n") == 1
    assert quoted_again(evil) == quoted(evil)
    assert subprocess.run(["bash", "-c", text], capture_output=True, check=True, text=True).stdout == evil
