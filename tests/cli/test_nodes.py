# SPDX-License-Identifier: Apache-2.0
"""run, serve and bench over two machines: namespaces with real sshd, ranks started by agents."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import twinax_cli as cli
import two_hosts
from two_hosts import A, B, ROCE
from two_hosts_fixture import hosts, nothing_is_left  # noqa: F401

NODES = f"head={ROCE[A]},node-b={ROCE[B]}"
AGENT = ["--agent-path", cli.BINARY]
PROMPT = ["--prompt-ids", "1,2,3,4,5", "--temp", "0", "--ids", "--ignore-eos", "--threads", "1"]
SLOW = {"TW_CPU": "ref"}
N_ROUNDS = 3
N_TRIES = 3


def over_nodes(h, *argv, nodes=NODES, agent=AGENT, model=cli.DEMO, command="run", **more):
    return h.run(A, command, model, "--nodes", nodes, *agent, *argv, **more)


# ---- what works ----------------------------------------------------------------------------------


def test_same_ids_and_logits_as_one(hosts, folder):
    one, two = folder / "one", folder / "two"
    want = cli.good("run", cli.DEMO, *PROMPT, "-n", 24, "--logits", one)
    p = over_nodes(hosts, *PROMPT, "-n", 24, "--logits", two, "--tp", 2)
    assert p.returncode == 0, p.err
    assert p.out == want.stdout and len(cli.ids_of(p.out)) == 24
    assert two.read_bytes() == one.read_bytes() and one.stat().st_size > 0


def test_proof_names_the_wire(hosts):
    """--tp is the number of nodes; the bytes go over the cluster's interface and addresses alone."""
    p = over_nodes(hosts, *PROMPT, "-n", 8, "--transport", "tcp")
    assert p.returncode == 0, p.err
    line = next(s for s in p.err.splitlines() if s.startswith("transport: rank 1 by tcp"))
    assert "device roce0" in line
    assert re.search(rf"{re.escape(ROCE[A])}:\d+ -> {re.escape(ROCE[B])}:\d+", line), line


def test_address_of_the_head_is_found(hosts):
    p = over_nodes(hosts, *PROMPT, "-n", 2, nodes=f"me,node-b={ROCE[B]}")
    assert p.returncode == 0 and f"{ROCE[A]}:" in p.err, p.err


def test_agents_without_ssh(hosts):
    """`local`: a plain child; the address is loopback."""
    p = over_nodes(hosts, *PROMPT, "-n", 2, "--transport", "tcp", nodes="local,local")
    assert p.returncode == 0 and "127.0.0.1:" in p.err, p.err


def test_bench(hosts):
    p = over_nodes(hosts, "-p", 8, "-n", 4, "--json", "--threads", 1, command="bench")
    assert p.returncode == 0, p.err
    assert {json.loads(line)["test"] for line in p.out.splitlines()} >= {"pp8", "tg4"}
    p = over_nodes(hosts, "--sizes", 8, "--json", model="coll", command="bench")
    assert p.returncode == 0, p.err


def get(h, url, body):
    text = (
        "import sys, urllib.request as u\n"
        "r = u.Request(sys.argv[1], sys.argv[2].encode(), {'Content-Type': 'application/json'})\n"
        "print(u.urlopen(r, timeout=60).read().decode())"
    )
    return json.loads(h.do(A, sys.executable, "-c", text, url, json.dumps(body)).stdout)


@contextlib.contextmanager
def started(h, *argv, first, nodes=NODES, command="run", env=None):
    """Over two nodes; goes on when `first` is in its output: (process, output so far)."""
    p = h.start(A, command, cli.DEMO, "--nodes", nodes, *AGENT, *argv) if env is None else start_with(
        h, env, command, cli.DEMO, "--nodes", nodes, *AGENT, *argv)  # fmt: skip
    try:
        seen = ""
        while first not in seen:
            more = os.read(p.stdout.fileno(), 4096).decode()
            assert more, f"ended early: {p.stderr.read()}"
            seen += more
        yield p, seen
    finally:
        if p.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
        p.wait()
        p.stdout.close()
        p.stderr.close()


def start_with(h, env, *argv):
    return subprocess.Popen(
        h.ns(A, cli.BINARY, *argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=os.environ | h.path() | env, start_new_session=True,
    )  # fmt: skip


def test_serve(hosts):
    a = cli.answers()[0]
    with started(hosts, "--port", 0, "--threads", 1, first="\n", command="serve") as (p, seen):
        url = re.search(r"http://\S+", seen).group(0)
        listening = {port: ip for port, ip in hosts.listeners(A).items() if port != 22}
        assert list(listening.values()) == ["127.0.0.1"], "the API alone, the rendezvous is over"
        assert set(hosts.listeners(B)) == {22}
        r = get(hosts, f"{url}/v1/chat/completions",
                {"model": "demo", "temperature": 0, "messages": [{"role": "user", "content": a["q"]}]})  # fmt: skip
        assert r["choices"][0]["message"]["content"] == a["a"]
        p.send_signal(signal.SIGTERM)
        _, e = p.communicate(timeout=60)
        assert p.returncode == 0 and f"-> {ROCE[B]}:" in e, e
        assert not re.search("lost|died|broke|killed", e), e


def test_token_is_in_no_command_line(hosts):
    with decoding(hosts):
        for host in A, B:
            for line in hosts.processes(host).values():
                assert not re.search(r"[0-9a-f]{32}", line), line


# ---- everything ends -----------------------------------------------------------------------------


@contextlib.contextmanager
def decoding(h):
    argv = ["--threads", "1", "--prompt-ids", "1,2,3", "-n", "2000", "--ignore-eos", "--ids"]
    with started(h, *argv, first=",", env=SLOW) as (p, _):
        yield p


def find_one(h, host, words):
    found = [pid for pid, line in h.processes(host).items() if re.search(words, line)]
    assert len(found) == 1, (words, h.processes(host))
    return found[0]


VICTIMS = {
    "head": (A, r"twinax run "), "ssh": (A, r"(^|/)ssh .*agent"), "agent": (B, r"twinax agent"),
    "rank": (B, r"/exe rank"), "sshd": (B, r"sshd.*root"),
}  # fmt: skip


@pytest.mark.parametrize("victim", list(VICTIMS))
def test_killed(hosts, victim):
    """Whoever is killed: within 2 s nothing is left on either machine, and the head says who."""
    host, words = VICTIMS[victim]
    if victim == "sshd" and not any(re.search(words, s) for s in session_of(hosts)):
        pytest.skip("this sshd does not show its sessions by user")

    def attempt():
        with decoding(hosts) as p:
            pids = [pid for pid, s in hosts.processes(host).items() if re.search(words, s)]
            assert pids, (words, hosts.processes(host))
            t0 = time.monotonic()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if victim == "head":
                p.wait()
            else:
                _, e = p.communicate(timeout=60)
                assert p.returncode == 1 and "node-b" in e, (p.returncode, e)
            hosts.quiet_after(30)
            return time.monotonic() - t0

    for _ in range(N_ROUNDS):
        took = []
        while len(took) < N_TRIES and not (took and took[-1] <= 2):
            took.append(attempt())
        assert took[-1] <= 2, took
        print(f"{victim}: quiet after {took[-1]:.2f} s")


def session_of(h):
    with decoding(h):
        return list(h.processes(B).values())


def test_rank_hangs(hosts):
    """Stopped, it beats no more; it is ended all the same."""
    with decoding(hosts) as p:
        os.kill(find_one(hosts, B, VICTIMS["rank"][1]), signal.SIGSTOP)
        _, e = p.communicate(timeout=60)
        assert p.returncode == 1 and "rank 1 (node-b)" in e, e


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_asked_to_stop(hosts, sig):
    """Ctrl-C goes to the whole process group: ssh must not fall before the ranks have ended."""
    with decoding(hosts) as p:
        (os.killpg if sig == signal.SIGINT else os.kill)(p.pid, sig)
        _, e = p.communicate(timeout=60)
        assert p.returncode == 130 and not re.search("lost|died|broke|gone|killed", e), e


# ---- what goes wrong -----------------------------------------------------------------------------


def failed(p, *words):
    assert p.returncode == 1, (p.returncode, p.err)
    for w in words:
        assert w in p.err, (w, p.err)


def test_model_missing_there(hosts):
    p = over_nodes(hosts, *PROMPT, "--model-path", "node-b=/no/such/model")
    failed(p, "node-b: r1 rank: model /no/such/model: no such folder", "node-b: rank 1 ended")


def test_other_model_there(hosts):
    p = over_nodes(hosts, *PROMPT, "--model-path", f"node-b={cli.TINY / 'llama-plain'}")
    failed(p, "rank 1 (node-b) has model id ")


def test_no_twinax_there(hosts):
    p = over_nodes(hosts, *PROMPT, agent=["--agent-path", "/nowhere/twinax"])
    failed(p, "node-b: no twinax there", "/nowhere/twinax", "--agent-path")


@pytest.mark.parametrize("node, words", [
    ("down", "ssh refused"), ("changed", "host key is another"), ("stranger", "permission denied"),
    ("nowhere", "name not found"),
])  # fmt: skip
def test_ssh_failures(hosts, node, words):
    failed(over_nodes(hosts, *PROMPT, nodes=f"head={ROCE[A]},{node}={ROCE[B]}"), f"{node}: ", words)


AGENT_SAYS = """#!%s
import json, struct, sys
def put(v):
    text = json.dumps(v).encode()
    sys.stdout.buffer.write(struct.pack("<I", len(text)) + text)
    sys.stdout.buffer.flush()
sys.stdout.buffer.write(b"twinax-agent/1\\n")
sys.stdout.buffer.flush()
n = struct.unpack("<I", sys.stdin.buffer.read(4))[0]
v = json.loads(sys.stdin.buffer.read(n))
put({"id": v["id"], "ok": True, "version": "0.0.1", "host": "b"} | %r)
sys.stdin.buffer.read()
"""


@pytest.mark.parametrize("change, words", [
    ({"protocol": 1}, "computes other bits"), ({"arithmetic": 1}, "another version"),
])  # fmt: skip
def test_other_version_there(hosts, folder, change, words):
    mine = json.loads(cli.good("version", "--json").stdout)
    says = {k: mine[k] for k in change} | {k: 77 for k in ("protocol", "arithmetic") if k not in change}
    agent = folder / "twinax"
    agent.write_text(AGENT_SAYS % (sys.executable, says))
    agent.chmod(0o755)
    failed(over_nodes(hosts, *PROMPT, agent=["--agent-path", agent]), "node-b: ", words, "77")


def test_address_of_nobody(hosts):
    failed(over_nodes(hosts, *PROMPT, nodes=f"head=192.168.9.9,node-b={ROCE[B]}"),
           "must be this machine", "192.168.9.9")  # fmt: skip
    failed(over_nodes(hosts, *PROMPT, nodes=f"head={ROCE[A]},node-b=192.168.9.9"), "node-b", "192.168.9.9")
    failed(over_nodes(hosts, *PROMPT, nodes="head,node-b"), "head=IP")


@pytest.mark.parametrize("argv, words", [
    (["--tp", "4"], "allowed are --tp 1 and 2"), (["--local"], "--local and --nodes"),
    (["--netns"], "--netns"), (["--model-path", "x=/m"], "no such node"),
    (["--model-path", "node-b"], "NODE=/PATH"),
])  # fmt: skip
def test_usage(hosts, argv, words):
    p = over_nodes(hosts, *PROMPT, *argv)
    assert p.returncode == 2 and words in p.err, p.err


@pytest.mark.parametrize("nodes, words", [
    ("-oProxyCommand=x,b", "begins with '-'"), ("a,-oProxyCommand=touch", "begins with '-'"),
    ("a,b=1.2.3", "no IP address"), ("a,a", "named twice"), ("", "empty"), ("a,b,c", "3 nodes: say"),
])  # fmt: skip
def test_bad_lists(hosts, nodes, words):
    p = over_nodes(hosts, *PROMPT, nodes=nodes)
    assert p.returncode == 2 and words in p.err, p.err


# ---- twinax.conf ---------------------------------------------------------------------------------

CONFIG = f"""[cluster]
nodes = box1, box2
[node.box1]
ip = {ROCE[A]}
[node.box2]
ssh = node-b
ip = {ROCE[B]}
threads = 1
agent_path = {cli.BINARY}
"""


def with_config(h, cwd, *argv, env=None):
    p = subprocess.Popen(
        h.ns(A, cli.BINARY, "run", cli.DEMO, *PROMPT, "-n", "4", *argv), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
        env=os.environ | h.path() | {"XDG_CONFIG_HOME": "/nowhere"} | (env or {}), start_new_session=True,
    )  # fmt: skip
    p.out, p.err = p.communicate(timeout=cli.LIMIT_S)
    return p


def write(path, text, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def test_config_file(hosts, folder):
    write(folder / "twinax.conf", CONFIG)
    p = with_config(hosts, folder)
    assert p.returncode == 0 and "2 nodes from ./twinax.conf" in p.err, p.err
    assert f"-> {ROCE[B]}:" in p.err
    # What is asked for on the command line wins.
    for argv in ["--tp", "1"], ["--local"], ["--nodes", "local,local", *AGENT]:
        p = with_config(hosts, folder, *argv)
        assert p.returncode == 0 and "twinax.conf" not in p.err and ROCE[B] not in p.err, p.err
    p = with_config(hosts, folder, "--tp", "4")
    assert p.returncode == 2 and "allowed are --tp 1 and 2" in p.err


def test_config_file_of_the_user(hosts, folder):
    write(folder / "xdg" / "twinax" / "twinax.conf", CONFIG)
    cwd = folder / "here"
    cwd.mkdir()
    p = with_config(hosts, cwd, env={"XDG_CONFIG_HOME": str(folder / "xdg")})
    assert p.returncode == 0 and "2 nodes from" in p.err, p.err
    # The folder's own is looked at first; one that others may write is passed over, aloud.
    write(cwd / "twinax.conf", "[cluster]\nnodes = -evil\n", 0o666)
    p = with_config(hosts, cwd, env={"XDG_CONFIG_HOME": str(folder / "xdg")})
    assert p.returncode == 0 and "./twinax.conf may be written by everybody" in p.err, p.err
    assert "2 nodes from" in p.err
    (cwd / "twinax.conf").chmod(0o644)
    p = with_config(hosts, cwd, env={"XDG_CONFIG_HOME": str(folder / "xdg")})
    assert p.returncode == 2 and "./twinax.conf:2: node '-evil'" in p.err, p.err


def test_config_unknown_key(hosts, folder):
    write(folder / "twinax.conf", CONFIG.replace("threads", "thread"))
    p = with_config(hosts, folder)
    assert p.returncode == 2 and "./twinax.conf:8: unknown key 'thread'; did you mean 'threads'?" in p.err
