# SPDX-License-Identifier: Apache-2.0
"""Everything that may go wrong between `twinax run` and a twinax on another machine: each is told
apart, takes a bounded time and exits with 1. All against real sshd, but where none can do it."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

import daemons
import pytest
import twinax_cli as cli
from two_hosts import A, B, LAN, ROCE
from two_hosts_fixture import made

AGENT = ["--agent-path", cli.BINARY]
RUN = ["--prompt-ids", "1,2,3", "-n", "2", "--temp", "0", "--ids", "--threads", "1"]
# Each sshd on a port of its own: what it does instead of the user's shell, and its settings.
DAEMONS = {
    "banner": ("echo 'Welcome to box 2!'; echo 'rules apply' >&2\n" + daemons.SHELL, {}),
    "babbles": ("yes 'no end of news'\n", {}),
    "hangs": ("exec sleep 1000\n", {}),
    "password": (daemons.SHELL, {"PasswordAuthentication": "yes", "PubkeyAuthentication": "no"}),
    "empty": (daemons.SHELL, {"SetEnv": "PATH=/usr/bin:/bin HOME={h.home}"}),
}  # fmt: skip


def start_daemons(h):
    h.home = h.folder / "home"
    h.home.mkdir()
    for i, (name, (shell, settings)) in enumerate(DAEMONS.items()):
        daemons.start(h, name, 2201 + i, shell, settings)
    h.add_client("mute", Port=2300)
    h.add_client("lost", HostName="192.168.77.99")


@pytest.fixture(scope="module")
def hosts():
    yield from made(prepare=start_daemons)


def start(h, node, *argv, agent=AGENT, path=None):
    return subprocess.Popen(
        h.ns(A, cli.BINARY, "run", cli.DEMO, "--nodes", f"head={ROCE[A]},{node}={ROCE[B]}", *agent, *RUN, *argv),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | (h.path() if path is None else {"PATH": path}), start_new_session=True,
    )  # fmt: skip


def end(p):
    try:
        p.out, p.err = p.communicate(timeout=60)
    finally:
        if p.poll() is None:
            p.kill()
            p.wait()
    return p


def failed(p, *words):
    assert p.returncode == 1, (p.returncode, p.err)
    for w in words:
        assert w in p.err, (w, p.err)


def test_banner(hosts):
    """What a login shell prints first is not ours to mind."""
    p = end(start(hosts, "banner"))
    assert p.returncode == 0, p.err


@pytest.mark.parametrize("node, words", [
    ("babbles", "its shell prints more than"), ("password", "it asks for a password"),
    ("unknown", "its host key is not known yet"), ("stranger", "your key is not known there"),
    ("changed", "its host key is another"), ("down", "ssh refused"), ("nowhere", "name not found"),
])  # fmt: skip
def test_told_apart(hosts, node, words):
    t0 = time.monotonic()
    failed(end(start(hosts, node)), f"{node}: ", words)
    assert time.monotonic() - t0 < 10


@contextlib.contextmanager
def mute_listener(h):
    """Takes connections and never says a word."""
    text = f"import socket, time; s = socket.create_server(('{LAN[B]}', 2300)); print(1, flush=True); time.sleep(1000)"
    p = subprocess.Popen(h.ns(B, sys.executable, "-c", text), stdout=subprocess.PIPE, env=h.env)
    p.stdout.readline()
    try:
        yield
    finally:
        p.kill()
        p.wait()
        p.stdout.close()


def test_hanging(hosts, folder):
    """All at a time, as each takes as long as it may: 10 s to connect, 10 s more to answer."""
    fake = folder / "ssh"
    fake.write_text("#!/bin/sh\nexec sleep 1000\n")
    fake.chmod(0o755)
    hosts.do(A, "ip", "neigh", "replace", "192.168.77.99", "lladdr", "02:00:00:00:00:98", "dev", "lan0")
    with mute_listener(hosts):
        t0 = time.monotonic()
        runs = {
            "hangs": (start(hosts, "hangs"), "no answer in time"),
            "mute": (start(hosts, "mute"), "ssh timed out"),
            "lost": (start(hosts, "lost"), "ssh timed out"),
            "fake": (start(hosts, "fake", path=f"{folder}:{os.environ['PATH']}"), "no answer in time"),
        }
        for name, (p, words) in runs.items():
            failed(end(p), f"{name}: ", words)
        assert time.monotonic() - t0 < 40
    left = [line for host in (A, B) for line in hosts.processes(host).values() if "twinax" in line and "sshd" not in line]
    assert not left


def test_looked_for(hosts):
    """Without a path: PATH, /usr/local/bin, ~/.local/bin; the error says where."""
    if any(shutil.which(f"{d}/twinax{n}") for d in ("/usr/local/bin", "/usr/bin") for n in ("", "-node")):
        pytest.skip("twinax is installed here")
    p = end(start(hosts, "empty", agent=[]))
    failed(p, "empty: no twinax there", "PATH (/usr/bin:/bin)", "/usr/local/bin", f"{hosts.home}/.local/bin", "--push")
    bin = pathlib.Path(hosts.home, ".local", "bin")
    bin.mkdir(parents=True)
    for name in "twinax-node", "twinax":
        (bin / name).symlink_to(cli.BINARY)
        p = end(start(hosts, "empty", agent=[]))
        assert p.returncode == 0, p.err
        p = end(start(hosts, "empty", agent=["--agent-path", f"~/.local/bin/{name}"]))
        assert p.returncode == 0, p.err
        (bin / name).unlink()
