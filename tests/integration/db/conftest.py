"""The databases these tests need."""

from tests.postgres import postgres_database, postgres_server, postgres_url, state_url

__all__ = ["postgres_database", "postgres_server", "postgres_url", "state_url"]
