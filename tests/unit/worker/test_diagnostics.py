"""What tar says, read back. The sentences are those of GNU tar 1.34 and busybox 1.35."""

from __future__ import annotations

import pytest

from flykeep.domain.errors import SshError, TruncatedStreamError
from flykeep.worker.diagnostics import diagnose, judge
from flykeep.worker.remote_tar import Flavour

GNU = [
    rb"tar: ./\377\376.sock: socket ignored",
    rb"tar: ./a\: b: file changed as we read it",
    rb"tar: ./new\nline: File removed before we read it",
    rb"tar: ./big: File shrank by 314502144 bytes; padding with zeros",
    rb"tar: ./big: file changed as we read it",
    rb"tar: ./back\\slash: Cannot open: Permission denied",
    rb"tar: ./missing: Cannot stat: No such file or directory",
    rb"tar: ./bad: Read error at byte 0, while reading 10240 bytes: Input/output error",
    rb"tar: Exiting with failure status due to previous errors",
]


def test_gnu_messages_name_files_exactly() -> None:
    found = diagnose(GNU, Flavour.GNU)
    assert found.skipped == [b"./\xff\xfe.sock"]
    assert found.changed == {
        b"./a: b": "changed",
        b"./new\nline": "vanished",
        b"./big": "shrank",
        b"./back\\slash": "unreadable",
        b"./missing": "vanished",
        b"./bad": "unreadable",
    }
    assert found.unknown == []


def test_busybox_messages_may_span_lines() -> None:
    text = (
        b"tar: ./new\nline.sock: socket ignored\ntar: ./mi:ss\xff: No such file or directory\n"
        b"tar: can't open './it's': Permission denied\ntar: can't open './gone': No such file or directory\n"
        b"tar: error exit delayed from previous errors"
    )
    found = diagnose(text.split(b"\n"), Flavour.BUSYBOX)
    assert found.skipped == [b"./new\nline.sock"]
    assert found.changed == {
        b"./mi:ss\xff": "vanished",
        b"./it's": "unreadable",
        b"./gone": "vanished",
    }
    assert found.unknown == []


@pytest.mark.parametrize(
    ("flavour", "code", "lines"),
    [
        (Flavour.GNU, 0, []),
        (Flavour.GNU, 1, [b"tar: ./a: file changed as we read it"]),
        (Flavour.GNU, 2, [b"tar: ./a: Cannot open: Permission denied"]),
        (Flavour.BUSYBOX, 0, []),
        (Flavour.BUSYBOX, 1, [b"tar: ./a: No such file or directory"]),
    ],
)
def test_exit_codes_that_the_messages_explain_may_stand(flavour: Flavour, code: int, lines: list[bytes]) -> None:
    judge(code, diagnose(lines, flavour), flavour)


@pytest.mark.parametrize(
    ("flavour", "code", "lines"),
    [
        (Flavour.GNU, 2, []),
        (Flavour.GNU, 2, [b"tar: ./a: Cannot open: Permission denied", b"tar: write error"]),
        (Flavour.GNU, 3, []),
        (Flavour.BUSYBOX, 1, []),
        (Flavour.BUSYBOX, 1, [b"tar: short read"]),
        (Flavour.BUSYBOX, 1, [b"tar: ./a: No such file or directory", b"tar: short read"]),
    ],
)
def test_exit_codes_that_nothing_explains_are_failures(flavour: Flavour, code: int, lines: list[bytes]) -> None:
    with pytest.raises(TruncatedStreamError, match=f"ended with {code}"):
        judge(code, diagnose(lines, flavour), flavour)


def test_a_missing_tar_is_said_plainly() -> None:
    with pytest.raises(SshError, match="no tar"):
        judge(127, diagnose([b"sh: tar: not found"], Flavour.GNU), Flavour.GNU)
