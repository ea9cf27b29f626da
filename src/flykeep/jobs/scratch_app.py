"""The app for temporary machines, made once by `flykeep init`."""

from __future__ import annotations

from flykeep.domain.errors import FlyNotFoundError, RefusalError
from flykeep.domain.ids import AppName
from flykeep.ports.premises import Premises


async def ensure_scratch_app(premises: Premises, name: str) -> str:
    """Say that it is "there", or make it, in a network of its own.

    Raises RefusalError where it holds secrets, FlyError where Fly refuses.
    """
    app = AppName(name)
    try:
        await premises.app(app)
    except FlyNotFoundError:
        await premises.create_app(app, network=name)
        return "made"
    if names := await premises.secret_names(app):
        raise RefusalError(f"an app {name} is there and holds secrets ({', '.join(names)}): use one that holds none")
    return "there"
