"""Builds every object once and hands it to command line and daemon; the only place that knows all adapters."""

from flykeep.bootstrap.application import Application, open_application

__all__ = ["Application", "open_application"]
