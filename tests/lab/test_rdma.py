# SPDX-License-Identifier: Apache-2.0
"""twinax over real verbs between two machines: same bits as one rank on the host, and a capture of
the wire that shows what carried them."""

import json
import re
import subprocess

import conftest
import pcap
import pytest

DEMO = conftest.ROOT / "models" / "demo"
N = 24
TRANSPORTS = ["auto", "tcp", "shm", "rdma"]  # enum tw_transport
IDLE_TCP_BYTES = 16 * 1024  # rendezvous and heartbeats of a short run, each way; seen: some 2 KiB


def ids_text(ids):
    return ",".join(map(str, ids))


@pytest.fixture(scope="session")
def question():
    lines = (conftest.ROOT / "tests" / "data" / "demo_answers.jsonl").read_text().splitlines()
    return ids_text(json.loads(lines[0])["prompt_ids"])


@pytest.fixture(scope="session")
def alone(question, tmp_path_factory):
    """Ids and logits of one rank on the host."""
    logits = tmp_path_factory.mktemp("alone") / "logits"
    done = subprocess.run(
        [conftest.program("twinax"), "run", DEMO, "--prompt-ids", question, "-n", str(N), "--temp", "0",
         "--ignore-eos", "--ids", "--logits", logits],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), logits.read_bytes()


def facts(text):
    """The lines of two_hosts: {"peer": {...}, "link": {...}, "port": {...}, "refused": {...}}."""
    found = {"refused": dict(re.findall(r"^refused (\w+): (.*)$", text, re.MULTILINE))}
    for kind in ("peer", "link", "port"):
        line = re.search(rf"^{kind} (?:\d+ transport )?(.*)$", text, re.MULTILINE)
        assert line, text
        words = line.group(1).split()
        if kind == "peer":
            words.insert(0, "transport")
        found[kind] = dict(zip(words[::2], words[1::2]))
    return found


def captured(pair):
    return pair.a.pcap.stat().st_size


def generate(pair, two_hosts, question, transport, rank1=None):
    """A generation by both machines: ids, logits, what each end says, and the wire's tally."""
    start = captured(pair)
    ask = f"{two_hosts} generate 0 model={DEMO} ids={question} n={N} logits=$JOB/logits"
    serve = rank1 or f"{two_hosts} generate 1 model={DEMO} transport={transport}"
    a, b = pair.both(f"{ask} transport={transport}", serve, 40)
    assert a.status == 0 and b.status == 0, (a, b)
    ids = re.search(r"^ids (.*)$", a.out, re.MULTILINE).group(1)
    logits = (pair.job / "logits").read_bytes()
    return ids, logits, a.out, b.out, pcap.Tally(pair.a.pcap, start)


def check_end(said, here, there):
    got = facts(said)
    peer = got["peer"]
    assert (peer["transport"], peer["device"], peer["port"]) == ("rdma", "rxe0", "1")
    assert (peer["gid"], peer["peer_gid"], peer["mtu"]) == (here, there, "4096")
    assert int(got["port"]["tx_packets"]) > 0 and int(got["port"]["rx_packets"]) > 0
    return got


def test_two_machines_give_the_bits_of_one(pair, two_hosts, question, alone):
    ids, logits, a, b, wire = generate(pair, two_hosts, question, "rdma")
    assert (ids, logits) == alone
    at_a = check_end(a, pair.a.address, pair.b.address)["link"]
    at_b = check_end(b, pair.b.address, pair.a.address)["link"]
    # Both ends count the same, and the wire carried just that by RoCE v2.
    for sender, tx, rx in ((pair.a, at_a, at_b), (pair.b, at_b, at_a)):
        # What is said in the last moments (the end of the group) need not be counted by both.
        assert 0 <= int(rx["rx_bytes"]) - int(tx["tx_bytes"]) <= 1024, (a, b)
        on_wire, sent = wire.roce[sender.address], int(tx["tx_bytes"])
        assert sent <= on_wire <= sent * 1.05 + 2 * 68 * 1024, (on_wire, sent)
    assert set(wire.opcodes) <= set(pcap.EXTENDED), wire.opcodes  # writes and their acknowledgements
    assert wire.other_udp == 0
    assert 0 < max(wire.tcp.values()) < IDLE_TCP_BYTES, wire.tcp


def test_the_capture_tells_tcp_from_rdma(pair, two_hosts, question, alone):
    ids, logits, a, _, wire = generate(pair, two_hosts, question, "tcp")
    assert (ids, logits) == alone
    assert facts(a)["peer"]["transport"] == "tcp"
    assert not wire.roce and wire.tcp[pair.a.address] > int(facts(a)["link"]["tx_bytes"])


def test_auto_takes_rdma_and_says_why(pair, two_hosts, question, alone):
    ids, logits, a, b, _ = generate(pair, two_hosts, question, "auto")
    assert (ids, logits) == alone
    for said in (a, b):
        got = facts(said)
        assert got["peer"]["transport"] == "rdma"
        assert "another machine" in got["refused"]["shm"]
        assert "rdma is faster" in got["refused"]["tcp"]


def test_the_program_itself_serves_a_rank(pair, two_hosts, question, alone):
    """`twinax rank`, told its part as rank 0 of a real run tells it."""
    part = {
        "rank": 1, "n_ranks": 2, "address": pair.a.address, "port": 18621,
        "token": b"a token for the lab, known to all"[:32].hex(), "model": str(DEMO), "verify": False,
        "transport": TRANSPORTS.index("rdma"),
        "engine": {"threads": 1, "ctx": 0, "max_seqs": 0, "chunk": 0, "kv": 0, "n_local": 2,
                   "arith": 0},
    }
    (pair.job / "part").write_text(json.dumps(part) + "\n")
    # Its stdin must stay open: the end of it is the end of rank 0.
    serve = "rm -f /run/part; mkfifo /run/part; exec 9<>/run/part; cat $JOB/part >&9; "
    serve += f"{conftest.program('twinax')} rank <&9"
    ids, logits, a, _, _ = generate(pair, two_hosts, question, "rdma", serve)
    assert (ids, logits) == alone
    check_end(a, pair.a.address, pair.b.address)


def test_all_sizes_are_right(pair):
    """All-reduces from 8 B up, and step plans that wake a sleeping rank."""
    run = conftest.program("tests/lab/verbs_pair")
    a, b = pair.both(f"{run} 0 2 {pair.a.address} rdma 5", f"{run} 1 2 {pair.a.address} rdma 5", 100)
    assert a.status == 0 and b.status == 0, (a, b)
    assert a.out.count("bits equal") == a.out.count("all-reduce ") >= 7


@pytest.mark.parametrize("mtu_a,mtu_b,path", [(1500, 4500, 1024), (4500, 1500, 1024),
                                              (4200, 4200, 4096), (2300, 4500, 2048)])
def test_the_path_mtu_is_the_smaller_one(pair, two_hosts, mtu_a, mtu_b, path):
    set_mtu = "ip link set eth0 mtu {}; "
    set_mtu += "for i in $(seq 99); do rdma link show rxe0/1 | grep ACTIVE && exit; sleep 0.1; done; exit 1"
    for r in pair.both(set_mtu.format(mtu_a), set_mtu.format(mtu_b)):
        assert r.status == 0, r
    start = captured(pair)
    a, b = pair.both(f"{two_hosts} reduce 0 floats=65536 rounds=3",
                     f"{two_hosts} reduce 1 floats=65536 rounds=3")
    assert a.status == 0 and b.status == 0, (a, b)
    assert [facts(r.out)["peer"]["mtu"] for r in (a, b)] == [str(path)] * 2
    # The largest packet: BTH, RETH or immediate, payload, CRC.
    assert path <= pcap.Tally(pair.a.pcap, start).largest - 16 <= path + 20
