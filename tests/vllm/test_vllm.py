# SPDX-License-Identifier: Apache-2.0
"""Real vLLM on a real Ray cluster of two machines (network namespaces with an sshd each), without a
GPU: `make test-vllm`. The environment is tests/vllm/env.sh's."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cli"))
import twinax_cli as cli  # noqa: E402
import two_hosts  # noqa: E402
from two_hosts import A, B, ROCE  # noqa: E402
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


@pytest.mark.parametrize("executor", ["ray", "mp"])
def test_two_nodes_serve(hosts, serve, executor):
    before = bytes_of(hosts, A)
    s = serve("--executor", executor)
    s.ready()
    words = s.words()
    if executor == "ray":
        assert "Ray: 2 nodes, 2.0 GPU" in words
    assert [m["id"] for m in s.ask("/v1/models")["data"]] == ["demo"]
    # The native engine's greedy text, as the demo model's goldens have it.
    said = json.loads((ROOT / "tests" / "data" / "demo_answers.jsonl").read_text().splitlines()[0])
    chat = s.ask("/v1/chat/completions", {"model": "demo", "max_tokens": 100, "temperature": 0,
                                          "messages": [{"role": "user", "content": said["q"]}]})  # fmt: skip
    assert chat["choices"][0]["message"]["content"] == said["a"]
    moved = bytes_of(hosts, A) - before
    assert moved > 1 << 20, f"the ranks have exchanged {moved} bytes by roce0"
    # Listeners: loopback, or the cluster's address; nobody listens for the whole world without a key.
    open_to_all = {port: ip for port, ip in hosts.listeners(A).items() if ip == "0.0.0.0"}
    if executor == "mp":
        assert open_to_all == {}
    # Ray's own (gRPC) listen to all and want the token: test_rays_door_is_locked.
    status, took = s.end()
    assert status in (0, 130), s.words()[-3000:]
    assert took < GONE_S, f"{took} s until nothing was left"


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


def test_a_killed_worker_is_noticed(hosts, serve):
    s = serve()
    s.ready()
    began = time.monotonic()
    for pid, words in hosts.processes(B).items():
        if "ray::" in words or "raylet" in words:
            os.kill(pid, signal.SIGKILL)
    assert s.p.wait(60) == 1
    said = s.words().splitlines()[-1]
    assert said.startswith("twinax serve: "), said
    assert hosts.quiet_after(60) < 60
    print(f"noticed and gone after {time.monotonic() - began:.1f} s: {said}")


def test_kill_of_the_head_leaves_nothing(hosts, serve):
    s = serve()
    s.ready()
    os.kill(s.twinax(), signal.SIGKILL)
    took = hosts.quiet_after(60)
    assert took < GONE_S, f"{took} s until nothing was left: {[hosts.processes(h) for h in hosts.all]}"


def test_rays_door_is_locked(hosts, serve, venv):
    """P5: who has no token gets nothing from Ray."""
    s = serve()
    s.ready()
    stranger = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    p = subprocess.run(hosts.ns(B, venv / "bin" / "ray", "status", "--address", f"{ROCE[A]}:6379"),
                       capture_output=True, text=True, timeout=120, env=stranger)  # fmt: skip
    assert p.returncode != 0 and "node_" not in p.stdout, p.stdout
    s.end()
