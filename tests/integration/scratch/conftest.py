"""A real store server for the tests that break it."""

from tests.object_stores import moto_server

__all__ = ["moto_server"]
