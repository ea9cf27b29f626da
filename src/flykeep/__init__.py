"""flykeep keeps the volumes of Fly.io apps restorable."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("flykeep")
except PackageNotFoundError:  # running from a bare source tree
    __version__ = "0+unknown"
