#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a folder of .deb files a repository that apt accepts: the file Packages."""

import hashlib
import pathlib
import subprocess
import sys


def main():
    folder = pathlib.Path(sys.argv[1])
    entries = []
    for deb in sorted(folder.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "-f", str(deb)], capture_output=True, text=True, check=True)
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        entries.append(f"{control.stdout.rstrip()}\nFilename: ./{deb.name}\n"
                       f"Size: {deb.stat().st_size}\nSHA256: {digest}\n")
    if not entries:
        sys.exit(f"{folder}: no packages in it")
    (folder / "Packages").write_text("\n".join(entries))


if __name__ == "__main__":
    main()
