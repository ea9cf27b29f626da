"""A real PostgreSQL: one serves all tests of a process.

The server's programs are those of the machine (`/usr/lib/postgresql/*/bin`); where there are none, the tests that ask
for one are skipped and say so. A test that asks for a URL gets an empty database of its own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.databases import migrate, place_empty_database

_PROGRAMS = Path("/usr/lib/postgresql")
_USER = "postgres"
_numbers = count(1)
_EMPTY = """
DO $$ DECLARE name text; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
END $$
"""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running cluster on 127.0.0.1, trusting everybody who reaches it."""

    programs: Path
    port: int

    def url(self, database: str) -> str:
        """Where flykeep finds one of its databases."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Execute one statement with psql and give what it prints."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", _USER, "-d", database]
        command = [str(self.programs / "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", *address]
        return subprocess.run(
            [*command, "-c", statement], check=True, capture_output=True, text=True, timeout=60
        ).stdout.strip()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One cluster for the session, on a fresh folder, stopped at its end."""
    programs = _newest_programs()
    if programs is None:
        pytest.skip(f"no PostgreSQL server programs under {_PROGRAMS}")
    folder = Path(tempfile.mkdtemp(prefix="flykeep-pg-"))
    if _is_root():
        shutil.chown(folder, _USER)
    try:
        _run(programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", _USER, "-E", "UTF8", "--no-sync")
        port = _free_port()
        command = _as_user(
            programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", port, "-k", folder, "-F"
        )
        with Path(f"{folder}.log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        try:
            _wait_until_ready(programs, port, server, Path(f"{folder}.log"))
            yield PostgresServer(programs, port)
        finally:
            _run(programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
            server.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.log").unlink(missing_ok=True)


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of an empty database, dropped at the end even where a test left a connection open."""
    name = f"flykeep_{os.getpid()}_{next(_numbers)}"
    postgres_server.sql(f"CREATE DATABASE {name}")
    yield name
    postgres_server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_database: str) -> str:
    """The URL of an empty database."""
    return postgres_server.url(postgres_database)


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """The name of a database that has all tables."""
    postgres_server.sql("CREATE DATABASE migrated")
    migrate(postgres_server.url("migrated"))
    return "migrated"


@pytest.fixture
def migrated_postgres_url(postgres_server: PostgresServer, migrated_postgres: str) -> str:
    """Emptied rather than made anew: a database is three hundred files."""
    postgres_server.sql(_EMPTY, database=migrated_postgres)
    return postgres_server.url(migrated_postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a state database whose tables are there, once on each kind."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("migrated_postgres_url")
        return url
    place_empty_database(tmp_path / "state.db")
    return f"sqlite:///{tmp_path}/state.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty state database, once on each kind."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite:///{tmp_path}/state.db"


def _newest_programs() -> Path | None:
    found = [path.parent for path in _PROGRAMS.glob("*/bin/postgres") if (path.parent / "initdb").exists()]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def _is_root() -> bool:
    return os.geteuid() == 0


def _as_user(*command: object) -> list[str]:
    """The server refuses to run as root."""
    prefix = ["runuser", "-u", _USER, "--"] if _is_root() else []
    return [*prefix, *(str(word) for word in command)]


def _run(*command: object) -> None:
    subprocess.run(_as_user(*command), check=True, capture_output=True, timeout=60, cwd="/")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(programs: Path, port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    for _ in range(600):
        if server.poll() is not None:
            break
        if subprocess.run(ready, check=False, timeout=10).returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
