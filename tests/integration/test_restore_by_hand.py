"""The how-to for restoring without flykeep is executed as it stands, by a shell, with the real programs."""

import hashlib
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from flykeep.domain.artifact import EntryType, IndexEntry, IndexHeader
from flykeep.domain.artifact_index import encode_entry, encode_header
from flykeep.domain.ids import ExportId

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "restore-an-artifact-without-flykeep.md"
CONTENTS = {b"crocbot.json": b'{"a": 1}\n', b"agents/main/memory.md": b"x" * 70_000, b"not-utf8-\xff": b"raw"}


def commands(section: str) -> str:
    """The commands of one section: what stands behind `$` in its console blocks, here-documents included."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {section}", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
    return "\n".join(line.removeprefix("$ ") for block in blocks for line in block.splitlines())


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, check=False)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A folder with `key.txt`, the data and the index of one artifact, made by the programs that will read it."""
    missing = [name for name in ("age", "age-keygen", "zstd", "tar", "bash") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    index = [encode_header(IndexHeader(export_id=ExportId("e1"), frames=(), entries=len(CONTENTS)))]
    with tarfile.open(tmp_path / "data.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in CONTENTS.items():
            path = tmp_path / "source" / name.decode(errors="surrogateescape")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            archive.add(path, arcname=name.decode(errors="surrogateescape"))
            index.append(encode_entry(entry_of(name, content)))
    (tmp_path / "index.jsonl").write_bytes(b"".join(index))
    made = shell(
        "age-keygen -o key.txt 2>/dev/null; recipient=$(age-keygen -y key.txt)\n"
        "for name in data.tar index.jsonl; do zstd -q -c $name | age -r $recipient -o $name.zst.age; rm $name; done",
        tmp_path,
    )
    assert made.returncode == 0, made.stderr
    return tmp_path


def entry_of(name: bytes, content: bytes) -> IndexEntry:
    return IndexEntry(
        path=name,
        type=EntryType.FILE,
        size_bytes=len(content),
        mode=0o644,
        uid=0,
        gid=0,
        mtime_s=0,
        link_target=None,
        sha256=hashlib.sha256(content).hexdigest(),
        offset=0,
    )


def test_the_page_restores_an_artifact_and_finds_it_whole(artifact: Path) -> None:
    done = shell(commands("3. Unpack") + "\n" + commands("4. Compare"), artifact)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    for name, content in CONTENTS.items():
        assert (artifact / "restored" / name.decode(errors="surrogateescape")).read_bytes() == content


def test_the_comparison_of_the_page_names_a_file_that_differs(artifact: Path) -> None:
    shell(commands("3. Unpack"), artifact)
    (artifact / "restored" / "crocbot.json").write_bytes(b'{"a": 2}\n')

    done = shell(commands("4. Compare"), artifact)

    assert done.stdout == b"differs: b'crocbot.json'\n"


def test_the_checksums_of_the_page_are_those_of_the_stored_bytes(artifact: Path) -> None:
    done = shell(commands("2. Check the bytes"), artifact)

    stored = hashlib.sha256((artifact / "data.tar.zst.age").read_bytes()).hexdigest()
    assert f"{stored}  data.tar.zst.age" in done.stdout.decode()


def test_data_in_parts_is_joined_as_the_page_says(artifact: Path) -> None:
    shell(
        "split -b 1000 -d -a 5 --numeric-suffixes=1 data.tar.zst.age data.tar.zst.age. && rm data.tar.zst.age", artifact
    )
    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if "in parts" in line)
    join = re.findall(r"`([^`]*)`", row.split("|")[2])[0]

    done = shell(f"mkdir restored; {join} | age -d -i key.txt | zstd -d | tar -x -C restored", artifact)

    assert done.returncode == 0, done.stderr
    assert (artifact / "restored" / "agents/main/memory.md").read_bytes() == CONTENTS[b"agents/main/memory.md"]
