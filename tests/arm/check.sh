#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The bits of other machines, emulated (qemu-user): every kernel of AArch64, scalar and NEON, gives
# the hashes of this machine's; a CPU without AVX takes plain C and gives them too, and the same
# tokens of a whole model. usage: check.sh KERN_DIGEST TWINAX MODEL
set -euo pipefail

digest=${1:?usage: check.sh KERN_DIGEST TWINAX MODEL} twinax=$2 model=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0
failed=0

report() { # NAME FILE...: all files are equal
    n=$((n + 1))
    if [ -s "$2" ] && cmp -s "$2" "$3"; then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        diff "$2" "$3" | head -20 | sed 's/^/# /' || true
        failed=1
    fi
}

missing=
for tool in qemu-aarch64 qemu-x86_64 "${AARCH64_CC:-aarch64-linux-gnu-gcc}"; do
    command -v "$tool" >/dev/null || missing=$tool
done
if [ -n "$missing" ]; then
    echo "1..0 # SKIP no $missing: tools/deps.sh --dev installs it"
    exit 0
fi
echo 1..6
"$digest" ref >"$work/want"
"$digest" >"$work/best"
report "the best table here" "$work/want" "$work/best"
"$here/build.sh" "$work/digest_arm"
for table in ref neon neondot; do
    qemu-aarch64 "$work/digest_arm" $table >"$work/$table"
    report "AArch64, $table" "$work/want" "$work/$table"
done

old=(qemu-x86_64 -cpu Nehalem)
"${old[@]}" "$digest" >"$work/old"
report "a CPU without AVX takes plain C" "$work/want" "$work/old"
ask=(run "$model" -p "The cable" -n 8 --ids --ignore-eos --threads 1)
"$twinax" "${ask[@]}" >"$work/ids" 2>/dev/null
"${old[@]}" "$twinax" "${ask[@]}" >"$work/old_ids" 2>/dev/null
report "a model on a CPU without AVX" "$work/ids" "$work/old_ids"
exit $failed
