"""`flykeep init`: the first configuration, and the app for temporary machines."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, common, console, print_document, run_async
from flykeep.domain.errors import FlykeepError, RefusalError, UsageError

if TYPE_CHECKING:
    from flykeep.settings import Settings
    from flykeep.settings.starter import StarterAnswers

_DEFAULT_PATH = Path("config.toml")


def register(app: typer.Typer) -> None:
    @app.command()
    def init(
        ctx: typer.Context,
        org: Annotated[str | None, typer.Option(help="Slug of the Fly organization.")] = None,
        app_name: Annotated[
            list[str] | None,
            typer.Option("--app", help="An app whose volumes are kept; globs; may be repeated. `*` is all of them."),
        ] = None,
        store: Annotated[
            str | None, typer.Option(help="Where exports go: the name of a bucket, or a folder's absolute path.")
        ] = None,
        endpoint: Annotated[str | None, typer.Option(help="Base URL of the bucket's service; unset means AWS.")] = None,
        recipient: Annotated[
            list[str] | None, typer.Option(help="age public key that opens artifacts; may be repeated.")
        ] = None,
        unencrypted: Annotated[
            bool, typer.Option("--unencrypted", help="Store in the clear, without any recipient.")
        ] = False,
        image: Annotated[
            str | None, typer.Option(help="flykeep's own image by digest; with it exports read snapshots.")
        ] = None,
        scratch_app: Annotated[
            str, typer.Option(help="App for temporary machines; made where the token may.")
        ] = "flykeep-scratch",
        offline: Annotated[bool, typer.Option("--offline", help="Ask nothing of Fly, and make no app.")] = False,
    ) -> None:
        """Write a commented configuration to --config, else config.toml; never over a file that exists."""
        options = common(ctx)

        async def action() -> int:
            from flykeep.settings.starter import StarterAnswers  # noqa: PLC0415 - heavy; `--help` must not wait

            path = options.config or _DEFAULT_PATH
            _refuse_existing(path)
            answers = StarterAnswers(
                org=_asked(org, "--org", "Slug of the Fly organization"),
                apps=tuple(app_name or _asked(None, "--app", "Apps to keep, with spaces between them").split()),
                store=_asked(store, "--store", "Bucket, or absolute path of a folder"),
                endpoint=endpoint,
                recipients=() if unencrypted else _recipients(recipient),
                image=image,
                scratch_app=scratch_app,
            )
            settings = _write(path, answers)
            scratch = Scratch(scratch_app, "not looked at") if offline else await _scratch(settings)
            _report(options, path, answers, scratch)
            return 0

        raise typer.Exit(run_async(action, options))


@dataclass(frozen=True, slots=True)
class Scratch:
    """The app for temporary machines and what became of it; `hint` where a person must make it."""

    app: str
    state: str  # "made" | "there" | "not made: <why>" | "not looked at"
    hint: str | None = None


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise RefusalError(
            f"{path} exists, and is not written over",
            hint="Name another file with --config, or change this one by hand.",
        )


def _recipients(given: list[str] | None) -> tuple[str, ...]:
    question = "age public keys that open artifacts (age-keygen makes a pair)"
    return tuple(given or _asked(None, "--recipient", question, otherwise=" or --unencrypted").split())


def _asked(given: str | None, option: str, question: str, *, otherwise: str = "") -> str:
    """The answer given, else a person's; raises UsageError where nobody can be asked."""
    if given:
        return given
    if not sys.stdin.isatty():
        raise UsageError(f"{option} is missing, and nobody can be asked here", hint=f"Add {option}{otherwise}.")
    return str(typer.prompt(question, err=True)).strip()


def _write(path: Path, answers: StarterAnswers) -> Settings:
    """Judge the text, then put it in place whole. Raises ConfigError for an answer that cannot be, RefusalError where
    a file has appeared meanwhile.
    """
    from flykeep.settings import InvalidSettingsError, check_settings, load_settings  # noqa: PLC0415 - heavy
    from flykeep.settings.starter import starter_text  # noqa: PLC0415

    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8") as draft:
        draft.write(starter_text(answers))
        draft.flush()
        os.fsync(draft.fileno())
        settings = load_settings(Path(draft.name), os.environ)
        if errors := [problem for problem in check_settings(settings) if problem.level == "error"]:
            raise InvalidSettingsError(tuple(errors))
        Path(draft.name).chmod(0o644)
        try:
            os.link(draft.name, path)
        except FileExistsError:
            _refuse_existing(path)
    return settings


async def _scratch(settings: Settings) -> Scratch:
    """The app is made where the token may; a configuration without it is worth having all the same."""
    from flykeep.adapters.fly.client import FlyClient  # noqa: PLC0415 - heavy
    from flykeep.adapters.fly.premises import FlyPremises  # noqa: PLC0415
    from flykeep.adapters.system import SystemClock, SystemIds  # noqa: PLC0415
    from flykeep.jobs.scratch_app import ensure_scratch_app  # noqa: PLC0415

    name = settings.scratch.app
    hint = f"fly apps create {name} --org {settings.fly.org} --network {name}"
    try:
        fly = FlyClient(
            token=settings.fly_token(),
            org=settings.fly.org,
            flaps_base_url=settings.fly.flaps_base_url,
            api_base_url=settings.fly.api_base_url,
            clock=SystemClock(),
            ids=SystemIds(),
        )
        async with aclosing(fly):
            return Scratch(name, await ensure_scratch_app(FlyPremises(fly, org=settings.fly.org), name))
    except FlykeepError as error:
        return Scratch(name, f"not made: {error.message}", hint)


def _report(options: Common, path: Path, answers: StarterAnswers, scratch: Scratch) -> None:
    from flykeep.settings.starter import KEY_ID_VARIABLE, KEY_VARIABLE  # noqa: PLC0415

    secrets = ["FLY_API_TOKEN", *([KEY_ID_VARIABLE, KEY_VARIABLE] if answers.is_bucket else [])]
    if options.is_json:
        document = {"config": str(path), "scratch_app": scratch.app, "scratch_state": scratch.state}
        print_document({**document, "hint": scratch.hint, "secrets": [*secrets]})
        return
    out = console(options)
    out.print(f"wrote {path}", markup=False)
    out.print(f"app {scratch.app} for temporary machines: {scratch.state}", markup=False)
    steps = [scratch.hint, f"set the secrets {', '.join(secrets)}", f"flykeep config check --config {path}"]
    for step in filter(None, [*steps, f"flykeep doctor --config {path}"]):
        out.print(f" next {step}", markup=False)
