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
for f in "$root"/src/kern/*.c "$root/src/base/clock.c" "$root/tests/arm/kern_digest.c"; do
    "$cc" "${flags[@]}" -c "$f" -o "$work/core_$(basename "$f").o"
done
for f in "$root"/src/kern/ref/*.c; do
    "$cc" "${flags[@]}" -c "$f" -o "$work/ref_$(basename "$f").o"
done
for f in "$root"/src/kern/wide/*.c; do
    "$cc" "${flags[@]}" '-DTW_WIDE_NAME="neon"' -c "$f" -o "$work/wide_$(basename "$f").o"
done
for f in qmatmul table; do
    "$cc" "${flags[@]}" -march=armv8.2-a+dotprod '-DTW_WIDE_NAME="neondot"' \
        -c "$root/src/kern/wide/$f.c" -o "$work/dot_$f.o"
done
"$cc" -static "$work"/*.o -lm -o "$out"
