# SPDX-License-Identifier: Apache-2.0
"""`--engine vllm` over two machines, with stand-ins for ray and vllm (tests/vllm has the real ones):
what is started where, with which secrets, what is said when it fails, and that nothing is left."""

import json
import os
import pathlib
import shutil
import signal
import sys
import time

import pytest
import twinax_cli as cli
import two_hosts
from two_hosts import A, B, LAN, ROCE
from two_hosts_fixture import made, nothing_is_left  # noqa: F401

FAKE = pathlib.Path(__file__).with_name("fake_vllm.py")
GONE_S = 2.0
TIME_SCALE = float(os.environ.get("TW_TIME_SCALE", "1"))
KEY = "k3y-of-the-api"
HF_TOKEN = "hf_0123456789"
MODEL = cli.ROOT / "models" / "demo"


@pytest.fixture(scope="module")
def hosts():
    yield from made(make=two_hosts.Apart)


@pytest.fixture
def venv(hosts):
    folder = hosts.folder / f"venv{len(list(hosts.folder.glob('venv*')))}"
    (folder / "bin").mkdir(parents=True)
    for name in "ray", "vllm":
        shutil.copy(FAKE, folder / "bin" / name)
        (folder / "bin" / name).chmod(0o755)
    (folder / "notes").mkdir()
    return folder


def words(venv, *more, wire="ethernet"):
    nodes = f"node-a={ROCE[A]},node-b={ROCE[B]}"
    return ["serve", MODEL, "--engine", "vllm", "--venv", venv, "--nodes", nodes, "--agent-path",
            cli.BINARY, "--wire", wire, "--port", "8123", *more]  # fmt: skip


class Served:
    def __init__(self, h, venv, *more, how="", **kw):
        self.h, self.venv = h, venv
        os.environ |= {"TWINAX_API_KEY": KEY, "HF_TOKEN": HF_TOKEN, "FAKE_VLLM": how,
                       "FAKE_VLLM_NOTES": str(venv / "notes"), "FAKE_VLLM_PEER": ROCE[B]}  # fmt: skip
        try:
            self.p = h.start(A, *words(venv, *more, **kw))
        finally:
            for name in "TWINAX_API_KEY", "HF_TOKEN", "FAKE_VLLM", "FAKE_VLLM_NOTES", "FAKE_VLLM_PEER":
                del os.environ[name]

    def ready(self):
        line = self.p.stdout.readline()
        assert line == "listening on http://127.0.0.1:8123\n", line + self.p.stderr.read()

    def end(self, sig=signal.SIGINT):
        self.p.send_signal(sig)
        out, err = self.p.communicate(timeout=cli.LIMIT_S)
        return err

    def wait(self):
        out, err = self.p.communicate(timeout=cli.LIMIT_S)
        return err

    def close(self):
        if self.p.poll() is None:
            os.killpg(self.p.pid, signal.SIGKILL)
        self.p.communicate()


@pytest.fixture
def serve(hosts, venv):
    all_served = []

    def start(*more, **kw):
        all_served.append(Served(hosts, venv, *more, **kw))
        return all_served[-1]

    yield start
    for s in all_served:
        s.close()


def notes(venv):
    return [json.loads(p.read_text()) for p in sorted((venv / "notes").iterdir())]


@pytest.mark.parametrize("executor", ["ray", "mp"])
def test_started_and_ended(hosts, serve, venv, executor):
    s = serve("--executor", executor)
    s.ready()
    seen = notes(venv)
    serving = [n for n in seen if n["what"] == "vllm"]
    # The second machine's environment comes from its sshd: nobody told it of the notes.
    assert len(serving) == 1
    assert f"--distributed-executor-backend {executor}" in " ".join(serving[0]["words"])
    assert serving[0]["env"]["VLLM_API_KEY"] == KEY and serving[0]["env"]["HF_TOKEN"] == HF_TOKEN
    assert serving[0]["env"]["VLLM_HOST_IP"] == ROCE[A]
    err = s.end()
    assert s.p.returncode == 0, err
    if executor == "ray":
        assert "Ray: 2 nodes, 2.0 GPU" in err
    folder = pathlib.Path(serving[0]["env"]["RAY_TMPDIR"])
    assert str(folder).startswith("/tmp/twinax-") and not folder.exists()


def test_no_secret_is_seen(hosts, serve, venv):
    s = serve()
    s.ready()
    token = next(n["token"] for n in notes(venv) if n["what"] == "ray")
    assert len(token) == 64
    for host in hosts.all:
        for pid, line in hosts.processes(host).items():
            for secret in token, KEY, HF_TOKEN:
                assert secret not in line, f"{pid}: {line}"
    err = s.end()
    for secret in token, KEY, HF_TOKEN:
        assert secret not in err


def knocks(h, host, ip, port):
    """Whether somebody on that machine reaches it."""
    try_it = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1)"
    return h.do(host, sys.executable, "-c", try_it, ip, port, check=False).returncode == 0


def test_what_listens_is_the_nodes_own(hosts, serve, venv):
    """P5: Ray listens to all networks and has no setting for it; only the cluster's nodes get in."""
    s = serve()
    s.ready()
    port = next(n["port"] for n in notes(venv) if n["what"] == "ray")
    assert hosts.listeners(A)[port] == "0.0.0.0"
    assert knocks(hosts, B, ROCE[A], port) and knocks(hosts, A, LAN[A], port)
    assert not knocks(hosts, B, LAN[A], port)
    s.end()


def who(h, what):
    return next(pid for host in h.all for pid, line in h.processes(host).items() if what(host, line))


KILLED = {
    "twinax": lambda host, line: " serve " in line and "--engine" in line,
    "vllm": lambda host, line: "bin/vllm serve" in line,
    "ray of the head": lambda host, line: "bin/ray start --head" in line,
    "ray of a worker": lambda host, line: "bin/ray start --address" in line,
    "agent": lambda host, line: host == B and line.rstrip().endswith(" agent"),
    "ssh": lambda host, line: host == A and "/ssh_config" in line and "agent" in line,
    "holder of a worker": lambda host, line: host == B and line.rstrip().endswith(" hold"),
}


@pytest.mark.parametrize("name", KILLED)
def test_a_kill_leaves_nothing(hosts, serve, name):
    s = serve()
    s.ready()
    os.kill(who(hosts, KILLED[name]), signal.SIGKILL)
    began = time.monotonic()
    assert hosts.quiet_after(60) < 60
    took = time.monotonic() - began
    assert took < GONE_S * TIME_SCALE + 1, f"{took:.2f} s"
    err = s.wait()
    if name != "twinax":
        assert s.p.returncode == 1, err
        assert err.splitlines()[-1].startswith("twinax serve: "), err


def test_a_gated_model_is_told(hosts, serve):
    s = serve(how="gated")
    err = s.wait()
    assert s.p.returncode == 1
    assert "gated" in err.splitlines()[-1] and "HF_TOKEN" in err.splitlines()[-1]


def test_a_start_that_does_not_go_on(hosts, serve):
    s = serve("--stall", "2", how="slow")
    err = s.wait()
    assert s.p.returncode == 1
    assert "node-a (rank 0) is loading (1 of 2) and did not go on for" in err.splitlines()[-1], err
    assert "node-b (rank 1): joining, silent for" in err and "last: Ray runtime started." in err


def test_ctrl_c_while_it_loads(hosts, serve):
    s = serve(how="slow")
    for line in s.p.stderr:
        if line.startswith("vllm: node-a: loading"):
            break
    began = time.monotonic()
    s.end()
    assert s.p.returncode == 130
    assert time.monotonic() - began + hosts.quiet_after(60) < 3 * GONE_S * TIME_SCALE


def test_one_that_cannot_be_killed_is_not_waited_for(hosts, serve):
    """A driver that hangs keeps its process, and so our pipe: here this test does."""
    s = serve()
    s.ready()
    kept = os.open(f"/proc/{who(hosts, KILLED['vllm'])}/fd/1", os.O_WRONLY)
    try:
        s.p.send_signal(signal.SIGINT)
        assert s.p.wait(20 * TIME_SCALE) == 0
    finally:
        os.close(kept)


def test_rdma_that_is_not_there_is_no_slow_success(hosts, serve):
    s = serve(wire="roce")
    err = s.wait()
    assert s.p.returncode == 1
    assert "no active roce port" in err, err


def test_print_starts_nothing(hosts, serve, venv):
    s = serve("--print")
    out, err = s.p.communicate(timeout=cli.LIMIT_S)
    assert s.p.returncode == 0, err
    assert f"export VLLM_HOST_IP={ROCE[B]}" in out and "ray start --head" in out
    assert KEY not in out and HF_TOKEN not in out
    assert notes(venv) == []


@pytest.fixture
def background(hosts, tmp_path, monkeypatch):
    """What up, status and down find their service by."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("FAKE_VLLM_PEER", ROCE[B])
    yield
    hosts.run(A, "down")


def test_up_status_down(hosts, venv, background):
    up = hosts.run(A, "up", *words(venv)[1:])
    assert up.returncode == 0, up.err
    status = hosts.run(A, "status")
    assert "engine     vllm, executor ray: 2 nodes, 2.0 GPU by Ray's own count" in status.out, status.out
    said = json.loads(hosts.run(A, "status", "--json").out)["serve"]
    assert said["engine"] == "vllm" and [r["node"] for r in said["ranks"]] == ["node-a", "node-b"]
    assert all(r["pid"] > 0 for r in said["ranks"]), said["ranks"]
    for link in (r["link"] for r in said["ranks"]):
        assert link["proven"] and link["counted_by"] == "interface"
        assert link["first_answer"]["tx"] > 64 * 1200 < link["first_answer"]["rx"], link
        assert link["tx_bytes"] >= link["first_answer"]["tx"], link
    logs = hosts.run(A, "logs")
    assert "node-b: Ray runtime started." in logs.out, logs.out
    down = hosts.run(A, "down")
    assert down.returncode == 0, down.err


def test_bytes_that_go_elsewhere(hosts, serve):
    """P3: the wire that was asked for counts nothing while an answer is made."""
    s = serve(how="other-wire")
    err = s.wait()
    assert s.p.returncode == 1
    assert "node-a: ethernet was wanted, and the counters of roce0 moved by 0 B" in err.splitlines()[-1], err


def wait_for(what, limit_s=60):
    until = time.monotonic() + limit_s
    while not (got := what()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return got


@pytest.mark.parametrize("name", ["vllm", "ray of a worker"])
def test_restarted_after_a_crash(hosts, serve, tmp_path, monkeypatch, name):
    """With the compiled cache erased, as often as was asked for, and then it ends."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    s = serve("--restart", "1")
    s.ready()
    compiled = tmp_path / "vllm" / "torch_compile_cache"
    compiled.mkdir(parents=True)
    os.kill(who(hosts, KILLED[name]), signal.SIGKILL)
    s.ready()
    assert not compiled.exists()
    os.kill(who(hosts, KILLED[name]), signal.SIGKILL)
    err = s.wait()
    assert s.p.returncode == 1
    assert "vllm: crashed: " in err and "vllm: restart 1 of 1 in 1 s" in err, err
    assert "erased first on all nodes: the last run crashed" in err
    assert err.splitlines()[-1].startswith("twinax serve: ")


def test_restart_in_the_background(hosts, venv, background):
    """status counts them; `down` in the midst of one ends it."""
    up = hosts.run(A, "up", *words(venv)[1:], "--restart", "3")
    assert up.returncode == 0, up.err

    def said():
        return json.loads(hosts.run(A, "status", "--json").out).get("serve", {})

    old = said()["ranks"][1]["pid"]
    os.kill(who(hosts, KILLED["vllm"]), signal.SIGKILL)
    now = wait_for(lambda: (v := said()).get("state") == "ready" and v["restarts"]["n"] == 1 and v)
    assert now["restarts"]["left"] == 2 and "vllm serve has ended" in now["restarts"]["cause"], now
    assert now["ranks"][1]["pid"] != old
    assert "restarts   1 (2 left), the last at " in hosts.run(A, "status").out
    os.kill(who(hosts, KILLED["vllm"]), signal.SIGKILL)
    wait_for(lambda: said().get("state") != "ready")
    assert "is started again after a crash" in hosts.run(A, "status").out
    down = hosts.run(A, "down")
    assert down.returncode == 0, down.err


def test_what_never_was_ready_is_not_tried_again(hosts, serve):
    s = serve("--restart", "3", how="gated")
    err = s.wait()
    assert s.p.returncode == 1 and "restart 1" not in err, err


@pytest.mark.parametrize("more, says", [
    (["--container", "x"], "--venv and --container"),
    (["--wire", "smoke"], "--wire"),
    (["--print", "--vllm-args", "--kv-cache-dtype fp8 " * 33], "--vllm-args: 66 words"),
    (["--print", "--vllm-args", "--model-impl " + "x" * 5000], "--vllm-args: 5013 bytes"),
])  # fmt: skip
def test_wrong_words(hosts, venv, more, says):
    p = hosts.run(A, *words(venv), *more)
    assert p.returncode in (1, 2) and says in p.err, p.err


def test_other_commands_say_that_they_cannot(hosts):
    p = hosts.run(A, "run", cli.ROOT / "models" / "demo", "--engine", "vllm", "-p", "x", "--local")
    assert p.returncode == 1 and "serve and up" in p.err
    p = hosts.run(A, "serve", cli.ROOT / "models" / "demo", "--print", "--local")
    assert p.returncode == 1 and "--engine vllm" in p.err
