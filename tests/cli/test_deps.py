# SPDX-License-Identifier: Apache-2.0
"""tools/deps.sh: what the tests start is on its list; what an ordinary user's PATH lacks is found."""

import os
import re
import subprocess

import twinax_cli as cli

DEPS = cli.ROOT / "tools" / "deps.sh"


def deps(*argv, path=None):
    env = os.environ | {"PATH": path or os.environ["PATH"]}
    return subprocess.run([DEPS, *argv], capture_output=True, text=True, env=env, timeout=cli.LIMIT_S)


def test_every_program_of_the_tests_is_on_the_list():
    probes = re.findall(r"cmd:(\S+)", deps("--list").stdout)
    listed = {name for probe in probes for name in probe.split(",")}
    wanted = {"ip", "tc", "unshare", "flock", "nm", "ssh", "ssh-keygen", "sshd", "tmux", "pkg-config"}
    assert wanted <= listed, f"not on the list: {wanted - listed}"


def test_programs_of_root_are_found_without_its_path():
    """Else a package would be installed again at every call, and called missing after it."""
    usual = [p for p in os.environ["PATH"].split(":") if not p.endswith("sbin")]
    with_sbin = ":".join([*usual, "/usr/sbin", "/sbin"])
    argv = ["--dev", "--dry-run"]
    found = [deps(*argv, path=path) for path in (":".join(usual), with_sbin)]
    assert found[0].stdout == found[1].stdout and found[0].returncode == found[1].returncode == 0, found


def test_no_daemon_is_installed_for_make_test():
    """Debian's openssh-server listens as soon as it is there: only --dev asks for it."""
    line = next(x for x in deps("--list").stdout.splitlines() if "cmd:sshd" in x)
    assert line.startswith("dev ")
