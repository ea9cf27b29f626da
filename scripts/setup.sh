#!/usr/bin/env bash
# Makes .venv from the hash lock and installs flykeep into it in place. Needs Python 3.11 or newer and no root.
# Where root and apt are at hand it also installs what Debian splits off: python3-venv and the ssh client.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=.venv

can_install() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$1" </dev/null >/dev/null 2>&1 && return
    apt-get update -qq </dev/null >/dev/null 2>&1
    apt-get install -y -qq --no-install-recommends "$1" </dev/null >/dev/null 2>&1
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! is_new_enough "$python"; then
    echo "setup: $python is missing or older than 3.11; name another with: make setup PYTHON=python3.12" >&2
    exit 2
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if can_install; then apt_install python3-venv; fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "setup: $python has no venv module; on Debian: apt-get install python3-venv" >&2
        exit 2
    fi
fi

if ! command -v ssh >/dev/null; then
    if ! can_install || ! apt_install openssh-client; then
        echo "setup: no ssh client on this machine; what needs it says so when it is used" >&2
    fi
fi

if [ -d "$venv" ] && ! is_new_enough "$venv/bin/python"; then
    rm -rf "$venv"
fi
if [ ! -x "$venv/bin/pip" ]; then
    echo "setup: creating $venv" >&2
    "$python" -m venv --clear "$venv"
fi

echo "setup: installing requirements/dev.txt" >&2
# The lock is whole. Without --no-deps pip asks the index for an extra's newest release (coverage[toml]) and then
# refuses it as not pinned, so that an upstream release breaks a checkout that has not changed.
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
echo "setup: ready, $venv/bin/flykeep" >&2
