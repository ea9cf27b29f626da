"""Environment and TOML into typed values: the only place that knows how flykeep is configured."""

from flykeep.settings.loading import load_settings
from flykeep.settings.secret_reader import SecretReader
from flykeep.settings.values import (
    Compression,
    DaemonSettings,
    EncryptionSettings,
    FlySettings,
    HttpSettings,
    InvalidSettingsError,
    Level,
    NotifierSettings,
    Probe,
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
    "EncryptionSettings",
    "FlySettings",
    "HttpSettings",
    "InvalidSettingsError",
    "Level",
    "NotifierSettings",
    "Probe",
    "Problem",
    "ScratchSettings",
    "SecretReader",
    "Settings",
    "StateSettings",
    "StoreSettings",
    "WorkerSettings",
    "load_settings",
]
