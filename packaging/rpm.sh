#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# RPM packages of the last commit, from its source archive, by rpmbuild. On another distribution
# than an RPM one they are built all the same, to check the spec: what they need is looked for by
# meson then, not by rpm.
#   packaging/rpm.sh [OUT]     default: dist/
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-$root/dist}"
out=$(cd "${1:-$root/dist}" && pwd)
tarball=$("$root/packaging/dist.sh" "$out")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{SOURCES,BUILD,RPMS,SRPMS}
cp "$tarball" "$work/SOURCES/"
foreign=()
rpm -q glibc >/dev/null 2>&1 || foreign=(--nodeps --define "twinax_strip 1") # no debuginfo there
env -u CC -u CFLAGS -u LDFLAGS SOURCE_DATE_EPOCH="$(git -C "$root" log -1 --format=%ct)" \
    rpmbuild -ba "${foreign[@]}" --define "_topdir $work" "$root/packaging/twinax.spec" >"$out/rpm.log" 2>&1 || {
    tail -30 "$out/rpm.log" >&2
    echo "rpm: failed; all of it: $out/rpm.log" >&2
    exit 1
}
rm -f "$out"/*.rpm
cp "$work"/RPMS/*/*.rpm "$work"/SRPMS/*.rpm "$out/"
ls "$out"/*.rpm
