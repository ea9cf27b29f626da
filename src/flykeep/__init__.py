"""flykeep keeps the volumes of Fly.io apps restorable."""

__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: a third of a short command's start-up otherwise."""
    if name != "__version__":
        raise AttributeError(name)
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("flykeep")
    except PackageNotFoundError:  # running from a bare source tree
        return "0+unknown"
