"""The fixtures of these tests."""

from tests.contract.notifiers.http_sink import dead_port, sink

__all__ = ["dead_port", "sink"]
