"""The databases the contracts are held against."""

from tests.postgres import postgres_database, postgres_server, postgres_url, state_url

__all__ = ["postgres_database", "postgres_server", "postgres_url", "state_url"]
