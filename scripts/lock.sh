#!/usr/bin/env bash
# Renews the hash locks with uv from a throwaway environment. Versions already locked stay unless `--upgrade` is given.
# uv.lock is not used: it names the package index, and an index is the installer's business.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet uv
uv="$scratch/venv/bin/uv"

compile=("$uv" pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 "$@")

"${compile[@]}" --all-extras --group dev pyproject.toml -o requirements/dev.txt
"${compile[@]}" --extra postgres --extra s3-sweep pyproject.toml -c requirements/dev.txt -o requirements/runtime.txt
"${compile[@]}" --group build -c requirements/dev.txt -o requirements/build.txt
