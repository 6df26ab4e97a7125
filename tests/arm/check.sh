#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The bits of other machines, emulated (qemu-user): every kernel of AArch64, scalar and NEON, gives
# the hashes of this machine's; a machine takes the best table that it has; a CPU without AVX takes
# plain C and gives them too, and the same tokens of a whole model. usage: check.sh KERN_DIGEST
# TWINAX MODEL
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
tables=(ref neon neondot neoni8mm)
old=(qemu-x86_64 -cpu Nehalem)
ask=(run "$model" -p "The cable" -n 8 --ids --ignore-eos --threads 1)

# One job a line, so many at once as there are cpus. What one gives is judged afterwards; one that
# fails says why.
"$here/build.sh" "$work/digest_arm"
job() { # OUT COMMAND...
    printf '%q ' "${@:2}"
    printf '>%q 2>%q.err || cat %q.err >&2\n' "$work/$1" "$work/$1" "$work/$1"
}
{
    job old_ids "${old[@]}" "$twinax" "${ask[@]}"
    job old "${old[@]}" "$digest"
    for table in "${tables[@]}"; do
        job "$table" qemu-aarch64 -cpu max "$work/digest_arm" "$table"
    done
    job arm_best qemu-aarch64 -cpu max "$work/digest_arm" --name
    job arm_dot qemu-aarch64 -cpu neoverse-n1 "$work/digest_arm" --name
    job arm_plain qemu-aarch64 -cpu cortex-a53 "$work/digest_arm" --name
    job want "$digest" ref
    job best "$digest"
    job ids "$twinax" "${ask[@]}"
} | xargs -d '\n' -P "$(nproc)" -I{} bash -c '{}'

echo 1..8
report "the best table here" "$work/want" "$work/best"
for table in "${tables[@]}"; do
    report "AArch64, $table" "$work/want" "$work/$table"
done
printf 'neoni8mm\nneondot\nneon\n' >"$work/names"
cat "$work/arm_best" "$work/arm_dot" "$work/arm_plain" >"$work/arm_names"
report "a machine takes the best table that it has" "$work/names" "$work/arm_names"
report "a CPU without AVX takes plain C" "$work/want" "$work/old"
report "a model on a CPU without AVX" "$work/ids" "$work/old_ids"
exit $failed
