# SPDX-License-Identifier: Apache-2.0
"""The guide's way through the menu, on two machines with sshd: configure, start, status, launch, an
answer, stop; from one menu, and from two (Head, Worker). A node that is dead."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest
import twinax_cli as cli
from two_hosts import A, B, LAN, ROCE
from two_hosts_fixture import hosts, nothing_is_left  # noqa: F401

MENU = "4  Launch serve"
ASK = """
import json, sys, urllib.request as u
body = {"model": "demo", "temperature": 0, "messages": [{"role": "user", "content": sys.argv[2]}]}
r = u.Request(sys.argv[1] + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
print(json.load(u.urlopen(r, timeout=60))["choices"][0]["message"]["content"], end="")
"""
ASK_OPENAI = """
import sys, openai
c = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", timeout=60)
r = c.chat.completions.create(model="demo", temperature=0, messages=[{"role": "user", "content": sys.argv[2]}])
print(r.choices[0].message.content, end="")
"""


@pytest.fixture
def on(menus, hosts):  # noqa: F811
    """on(host, name): a menu there, with its own home; what it serves is ended."""
    started = []

    def start(host, name):
        m = menus(name, ns=hosts.ns(host), path=hosts.path()["PATH"])
        m.host = host
        started.append(m)
        return m

    yield start
    for m in started:
        run(hosts, m, "down")


def run(h, m, *argv):
    env = os.environ | m.own
    return subprocess.run(h.ns(m.host, m.folder / "twinax", *argv), env=env, cwd=m.home, capture_output=True,
                          text=True, timeout=cli.LIMIT_S, stdin=subprocess.DEVNULL, check=False)  # fmt: skip


def status(h, m):
    return json.loads(run(h, m, "status", "--json").stdout)


def ask(h, m, answer, code):
    done = h.do(A, sys.executable, "-c", code, status(h, m)["url"], answer["q"])
    return done.stdout


def write_conf(m, ssh="node-b"):
    """As `setup --init` writes it. (A head's name that nobody can look up makes doctor wait for DNS.)"""
    head = socket.gethostname().split(".")[0]
    m.conf.write_text(
        f"[cluster]\nnodes = {head}, {ssh}\ninterface = roce0\n[node.{head}]\nip = {ROCE[A]}\n"
        f"[node.{ssh}]\nip = {ROCE[B]}\nagent_path = {m.folder}/twinax\n"
    )
    m.conf.chmod(0o600)


def launch(m):
    """From the list of models: the demo model on both nodes, on a free port."""
    m.wait("Qwen", without="looks what")
    m.keys("End", "Up")
    m.wait("the small model")
    m.go("Enter", to="LAUNCH SERVER")
    m.keys("Down", "Down", "C-u")
    m.type("0")
    m.wait("--engine native --tp 2 --port 0")
    m.keys("Down", "Enter")
    m.wait(r"is up at http", "done after")


def test_one_menu(on, hosts):  # noqa: F811
    answer = cli.answers()[0]
    m = on(A, "one")
    m.wait(MENU)
    m.go("1", to="WRITE IT")
    m.keys("Down")
    for text in (ROCE[A], ROCE[B], "node-b", "roce0"):
        m.type(text)
        m.keys("Tab")
    m.keys("Tab")
    m.type(f"{m.folder}/twinax")
    m.golden("config", "--agent-path")
    m.keys("Down", "Enter")
    m.golden("config_written", "written: ", "done after")
    conf = m.conf.read_text()
    assert re.search(r"nodes *= *\S+, *node-b", conf) and ROCE[A] in conf and ROCE[B] in conf, conf
    m.go("Enter", to="2 nodes")
    m.go("2", to="START")
    m.keys("Down", "Left", "Tab", "Enter")  # both
    m.wait("every node can be started", r"node-b +192.168.100.2 +ready")
    m.keys("Enter")
    launch(m)
    m.go("Enter", to="carried by")
    m.golden("status_served", "node-b", r"tcp roce0")
    pytest.importorskip("openai")
    assert ask(hosts, m, answer, ASK_OPENAI) == answer["a"]
    m.wait(r"[1-9]\d* tokens so far")
    m.keys("x")
    m.wait("for everybody")
    m.keys("Enter")
    m.golden("stopped", "nothing is left on any node", "done after")
    m.keys("Escape")
    m.wait("Nothing runs")
    m.go("Escape", to=MENU)
    m.go("q", to="EXIT 0")


def test_two_menus(on, hosts):  # noqa: F811
    """Head is picked on one machine and Worker on the other, in either order."""
    answer = cli.answers()[1]
    head, worker = on(A, "head"), on(B, "work")
    worker.wait(MENU)
    worker.go("1", to="WRITE IT")
    worker.keys("Right", "Down")
    worker.type(ROCE[B])
    worker.golden("config_worker", "GO ON AS WORKER", r"192\.168\.100\.2")
    worker.keys("Down", "Down", "Enter")
    worker.wait("nothing to start here", "ssh server", r"Address +192.168.100.2", "waits for the head", without="looks at")
    write_conf(head)
    head.wait(MENU)
    head.go("2", to="START")
    head.keys("Enter", "Enter", "Enter")  # native, head
    head.wait("every node can be started")
    head.keys("Enter")
    launch(head)
    screen = worker.wait("rank runs here, pid", rf"started from {re.escape(LAN[A])}")
    pid = int(re.search(r"pid (\d+)", screen).group(1))
    assert pid in hosts.processes(B), screen
    assert json.loads(run(hosts, worker, "status", "--here", "--json").stdout)["ranks"][0]["pid"] == pid
    worker.wait(r"\$ twinax status --here --json")
    assert ask(hosts, head, answer, ASK) == answer["a"]
    head.go("Enter", to="carried by")
    # The rank's machine fails while the head's user watches.
    os.kill(pid, 9)
    head.wait("demo has ended", "node-b")
    worker.wait("waits for the head")
    worker.go("Escape", "Escape", "q", to="EXIT 0")
    head.go("Escape", to=MENU)
    head.go("q", to="EXIT 0")


def test_start_is_cancelled(on, hosts):  # noqa: F811
    """ctrl-C while a node hangs: `up` takes back what it began, and says so."""
    m = on(A, "one")
    write_conf(m)
    slow = m.folder / "slow"
    slow.write_text("#!/bin/sh\nexec cat >/dev/null\n")  # ends with its connection, and says nothing
    slow.chmod(0o755)
    m.conf.write_text(m.conf.read_text().replace(f"{m.folder}/twinax", str(slow)))
    m.wait(MENU)
    m.go("4", to="Qwen")
    m.keys("End", "Up")
    m.wait("the small model")
    m.go("Enter", to="LAUNCH SERVER")
    m.keys("Down", "Down", "Down", "Enter")
    m.wait("running, [1-9] s", "demo is starting")
    m.keys("C-c")
    m.wait("interrupted while starting: it is ended", "stopped after")
    m.go("Escape", to="LAUNCH SERVER")
    assert status(hosts, m)["state"] == "ended"


def test_dead_node(on, hosts):  # noqa: F811
    """It is named, with its cause; one that does not answer at all does not hold up a key."""
    m = on(A, "one")
    write_conf(m, ssh="down")
    m.wait(MENU)
    m.go("2", to="START")
    m.keys("Enter", "Enter", "Enter")
    m.golden("head_dead_node", "not reached", "waits for the nodes", without="asks every")
    m.go("Escape", "Escape", to=MENU)
    wires = ["lan0", "roce0"]
    try:
        for wire in wires:
            hosts.do(B, "ip", "link", "set", wire, "down")
        write_conf(m)
        m.go("2", to="START")
        m.keys("Enter", "Enter", "Enter")
        m.wait("asks every node, [2-9] s")
        m.go("Escape", "Escape", to=MENU)
        m.go("d", to="running, [1-9] s")  # the same question on a page of its own
        m.go("C-c", to="stopped after")
        m.go("Escape", "q", to="EXIT 0")
    finally:
        for wire in wires:
            hosts.do(B, "ip", "link", "set", wire, "up")
            hosts.do(A, "ip", "neigh", "flush", "dev", wire)
        hosts.do(B, "ip", "route", "replace", "default", "via", LAN[A], check=False)
