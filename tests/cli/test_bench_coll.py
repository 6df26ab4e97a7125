# SPDX-License-Identifier: Apache-2.0
"""`twinax bench coll` checks every result itself; here: that it runs, what it says, and what `auto`
does where shared memory cannot be. No times are judged."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import twinax_cli as cli

SIZES = "8,4K,200K"
KEYS = {"bytes", "ranks", "transport", "p50_us", "alg_gb_s", "bus_gb_s", "cpu_us", "memcpy_us", "checked"}


def lines(*argv):
    done = cli.good("bench", "coll", "--local", "--json", *argv)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return found[0], found[1:]


@pytest.mark.parametrize("arith", ("exact", "wire16"))
@pytest.mark.parametrize("tp", (2, 4, 8))
def test_every_result_is_checked(tp, arith):
    way, got = lines("--tp", tp, "--transport", "shm", "--sizes", SIZES, "--arith", arith)
    assert way["transport"] == "shm" and way["ranks"] == tp
    tests = [(g["test"], g["bytes"]) for g in got]
    assert tests[:3] == [("coll_all_reduce", n) for n in (8, 4096, 204800)]
    assert {t for t, _ in tests} == {"coll_all_reduce", "coll_all_gather", "coll_broadcast"}
    for g in got:
        assert g.keys() >= KEYS and g["checked"] and g["p50_us"] > 0 and g["arith"] == arith, g
    if (tp, arith) == (2, "exact"):
        assert got[0]["floor"] == "shm copy and flag" and got[0]["ratio"] > 0


def test_auto_on_one_machine_says_why():
    way, _ = lines("--tp", 2, "--sizes", "8")
    assert way["transport"] == "shm"
    assert "shared memory is faster" in way["refused"]["tcp"]


def test_auto_falls_back_across_namespaces():
    if cli.no_netns():
        pytest.skip(cli.no_netns())
    way, got = lines("--tp", 2, "--netns", "--sizes", "8,64K")
    assert way["transport"] == "tcp" and way["device"].startswith("twx")
    assert "namespace" in way["refused"]["shm"] and way["refused"]["rdma"]
    assert got[0]["floor"] == "raw tcp exchange"
    e = cli.run("bench", "coll", "--local", "--tp", 2, "--netns", "--transport", "shm", "--sizes", "8")
    assert e.returncode == 1 and "transport shm: rank 0 is on another machine or in another" in e.stderr


def test_run_prints_the_choice():
    e = cli.good("run", cli.DEMO, "--local", "--tp", 2, "--prompt-ids", "5,6", "-n", 2, "--ids").stderr
    assert "rank 1 by shm" in e and "rank 1 not by tcp: " in e and "rank 1 not by rdma: " in e


@pytest.mark.parametrize("sizes", ("", "x", ",8", "7", "512M", "8K4", "-8"))
def test_bad_sizes(sizes):
    e = cli.run("bench", "coll", "--local", "--tp", 2, "--sizes", sizes)
    assert e.returncode == 2 and "--sizes" in e.stderr


def test_rdma_device_reaches_both_ranks():
    """Named, it is looked for: this machine has none of that name, and no other one is taken."""
    e = cli.run("bench", "coll", "--local", "--tp", 2, "--sizes", "8", "--transport", "rdma", "--rdma-device", "no9")
    assert e.returncode == 1 and "rdma" in e.stderr, e
    way, _ = lines("--tp", 2, "--sizes", "8", "--rdma-device", "no9")
    assert way["transport"] == "shm"


def interrupted_within(p, limit_s, until):
    """Ctrl-C once `until` has come on stdout: exit 130, one line, nothing left behind."""
    seen = b""
    while until not in seen:
        more = os.read(p.stdout.fileno(), 4096)
        assert more, p.stderr.read()
        seen += more
    t0 = time.monotonic()
    p.send_signal(signal.SIGINT)
    p.wait(60)
    took = time.monotonic() - t0
    e = p.stderr.read().decode()
    assert p.returncode == 130 and "interrupted" in e, (p.returncode, e)
    assert took < limit_s * float(os.environ.get("TW_TIME_SCALE", "1")), took


@pytest.mark.parametrize("tp", (2, 4))
def test_interrupted(tp):
    argv = ["--transport", "shm", "--sizes", "8,4M,64M"]
    with cli.running("bench", "coll", "--local", "--tp", tp, "--json", *argv) as p:
        interrupted_within(p, 1, b"coll_all_reduce")


def test_interrupted_while_peers_run(folder):
    """Peers that would take for ever, and that have children of their own."""
    script = folder / "peers.py"
    # The word comes once the child hears of its parent's death: who is killed before has nobody to tell it.
    script.write_text("import subprocess\nsubprocess.run(['setpriv', '--pdeathsig', 'KILL',"
                      " 'sh', '-c', 'echo peers; exec sleep 1000'])\n")  # fmt: skip
    argv = ["--local", "--tp", 2, "--transport", "shm", "--sizes", "8", "--peers"]
    with cli.running("bench", "coll", *argv, env={"TWINAX_PEERS_SCRIPT": str(script)}) as p:
        interrupted_within(p, 1, b"peers")


CORES = """
import os, sys
sys.path.insert(0, sys.argv[1])
before = os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(before)})  # as the rank that starts it
import coll_peers
assert os.sched_getaffinity(0) == {min(before)}
for rank in 0, 1:
    core = int(coll_peers.cpu(rank))
    assert os.sched_getaffinity(0) == {min(before)}, "asking changes nothing"
    coll_peers.pin(rank)
    assert os.sched_getaffinity(0) == {core}
    os.sched_setaffinity(0, {min(before)})
assert coll_peers.cpu(0) != coll_peers.cpu(1) or len(before) == 1
"""


def test_peers_take_a_core_each():
    """Though the process that starts them is pinned to one."""
    done = subprocess.run([sys.executable, "-c", CORES, cli.ROOT / "bench"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_usage():
    assert cli.run("bench", "coll").returncode == 2
    e = cli.run("bench", "coll", "--local", "--tp", 4, "--peers")
    assert e.returncode == 2 and "--peers" in e.stderr


@pytest.mark.parametrize("tp", (1, 2, 4, 8))
def test_wire16_is_the_same_for_every_split(tp, folder):
    argv = ["--prompt-ids", "5,6,7,300,44", "-n", 12, "--ids", "--ignore-eos", "--logits", folder / "l"]
    one = cli.good("run", cli.DEMO, *argv, "--arith", "wire16").stdout
    bits = (folder / "l").read_bytes()
    cli.good("run", cli.DEMO, *argv)
    assert (folder / "l").read_bytes() != bits
    more = ["--local", "--tp", tp] if tp > 1 else ["--threads", 1]
    assert cli.good("run", cli.DEMO, *argv, "--arith", "wire16", *more).stdout == one
    assert (folder / "l").read_bytes() == bits
