"""Puts the domain's values together from a validated file, resolving every name it mentions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from urllib.parse import urlsplit

from flykeep.domain.policy import Encryption, Policy, Schedule, TargetRule
from flykeep.domain.presets import PRESETS
from flykeep.domain.stores import StoreTraits, is_platform_endpoint
from flykeep.ports.store import StoreType
from flykeep.settings.durations import parse_duration
from flykeep.settings.fields import NEVER, cron_expression
from flykeep.settings.model import (
    DirectoryStoreTable,
    FileModel,
    RetentionTable,
    S3StoreTable,
    ScratchTable,
    StateTable,
    VerifyTable,
)
from flykeep.settings.origins import Origins, dotted
from flykeep.settings.refusals import unknown_name
from flykeep.settings.resolution import all_policies, resolve_target
from flykeep.settings.secret_reader import SecretReader
from flykeep.settings.toml_lines import Path as KeyPath
from flykeep.settings.values import (
    Compression,
    DaemonSettings,
    DrillSettings,
    EncryptionSettings,
    FlySettings,
    HttpSettings,
    InvalidSettingsError,
    Level,
    NotifierSettings,
    Problem,
    RetentionSettings,
    ScratchSettings,
    Settings,
    StateSettings,
    StoreSettings,
    VerifySettings,
    WorkerSettings,
)

FLAPS_BASE_URL = "https://api.machines.dev"
API_BASE_URL = "https://api.fly.io"
DEFAULT_STATE_URL = "sqlite:////data/flykeep.db"
DEFAULT_STATE_DIRECTORY = "/data"


def assemble(model: FileModel, *, origins: Origins, environ: Mapping[str, str]) -> Settings:
    """Raises InvalidSettingsError with every name that leads nowhere."""
    problems = _Problems(origins)
    stores = MappingProxyType({name: _store(name, table) for name, table in model.stores.items()})
    policies = _placed(_policies(model, problems), stores)
    settings = Settings(
        fly=_fly(model, environ, problems),
        scratch=_scratch(model.scratch),
        state=_state(model.state),
        http=_http(model.http.bind),
        stores=stores,
        encryption=_encryption(model, problems),
        worker=WorkerSettings(
            image=model.worker.image,
            compression=Compression(model.worker.compression),
            level=model.worker.level,
            deadline=model.worker.deadline,
            stall_timeout=model.worker.stall_timeout,
        ),
        drill=_drill(model),
        retention=_retention(model.retention),
        verify=_verify(model.verify),
        daemon=_daemon(model, problems),
        notifiers=_notifiers(model),
        policies=policies,
        targets=_targets(model, policies, problems),
        secrets=SecretReader(environ),
        source=model,
        origins=origins,
    )
    problems.raise_any()
    return settings


class _Problems:
    """Collects what is wrong, so that one reading names it all."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._found: dict[tuple[str, str], Problem] = {}

    def add(self, path: KeyPath, message: str, *, hint: str = "") -> None:
        self.take(Problem(Level.ERROR, dotted(path), message, self._origins.nearest(path), hint))

    def add_unknown_name(self, path: KeyPath, *, name: str, what: str, known: tuple[str, ...]) -> None:
        self.take(unknown_name(path, name=name, what=what, known=known, origin=self._origins.nearest(path)))

    def take(self, problem: Problem) -> None:
        self._found.setdefault((problem.key, problem.message), problem)

    def raise_any(self) -> None:
        if self._found:
            raise InvalidSettingsError(tuple(self._found.values()))


def _fly(model: FileModel, environ: Mapping[str, str], problems: _Problems) -> FlySettings:
    """FLY_REGION and FLY_APP_NAME are Fly's words about the daemon's own machine, never settings."""
    urls = {}
    for name, default in (("FLY_FLAPS_BASE_URL", FLAPS_BASE_URL), ("FLY_API_BASE_URL", API_BASE_URL)):
        url = environ.get(name) or default
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            problems.take(Problem(Level.ERROR, "", "must be a URL that begins with https:// or http://", name))
        urls[name] = url.rstrip("/")
    return FlySettings(
        org=model.fly.org,
        ssh_port=model.fly.ssh_port,
        flaps_base_url=urls["FLY_FLAPS_BASE_URL"],
        api_base_url=urls["FLY_API_BASE_URL"],
    )


def _state(table: StateTable) -> StateSettings:
    url = table.url or (None if table.url_secret else DEFAULT_STATE_URL)
    directory = table.directory
    if directory is None and url is not None and url.startswith("sqlite:"):
        directory = str(PurePosixPath(urlsplit(url).path[1:]).parent)
    return StateSettings(url=url, url_secret=table.url_secret, directory=Path(directory or DEFAULT_STATE_DIRECTORY))


def _scratch(table: ScratchTable) -> ScratchSettings:
    return ScratchSettings(
        app=table.app,
        max_volume_gb=table.max_volume_gb,
        max_workers=table.max_workers,
        regions=table.regions,
        is_in_target_app=table.in_target_app,
    )


def _http(bind: str) -> HttpSettings:
    host, _, port = bind.rpartition(":")
    return HttpSettings(host.strip("[]"), int(port))


def _store(name: str, table: S3StoreTable | DirectoryStoreTable) -> StoreSettings:
    if isinstance(table, DirectoryStoreTable):
        traits = StoreTraits(is_on_platform=table.on_platform, is_visible_to_workers=table.visible_to_workers)
        return StoreSettings(name=name, type=StoreType.DIRECTORY, prefix=table.prefix, path=table.path, traits=traits)
    return StoreSettings(
        name=name,
        type=StoreType.S3,
        prefix=table.prefix,
        bucket=table.bucket,
        endpoint=table.endpoint,
        region=table.region,
        is_path_style=table.path_style,
        access_key_id_secret=table.access_key_id_secret,
        secret_access_key_secret=table.secret_access_key_secret,
        server_side_encryption=table.sse,
        kms_key_id=table.sse_kms_key_id,
        data_storage_class=table.storage_class,
        traits=StoreTraits(
            is_lock_required=table.object_lock == "required",
            are_deletes_refused=table.deletes == "refused",
            is_on_platform=is_platform_endpoint(table.endpoint) if table.on_platform is None else table.on_platform,
        ),
    )


def _encryption(model: FileModel, problems: _Problems) -> EncryptionSettings:
    table = model.encryption
    if table.encryption == "age" and model.stores and not table.recipients:
        problems.add(
            ("encryption", "recipients"),
            "is empty, so nothing could be encrypted",
            hint='Write the public half of a key made by `age-keygen`, or encryption = "none" in [encryption].',
        )
    if table.encryption == "none" and table.recipients:
        problems.add(("encryption", "recipients"), 'is given although encryption is "none"', hint="Remove one of them.")
    return EncryptionSettings(Encryption(table.encryption), table.recipients, table.identity_secret)


def _drill(model: FileModel) -> DrillSettings:
    directory = model.drill.directory
    below = _state(model.state).directory / "drills"
    return DrillSettings(model.drill.trusted_signers, Path(directory) if directory else below)


def _retention(table: RetentionTable) -> RetentionSettings:
    schedule = None if table.cron == NEVER else Schedule(table.cron)
    return RetentionSettings(schedule=schedule, max_delete_share=table.max_delete_share)


def _verify(table: VerifyTable) -> VerifySettings:
    schedule = None if table.cron == NEVER else Schedule(table.cron)
    return VerifySettings(schedule, table.budget_gb * 10**9, table.max_age if schedule else None)


def _daemon(model: FileModel, problems: _Problems) -> DaemonSettings:
    table = model.daemon
    try:
        check = check_schedule(table.check_every)
    except ValueError as error:
        problems.add(("daemon", "check_every"), str(error))
        check = Schedule("*/15 * * * *")
    return DaemonSettings(
        max_parallel_runs=table.max_parallel_runs, jitter=table.jitter, check=check, drain_timeout=table.drain_timeout
    )


def check_schedule(text: str) -> Schedule:
    """A cron expression as it stands; a duration as the cron expression that comes as often. Raises ValueError."""
    if not re.fullmatch(r"[0-9dhm]+", text.strip()):
        return Schedule(cron_expression(text))
    minutes, odd_s = divmod(int(parse_duration(text).total_seconds()), 60)
    if odd_s == 0 and minutes and 60 % minutes == 0:
        return Schedule(f"*/{minutes} * * * *" if minutes < 60 else "0 * * * *")
    hours, odd_m = divmod(minutes, 60)
    if odd_s == 0 and odd_m == 0 and hours and 24 % hours == 0:
        return Schedule(f"0 */{hours} * * *" if hours < 24 else "0 0 * * *")
    raise ValueError("does not divide an hour or a day evenly: write 15m, 1h, 6h or a cron expression")


def _notifiers(model: FileModel) -> tuple[NotifierSettings, ...]:
    return tuple(
        NotifierSettings(name=name, type=table.type, table=MappingProxyType(dict(table.model_extra or {})))
        for name, table in model.notifiers.items()
    )


def _policies(model: FileModel, problems: _Problems) -> Mapping[str, Policy]:
    policies, unresolved = all_policies(model.policies, PRESETS)
    for error in unresolved:
        problems.add(error.path, error.message, hint=f"Presets: {', '.join(PRESETS)}.")
    for name, table in model.policies.items():
        for index, copy in enumerate(table.copies or ()):
            if copy.store not in model.stores:
                path = ("policies", name, "copies", index, "store")
                problems.add_unknown_name(path, name=copy.store, what="store", known=tuple(model.stores))
    return policies


def _placed(policies: Mapping[str, Policy], stores: Mapping[str, StoreSettings]) -> Mapping[str, Policy]:
    """The policies, each copy knowing whether its store is off the platform."""
    on_platform = {name for name, store in stores.items() if store.traits.is_on_platform}

    def placed(policy: Policy) -> Policy:
        copies = tuple(replace(copy, is_on_platform=copy.store in on_platform) for copy in policy.copies)
        return replace(policy, copies=copies)

    return MappingProxyType({name: placed(policy) for name, policy in policies.items()})


def _targets(model: FileModel, policies: Mapping[str, Policy], problems: _Problems) -> tuple[TargetRule, ...]:
    rules = []
    for index, table in enumerate(model.targets):
        policy = policies.get(table.policy)
        if policy is None:
            known = tuple({*policies, *model.policies})
            if table.policy not in known:
                path = ("targets", index, "policy")
                problems.add_unknown_name(path, name=table.policy, what="policy", known=known)
            continue
        if not policy.copies and (policy.export.schedule or policy.export.max_age):
            problems.add(
                ("policies", table.policy, "export"),
                "asks for exports, but copies names no store they would go to",
                hint=f"Add [[policies.{table.policy}.copies]] with a store.",
            )
        rules.append(resolve_target(table, policy))
    return tuple(rules)
