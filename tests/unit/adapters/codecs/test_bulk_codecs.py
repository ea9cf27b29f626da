"""zstd frames and age streams of the byte path."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flykeep.adapters.codecs import age_stream
from flykeep.adapters.codecs.zstd_frames import FrameWriter, decompressed
from flykeep.domain.errors import ConfigError, IntegrityError
from tests.full import examples


def compressed(data: bytes, *, frame_bytes: int, piece: int = 1000, threads: int = 0) -> tuple[bytes, FrameWriter]:
    writer = FrameWriter(level=1, threads=threads, frame_bytes=frame_bytes)
    out = [b for at in range(0, len(data), piece) for b in writer.write(data[at : at + piece])]
    return b"".join((*out, *writer.end_frame())), writer


@settings(deadline=None, max_examples=examples(60))
@given(data=st.binary(max_size=20_000), frame_bytes=st.integers(1, 7000), piece=st.integers(1, 5000))
def test_every_frame_opens_by_itself_at_the_place_the_table_says(data: bytes, frame_bytes: int, piece: int) -> None:
    stream, writer = compressed(data, frame_bytes=frame_bytes, piece=piece)
    assert writer.stream_bytes == len(stream)
    assert sum(frame.stream_bytes for frame in writer.frames) == len(stream)
    for frame in writer.frames:
        alone = stream[frame.stream_offset : frame.stream_offset + frame.stream_bytes]
        expected = data[frame.tar_offset : frame.tar_offset + frame.tar_bytes]
        assert b"".join(decompressed([alone])) == expected
        assert 0 < frame.tar_bytes <= frame_bytes
    assert b"".join(decompressed(stream[at : at + 97] for at in range(0, len(stream), 97))) == data


def test_the_zstd_program_reads_frames_made_with_threads(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000
    stream, writer = compressed(data, frame_bytes=3 << 20, piece=1 << 20, threads=2)
    assert len(writer.frames) == 4
    (tmp_path / "data.zst").write_bytes(stream)
    done = subprocess.run(["zstd", "-dc", str(tmp_path / "data.zst")], capture_output=True, check=True)
    assert done.stdout == data


def test_a_stream_cut_inside_a_frame_or_damaged_is_refused() -> None:
    stream, writer = compressed(b"abc" * 5000, frame_bytes=4000)
    end = writer.frames[-1].stream_offset
    assert b"".join(decompressed([stream[:end]])) == (b"abc" * 5000)[: writer.frames[-1].tar_offset]
    with pytest.raises(IntegrityError, match="inside a frame"):
        list(decompressed([stream[:-3]]))
    damaged = bytearray(stream)
    damaged[-1] ^= 1
    with pytest.raises(IntegrityError, match="damaged"):
        list(decompressed([bytes(damaged)]))


def sealed(data: bytes, identity: pyrage.x25519.Identity) -> bytes:
    out: list[bytes] = []
    age_stream.encrypt([data], out.append, recipients=[str(identity.to_public())])
    return b"".join(out)


@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_000])
def test_what_age_sealed_comes_back_in_large_pieces(size: int) -> None:
    identity, out = pyrage.x25519.Identity.generate(), []
    data = bytes(size)
    age_stream.decrypt([sealed(data, identity)], out.append, identity=str(identity))
    assert b"".join(out) == data
    assert len(out) <= size // (1 << 20) + 1


def test_a_cut_or_foreign_age_stream_is_refused() -> None:
    mine, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    whole = sealed(bytes(200_000), mine)
    for stream, identity in ((whole[:-3], mine), (whole[:-65_552], mine), (whole, other)):
        with pytest.raises(IntegrityError):
            age_stream.decrypt([stream], lambda _: None, identity=str(identity))


def test_an_error_of_the_source_or_the_sink_comes_out_unchanged() -> None:
    class OwnError(Exception):
        pass

    def source() -> Iterator[bytes]:
        yield bytes(100_000)
        raise OwnError

    def sink(_: bytes) -> None:
        raise OwnError

    recipient = str(pyrage.x25519.Identity.generate().to_public())
    with pytest.raises(OwnError):
        age_stream.encrypt(source(), lambda _: None, recipients=[recipient])
    with pytest.raises(OwnError):
        age_stream.encrypt([bytes(5_000_000)], sink, recipients=[recipient])


def test_keys_that_cannot_be_read_are_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        age_stream.decrypt([], lambda _: None, identity="AGE-SECRET-KEY-1NONSENSE")
    assert "NONSENSE" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigError):
        age_stream.encrypt([], lambda _: None, recipients=["age1nonsense"])
