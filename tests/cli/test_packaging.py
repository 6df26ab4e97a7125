# SPDX-License-Identifier: Apache-2.0
"""What packages say against what is built: every installed file is in one, every library that the
build wants is asked for. (`make packages-test` builds and installs them; that takes minutes.)"""

import fnmatch
import json
import pathlib
import re
import shutil
import subprocess

import pytest
import twinax_cli as cli

PACKAGING = cli.ROOT / "packaging"


def installed():
    """Below the prefix."""
    build = cli.BINARY.parent
    if not shutil.which("meson") or not (build / "meson-info").is_dir():
        pytest.skip(f"{build} is no build folder of meson")
    out = subprocess.run(["meson", "introspect", "--installed", build], capture_output=True, text=True, check=True).stdout
    prefix = json.loads(subprocess.run(["meson", "introspect", "--buildoptions", build], capture_output=True, text=True,
                                       check=True).stdout)  # fmt: skip
    prefix = next(o["value"] for o in prefix if o["name"] == "prefix")
    return sorted(str(pathlib.PurePath(p).relative_to(prefix)) for p in json.loads(out).values())


def covered(path, patterns):
    """By itself or by a folder above it; a folder also by what is in it."""
    above = [path, *map(str, pathlib.PurePath(path).parents)]
    return any(fnmatch.fnmatch(a, p) for a in above for p in patterns) or any(p.startswith(path + "/") for p in patterns)


def test_every_installed_file_is_in_a_debian_package():
    patterns = []
    for f in (PACKAGING / "debian").glob("*.install"):
        patterns += [line.split()[0].removeprefix("usr/") for line in f.read_text().splitlines() if line]
    left = [p for p in installed() if not covered(p, patterns)]
    assert left == [], f"in no packaging/debian/*.install: {left}"


def test_every_installed_file_is_in_an_rpm():
    places = {"_bindir": "bin", "_libdir": "lib/*", "_mandir": "share/man", "_datadir": "share", "_includedir": "include"}
    spec = (PACKAGING / "twinax.spec").read_text().partition("\n%files")[2]
    patterns = [places[m[0]] + m[1] for m in re.findall(r"^%\{(\w+)\}(/.*)$", spec, re.MULTILINE)]
    patterns += [p.replace("lib/*", "lib") for p in patterns if p.startswith("lib/*")]
    left = [p for p in installed() if not covered(p, patterns)]
    assert left == [], f"in no %files of packaging/twinax.spec: {left}"


def test_every_library_of_the_build_is_asked_for():
    table = subprocess.run([cli.ROOT / "tools" / "deps.sh", "--list"], capture_output=True, text=True, check=True).stdout
    wanted = re.findall(r"^build \| pc:(\S+) \| (\S+) \| (\S+)", table, re.MULTILINE)
    assert len(wanted) >= 8
    control = (PACKAGING / "debian" / "control").read_text()
    spec = (PACKAGING / "twinax.spec").read_text()
    for module, apt, _ in wanted:
        assert re.search(rf"[ ,]{re.escape(apt)}\b", control), f"packaging/debian/control: Build-Depends lacks {apt}"
        assert f"pkgconfig({module})" in spec, f"packaging/twinax.spec: BuildRequires lacks pkgconfig({module})"


def test_one_version():
    version = json.loads(cli.good("version", "--json").stdout)["version"]
    assert f"version: '{version}'" in (cli.ROOT / "meson.build").read_text()
    assert f"\nVersion:        {version}\n" in (PACKAGING / "twinax.spec").read_text()
    assert (PACKAGING / "debian" / "changelog").read_text().startswith(f"twinax ({version}) ")


@pytest.mark.skipif(not shutil.which("git") or not (cli.ROOT / ".git").exists(), reason="no clone")
def test_archive_is_the_same_twice(tmp_path):
    made = []
    for name in "a", "b":
        done = subprocess.run([PACKAGING / "dist.sh", tmp_path / name], capture_output=True, text=True, check=True)
        made.append(pathlib.Path(done.stdout.strip()).read_bytes())
    assert made[0] == made[1] and len(made[0]) > 1000
