# SPDX-License-Identifier: Apache-2.0
"""Real vLLM on a real Ray cluster of two machines (network namespaces with an sshd each), without a
GPU: `make test-vllm`. The environment is tests/vllm/env.sh's."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cli"))
import twinax_cli as cli  # noqa: E402
import two_hosts  # noqa: E402
from listening import is_open, listeners  # noqa: E402
from two_hosts import A, B, LAN, ROCE  # noqa: E402
from two_hosts_fixture import made  # noqa: E402

pytestmark = pytest.mark.timeout(900)  # a start is 50 s on a quiet machine, minutes on a busy one
MODEL = ROOT / "models" / "demo"
GONE_S = 5.0

# What vLLM wants to know of a machine without a GPU; its owner would set it in the shell.
WRAPPER = """#!/bin/sh
export VLLM_CPU_OMP_THREADS_BIND=nobind OMP_NUM_THREADS=1 VLLM_CPU_KVCACHE_SPACE=1
export HF_HUB_OFFLINE=1 VLLM_ENGINE_READY_TIMEOUT_S=600
export PATH={bin}:$PATH
exec {bin}/{name} "$@"
"""


@pytest.fixture(scope="module")
def hosts():
    yield from made(make=two_hosts.Apart)


@pytest.fixture(scope="module")
def venv(hosts):
    """A virtual environment's folder as twinax is told of it."""
    real = pathlib.Path(os.environ["TWINAX_VLLM_PYTHON"]).parent
    folder = hosts.folder / "venv"
    (folder / "bin").mkdir(parents=True)
    for name in "ray", "vllm", "python3":
        wrapper = folder / "bin" / name
        wrapper.write_text(WRAPPER.format(bin=real, name=name))
        wrapper.chmod(0o755)
    return folder


def at_nodes():
    return f"node-a={ROCE[A]},node-b={ROCE[B]}"


class Served:
    """`twinax serve --engine vllm` on machine A, its words in a file."""

    def __init__(self, h, venv, folder, *more):
        self.h, self.log = h, folder / "serve.log"
        with open(self.log, "wb") as log:
            self.p = subprocess.Popen(
                h.ns(A, cli.BINARY, "serve", MODEL, "--engine", "vllm", "--venv", venv, "--nodes", at_nodes(),
                     "--agent-path", cli.BINARY, "--wire", "ethernet", "--ctx", "512", *more),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                env=os.environ | h.path() | {"TWINAX_API_KEY": "k3y-of-the-test"}, start_new_session=True)  # fmt: skip

    def words(self):
        return self.log.read_text(errors="replace")

    def ready(self):
        line = self.p.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), self.words()[-4000:]

    def ask(self, path, body=None):
        curl = ["curl", "-sS", "-H", "Authorization: Bearer k3y-of-the-test", f"http://127.0.0.1:8000{path}"]
        if body:
            curl += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        return json.loads(self.h.do(A, *curl).stdout)

    def end(self, sig=signal.SIGINT):
        """Exit status, and seconds until nothing is left on either machine."""
        began = time.monotonic()
        os.kill(self.twinax(), sig)
        status = self.p.wait(60)
        return status, time.monotonic() - began + self.h.quiet_after(60)

    def twinax(self):
        return next(pid for pid, words in self.h.processes(A).items() if " serve " in words and "--engine" in words)

    def close(self):
        if self.p.poll() is None:
            os.killpg(self.p.pid, signal.SIGKILL)
        self.p.wait()
        self.p.stdout.close()


@pytest.fixture
def serve(hosts, venv, tmp_path):
    made = []

    def start(*more):
        made.append(Served(hosts, venv, tmp_path, *more))
        return made[-1]

    yield start
    for s in made:
        s.close()


def bytes_of(h, host, name="roce0"):
    folder = f"/sys/class/net/{name}/statistics"
    return sum(int(h.do(host, "cat", f"{folder}/{way}_bytes").stdout) for way in ("rx", "tx"))


def shared(h, host):
    """Names in that machine's /dev/shm that its processes have open or mapped."""
    found = set()
    for pid in h.processes(host):
        try:
            found.update(re.findall(r" /dev/shm/(\S+)", pathlib.Path(f"/proc/{pid}/maps").read_text()))
            for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
                found.update(re.findall(r"^/dev/shm/(\S+)$", os.readlink(fd)))
        except OSError:
            continue
    return found


def left_of(h, host, names):
    """The second machine has a /dev/shm of its own, which its sshd sees."""
    here = f"/proc/{h.sshd[host].pid}/root/dev/shm"
    return names & set(os.listdir(here))


def check_listeners(h):
    """P5: loopback, or reached by nobody but the nodes: a stranger comes from the LAN."""
    tried = 0
    for host, other in (A, B), (B, A):
        found = [one for one in listeners(h, host) if not one.ip.is_loopback]
        assert found
        for one in found:
            assert one.ip.is_unspecified or str(one.ip) == ROCE[host], one
        ports = {one.port for one in found}
        for ip, wanted in (LAN[host], set()), (ROCE[host], ports):
            done = h.do(other, sys.executable, "-c", KNOCK, ip, *ports)
            assert set(map(int, done.stdout.split())) == wanted, (ip, done.stdout, found)
        tried += len(ports)
        print(f"machine {host}: {len(ports)} ports, {sum(is_open(one) for one in found)} bound to all networks")
    return tried


# Which of these ports answer; all at a time, for a dropped packet is only told by time.
KNOCK = """
import asyncio, sys
async def knock(port):
    try:
        _, w = await asyncio.wait_for(asyncio.open_connection(sys.argv[1], port), 3)
        w.close()
        return port
    except (OSError, asyncio.TimeoutError):
        return None
async def all_():
    print(*filter(None, await asyncio.gather(*map(knock, map(int, sys.argv[2:])))))
asyncio.run(all_())
"""


def check_chat(s):
    """The native engine's greedy text, as the demo model's goldens have it."""
    said = json.loads((ROOT / "tests" / "data" / "demo_answers.jsonl").read_text().splitlines()[0])
    chat = s.ask("/v1/chat/completions", {"model": "demo", "max_tokens": 100, "temperature": 0,
                                          "messages": [{"role": "user", "content": said["q"]}]})  # fmt: skip
    assert chat["choices"][0]["message"]["content"] == said["a"]


def check_rays_door(h, venv):
    """P5: who is on the cluster's network and has no token gets nothing from Ray."""
    stranger = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    p = subprocess.run(h.ns(B, venv / "bin" / "ray", "status", "--address", f"{ROCE[A]}:6379"),
                       capture_output=True, text=True, timeout=120, env=stranger)  # fmt: skip
    assert p.returncode != 0 and "node_" not in p.stdout, p.stdout


@pytest.mark.parametrize("executor", ["ray", "mp"])
def test_two_nodes_serve(hosts, serve, venv, executor):
    before = bytes_of(hosts, A)
    s = serve("--executor", executor)
    s.ready()
    words = s.words()
    assert [m["id"] for m in s.ask("/v1/models")["data"]] == ["demo"]
    check_chat(s)
    moved = bytes_of(hosts, A) - before
    assert moved > 1 << 20, f"the ranks have exchanged {moved} bytes by roce0"
    assert "transport by the log of node-a: Gloo tcp://192.168.100.1:" in words or executor == "mp"
    for node in "node-a", "node-b":
        proof = re.search(rf"counters of {node} roce0 \(ethernet\): start (.*); first answer (.*)", words)
        assert proof and "not counted" not in proof[0], words[-3000:]
        print(proof[0])
    check_listeners(hosts)
    if executor == "ray":
        assert "Ray: 2 nodes, 2.0 GPU" in words
        check_rays_door(hosts, venv)
    rings = [shared(hosts, host) for host in hosts.all]
    assert rings[A], "vLLM's ranks have nothing in /dev/shm: what is tested here?"
    # The head's end, polite and not.
    status, took = s.end(signal.SIGINT if executor == "mp" else signal.SIGKILL)
    assert status in (0, 130) or executor == "ray", s.words()[-3000:]
    assert took < GONE_S, f"{took} s until nothing was left: {[hosts.processes(h) for h in hosts.all]}"
    assert not any(left_of(hosts, host, rings[host]) for host in hosts.all), rings


@pytest.fixture
def background(hosts, venv, tmp_path):
    """twinax(words...) on machine A, with what it has in the background in folders of its own."""
    (tmp_path / "run").mkdir(mode=0o700)
    env = os.environ | hosts.path() | {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    usual = ["--engine", "vllm", "--venv", venv, "--nodes", at_nodes(), "--agent-path", cli.BINARY, "--wire", "ethernet"]

    def twinax(*words, code=0):
        argv = [*words, *(usual if words[0] == "up" else [])]
        p = subprocess.run(hosts.ns(A, cli.BINARY, *argv), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=600, env=env)  # fmt: skip
        assert p.returncode == code, p.stdout + p.stderr
        return p.stdout

    yield twinax
    twinax("down")


def versions():
    """By the environment's own word."""
    ask = "import importlib.metadata,json,platform,ray,torch;print('='+json.dumps({'python':platform.python_version(),"
    ask += "'ray':ray.__version__,'vllm':importlib.metadata.version('vllm'),'torch':torch.__version__}))"
    done = subprocess.run([os.environ["TWINAX_VLLM_PYTHON"], "-c", ask], capture_output=True, text=True, timeout=120)
    return json.loads(next(line[1:] for line in done.stdout.splitlines() if line.startswith("=")))


def within(limit_s, question):
    until = time.monotonic() + limit_s
    while not question():
        assert time.monotonic() < until
        time.sleep(0.5)


def test_ray_first_then_a_model(hosts, venv, background):
    """The guide's order: Ray (2), its status (3), a model on it (4); the model ends, Ray stays."""
    began = time.monotonic()
    assert f"Ray is up at {ROCE[A]}:6379" in background("up")
    print(f"Ray is up after {time.monotonic() - began:.1f} s")
    said = background("status")
    assert "2 nodes, 2.0 GPU by Ray's own count, 0.0 in use" in said, said
    for node in json.loads(background("status", "--json"))["ray"]["serve"]["versions"]:
        assert {k: node[k] for k in ("python", "ray", "vllm", "torch")} == versions(), node
    raylets = [[pid for pid, line in hosts.processes(h).items() if "/raylet " in line] for h in hosts.all]
    assert [len(r) for r in raylets] == [1, 1]
    background("up", MODEL, "--ctx", "512", "--port", "8000")
    print(f"the model is up after {time.monotonic() - began:.1f} s")
    answer = json.loads((ROOT / "tests" / "data" / "demo_answers.jsonl").read_text().splitlines()[0])
    body = {"model": "demo", "max_tokens": 100, "temperature": 0, "messages": [{"role": "user", "content": answer["q"]}]}
    curl = ["curl", "-sS", "-H", "Content-Type: application/json", "-d", json.dumps(body)]
    done = subprocess.run(hosts.ns(A, *curl, "http://127.0.0.1:8000/v1/chat/completions"), capture_output=True, text=True,
                          timeout=300)  # fmt: skip
    chat = json.loads(done.stdout)
    assert chat["choices"][0]["message"]["content"] == answer["a"]
    said = background("status")
    assert "demo is served at http://127.0.0.1:8000" in said and "Ray is up at" in said, said
    print(background("down", "--keep-ray"))
    # What the model had in Ray goes with it; Ray is the same as before.
    within(30, lambda: not any("VLLM" in line or "RayWorker" in line for h in hosts.all for line in hosts.processes(h).values()))
    assert [[pid for pid, line in hosts.processes(h).items() if "/raylet " in line] for h in hosts.all] == raylets
    assert json.loads(background("status", "--json"))["ray"]["serve"]["ray"]["nodes"] == 2
    began = time.monotonic()
    assert background("down") == "stopped Ray; nothing is left on any node\n"
    took = time.monotonic() - began + hosts.quiet_after(60)
    assert took < GONE_S, f"{took} s until nothing was left"


def test_a_killed_worker_is_replaced(hosts, serve):
    """vLLM's rank on the second machine, then all of Ray there: one restart was asked for."""
    s = serve("--restart", "1")
    s.ready()
    began = time.monotonic()
    kill(hosts, "ray::RayWorkerProc")
    s.ready()
    words = s.words()
    assert "vllm: restart 1 of 1 in 1 s" in words and "erased first on all nodes" in words
    check_chat(s)
    print(f"serves again after {time.monotonic() - began:.1f} s: {re.search('crashed: .*', words)[0]}")
    began = time.monotonic()
    kill(hosts, "raylet")
    assert s.p.wait(60) == 1
    said = s.words().splitlines()[-1]
    assert said.startswith("twinax serve: "), said
    assert hosts.quiet_after(60) < 60
    print(f"noticed and gone after {time.monotonic() - began:.1f} s: {said}")


def kill(h, what):
    killed = [os.kill(pid, signal.SIGKILL) for pid, words in h.processes(B).items() if what in words]
    assert killed
