"""The page's way into a bucket is really gone, with curl, against a server that checks signatures."""

from __future__ import annotations

import subprocess
from pathlib import Path

import boto3
import pytest

from flykeep.domain.page import command_blocks
from flykeep.jobs.runbook import door_of
from flykeep.ports.store import StoreOrder
from tests.object_stores import ACCESS_KEY, SECRET_KEY
from tests.unit.domain.runbook_world import page_of, stored


def fill(order: StoreOrder, objects: dict[str, bytes]) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=order.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    for key, data in objects.items():
        client.put_object(Bucket=order.bucket, Key=f"{order.prefix}/{key}", Body=data)


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-e", "-c", script], cwd=folder, capture_output=True, check=False)


@pytest.mark.parametrize("secret", [SECRET_KEY, "another"])
def test_curl_reads_the_parts_of_an_artifact_in_order_with_the_right_key_only(
    rclone_order: StoreOrder, tmp_path: Path, secret: str
) -> None:
    copy = stored(store=rclone_order.name, parts=2)
    parts = {each.key: bytes([number]) * 70_000 for number, each in enumerate(copy.manifest.data)}
    fill(rclone_order, parts | {"RESTORE.md": b"# How to restore\n"})
    blocks = command_blocks(page_of(artifacts=(copy,), doors=(door_of(rclone_order),)))
    (tmp_path / f"store-{rclone_order.name}.curl").write_text(f'user = "{ACCESS_KEY}:{secret}"\n')
    read = blocks[f"fill-1-{rclone_order.name}"].split("if ")[1].split(" |\n")[0]

    looked, sent = shell(blocks[f"store-{rclone_order.name}"], tmp_path), shell(read, tmp_path)

    if secret == SECRET_KEY:
        assert (looked.returncode, (tmp_path / "RESTORE.md").read_text()) == (0, "# How to restore\n")
        assert sent.stdout == b"".join(parts.values())
    else:
        assert b"403" in looked.stderr
        assert sent.returncode != 0
        assert sent.stdout == b""
