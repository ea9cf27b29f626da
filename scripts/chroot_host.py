"""What a chroot borrows from its host so that apt and pip inside reach what they reach outside.

Names, proxies, certificates and pip's settings are copied as the host has them; none is known here by value.
"""

import os
import shutil
import subprocess
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from pathlib import Path

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
SYSTEM_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LENT = "/run/host"


def _pip_settings_files() -> list[Path]:
    named = os.environ.get("PIP_CONFIG_FILE")
    home = Path.home()
    places = [Path(named)] if named else []
    places += [Path("/etc/pip.conf"), home / ".config/pip/pip.conf", home / ".pip/pip.conf"]
    return [place for place in places if place.is_file()]


def _certificates_of_settings() -> str | None:
    reader = ConfigParser(interpolation=None)
    try:
        reader.read(_pip_settings_files(), encoding="utf-8")
    except ConfigParserError:
        return None  # pip itself will complain about its settings, with the better message
    return reader.get("global", "cert", fallback=None)


def host_certificates() -> Path | None:
    """Return the certificates pip trusts on this host: pip's own setting, OpenSSL's, or the system's."""
    candidates = (
        os.environ.get("PIP_CERT"),
        _certificates_of_settings(),
        os.environ.get("SSL_CERT_FILE"),
        SYSTEM_CERTIFICATES,
    )
    return next((Path(name) for name in candidates if name and Path(name).is_file()), None)


def environment_for_steps(root: Path) -> dict[str, str]:
    """Return the variables of a build step: pip's settings, proxies, and the lent certificates."""
    lent = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name in PROXIES}
    for name in ("PIP_CONFIG_FILE", "PIP_CACHE_DIR", "PIP_REQUIRE_VIRTUALENV"):
        lent.pop(name, None)
    if (root / LENT.lstrip("/") / "certificates.pem").exists():
        lent["PIP_CERT"] = f"{LENT}/certificates.pem"
    return lent


def lend_host_files(root: Path, *, pip_cache: Path) -> None:
    """Copy the host's names, certificates, apt and pip settings into a chroot and mount the folders pip reads.

    Must run in a private mount namespace: what is mounted here is never unmounted.
    """
    lent = root / LENT.lstrip("/")
    lent.mkdir(parents=True, exist_ok=True)
    for name in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copyfile(name, root / name.lstrip("/"))
    certificates = host_certificates()
    if certificates is not None:
        shutil.copyfile(certificates, lent / "certificates.pem")
    for settings in _pip_settings_files()[:1]:
        shutil.copyfile(settings, root / "etc/pip.conf")
    acquire = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False)
    (root / "etc/apt/apt.conf.d/90host").write_text(acquire.stdout, encoding="utf-8")
    pip_cache.mkdir(parents=True, exist_ok=True)
    _bind(pip_cache, root / "root/.cache/pip")
    for folder in os.environ.get("PIP_FIND_LINKS", "").split():
        if Path(folder).is_dir():
            _bind(Path(folder), root / folder.lstrip("/"))


def _bind(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)
