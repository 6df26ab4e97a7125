#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds kern_digest for AArch64 beside this machine's: usage: build.sh OUT. Exit status 77: this
# machine has no compiler for it.
set -euo pipefail

out=${1:?usage: build.sh OUT}
root=$(cd "$(dirname "$0")/../.." && pwd)
cc=${AARCH64_CC:-aarch64-linux-gnu-gcc}
command -v "$cc" >/dev/null || { echo "no $cc: tools/deps.sh --dev installs it" >&2 && exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

flags=(-std=gnu17 -D_GNU_SOURCE -O3 -ffp-contract=off -Wall -Wextra -Wconversion -Werror
    "-I$root/src" "-I$root/include")

list() { # OBJECTS FLAG... -- FILE...: a line of the compiler's arguments for each file
    local name=$1 more=()
    shift
    while [ "$1" != -- ]; do
        more+=("$1")
        shift
    done
    shift
    for f; do
        printf '%q ' "${flags[@]}" "${more[@]}" -c "$f" -o "$work/${name}_$(basename "$f").o"
        echo
    done
}

tables() { # OBJECTS TABLE MARCH: what differs in a table that has its own dots of bytes
    list "$1" "-march=$3" "-DTW_WIDE_NAME=\"$2\"" -- "$root"/src/kern/wide/{qmatmul,table}.c
}

{ # the longest first
    tables i8mm neoni8mm armv8.2-a+dotprod+i8mm
    tables dot neondot armv8.2-a+dotprod
    list wide '-DTW_WIDE_NAME="neon"' -- "$root"/src/kern/wide/*.c
    list ref -- "$root"/src/kern/ref/*.c
    list core -- "$root"/src/kern/*.c "$root/src/base/clock.c" "$root/tests/arm/kern_digest.c"
} | xargs -d '\n' -P "$(nproc)" -I{} bash -c "$cc {}"
"$cc" -static "$work"/*.o -lm -o "$out"
