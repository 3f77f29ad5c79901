#!/bin/sh
# Writes the lock files from pyproject.toml: every platform, every hash, no index address.
# UV names the uv to use (https://docs.astral.sh/uv).
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-uv}
command -v "$uv" >/dev/null 2>&1 || { echo "lock: needs uv; run: pip install uv" >&2; exit 1; }

compile() { # output, further options...
    output=$1
    shift
    "$uv" pip compile pyproject.toml "$@" --quiet --universal --python-version 3.11 \
        --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
        --no-header --output-file "$output"
    { echo "# Written by \`make lock\` from pyproject.toml; install with pip --require-hashes."
      cat "$output"; } >"$output.new"
    mv "$output.new" "$output"
}

compile requirements.lock --extra loadtests --extra voice
compile requirements-dev.lock --extra loadtests --extra voice --group dev --constraint requirements.lock
