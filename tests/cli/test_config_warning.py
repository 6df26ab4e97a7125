# SPDX-License-Identifier: Apache-2.0
"""A twinax.conf that others may write is passed over aloud, by every command that reads one, and once."""

import os
import subprocess

import pytest
import twinax_cli as cli

WARNING = "./twinax.conf may be written by everybody"


@pytest.mark.parametrize("argv", [
    ["serve", "/no/such/model"], ["run", "/no/such/model", "-p", "x"], ["plan", "/no/such/model"], ["compare"],
    ["setup", "--dry-run"], ["doctor"],
], ids=lambda argv: argv[0])  # fmt: skip
def test_told_once(folder, argv):
    conf = folder / "twinax.conf"
    conf.write_text("[cluster]\nnodes = -evil\n")
    conf.chmod(0o666)
    own = folder / "config" / "twinax" / "twinax.conf"
    own.parent.mkdir(parents=True)
    own.write_text("[serve]\ntp = 1\n")
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
    p = subprocess.run([cli.BINARY, *argv], cwd=folder, env=os.environ | home, stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=cli.LIMIT_S)  # fmt: skip
    assert p.stderr.count(WARNING) == 1, p.stderr
    assert "evil" not in p.stderr
