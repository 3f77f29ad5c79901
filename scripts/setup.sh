#!/bin/sh
# Makes .venv from a hash-pinned lock file; done in no time when nothing changed.
#   scripts/setup.sh run    what the gateway needs (requirements.lock)
#   scripts/setup.sh dev    that and what tests and checks need (requirements-dev.lock)
# PYTHON names the interpreter to use; otherwise the newest tried one is taken.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
venv=$root/.venv

case ${1:-run} in
    run) lock=requirements.lock ;;
    dev) lock=requirements-dev.lock ;;
    *) echo "usage: scripts/setup.sh [run|dev]" >&2; exit 2 ;;
esac

fail() { echo "setup: $*" >&2; exit 1; }

digest() { "$venv/bin/python" -c \
    'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$1"; }

up_to_date() {
    # A moved checkout counts as changed: the venv knows its own place.
    [ -f "$venv/stamp-$lock" ] && [ -x "$venv/bin/firsthop" ] &&
        [ "$(cat "$venv/stamp-$lock")" = "$root $(digest "$lock" 2>/dev/null)" ]
}

pythons() {
    for name in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
            echo "$name"
    done
    return 0
}

# A Debian python3 has no ensurepip, so `venv` fails on it; then virtualenv, uv or a pip from
# outside fill the environment.
make_venv() {
    found=$(pythons)
    [ -n "$found" ] ||
        fail "needs python3 >= 3.11; run: sudo apt-get install -y python3 python3-venv"
    for python in $found; do
        rm -rf "$venv"
        "$python" -m venv "$venv" >/dev/null 2>&1 && return
    done
    python=$(echo "$found" | head -n 1)
    rm -rf "$venv"
    if command -v virtualenv >/dev/null 2>&1; then
        virtualenv --quiet --python "$python" "$venv" && return
    elif command -v uv >/dev/null 2>&1; then
        uv venv --quiet --seed --python "$python" "$venv" && return
    elif "$python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv --without-pip "$venv" && return
    fi
    rm -rf "$venv"
    fail "$python cannot make virtual environments; run: sudo apt-get install -y python3-venv"
}

pip() {
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$venv/bin/python" -m pip "$@"
    else
        "$python" -m pip --python "$venv/bin/python" "$@"
    fi
}

install_lock() {
    [ -t 1 ] && quiet= || quiet=--quiet
    # Python compiles what it imports; compiling everything now would double the time.
    pip install $quiet --disable-pip-version-check --no-input --no-compile \
        --no-deps --only-binary :all: --require-hashes -r "$lock" ||
        fail "the packages of $lock could not be installed (see above)"
}

# The checkout itself is what runs: no build, and edits count at once.
install_project() {
    "$venv/bin/python" - "$root" <<'PYTHON'
import pathlib, sys, sysconfig
root = pathlib.Path(sys.argv[1])
pathlib.Path(sysconfig.get_path("purelib"), "firsthop.pth").write_text(f"{root}\n")
command = root / ".venv" / "bin" / "firsthop"
command.write_text(f'#!/bin/sh\nexec "{root}/.venv/bin/python" -P -m gateway "$@"\n')
command.chmod(0o755)
PYTHON
}

# Two set-ups at once would spoil each other's work; the lock ends with this script.
if command -v flock >/dev/null 2>&1; then
    exec 9<"$root"
    flock 9
fi

up_to_date && exit 0
python=
"$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || make_venv
[ -n "$python" ] || python=$(pythons | head -n 1)
echo "setup: installing the packages of $lock into .venv"
install_lock
install_project
stamp="$root $(digest "$lock")"
echo "$stamp" >"$venv/stamp-$lock"
if [ "$lock" = requirements-dev.lock ]; then
    echo "$root $(digest requirements.lock)" >"$venv/stamp-requirements.lock"
fi
