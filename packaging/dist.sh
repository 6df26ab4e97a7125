#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The source archive of the last commit: the same bytes whoever makes it, and when. Prints its path.
#   packaging/dist.sh [OUT]     default: dist/
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/dist}
cd "$root"
version=$(sed -n "s/^  version: '\(.*\)',$/\1/p" meson.build)
grep -q "TW_VERSION  *\"$version\"" include/twinax/version.h || {
    echo "dist: meson.build says $version, include/twinax/version.h another version" >&2
    exit 1
}
[ -z "$(git status --porcelain --untracked-files=no)" ] ||
    echo "dist: there are changes that are not committed: the archive has the last commit" >&2
mkdir -p "$out"
name=twinax-$version
# The order is git's, the times are the commit's, gzip notes no name and no time.
git archive --format=tar --prefix="$name/" HEAD | gzip -9n >"$out/$name.tar.gz.$$"
mv "$out/$name.tar.gz.$$" "$out/$name.tar.gz"
echo "$out/$name.tar.gz"
