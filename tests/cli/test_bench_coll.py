# SPDX-License-Identifier: Apache-2.0
"""`twinax bench coll` checks every result itself; here: that it runs, what it says, and what `auto`
does where shared memory cannot be. No times are judged."""

import json

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
