# SPDX-License-Identifier: Apache-2.0
"""`twinax compare` of three machines: each pair, one at a time, also those without the head in it;
the nodes from the command line or from twinax.conf."""

import json
import os
import re
import signal
import xml.etree.ElementTree

import pytest
import twinax_cli as cli
import two_hosts_fixture
from two_hosts import A, B, C, LAN, ROCE, TB
from two_hosts_fixture import nothing_is_left  # noqa: F401

NODES = f"head={ROCE[A]},node-b={ROCE[B]},node-c={ROCE[C]}"
AGENT = ["--agent-path", cli.BINARY]
PAIRS = [("head", "node-b"), ("head", "node-c"), ("node-b", "node-c")]
CONF = f"""[cluster]
nodes = head, node-b, node-c
[node.head]
ip = {ROCE[A]}
[node.node-b]
ip = {ROCE[B]}
agent_path = {cli.BINARY}
[node.node-c]
ip = {ROCE[C]}
agent_path = {cli.BINARY}
"""


@pytest.fixture(scope="module")
def hosts():
    yield from two_hosts_fixture.made(3)


def compare(h, *argv, nodes=NODES):
    return h.run(A, "compare", "--nodes", nodes, *AGENT, "--quick", *argv)


def rows_of(p):
    """{(here, there): {path: row}}"""
    return {(x["here"], x["there"]): {r["path"]: r for r in x["rows"]} for x in json.loads(p.out)["pairs"]}


def test_every_pair_as_json_and_chart(hosts, folder):
    p = compare(hosts, "-e", "-r", "--json", "--svg", folder / "chart.svg")
    assert p.returncode == 0, p.err
    v = json.loads(p.out)
    assert set(v) == {"schema", "version", "nodes", "model", "pairs"} and v["schema"] == 1
    assert [n["name"] for n in v["nodes"]] == ["head", "node-b", "node-c"] and all(n["host"] for n in v["nodes"])
    rows = rows_of(p)
    assert list(rows) == PAIRS and [x["via"] for x in v["pairs"]] == ["ssh"] * 3
    for (here, there), row in rows.items():
        i, k = (["head", "node-b", "node-c"].index(x) for x in (here, there))
        for path, ips, device in ("lan", LAN, "lan0"), ("roce_tcp", ROCE, "roce0"):
            r = row[path]
            assert r["status"] == "ok", r
            assert (r["here"]["address"], r["there"]["address"]) == (ips[i], ips[k])
            assert r["here"]["device"] == device and r["latency"][0]["spin"]["p50_us"] > 0
            # the asking end's own interface saw the bytes: they went from node to node
            assert r["proof"]["interface_bytes"] >= 0.95 * r["proof"]["moved_bytes"] > 0, r
    progress = p.err
    for here, there in PAIRS:
        assert f"{here} - {there}: Ethernet (1G LAN): bandwidth to the peer" in progress
    text = "".join(xml.etree.ElementTree.parse(folder / "chart.svg").getroot().itertext())
    assert "Ethernet (RoCE NIC)" in text and "Gbit/s" in text and "node-c" in text


def test_table_and_a_path_that_one_pair_has(hosts):
    p = compare(hosts)
    assert p.returncode == 0, p.out + p.err
    blocks = re.split(r"\n\n", p.out)
    assert "3 nodes, 3 pairs" in blocks[0]
    tb = next(b for b in blocks if b.startswith("Thunderbolt"))
    assert re.search(r"latency, us +node-b +node-c\n    head +[0-9.]+ +-\n    node-b +-\n", tb), tb
    assert "head - node-c: not there: " in tb and "slowest: head - node-b, " in tb
    roce = next(b for b in blocks if b.startswith("Ethernet (RoCE NIC)"))
    assert re.search(r"rate, Gbit/s +node-b +node-c\n    head +[0-9.]+ +[0-9.]+\n    node-b +[0-9.]+\n", roce), roce
    rdma = next(b for b in blocks if b.startswith("RDMA"))
    assert "not there" in rdma or "failed" in rdma
    remark = re.compile(r"^( +\S+ - \S+|RDMA \(RoCE\)): ")
    assert [line for line in p.out.splitlines() if len(line) > 80 and not remark.match(line)] == []


def test_asked_for_and_not_on_every_pair(hosts):
    p = compare(hosts, "-t", "--json")
    assert p.returncode == 1
    rows = rows_of(p)
    assert rows["head", "node-b"]["thunderbolt"]["there"]["address"] == TB[B]
    assert rows["node-b", "node-c"]["thunderbolt"]["status"] == "missing"


@pytest.mark.parametrize("n", [2, 3])
def test_nodes_of_the_config(hosts, folder, monkeypatch, n):
    """No flag at all: what twinax.conf says, and its addresses are the RoCE NIC's path."""
    text = CONF if n == 3 else CONF.replace("head, node-b, node-c", "head, node-b")
    (folder / "twinax.conf").write_text(text)
    os.chmod(folder / "twinax.conf", 0o600)
    monkeypatch.chdir(folder)
    p = hosts.run(A, "compare", "--quick", "-r", "--json")
    assert p.returncode == 0 and f"{n} nodes from ./twinax.conf" in p.err, p.err
    v = json.loads(p.out)
    rows = v["rows"] if n == 2 else [r for x in v["pairs"] for r in x["rows"]]
    assert len(rows) == n * (n - 1) / 2 and {r["path"] for r in rows} == {"roce_tcp"}
    assert rows[0]["here"]["address"] == ROCE[A] and rows[0]["there"]["address"] == ROCE[B]


def test_two_of_the_list(hosts):
    """Two nodes: the table of one pair, not a matrix."""
    p = compare(hosts, "-r", nodes=f"me={ROCE[A]},node-c={ROCE[C]}")
    assert p.returncode == 0 and "Ethernet (RoCE NIC)" in p.out, (p.out, p.err)
    assert not re.search(r"\d nodes, \d pair", p.out), p.out
    assert "verdict:" in p.out and ROCE[C] in p.out


def test_a_node_that_cannot_be_had(hosts):
    """It is named in each of its pairs; the others are measured."""
    p = compare(hosts, "-e", "--json", nodes=f"head={ROCE[A]},changed,node-c={ROCE[C]}")
    assert p.returncode == 1
    rows = rows_of(p)
    assert rows["head", "node-c"]["lan"]["status"] == "ok"
    for pair in ("head", "changed"), ("changed", "node-c"):
        row = rows[pair]["lan"]
        assert row["status"] == "failed" and "host key is another" in row["reason"], row


def test_interrupted_between_two_other_machines(hosts):
    p = hosts.start(A, "compare", "--nodes", NODES, *AGENT, "-r", "--quick")
    while "node-b - node-c: Ethernet (RoCE NIC): latency" not in (line := p.stderr.readline()):
        assert line, "ended early"
    os.kill(p.pid, signal.SIGINT)
    out, err = p.communicate(timeout=30)
    assert p.returncode == 130 and out == "" and "interrupted" in err
    assert hosts.quiet_after(30) < 30


@pytest.mark.parametrize("argv, words", [
    (["--nodes", "a"], "two or more"), (["--nodes", "a=1.2.3.4,b", "--node", "b"], "one of them"),
    (["--nodes", "a,b,c", "--eth", "1.2.3.4"], "one pair"), (["--nodes", "a,a"], "a"), ([], "twinax.conf"),
])  # fmt: skip
def test_usage(argv, words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    p = cli.run("compare", *argv)
    assert p.returncode == 2 and words in p.stderr, p.stderr
