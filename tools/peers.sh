#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints the folder that holds llama.cpp's programs (llama-bench, llama-batched-bench, llama-quantize,
# llama-completion, ggml-rpc-server), built for this very processor at the first call. The source is that which
# tools/peers.txt pins by hash, as PyPI's llama-cpp-python carries it; nothing of it enters this tree.
# What is built lies in the user's cache, named by source, compiler and processor: every checkout
# shares it, two callers at once build it once, a half-made one is made again.
# usage: tools/peers.sh [--if-built]    --if-built: builds nothing; exit 1 when it is not there
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
pinned=$here/peers.txt
programs=(llama-bench llama-batched-bench llama-quantize llama-completion ggml-rpc-server)
cache=${XDG_CACHE_HOME:-${HOME:?is not set: the peers lie below it, or below XDG_CACHE_HOME}/.cache}/twinax/peers

for tool in gcc g++ cmake ninja python3 sha256sum tar; do
    command -v $tool >/dev/null || { echo "$tool is missing: run tools/deps.sh --dev" >&2 && exit 1; }
done
processor=$(grep -m2 -E '^(model name|flags|Features)' /proc/cpuinfo || true)
key=$( (cat "$pinned" "$0" && g++ --version && echo "$processor") | sha256sum | cut -c1-16)
folder=$cache/$key
built() { [ -e "$folder/complete" ] && (cd "$folder" && sha256sum --quiet --check complete >&2); }

if ! built; then
    [ "${1:-}" != --if-built ] || { echo "the peers are not built: run tools/peers.sh" >&2 && exit 1; }
    mkdir -p "$cache"
    exec 9>"$folder.lock"
    flock 9
    if ! built; then
        rm -rf "$folder" "$folder.new"
        mkdir -p "$folder.new/sdist"
        trap 'rm -rf "$folder.new"' EXIT
        echo "fetching llama.cpp's source: $(grep -o '^llama[^ ]*' "$pinned")" >&2
        python=$("$here/venv.sh" "$here/requirements-peers.txt")
        # The archive's own metadata asks for its build system, which the environment above has.
        PATH=$(dirname "$python"):$PATH "$python" -m pip download --disable-pip-version-check -q --no-deps \
            --no-build-isolation --no-binary :all: --require-hashes -r "$pinned" -d "$folder.new/sdist" >&2
        tar -xzf "$folder.new"/sdist/*.tar.gz -C "$folder.new" --strip-components=1
        echo "building ${programs[*]} in $folder (some minutes)" >&2
        cmake -S "$folder.new/vendor/llama.cpp" -B "$folder.new/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
            -DGGML_NATIVE=ON -DGGML_RPC=ON -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF \
            -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DGGML_CCACHE=OFF \
            -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_COMMON=ON \
            -DLLAMA_BUILD_APP=OFF -DGGML_OPENMP=ON >"$folder.new/cmake.log" 2>&1 || { tail -30 "$folder.new/cmake.log" >&2 && exit 1; }
        nice -n 10 ninja -C "$folder.new/build" -j "${TWINAX_PEER_JOBS:-$(nproc)}" "${programs[@]}" >&2
        mkdir "$folder"
        for p in "${programs[@]}"; do
            install -m 755 "$folder.new/build/bin/$p" "$folder/$p"
        done
        (cd "$folder" && sha256sum "${programs[@]}" >complete)
    fi
    exec 9>&-
fi
echo "$folder"
