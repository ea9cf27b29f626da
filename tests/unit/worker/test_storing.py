"""Cutting a stream into objects, reading them back, and withdrawing them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from flykeep.adapters.stores.objects import open_bulk
from flykeep.domain.errors import IntegrityError, StoreError
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.worker.storing import ObjectWriter, UploadPlan

GIB = 1 << 30
NUMBERED = UploadPlan(chunk_bytes=5 << 20, concurrency=1, object_limit_bytes=1000, is_numbered=True)
SINGLE = UploadPlan(chunk_bytes=5 << 20, concurrency=1, object_limit_bytes=1000, is_numbered=False)


def writer(tmp_path: Path) -> ObjectWriter:
    order = StoreOrder(name="shelf", type=StoreType.DIRECTORY, path=str(tmp_path))
    return ObjectWriter(open_bulk(order), on_bytes=lambda _: None)


@pytest.mark.parametrize(
    ("expected_bytes", "chunk_mib", "is_numbered"),
    [(None, 8, False), (0, 8, False), (60 * GIB, 8, False), (100 * GIB, 16, False), (500 * GIB, 16, True)],
)
def test_parts_grow_before_objects_multiply(expected_bytes: int | None, chunk_mib: int, is_numbered: bool) -> None:
    plan = UploadPlan.of(expected_bytes)
    assert (plan.chunk_bytes >> 20, plan.is_numbered) == (chunk_mib, is_numbered)
    assert plan.object_limit_bytes <= 10_000 * plan.chunk_bytes
    assert plan.chunk_bytes * (plan.concurrency + 1) <= 48 << 20


@pytest.mark.parametrize(("size", "objects"), [(999, 1), (1000, 1), (1001, 2), (2500, 3), (3000, 3)])
def test_numbered_objects_join_to_the_stream(tmp_path: Path, size: int, objects: int) -> None:
    data = bytes(number % 251 for number in range(size))
    made = writer(tmp_path)
    stored = made.write("a/data", iter([data[:700], b"", data[700:]]), NUMBERED)

    assert [part.key for part in stored] == [f"a/data.{number:05}" for number in range(1, objects + 1)]
    assert b"".join((tmp_path / part.key).read_bytes() for part in stored) == data
    for part in stored:
        content = (tmp_path / part.key).read_bytes()
        assert (part.size_bytes, part.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    made.read_back()


def test_a_single_object_that_outgrows_its_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="grew past"):
        writer(tmp_path).write("a/data", iter([bytes(1001)]), SINGLE)


def test_one_changed_byte_is_found_when_reading_back(tmp_path: Path) -> None:
    made = writer(tmp_path)
    (stored,) = made.write("a/data", iter([bytes(900)]), SINGLE)
    content = bytearray((tmp_path / stored.key).read_bytes())
    content[450] ^= 1
    (tmp_path / stored.key).write_bytes(content)
    with pytest.raises(IntegrityError):
        made.read_back()


def test_withdrawing_removes_everything_written(tmp_path: Path) -> None:
    made = writer(tmp_path)
    made.write("a/data", iter([bytes(2500)]), NUMBERED)
    made.withdraw()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_iterator_that_fails_leaves_no_object_and_its_error_unchanged(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield bytes(10)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        writer(tmp_path).write("a/data", failing(), SINGLE)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
