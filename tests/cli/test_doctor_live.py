# SPDX-License-Identifier: Apache-2.0
"""twinax doctor between two network namespaces with two real sshd: what is proven live."""

import json
import time

import pytest
import twinax_cli as cli
from two_hosts import LAN, ROCE, TB, A, B
from two_hosts_fixture import made


@pytest.fixture(scope="module")
def hosts():
    for h in made():
        yield h
        assert h.quiet_after() < 10, (h.processes(A), h.processes(B))


def agent(hosts, ssh=""):
    """twinax on a node, where ssh knows the head's name and key; or where ssh is what is given."""
    folder = hosts.folder / ("no-ssh" if ssh else "with-ssh")
    folder.mkdir(exist_ok=True)
    if ssh:
        says = f"echo 'user@head: {ssh}' >&2\nexit 255"
        (folder / "ssh").write_text("#!/bin/sh\n" + (f'{ssh} "$@"\n' if ssh.startswith("exec") else says + "\n"))
        (folder / "ssh").chmod(0o755)
    script = folder / "agent"
    script.write_text(f'#!/bin/sh\nPATH={folder}:{hosts.folder}/bin:$PATH exec {cli.BINARY} "$@"\n')
    script.chmod(0o755)
    return script


def doctor(hosts, ips, *more, names=("node-a", "node-b"), ssh=""):
    nodes = ",".join(f"{n}={ip}" if ip else n for n, ip in zip(names, ips))
    p = hosts.run(A, "doctor", "--json", "--nodes", nodes, "--agent-path", agent(hosts, ssh), *more)
    assert p.out, p.err
    return p, json.loads(p.out)


def one(found, check, node=None):
    v = [c for c in found["checks"] if c["id"] == check and node in (None, c.get("node"))]
    dead = [c["found"] for c in found["checks"] if c["id"] == "node.reached" and c["status"] != "ok"]
    assert len(v) == 1, (check, node, v, dead)
    return v[0]


def test_a_good_pair(hosts):
    p, found = doctor(hosts, ROCE)
    assert p.err == ""
    for check in "net.ports", "net.path_mtu", "net.subnet", "pair.mtu", "same.twinax", "net.duplicate":
        assert one(found, check)["status"] == "ok", one(found, check)
    assert one(found, "net.path_mtu")["found"].startswith("packets of 1500 bytes")
    assert one(found, "cable.load")["status"] in ("ok", "warn")  # a veth may drop or retransmit
    assert one(found, "time.clock", "node-b")["status"] == "ok"
    assert one(found, "ssh.back", "node-b")["status"] == "ok"
    assert one(found, "nic.present", "node-b")["found"].startswith("roce0")


def test_no_way_back_by_ssh(hosts):
    for engine, status in ("native", "warn"), ("vllm", "fail"):
        _, found = doctor(hosts, ROCE, "--no-load", "--engine", engine, ssh="Permission denied")
        back = one(found, "ssh.back", "node-b")
        assert back["status"] == status and back["found"].startswith("node-a: ssh permission denied"), back
        assert "ssh-copy-id" in back["mend"]


@pytest.mark.parametrize("known, found, mend", [
    ("known_wrong", "its host key is another than the known one", "ssh-keygen -R HEAD"),
    ("known_none", "its host key is not known yet", "--only ssh-trust"),
])  # fmt: skip
def test_host_key_on_the_way_back(hosts, known, found, mend):
    """A real ssh to the head's real sshd, from a node that knows another key of it, or none."""
    wrong = (hosts.folder / "known_wrong").read_text().replace(LAN[B], LAN[A])
    (hosts.folder / f"{known}_back").write_text(wrong if known == "known_wrong" else "")
    ssh = f"exec {hosts.folder}/bin/ssh -o UserKnownHostsFile={hosts.folder}/{known}_back"
    _, result = doctor(hosts, ROCE, "--no-load", "--engine", "vllm", ssh=ssh)
    back = one(result, "ssh.back", "node-b")
    assert back["status"] == "fail" and found in back["found"] and mend in back["mend"], back
    assert back["step"] == "ssh-trust"


def test_jumbo_that_does_not_pass(hosts):
    """The interfaces say 9000, something between them takes 1500: one end of the veth is smaller."""
    hosts.do(A, "ip", "link", "set", "thunderbolt0", "mtu", "9000")
    hosts.do(B, "ip", "link", "set", "thunderbolt0", "mtu", "2345")
    try:
        p, found = doctor(hosts, TB, "--no-load")
    finally:
        for h in A, B:
            hosts.do(h, "ip", "link", "set", "thunderbolt0", "mtu", "1500")
    assert p.returncode == 1
    assert "packets of 2345 bytes" in one(found, "net.path_mtu")["found"]
    assert one(found, "net.path_mtu")["status"] == "fail"
    assert one(found, "pair.mtu")["found"] == "9000 and 2345"
    assert one(found, "pair.mtu")["mend"].startswith("on node-b: ")
    assert one(found, "cable.load")["status"] == "na"


@pytest.fixture
def one_way(hosts):
    """What node-b would answer over roce0 goes nowhere: to node-a that looks like a packet filter."""
    hosts.do(B, "ip", "route", "add", "unreachable", f"{ROCE[A]}/32")
    yield
    hosts.do(B, "ip", "route", "del", "unreachable", f"{ROCE[A]}/32")


def test_a_filtered_port(hosts, one_way):
    p, found = doctor(hosts, ROCE, "--no-load")
    assert p.returncode == 1
    assert one(found, "net.ports")["found"] == "to node-b: filtered; to node-a: unreachable"
    assert one(found, "net.ports")["mend"].startswith("on node-b: ")
    assert one(found, "net.path_mtu")["status"] == "na"


def test_one_dead_node_of_three(hosts):
    began = time.monotonic()
    p, found = doctor(hosts, [*ROCE, ""], "--no-load", names=("node-a", "node-b", "down"))
    assert p.returncode == 1 and time.monotonic() - began < 40
    dead = one(found, "node.reached", "down")
    assert dead["status"] == "fail" and "refused" in dead["found"], dead
    assert one(found, "net.ports")["status"] == "ok"
    assert [n["reached"] for n in found["nodes"]] == [True, True, False]


def test_a_key_that_is_refused(hosts):
    _, found = doctor(hosts, LAN, "--no-load", names=("node-a", "stranger"))
    assert "ermission denied" in one(found, "node.reached", "stranger")["found"]
    assert one(found, "node.reached", "stranger")["step"] == "ssh-trust"


def test_model_is_compared(hosts):
    _, found = doctor(hosts, ROCE, "--no-load", "--model", cli.DEMO)
    assert one(found, "same.model")["status"] == "ok"
    _, found = doctor(hosts, ROCE, "--no-load")
    assert one(found, "same.model")["status"] == "na"


def test_interrupted(hosts):
    """ctrl-C while agents work: soon over, and nothing is left (the fixture looks at the end)."""
    nodes = ",".join(f"{n}={ip}" for n, ip in zip(("node-a", "node-b"), ROCE))
    p = hosts.start(A, "doctor", "--nodes", nodes, "--agent-path", agent(hosts))
    while not any("agent" in line for line in hosts.processes(B).values()) and p.poll() is None:
        time.sleep(0.01)
    p.send_signal(2)
    out, err = p.communicate(timeout=20)
    assert p.returncode == 130, (p.returncode, out, err)


def test_record_replays(hosts, tmp_path):
    record = tmp_path / "r.json"
    nodes = ",".join(f"{n}={ip}" for n, ip in zip(("node-a", "node-b"), ROCE))
    p = hosts.run(A, "doctor", "--json", "--nodes", nodes, "--agent-path", agent(hosts), "--no-load", "--record", record)
    again = cli.run("doctor", "--json", "--facts", record)
    text = record.read_text()
    assert "node-a" not in text and "node-b" not in text
    status = [[(c["id"], c["status"]) for c in json.loads(t)["checks"]] for t in (p.out, again.stdout)]
    assert status[0] == status[1]
