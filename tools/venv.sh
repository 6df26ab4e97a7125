#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints the Python of a virtual environment that holds a requirements file, making it at the first
# call: usage: tools/venv.sh [REQUIREMENTS]. It lies in the user's cache, named by what it holds, so
# that every checkout shares it. Two callers at once make it once; a half-made one is made again.
set -euo pipefail

requirements=${1:-$(dirname "$0")/../tests/requirements.txt}
cache=${XDG_CACHE_HOME:-${HOME:?is not set: the Python environment lies below it, or below XDG_CACHE_HOME}/.cache}/twinax
python=$(command -v python3) || { echo "python3 is missing: run tools/deps.sh --test" >&2 && exit 1; }
version=$("$python" -c 'import sys; print(sys.version, sys.base_prefix)')
key=$( (echo "$version" && cat "$requirements") | sha256sum | cut -c1-16)
venv=$cache/venv-$key

if [ ! -e "$venv/complete" ]; then
    mkdir -p "$cache"
    exec 9>"$venv.lock"
    flock 9
    if [ ! -e "$venv/complete" ]; then
        echo "making the Python environment $venv" >&2
        rm -rf "$venv"
        "$python" -m venv "$venv" >&2
        "$venv/bin/python" -m pip install --disable-pip-version-check -q -r "$requirements" >&2
        touch "$venv/complete"
    fi
    exec 9>&-
fi
echo "$venv/bin/python"
