# SPDX-License-Identifier: Apache-2.0
"""`twinax compare` between two namespaces with real sshd: paths, output, and all that goes wrong."""

import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

import pytest
import twinax_cli as cli
import two_hosts
from two_hosts import A, B, LAN, LAN6, ROCE, TB
from two_hosts_fixture import hosts, nothing_is_left  # noqa: F401

NAMES = {"lan": "Ethernet (1G LAN)", "roce_tcp": "Ethernet (RoCE NIC)", "thunderbolt": "Thunderbolt",
         "rdma": "RDMA (RoCE)"}  # fmt: skip
HAS_RDMA = any(pathlib.Path("/sys/class/infiniband").glob("*"))
SIZES = [2, 8192, 16384, 20480, 49152, 1048576]


def compare(h, *argv, host=A, node=True, quick=True, **more):
    more_args = ["--node", "node-b" if host == A else "node-a", "--agent-path", cli.BINARY] if node else []
    for last in (False, False, True):
        p = h.run(host, "compare", *more_args, *(["--quick"] if quick else []), *argv, **more)
        if last or not is_starved(p, argv):
            return p


def is_starved(p, argv):
    """An end that got no processor in the few milliseconds of a quick measurement moved nothing."""
    if p.returncode != 0 or "--json" not in argv:
        return False
    return any(0 in r.get("bandwidth_gbit", {}).values() for r in rows_of(p).values())


def rows_of(p):
    return {r["path"]: r for r in json.loads(p.out)["rows"]}


# ---- what it shows -------------------------------------------------------------------------------


def check_lat(lat):
    assert set(lat) == {"min_us", "p50_us", "p99_us", "n"}
    assert 0 < lat["min_us"] <= lat["p50_us"] <= lat["p99_us"] < 1e6 and lat["n"] >= 20


def check_row(r):
    assert set(r) >= {"path", "name", "asked", "status"} and r["path"] in NAMES
    if r["status"] != "ok":
        assert r["status"] in ("missing", "failed") and len(r["reason"]) > 10
        assert "latency" not in r
        return
    for end in "here", "there":
        assert set(r[end]) == {"device", "address", "kind", "driver", "mtu", "speed_mbit", "rdma"}
    assert [x["bytes"] for x in r["latency"]] == SIZES
    for x in r["latency"]:
        check_lat(x["spin"])
        check_lat(x["sleep"])
    rates = r["bandwidth_gbit"]
    assert set(rates) == {"to_peer", "from_peer", "both_to_peer", "both_from_peer"}
    assert all(v > 0 for v in rates.values())
    assert r["verdict"]["level"] in ("good", "slow", "bad", "unknown") and r["verdict"]["text"]
    assert set(r["decode"]) == {"exchanges", "bytes", "us", "ms_a_token", "most_tok_s"}
    # The interface saw at least what we say we moved.
    assert r["proof"]["interface_bytes"] >= 0.95 * r["proof"]["moved_bytes"] > 0


def check_schema(text):
    v = json.loads(text)
    assert set(v) == {"schema", "version", "here", "there", "via", "model", "rows"}
    assert v["schema"] == 1 and v["via"] in ("ssh", "local", "by hand")
    assert set(v["model"]) == {"layers", "width", "example"}
    for r in v["rows"]:
        check_row(r)
    return v


def test_all_paths_as_json(hosts):
    p = compare(hosts, "--json", "--roce", ROCE[A])
    assert p.returncode == 0, p.err
    v = check_schema(p.out)
    rows = {r["path"]: r for r in v["rows"]}
    assert list(rows) == list(NAMES) and not any(r["asked"] for r in v["rows"])
    assert {k: r["status"] for k, r in rows.items()} == {
        "lan": "ok", "roce_tcp": "ok", "thunderbolt": "ok", "rdma": rows["rdma"]["status"] if HAS_RDMA else "missing"}  # fmt: skip
    assert [rows[k]["here"]["device"] for k in ("lan", "roce_tcp", "thunderbolt")] == [
        "lan0", "roce0", "thunderbolt0"]  # fmt: skip
    assert [rows[k]["there"]["address"] for k in ("lan", "roce_tcp", "thunderbolt")] == [LAN[B], ROCE[B], TB[B]]
    assert v["via"] == "ssh"


def test_bandwidth_of_a_known_wire(hosts):
    """Shaped by tbf: no speed test of this machine, though one that is very busy may need a second
    try to fill 1 Gbit/s."""
    for _ in range(4):
        rates = rows_of(compare(hosts, "-e", "--json"))["lan"]["bandwidth_gbit"]
        assert all(v <= 1.1 for v in rates.values()), rates
        if min(rates["to_peer"], rates["from_peer"]) >= 0.7:
            return
    raise AssertionError(rates)


def test_table(hosts):
    p = compare(hosts, "--roce", ROCE[A])
    assert p.returncode == 0, p.err
    lines = p.out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("Path"))
    assert re.fullmatch(r"Path +Device +Latency +Bandwidth", lines[head])
    table = lines[head + 2 : head + 6]
    assert [line[:21].rstrip() for line in table] == list(NAMES.values())
    for line in table[:3]:
        assert re.search(r"\d (us|ms) +[0-9.]+ Gbit/s$", line), line
    assert "not there: " in table[3] or "failed: " in table[3]
    for word in "verdict:", "decode: 96 exchanges a token", "proof:", "48 KiB", "spinning", "sleeping":
        assert word in p.out
    assert "\x1b" not in p.out + p.err, "no colours but on a terminal"
    assert "bandwidth to the peer" in p.err, "progress while it runs"


def test_from_the_other_side(hosts):
    p = compare(hosts, "-e", "--json", host=B)
    assert p.returncode == 0, p.err
    rows = rows_of(p)
    assert list(rows) == ["lan"] and rows["lan"]["there"]["address"] == LAN[A]


@pytest.mark.parametrize("flag, path, more", [
    ("-r", "roce_tcp", ["--roce", f"{ROCE[A]},{ROCE[B]}"]), ("-t", "thunderbolt", []),
    ("-e", "lan", ["--eth", LAN[B]]), ("-t", "thunderbolt", ["--tb", f"{TB[A]},{TB[B]}"]),
])  # fmt: skip
def test_one_flag_one_row(hosts, flag, path, more):
    p = compare(hosts, flag, "--json", *more)
    assert p.returncode == 0, p.err
    assert list(rows_of(p)) == [path] and rows_of(p)[path]["asked"]
    check_schema(p.out)


def test_on_a_terminal(hosts):
    def in_terminal(env):
        master, slave = pty.openpty()
        p = subprocess.Popen(hosts.ns(A, cli.BINARY, "compare", "--node", "local", "--quick", "-e"),
                             stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.DEVNULL,
                             env={k: v for k, v in os.environ.items() if k != "NO_COLOR"} | env)  # fmt: skip
        os.close(slave)
        text = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:
                break
            if not part:
                break
            text += part
        os.close(master)
        assert p.wait(cli.LIMIT_S) == 0
        return text.decode()

    plain = in_terminal({"NO_COLOR": "1", "LC_ALL": "C"})
    assert "longer is better" in plain and "####" in plain and "\x1b" not in plain
    # What has no colour of its own (an unknown verdict) still ends with a reset.
    assert "\x1b[0m" in in_terminal({"LC_ALL": "C"})


def test_svg(hosts, folder):
    out = folder / "chart.svg"
    p = compare(hosts, "-e", "-t", "--svg", out)
    assert p.returncode == 0, p.err
    root = xml.etree.ElementTree.parse(out).getroot()
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("Ethernet (1G LAN)") == 2 and texts.count("Thunderbolt") == 2
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 4


def test_model_says_how_many_exchanges(hosts):
    config = json.loads((cli.TINY / "llama-plain" / "config.json").read_text())
    p = compare(hosts, "-t", "--json", "--model", cli.TINY / "llama-plain")
    assert p.returncode == 0, p.err
    decode = rows_of(p)["thunderbolt"]["decode"]
    assert decode["exchanges"] == 2 * config["num_hidden_layers"]
    assert decode["bytes"] == 4 * config["hidden_size"]
    assert decode["ms_a_token"] == pytest.approx(decode["us"] * decode["exchanges"] / 1000, abs=0.01)
    p = compare(hosts, "-t", "--model", cli.TINY / "nothing")
    assert p.returncode == 1 and "config.json" in p.err


def test_the_guides_name(hosts, folder):
    for name in "compare_eth_vs_rdma", "compare_eth_vs_rdma.sh":
        (folder / name).symlink_to(cli.BINARY)
        p = hosts.run(A, "--help", binary=folder / name)
        assert p.returncode == 0 and "usage: twinax compare" in p.out


def test_sshd_has_a_run_folder_of_its_own(hosts):
    """Several runs of the tests on one machine must not share /run/sshd."""
    for sshd in hosts.sshd:
        assert os.stat(f"/proc/{sshd.pid}/root/run").st_dev != os.stat("/run").st_dev
        assert os.path.isdir(f"/proc/{sshd.pid}/root/run/sshd")


# ---- addresses -----------------------------------------------------------------------------------


def test_ipv6(hosts):
    p = compare(hosts, "-e", "--json", "--eth", LAN6[A])
    assert p.returncode == 0, p.err
    row = rows_of(p)["lan"]
    assert (row["here"]["address"], row["there"]["address"]) == (LAN6[A], LAN6[B])


def test_link_local_alone(hosts):
    for host in A, B:
        hosts.do(host, "ip", "-4", "addr", "flush", "dev", "thunderbolt0")
        wait_link_local(hosts, host)
    try:
        p = compare(hosts, "-t", "--json")
        assert p.returncode == 0, p.err
        row = rows_of(p)["thunderbolt"]
        assert re.fullmatch(r"fe80::[0-9a-f:]+%thunderbolt0", row["here"]["address"])
        assert row["there"]["address"].startswith("fe80::")
        given = f"{row['here']['address']},{row['there']['address']}"
        p = compare(hosts, "-t", "--json", "--tb", given)
        assert p.returncode == 0, p.err
    finally:
        for host in A, B:
            hosts.address(host, "thunderbolt0", TB[host], 24)


def wait_link_local(h, host):
    """Its duplicate detection takes a second."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        out = h.do(host, "ip", "-6", "addr", "show", "dev", "thunderbolt0").stdout
        if "fe80" in out and "tentative" not in out:
            return
        time.sleep(0.05)
    raise AssertionError("no link-local address")


# ---- paths that are missing ----------------------------------------------------------------------


def test_missing_paths_have_reasons(hosts):
    p = compare(hosts, "-r", "-i", "--json")
    assert p.returncode == 1
    rows = rows_of(p)
    assert rows["roce_tcp"]["status"] == "missing" and "--roce" in rows["roce_tcp"]["reason"]
    assert rows["rdma"]["status"] == "missing" and "RDMA" in rows["rdma"]["reason"]


def test_interface_down_is_a_reason(hosts):
    hosts.do(A, "ip", "link", "set", "thunderbolt0", "down")
    try:
        asked, all_paths = compare(hosts, "-t", "--json"), compare(hosts, "--json")
    finally:
        hosts.do(A, "ip", "link", "set", "thunderbolt0", "up")
    assert asked.returncode == 1 and "thunderbolt0 is down" in rows_of(asked)["thunderbolt"]["reason"]
    assert all_paths.returncode == 0, "nobody asked for it by name"
    assert rows_of(all_paths)["thunderbolt"]["status"] == "missing"


def test_peer_without_an_address(hosts):
    hosts.do(B, "ip", "addr", "del", f"{TB[B]}/24", "dev", "thunderbolt0")
    try:
        p = compare(hosts, "-t", "--json", "--tb", TB[A])
    finally:
        hosts.address(B, "thunderbolt0", TB[B], 24)
    assert p.returncode == 1
    assert "subnet of thunderbolt0" in rows_of(p)["thunderbolt"]["reason"]


def test_wrong_addresses(hosts):
    p = compare(hosts, "-e", "--json", "--eth", "10.9.8.7")
    assert p.returncode == 1 and "no address of either machine" in rows_of(p)["lan"]["reason"]
    p = compare(hosts, "-e", "--json", "--eth", "eth0")
    assert p.returncode == 1 and "in numbers" in rows_of(p)["lan"]["reason"]
    p = compare(hosts, "-e", "--json", "--eth", f"{LAN[A]},{LAN6[B]}")
    assert p.returncode == 1 and "do not mix" in rows_of(p)["lan"]["reason"]


def test_packets_that_do_not_pass(hosts):
    """An address that is there and cannot be reached: bounded, with both ends' words."""
    hosts.do(B, "ip", "route", "add", "blackhole", f"{TB[A]}/32")
    try:
        t0 = time.monotonic()
        p = compare(hosts, "-t", "--json")
        took = time.monotonic() - t0
    finally:
        hosts.do(B, "ip", "route", "del", "blackhole", f"{TB[A]}/32")
    row = rows_of(p)["thunderbolt"]
    assert p.returncode == 1 and row["status"] == "failed" and "connect to" in row["reason"]
    assert took < 60


# ---- by hand -------------------------------------------------------------------------------------


class Listening:
    """`compare --listen` on B, with the line that it printed."""

    def __init__(self, h, *argv):
        self.p = h.start(B, "compare", "--listen", *argv)
        self.line = None
        while self.line is None:
            text = self.p.stdout.readline()
            assert text, self.p.stderr.read()
            found = re.search(r"--connect (\S+)", text)
            self.line = found and found.group(1)

    def end(self):
        out, err = self.p.communicate(timeout=60)
        return self.p.returncode, err


def test_by_hand(hosts):
    listening = Listening(hosts, LAN[B])
    token, port = listening.line.split("@")[0], int(listening.line.rsplit(":", 1)[1])
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert hosts.listeners(B)[port] == LAN[B]
    p = compare(hosts, "--connect", listening.line, "-e", "-t", "--json", node=False)
    assert p.returncode == 0, p.err
    v = check_schema(p.out)
    assert v["via"] == "by hand" and [r["status"] for r in v["rows"]] == ["ok", "ok"]
    assert listening.end() == (0, "")


def test_by_hand_the_default_address(hosts):
    listening = Listening(hosts)
    assert f"@{LAN[B]}:" in listening.line
    p = compare(hosts, "--connect", listening.line, "-e", "--json", node=False)
    assert p.returncode == 0, p.err
    assert listening.end() == (0, "")


def test_by_hand_ipv6(hosts):
    listening = Listening(hosts, LAN6[B])
    assert f"@[{LAN6[B]}]:" in listening.line
    p = compare(hosts, "--connect", listening.line, "-e", "--json", node=False)
    assert p.returncode == 0, p.err


def test_wrong_token_is_refused_and_the_right_one_gets_in(hosts):
    listening = Listening(hosts, LAN[B])
    wrong = ("0" if listening.line[0] != "0" else "1") + listening.line[1:]
    p = compare(hosts, "--connect", wrong, "-e", node=False)
    assert p.returncode == 1 and "refused our token" in p.err
    p = compare(hosts, "--connect", listening.line, "-e", "--json", node=False)
    assert p.returncode == 0, p.err
    again = compare(hosts, "--connect", listening.line, "-e", node=False)
    assert again.returncode == 1, "a token is good for one connection"


def test_listen_on_every_address_is_refused(hosts):
    for ip in "0.0.0.0", "::":
        p = hosts.run(B, "compare", "--listen", ip)
        assert p.returncode == 1 and "every address" in p.err


def test_listen_interrupted(hosts):
    listening = Listening(hosts, LAN[B])
    listening.p.send_signal(signal.SIGINT)
    code, err = listening.end()
    assert code == 130 and "stopped" in err


# ---- nodes that cannot be had --------------------------------------------------------------------


@pytest.mark.parametrize("node, words", [
    ("down", "ssh refused"), ("changed", "host key is another"), ("unknown", "host key is not known yet"),
    ("stranger", "permission denied"), ("nowhere", "name not found"),
])  # fmt: skip
def test_ssh_failures_are_told_apart(hosts, node, words):
    p = hosts.run(A, "compare", "--node", node, "--agent-path", cli.BINARY)
    assert p.returncode == 1 and p.out == ""
    assert p.err.startswith(f"twinax compare: {node}: ") and words in p.err and p.err.count("\n") == 1


def write_agent(folder, text):
    path = folder / "agent it's"  # a path that a shell would take apart
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_no_twinax_there(hosts):
    p = hosts.run(A, "compare", "--node", "node-b", "--agent-path", "/nowhere/twinax")
    assert p.returncode == 1 and "no twinax there ('/nowhere/twinax'" in p.err
    p = hosts.run(A, "compare", "--node", "local", "--agent-path", "/nowhere/twinax")
    assert p.returncode == 1 and "/nowhere/twinax" in p.err


def test_other_version_there(hosts, folder):
    fake = write_agent(folder, f"""#!{sys.executable}
import json, sys
sys.stdout.buffer.write(b"twinax-agent/1\\n")
sys.stdout.flush()
n = int.from_bytes(sys.stdin.buffer.read(4), "little")
ask = json.loads(sys.stdin.buffer.read(n))
out = json.dumps({{"id": ask["id"], "ok": True, "version": "9.9", "protocol": 99, "host": "x"}}).encode()
sys.stdout.buffer.write(len(out).to_bytes(4, "little") + out)
sys.stdout.flush()
sys.stdin.read()
""")  # fmt: skip
    p = hosts.run(A, "compare", "--node", "node-b", "--agent-path", fake)
    assert p.returncode == 1 and "another version: twinax 9.9 there (protocol 99)" in p.err
    old = write_agent(folder, "#!/bin/sh\necho \"twinax: $1: no such command; see 'twinax help'\" >&2\nexit 2\n")
    p = hosts.run(A, "compare", "--node", "node-b", "--agent-path", old)
    assert p.returncode == 1 and "another version of twinax is there, without an agent" in p.err


def test_shell_banner_is_no_harm(hosts, folder):
    noisy = write_agent(folder, f'#!/bin/sh\necho "Welcome! 12 updates"\nexec {cli.BINARY} "$@"\n')
    p = hosts.run(A, "compare", "--node", "node-b", "--agent-path", noisy, "--quick", "-t")
    assert p.returncode == 0, p.err


def test_garbage_there(hosts, folder):
    garbage = write_agent(folder, "#!/bin/sh\nprintf 'twinax-agent/1\\n\\377\\377\\377\\377'; cat >/dev/null\n")
    p = hosts.run(A, "compare", "--node", "node-b", "--agent-path", garbage)
    assert p.returncode == 1 and "node-b: agent: a frame of 4294967295 bytes" in p.err


# ---- ends ----------------------------------------------------------------------------------------


def start_measuring(h, path="-e", until="bandwidth"):
    p = h.start(A, "compare", "--node", "node-b", "--agent-path", cli.BINARY, path)
    while until not in (line := p.stderr.readline()):
        assert line, "ended early"
    return p


def in_time(attempt, limit_s):
    """attempt() -> seconds: one of three within the limit (a busy machine is late now and then)."""
    took = []
    while len(took) < 3 and not (took and took[-1] <= limit_s):
        took.append(attempt())
    assert took[-1] <= limit_s, f"took {took} s, wanted within {limit_s}"


def test_interrupted_leaves_nothing(hosts):
    def attempt():
        p = start_measuring(hosts)
        t0 = time.monotonic()
        os.kill(p.pid, signal.SIGINT)
        out, err = p.communicate(timeout=60)
        took = time.monotonic() - t0
        assert p.returncode == 130 and "interrupted" in err and out == ""
        return max(took, hosts.quiet_after(60))

    in_time(attempt, 5)


def test_killed_head_leaves_nothing(hosts):
    def attempt():
        p = start_measuring(hosts, "-t", "latency")
        os.kill(p.pid, signal.SIGKILL)
        p.communicate(timeout=60)
        return hosts.quiet_after(60)

    in_time(attempt, 5)


def test_killed_agent_is_named(hosts):
    def attempt():
        p = start_measuring(hosts, "-t", "latency")
        agents = [pid for pid, line in hosts.processes(B).items() if line.split()[1:] == ["agent"]]
        assert len(agents) == 1
        t0 = time.monotonic()
        os.kill(agents[0], signal.SIGKILL)
        _, err = p.communicate(timeout=60)
        assert p.returncode == 1 and "node-b" in err
        return time.monotonic() - t0

    in_time(attempt, 10)


# ---- usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv, words", [
    ([], "--node NAME"), (["--node", "-oProxyCommand=x"], "begins with '-'"), (["--node", "a b"], "no spaces"),
    (["--node", "x", "--listen"], "one of them"), (["-z"], "unknown option"), (["--node"], "value is missing"),
    (["--node", "x", "what"], "what is that"),
])  # fmt: skip
def test_usage(hosts, argv, words):
    p = cli.run("compare", *argv)
    assert p.returncode == 2 and words in p.stderr


def test_agent_alone_is_harmless(hosts):
    p = cli.run("agent", stdin="")
    assert p.returncode == 0 and p.stdout == "twinax-agent/1\n"
    p = cli.run("agent", stdin="GET / HTTP/1.1\r\n\r\n")
    assert p.returncode == 1 and "frame of" in p.stderr
