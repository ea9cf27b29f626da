"""Seed contents of volumes: the same bytes for the same names, on every run."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

from flykeep.testing.flysim.scenario import Seed

_AGENTS = ("main", "ops", "research", "support")
_LINES_PER_SESSION = 24


def plant(seed: Seed, directory: Path, *, now: datetime) -> sqlite3.Connection | None:
    """Fill an empty directory; returns the connection that keeps a SQLite write-ahead log open, to be closed later."""
    connection: sqlite3.Connection | None = None
    match seed.kind:
        case "crocbot":
            _crocbot(directory, seed.count)
        case "sqlite":
            connection = _ledger(directory)
        case "files":
            _plain_files(directory, seed)
        case "empty":
            pass
    for name, text in seed.texts.items():
        _write(directory / name, text.encode())
    _age(directory, now)
    return connection


def filler(label: str, size_bytes: int) -> bytes:
    """Bytes that look random and depend on the label alone."""
    return hashlib.shake_256(label.encode()).digest(size_bytes)


def _write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _plain_files(directory: Path, seed: Seed) -> None:
    for number in range(seed.count):
        _write(directory / f"part-{number % 5}" / f"file-{number:04d}.bin", filler(f"plain {number}", seed.bytes_each))


def _crocbot(directory: Path, sessions: int) -> None:
    config = {
        "version": 3,
        "gateway": {"port": 3000, "bind": "lan"},
        "agents": {name: {"model": "default", "tools": ["files", "web"]} for name in _AGENTS},
    }
    _write(directory / "crocbot.json", json.dumps(config, indent=2).encode() + b"\n", mode=0o640)
    for name in ("telegram.json", "anthropic.json", "gateway.json"):
        secret = {"name": name.removesuffix(".json"), "token": filler(name, 24).hex()}
        _write(directory / "credentials" / name, json.dumps(secret).encode() + b"\n", mode=0o600)
    (directory / "credentials").chmod(0o700)
    for agent in _AGENTS:
        for number in range(sessions):
            _write(
                directory / "agents" / agent / "sessions" / f"{2026000 + number}.jsonl",
                _session(agent, number),
                mode=0o600,
            )
        for topic in ("people", "projects", "preferences"):
            note = f"# {topic}\n\n{filler(agent + topic, 600).hex()}\n"
            _write(directory / "agents" / agent / "memory" / f"{topic}.md", note.encode())
    for day in range(1, 15):
        lines = "".join(f"2026-02-{day:02d}T{hour:02d}:00:00Z info heartbeat {hour}\n" for hour in range(24))
        _write(directory / "logs" / f"gateway-2026-02-{day:02d}.log", lines.encode())
    (directory / "logs" / "current.log").symlink_to("gateway-2026-02-14.log")
    (directory / "tmp").mkdir()


def _session(agent: str, number: int) -> bytes:
    lines = []
    for turn in range(_LINES_PER_SESSION):
        text = filler(f"{agent} {number} {turn}", 60).hex()
        role = "user" if turn % 2 == 0 else "assistant"
        lines.append(json.dumps({"turn": turn, "role": role, "content": text}))
    return "\n".join(lines).encode() + b"\n"


def _ledger(directory: Path) -> sqlite3.Connection:
    path = directory / "ledger.db"
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, account TEXT NOT NULL, cents INTEGER NOT NULL)")
    connection.execute("BEGIN")
    rows = [(f"account-{number % 37}", (number * 7919) % 100_000) for number in range(5000)]
    connection.executemany("INSERT INTO entry (account, cents) VALUES (?, ?)", rows)
    connection.execute("COMMIT")
    _write(directory / "settings.toml", b'currency = "EUR"\n')
    return connection


def _age(directory: Path, now: datetime) -> None:
    """Give every file a time of its own in the past days, so that restored times can be told from new ones."""
    paths = sorted(path for path in directory.rglob("*") if not path.name.endswith(("-wal", "-shm", ".db")))
    for number, path in enumerate(reversed(paths)):
        stamp = (now - timedelta(minutes=7 * (number + 1))).timestamp()
        os.utime(path, (stamp, stamp), follow_symlinks=False)
