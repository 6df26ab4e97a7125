# SPDX-License-Identifier: Apache-2.0
"""`twinax plan`: what it says of splits, bytes, nodes and limits."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest
import twinax_cli as cli
from two_hosts import A, ROCE
from two_hosts_fixture import hosts  # noqa: F401

sys.path.insert(0, str(cli.ROOT / "bench"))
import random_model  # noqa: E402


@pytest.fixture(scope="module")
def measured():
    """This machine is measured once for all tests: the text of the cache."""
    with tempfile.TemporaryDirectory() as tmp:
        cli.good("plan", cli.DEMO, "--threads", "1", "--tp", "1", env={"XDG_CACHE_HOME": tmp})
        return (pathlib.Path(tmp) / "twinax" / "measured.json").read_text()


@pytest.fixture
def cache(folder, measured, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.chdir(folder)
    path = folder / "cache" / "twinax" / "measured.json"
    path.parent.mkdir(parents=True)
    path.write_text(measured)
    return path


def plan(*argv, model=cli.DEMO, code=0):
    done = cli.run("plan", model, "--threads", "1", "--json", *argv)
    assert done.returncode == code, done
    return json.loads(done.stdout), done.stderr


def test_splits(cache):
    v, _ = plan()
    assert [s["tp"] for s in v["splits"]] == [1, 2, 4, 8]
    one, two, four, eight = v["splits"]
    for s in v["splits"]:
        assert s["allowed"] and len(s["ranks"]) == s["tp"]
        assert sum(r["heads"] for r in s["ranks"]) == 8 and sum(r["vocabulary"] for r in s["ranks"]) == 1024
        for r in s["ranks"]:
            assert r["total_bytes"] == r["weight_bytes"] + r["kv_bytes"] + r["work_bytes"]
    assert two["ranks"][0]["kv_bytes"] == one["ranks"][0]["kv_bytes"] / 2
    assert (four["kv_copies"], eight["kv_copies"]) == (1, 2), "four KV heads over eight ranks are kept twice"
    assert eight["ranks"][0]["kv_bytes"] == four["ranks"][0]["kv_bytes"]
    # The serving process takes what the plan said.
    done = cli.good("plan", cli.DEMO, "--threads", "1")
    assert done.stdout.startswith("demo: qwen3, 4 layers of 192")
    assert "limited by the model's own limit" in done.stdout


def test_not_allowed(cache):
    v, e = plan("--tp", "8", model=cli.TINY / "llama-plain", code=1)
    assert not v["splits"][3]["allowed"] and "rank" in v["splits"][3]["why"] and "allows tp" in e


def test_context_and_sequences(cache):
    small, _ = plan("--ctx", "256", "--max-seqs", "1")
    large, _ = plan("--ctx", "256", "--max-seqs", "8", "--kv", "f32")
    assert large["splits"][0]["ranks"][0]["kv_bytes"] == 16 * small["splits"][0]["ranks"][0]["kv_bytes"]
    done = cli.run("plan", cli.DEMO, "--ctx", "4096")
    assert done.returncode == 1 and "at most 2048 positions" in done.stderr


def test_measured_once(cache):
    first, _ = plan()
    assert first["machine"]["read_gb_s"] > 0 and first["machine"]["fma_gflops"] > 0
    known = json.loads(cache.read_text())
    (key,) = known["peaks"]
    known["peaks"][key] |= {"read_gb_s": 123.5, "fma_gflops": 1000.0, "measured": 1000}
    cache.write_text(json.dumps(known))
    again, _ = plan()
    assert again["machine"] == {"read_gb_s": 123.5, "fma_gflops": 1000.0, "threads": 1, "measured": 1000}
    for was, now in zip(first["splits"], again["splits"]):
        # the demo model lies in the cache: its decode waits for arithmetic
        by_fma = was["decode_read_ms"] * first["machine"]["fma_gflops"] / 1000
        assert now["decode_read_ms"] == pytest.approx(by_fma, rel=0.02)
    fresh, _ = plan("--measure")
    assert fresh["machine"]["measured"] > 1000
    cache.write_text("{ damaged")
    assert plan()[0]["machine"]["measured"] > 1000


def test_local_ranks_share_the_machine(cache):
    """Two ranks with a thread each get what two threads get; two with all cores each get half of it."""
    cores = len(os.sched_getaffinity(0))
    known = json.loads(cache.read_text())
    (key,) = known["peaks"]
    for n in {2, cores} - {1}:
        known["peaks"][key.replace("1 threads", f"{n} threads")] = known["peaks"][key]
    cache.write_text(json.dumps(known))
    all_cores = ["--tp", "2", "--threads", str(cores)]
    apart, _ = plan(*all_cores)
    here, _ = plan(*all_cores, "--local")
    assert here["link"]["name"] == "shared memory" and apart["assumed_nodes"] and not here["assumed_nodes"]
    assert here["splits"][1]["prefill_compute_ms"] == pytest.approx(2 * apart["splits"][1]["prefill_compute_ms"], rel=0.05)
    assert [n["ranks_sharing"] for n in here["nodes"]] == [2, 2]
    if cores > 1:
        assert plan("--tp", "2", "--local")[0]["machine"]["threads"] == 2


@pytest.mark.parametrize("argv, words", [
    ([], "no MODEL"), ([str(cli.DEMO), "more"], "only one MODEL"), ([str(cli.DEMO), "--tp", "3"], "1, 2, 4 or 8"),
])  # fmt: skip
def test_usage(cache, argv, words):
    done = cli.run("plan", *argv)
    assert done.returncode == 2 and words in done.stderr, done


class Peer:
    """node-b's twinax, with a cache of its own: both machines of the tests share a file system."""

    def __init__(self, folder, measured):
        self.path = folder / "peer" / "twinax" / "measured.json"
        self.path.parent.mkdir(parents=True)
        self.path.write_text(measured)
        self.program = folder / "peer" / "twinax.sh"
        self.program.write_text(f'#!/bin/sh\nexport XDG_CACHE_HOME={folder}/peer\nexec {cli.BINARY} "$@"\n')
        self.program.chmod(0o755)

    def says(self, **numbers):
        tell(self.path, **numbers)


def tell(path, **numbers):
    """The measured numbers of whoever has this cache."""
    known = json.loads(path.read_text())
    (key,) = known["peaks"]
    known["peaks"][key] |= numbers
    path.write_text(json.dumps(known))


@pytest.fixture
def peer(folder, measured):
    return Peer(folder, measured)


def over_nodes(h, peer, second, *argv, text=False, model=cli.DEMO):
    p = subprocess.run(h.ns(A, cli.BINARY, "plan", model, "--threads", "1", *([] if text else ["--json"]), "--nodes",
                            f"head={ROCE[A]},{second}={ROCE[1]}", "--agent-path", peer.program, *argv),
                       capture_output=True, text=True, timeout=cli.LIMIT_S, env=os.environ | h.path(), check=False,
                       stdin=subprocess.DEVNULL)  # fmt: skip
    assert p.returncode == 0, p.stderr
    return p.stdout if text else json.loads(p.stdout)


def link_is(cache, latency_us, gbit_s):
    known = json.loads(cache.read_text())
    known["links"] = {"node-b": {"path": "RDMA", "latency_us": latency_us, "gbit_s": gbit_s, "measured": 1000}}
    cache.write_text(json.dumps(known))


def test_whose_limit_binds(cache, hosts, peer, folder):
    """Each machine's own numbers count, and the slowest is named. A model that no cache holds."""
    large = {"model": random_model.make(folder / "large", layers=32, ffn=8192, empty=True)}
    link_is(cache, 0.1, 1000)
    tell(cache, read_gb_s=20.0, fma_gflops=100.0)
    peer.says(read_gb_s=5.0, fma_gflops=200.0, measured=77)
    v = over_nodes(hosts, peer, "node-b", **large)
    assert [n["speed"]["read_gb_s"] for n in v["nodes"]] == [20.0, 5.0] and v["nodes"][1]["speed"]["measured"] == 77
    assert v["decode_limited_by"].startswith("the memory bandwidth of node-b (5.0 GB/s)"), v
    assert v["prefill_limited_by"].startswith("the arithmetic of head (this machine) (100.0 GFLOP/s)"), v
    slow = v["splits"][1]["decode_read_ms"]
    peer.says(read_gb_s=40.0)
    v = over_nodes(hosts, peer, "node-b", **large)
    assert v["decode_limited_by"].startswith("the memory bandwidth of head (this machine) (20.0 GB/s)"), v
    assert v["splits"][1]["decode_read_ms"] < slow / 2
    peer.says(read_gb_s=20.0, fma_gflops=100.0)
    v = over_nodes(hosts, peer, "node-b", **large)
    assert v["decode_limited_by"].startswith("the memory bandwidth of every node"), v
    link_is(cache, 5000, 0.1)
    text = over_nodes(hosts, peer, "node-b", text=True, **large)
    assert "decode is limited by the link (RDMA, 5000 us, 0.1 Gbit/s)" in text, text
    link_is(cache, 0.1, 1000)
    v = over_nodes(hosts, peer, "node-b")  # the demo model: in the cache
    assert v["decode_limited_by"].startswith("the arithmetic of every node (100.0 GFLOP/s)"), v


def test_peer_measures_itself(cache, hosts, peer):
    peer.path.unlink()
    tell(cache, measured=1000)
    v = over_nodes(hosts, peer, "node-b")
    mine, its = (n["speed"] for n in v["nodes"])
    assert mine["measured"] == 1000 and its["measured"] > 1000 and its["read_gb_s"] > 0 and its["fma_gflops"] > 0
    assert json.loads(peer.path.read_text())["peaks"], "it keeps what it has measured"
    again = over_nodes(hosts, peer, "node-b")
    assert again["nodes"][1]["speed"] == its
    # It is off now: what it said is remembered here.
    peer.program.unlink()
    v = over_nodes(hosts, peer, "node-b")
    assert v["nodes"][1]["speed"] == its | {"answered": False} and "twinax" in v["nodes"][1]["why"], v["nodes"]


def test_two_machines(cache, hosts, peer):
    v = over_nodes(hosts, peer, "node-b")
    assert v["tp"] == 2 and [n["node"] for n in v["nodes"]] == ["head", "node-b"]
    assert all(n["available_bytes"] > 1 << 20 for n in v["nodes"])
    assert v["link"]["measured"] == 0 and "roce0" in v["link"]["name"]
    # What compare has measured is what plan reckons with.
    link_is(cache, 7.0, 21.5)
    v = over_nodes(hosts, peer, "node-b")
    assert v["link"] == {"name": "RDMA", "latency_us": 7.0, "gbit_s": 21.5, "measured": 1000}


def test_compare_is_remembered(cache, hosts):
    p = subprocess.run(hosts.ns(A, cli.BINARY, "compare", "--node", "node-b", "--agent-path", cli.BINARY, "--quick",
                                "-e"), capture_output=True, text=True, timeout=cli.LIMIT_S, check=False,
                       env=os.environ | hosts.path(), stdin=subprocess.DEVNULL)  # fmt: skip
    assert p.returncode == 0, p.stderr
    link = json.loads(cache.read_text())["links"]["node-b"]
    assert link["latency_us"] > 0 and link["gbit_s"] > 0


def test_dead_node_is_named(cache, hosts, peer):
    v = over_nodes(hosts, peer, "down")
    assert v["nodes"][0]["available_bytes"] > 0 and "refused" in v["nodes"][1]["why"]
    assert "speed" not in v["nodes"][1], "never heard of: taken to be like this machine"
    assert v["max_ctx"] == 2048


def test_layers_are_tried_once(folder):
    env = os.environ | {"XDG_CACHE_HOME": str(folder)}
    first = json.loads(cli.good("plan", cli.DEMO, "--ctx", 512, "--json", env=env).stdout)
    assert first["trial"]["layers"] > 0 and first["trial"]["depth"] == 128
    assert first["trial"]["decode_ms"] > 0 and first["trial"]["prefill_ms"] > 0
    again = json.loads(cli.good("plan", cli.DEMO, "--ctx", 512, "--json", env=env).stdout)
    assert again["trial"] == first["trial"]
    assert len(json.loads((folder / "twinax" / "measured.json").read_text())["trials"]) == 1
    cli.good("plan", cli.DEMO, "--ctx", 1024, "--json", env=env)
    assert len(json.loads((folder / "twinax" / "measured.json").read_text())["trials"]) == 2
    cli.good("plan", cli.DEMO, "--ctx", 512, "--quant", "q4", "--json", env=env)
    assert len(json.loads((folder / "twinax" / "measured.json").read_text())["trials"]) == 3
