#!/usr/bin/env bash
# Installs what s3mount needs to be developed and tried: Debian packages, then a virtual environment.
# What is there is skipped. Usage: scripts/setup.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
log=$(mktemp "${TMPDIR:-/tmp}/s3mount-setup.XXXXXX")
trap 'rm -f "$log"' EXIT

die() {
    echo "setup: $*" >&2
    exit 1
}

# Runs a command quietly; its output is shown only when it fails.
quietly() {
    if ! "$@" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        die "this failed: $*"
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        quietly env DEBIAN_FRONTEND=noninteractive "$@"
    elif command -v sudo >/dev/null; then
        quietly sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        die "needs root or sudo to run: $*"
    fi
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# A Python that is new enough; python3 first, so that the system's is preferred.
find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

install_packages() {
    command -v dpkg-query >/dev/null ||
        die "not Debian or Ubuntu: install fuse3, then 'make setup'"
    local wanted=(fuse3 attr make ca-certificates systemd)
    local python version
    if ! python=$(find_python); then
        wanted+=(python3 python3-venv)
    elif [ "$(dirname "$(readlink -f "$python")")" = /usr/bin ]; then
        version=$(basename "$(readlink -f "$python")")
        wanted+=("$version-venv")
    fi
    local missing=() package
    for package in "${wanted[@]}"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    echo "setup: installing ${missing[*]}"
    as_root apt-get update -q
    as_root apt-get install -y -q --no-install-recommends "${missing[@]}"
}

make_environment() {
    local python
    python=$(find_python) ||
        die "needs Python 3.11 or newer; this machine has $(python3 --version 2>&1). " \
            "Debian 12, Ubuntu 24.04 and newer have one: apt-get install python3 python3-venv"
    if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "setup: making $venv with $("$python" --version)"
        quietly "$python" -m venv --clear "$venv"
    fi
    echo "setup: installing s3mount and what its tests need into $venv"
    quietly "$venv/bin/python" -m pip install --disable-pip-version-check -e '.[test,lint,demo]'
}

install_packages
make_environment
if [ ! -e /dev/fuse ]; then
    echo "setup: no /dev/fuse here: tests and demo that mount will fail (in a container: --device /dev/fuse --cap-add SYS_ADMIN)" >&2
fi
echo "setup: done"
