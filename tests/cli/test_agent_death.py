# SPDX-License-Identifier: Apache-2.0
"""P7 over two machines: whatever falls silent (the wire, ssh, an agent, a head), within 2 s nothing
of ours runs on either, sshd's session left alone: it waits for TCP."""

import contextlib
import os
import re
import signal
import subprocess
import time

import pytest
import twinax_cli as cli
from two_hosts import A, B, LAN, LAN6, ROCE
from two_hosts_fixture import made

NODES = f"head={ROCE[A]},node-b={ROCE[B]}"
DECODE = [
    "run", cli.DEMO, "--nodes", NODES, "--agent-path", cli.BINARY, "--threads", "1", "--prompt-ids", "1,2,3",
    "-n", "100000", "--ignore-eos", "--ids",
]  # fmt: skip
LIMIT_S = 2.0 * float(os.environ.get("TW_TIME_SCALE", "1"))
WIRES = ["lan0", "roce0"]
ADDRESS = {"lan0": LAN, "roce0": ROCE}
N_TRIES = 3  # a machine that others use too may be late once


@pytest.fixture(scope="module")
def hosts():
    yield from made(prepare=lambda h: setattr(h, "left_alone", None))


def ours(h):
    """twinax in whatever role, and ssh clients: {pid: command line} of both hosts."""
    return {
        pid: line
        for host in (A, B)
        for pid, line in h.processes(host).items()
        if re.search(r"twinax |/exe |(^|/)ssh ", line) and "sshd" not in line and pid != h.left_alone
    }


def gone_after(h, limit_s=20.0):
    t0 = time.monotonic()
    while ours(h):
        if time.monotonic() - t0 > limit_s:
            return float("inf")
        time.sleep(0.01)
    return time.monotonic() - t0


def end_sessions(h):
    for host in A, B:
        for pid in h.processes(host):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def decoding(h):
    p = subprocess.Popen(
        h.ns(A, cli.BINARY, *DECODE), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | h.path() | {"TW_CPU": "ref"}, start_new_session=True,
    )  # fmt: skip
    try:
        assert os.read(p.stdout.fileno(), 1), p.stderr.read()
        yield p
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(p.pid, signal.SIGKILL)
        p.wait()
        p.stdout.close()
        p.stderr.close()


def find_one(h, host, words):
    found = [pid for pid, line in h.processes(host).items() if re.search(words, line)]
    assert len(found) == 1, (words, h.processes(host))
    return found[0]


# ---- ways to fall silent, and back ---------------------------------------------------------------


@contextlib.contextmanager
def pulled(h):
    """A cable that is pulled: no carrier on either end."""
    try:
        for wire in WIRES:
            h.do(B, "ip", "link", "set", wire, "down")
        yield
    finally:
        for wire in WIRES:
            h.do(B, "ip", "link", "set", wire, "up")
        h.do(B, "ip", "addr", "replace", f"{LAN6[B]}/64", "dev", "lan0", "nodad")
        h.do(B, "ip", "route", "replace", "default", "via", LAN[A])


def drop(wires):
    @contextlib.contextmanager
    def way(h):
        """Everything is sent to a machine that is not there, and nobody is told."""
        try:
            for wire in wires:
                for host in A, B:
                    h.do(host, "ip", "neigh", "replace", ADDRESS[wire][1 - host], "lladdr", "02:00:00:00:00:99",
                         "dev", wire, "nud", "permanent")  # fmt: skip
            yield
        finally:
            for wire in wires:
                for host in A, B:
                    h.do(host, "ip", "neigh", "del", ADDRESS[wire][1 - host], "dev", wire, check=False)

    return way


def stopped(host, words):
    @contextlib.contextmanager
    def way(h):
        os.kill(find_one(h, host, words), signal.SIGSTOP)
        yield

    return way


@contextlib.contextmanager
def agent_stopped(h):
    """All the others end. It itself cannot before it goes on; then it does."""
    pid = find_one(h, B, r"twinax agent")
    os.kill(pid, signal.SIGSTOP)
    h.left_alone = pid
    try:
        yield
    finally:
        h.left_alone = None
        os.kill(pid, signal.SIGCONT)
        assert cli.gone_after([pid]) <= LIMIT_S


@contextlib.contextmanager
def session_stopped(h):
    """sshd stays, and passes nothing on: the agent must end by itself."""
    pids = [pid for pid, line in h.processes(B).items() if "sshd" in line]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield


WAYS = {
    "cables pulled": pulled,
    "packets dropped": drop(WIRES),
    "packets of ssh dropped": drop(["lan0"]),
    "packets of the data dropped": drop(["roce0"]),
    "ssh stopped": stopped(A, r"(^|/)ssh .*agent"),
    "sshd stopped": session_stopped,
    "agent stopped": agent_stopped,
    "rank stopped": stopped(B, r"/exe rank"),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_silence(hosts, way):
    took = []
    while len(took) < N_TRIES and not (took and took[-1] <= LIMIT_S):
        with decoding(hosts) as p:
            with WAYS[way](hosts):
                took.append(gone_after(hosts))
                left = ours(hosts)
            if took[-1] < float("inf"):
                _, e = p.communicate(timeout=60)
                assert p.returncode == 1 and "node-b" in e, (p.returncode, e)
            end_sessions(hosts)
        assert hosts.quiet_after() < 10
    assert took[-1] <= LIMIT_S, (way, took, left)
    print(f"{way}: quiet after {took[-1]:.2f} s")


def test_stopped_head(hosts):
    """Nobody beats for a stopped head: the ranks end; it itself is its user's business."""
    with decoding(hosts) as p:
        there = [pid for pid, line in hosts.processes(B).items() if "twinax" in line or "/exe" in line]
        assert len(there) == 2, hosts.processes(B)
        os.killpg(p.pid, signal.SIGSTOP)
        assert cli.gone_after(there) <= LIMIT_S
        os.killpg(p.pid, signal.SIGCONT)
        _, e = p.communicate(timeout=60)
        assert p.returncode == 1 and "node-b" in e, (p.returncode, e)
    assert hosts.quiet_after() < 10
