"""Which certificates are believed: one store for the whole process, for reading it takes a twentieth of a second."""

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """What httpx would make for each client by itself, the environment's own certificates included."""
    return httpx.create_ssl_context()
