#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The container image of twinax itself, of the last commit: packaging/Containerfile.
#   packaging/container.sh [OPTION OF podman build]...
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$("$root/packaging/dist.sh" "$work")" -C "$work"
"${PODMAN:-podman}" build -t twinax "$@" -f packaging/Containerfile "$work"/twinax-*/
