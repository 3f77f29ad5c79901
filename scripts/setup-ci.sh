#!/bin/sh
# What tests need beyond the Python packages: programs by apt, the Node client by npm.
# What cannot be installed is named and left out; FIRSTHOP_REQUIRE decides whether tests mind.
set -u
cd "$(dirname "$0")/.."

packages=
need() { # program package...
    program=$1
    shift
    command -v "$program" >/dev/null 2>&1 || packages="$packages $*"
}
need node nodejs
need npm npm
need flite flite
need espeak-ng espeak-ng
need openssl openssl
need ip iproute2
need promtool prometheus
command -v chromium >/dev/null 2>&1 || need google-chrome chromium
python3 -c 'import ensurepip' 2>/dev/null || packages="$packages python3-venv"

if [ -n "$packages" ]; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    if command -v apt-get >/dev/null 2>&1 && $as_root true 2>/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        $as_root apt-get update -qq || echo "setup-ci: apt-get update failed" >&2
        for package in $packages; do # one by one: one that is not to be had spares the others
            $as_root apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
                echo "setup-ci: $package could not be installed; its tests are left out" >&2
        done
    else
        echo "setup-ci: not root, so left out:$packages; run: sudo apt-get install -y$packages" >&2
    fi
fi

if command -v npm >/dev/null 2>&1; then
    (cd tests/clients/node && npm ci --no-audit --no-fund --loglevel=error) ||
        echo "setup-ci: npm ci failed; the Node client tests are left out" >&2
else
    echo "setup-ci: no npm; the Node client tests are left out" >&2
fi
