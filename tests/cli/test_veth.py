# SPDX-License-Identifier: Apache-2.0
"""Two runs with --netns at once in one network namespace, whose pids ask for the same names and
addresses: each gets a pair of its own."""

import contextlib
import os
import re
import signal
import subprocess

import pytest
import twinax_cli as cli

ARGV = ["run", cli.DEMO, "--local", "--tp", "2", "--netns", "--threads", "1", "--prompt-ids", "1,2,3",
        "--ignore-eos", "--ids", "--temp", "0"]
# Both are pid 1: what containers on the host's network see too.
SAME_PID = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def why_not():
    if cli.no_netns():
        return cli.no_netns()
    done = subprocess.run([*SAME_PID, "true"], capture_output=True, text=True, timeout=20)
    return None if done.returncode == 0 else f"pid namespaces: {done.stderr.strip()}"


@contextlib.contextmanager
def started(n, env=None):
    p = subprocess.Popen([*SAME_PID, cli.BINARY, *map(str, ARGV), "-n", str(n)],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env=os.environ | (env or {}), start_new_session=True)  # fmt: skip
    try:
        yield p
    finally:
        if p.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
        p.wait()
        p.stdout.close()
        p.stderr.close()


def read_ids(p, n):
    seen = b""
    while seen.count(b",") < n:
        more = os.read(p.stdout.fileno(), 4096)
        assert more, f"ended early: {p.stderr.read().decode()}"
        seen += more


def addresses():
    out = subprocess.run(["ip", "-o", "-4", "addr", "show"], capture_output=True, text=True, check=True)
    return dict(re.findall(r"^\d+: (twx1(?:-\d+)?a)\s+inet (169\.254\.[\d.]+)/30", out.stdout, re.M))


@pytest.mark.skipif("why_not()")
def test_equal_pids_get_different_networks():
    alone = cli.good("run", cli.DEMO, "--prompt-ids", "1,2,3", "--ignore-eos", "--ids", "--temp", "0",
                     "-n", "8")  # fmt: skip
    with started(2000, {"TW_CPU": "ref"}) as first:
        read_ids(first, 3)
        before = addresses()
        with started(8) as second:
            out, e = second.communicate(timeout=cli.LIMIT_S)
            assert second.returncode == 0 and out.decode() == alone.stdout, e.decode()
        proof = re.search(r"rank 1 by tcp, device (\S+), ([\d.]+):\d+ -> ([\d.]+):\d+", e.decode())
        assert proof, e.decode()
        assert proof.group(1) not in before and proof.group(2) not in before.values(), (proof, before)
        read_ids(first, 3)  # and the first one goes on
