#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Debian packages of the last commit, from its source archive, by dpkg-buildpackage.
#   packaging/deb.sh [OUT]     default: dist/
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-$root/dist}"
out=$(cd "${1:-$root/dist}" && pwd)
tarball=$("$root/packaging/dist.sh" "$out")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$tarball" -C "$work"
cd "$work"/twinax-*
mv packaging/debian debian
# The compiler's cache and flags of who calls have no place in a package.
env -u CC -u CFLAGS -u LDFLAGS SOURCE_DATE_EPOCH="$(git -C "$root" log -1 --format=%ct)" \
    dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary >"$out/deb.log" 2>&1 || {
    tail -30 "$out/deb.log" >&2
    echo "deb: failed; all of it: $out/deb.log" >&2
    exit 1
}
rm -f "$out"/*.deb
cp ../*.deb "$out/"
ls "$out"/*.deb
