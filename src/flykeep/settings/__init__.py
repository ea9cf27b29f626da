"""Environment and TOML into typed values: the only place that knows how flykeep is configured."""

from flykeep.settings.checking import check_settings
from flykeep.settings.loading import load_settings
from flykeep.settings.reference import json_schema, settings_reference
from flykeep.settings.secret_reader import SecretReader
from flykeep.settings.showing import Shown, show
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
    ScratchSettings,
    Settings,
    StateSettings,
    StoreSettings,
    WorkerSettings,
)

__all__ = [
    "Compression",
    "DaemonSettings",
    "DrillSettings",
    "EncryptionSettings",
    "FlySettings",
    "HttpSettings",
    "InvalidSettingsError",
    "Level",
    "NotifierSettings",
    "Problem",
    "ScratchSettings",
    "SecretReader",
    "Settings",
    "Shown",
    "StateSettings",
    "StoreSettings",
    "WorkerSettings",
    "check_settings",
    "json_schema",
    "load_settings",
    "settings_reference",
    "show",
]
