# SPDX-License-Identifier: Apache-2.0
"""Ray alone (`up --engine vllm` without a model), and models on it later, with stand-ins for ray and
vllm: one Ray, one token, and each is ended without the other."""

import contextlib
import json
import os
import signal
import stat

import pytest
import twinax_cli as cli
from test_vllm import KEY, KILLED, MODEL, Served, notes, venv, who  # noqa: F401
import two_hosts
from two_hosts import A, B, ROCE
from two_hosts_fixture import made, nothing_is_left  # noqa: F401

NODES = f"node-a={ROCE[A]},node-b={ROCE[B]}"


class Apart(two_hosts.Apart):
    """Who comes by ssh has a cache of vLLM's of its own."""

    def start_sshd(self, host, *more, **settings):
        super().start_sshd(host, *more, SetEnv=f"VLLM_CACHE_ROOT={self.cache(host)}", **settings)

    def cache(self, host):
        return self.folder / f"cache-{host}"


@pytest.fixture(scope="module")
def hosts():
    yield from made(make=Apart)


@contextlib.contextmanager
def environ(**more):
    os.environ |= more
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]


@pytest.fixture
def home(tmp_path):
    (tmp_path / "run").mkdir(mode=0o700)
    with environ(XDG_STATE_HOME=str(tmp_path / "state"), XDG_RUNTIME_DIR=str(tmp_path / "run")):
        yield tmp_path


class Ray:
    def __init__(self, h, venv, home):  # noqa: F811
        self.h, self.venv, self.home = h, venv, home

    def run(self, *argv):
        with environ(FAKE_VLLM_NOTES=str(self.venv / "notes"), FAKE_VLLM_PEER=ROCE[B]):
            return self.h.run(A, *argv)

    def up(self, *more, wire="ethernet", nodes=NODES):
        return self.run("up", "--engine", "vllm", "--venv", self.venv, "--nodes", nodes, "--agent-path",
                        cli.BINARY, "--wire", wire, *more)  # fmt: skip

    def status(self):
        p = self.run("status", "--json")
        return p.returncode, json.loads(p.out)

    def token(self):
        return self.home / "run" / "twinax" / "ray.token"


@pytest.fixture
def ray(hosts, venv, home):  # noqa: F811
    r = Ray(hosts, venv, home)
    yield r
    r.run("down")


@pytest.fixture
def up(ray):
    p = ray.up()
    assert p.returncode == 0, p.err
    assert f"Ray is up at {ROCE[A]}:6379 (pid" in p.out and "2 nodes)" in p.out, p.out
    return ray


@pytest.fixture
def serve(hosts, venv, home):  # noqa: F811
    all_served = []

    def start(*more, **kw):
        all_served.append(Served(hosts, venv, *more, **kw))
        return all_served[-1]

    yield start
    for s in all_served:
        s.close()


def rays(h):
    return [sum("bin/ray start" in line for line in h.processes(host).values()) for host in h.all]


def test_it_is_shown_and_ended(hosts, up):
    assert rays(hosts) == [1, 1]
    p = up.run("status")
    assert p.returncode == 0 and "no model is served" in p.out, p.out + p.err
    assert "executor ray: 2 nodes, 2.0 GPU by Ray's own count" in p.out and "wire       ethernet" in p.out, p.out
    code, said = up.status()
    assert code == 0 and said["state"] == "none" and said["ray"]["state"] == "ready"
    assert said["ray"]["address"] == f"{ROCE[A]}:6379"
    assert [r["node"] for r in said["ray"]["serve"]["ranks"]] == ["node-a", "node-b"]
    token = up.token().read_text()
    assert stat.S_IMODE(up.token().stat().st_mode) == 0o600 and token == ray_token(up.venv)
    assert token not in p.out + json.dumps(said) + up.run("logs").out
    assert "node-b: Ray runtime started." in up.run("logs").out
    again = up.up()
    assert again.returncode == 1 and "Ray runs already" in again.err, again.err
    down = up.run("down")
    assert down.returncode == 0 and down.out == "stopped Ray; nothing is left on any node\n", down.out + down.err
    assert hosts.quiet_after(60) < 60 and not up.token().exists()
    p = up.run("status")
    assert p.returncode == 1 and "nothing runs" in p.out


def ray_token(venv):  # noqa: F811
    return next(n["token"] for n in notes(venv) if n["what"] == "ray")


def test_serve_uses_it_and_leaves_it(hosts, up, serve, venv):  # noqa: F811
    s = serve()
    s.ready()
    assert rays(hosts) == [1, 1], "a second Ray was started"
    on_it = next(n for n in notes(venv) if n["what"] == "vllm")
    assert on_it["token"] == ray_token(venv) and on_it["env"]["RAY_ADDRESS"] == f"{ROCE[A]}:6379"
    assert on_it["env"]["VLLM_API_KEY"] == KEY
    err = s.end()
    assert s.p.returncode == 0 and f"uses the Ray that is up at {ROCE[A]}:6379" in err, err
    assert rays(hosts) == [1, 1], "Ray was to stay"
    assert up.status()[1]["ray"]["state"] == "ready"


def test_a_model_in_the_background(hosts, up):
    """down ends the model, then Ray; --keep-ray the model alone."""
    for keep in True, False:
        p = up.up(str(MODEL), "--port", "8123")
        assert p.returncode == 0, p.err
        status = up.run("status").out
        assert "demo is served at http://127.0.0.1:8123" in status and "Ray is up at" in status, status
        p = up.run("down", *(["--keep-ray"] if keep else ["--json"]))
        assert p.returncode == 0, p.err
        assert rays(hosts) == ([1, 1] if keep else [0, 0])
    said = json.loads(p.out)
    assert said["ran"] and said["model"] == str(MODEL) and said["ray"]["ran"] and said["left"] == said["ray"]["left"] == 0


def test_place_and_wire_need_not_be_said_again(hosts, up, serve, venv):  # noqa: F811
    with environ(TWINAX_API_KEY=KEY, FAKE_VLLM_PEER=ROCE[B]):
        p = hosts.start(A, "serve", str(MODEL), "--engine", "vllm", "--nodes", NODES, "--agent-path", cli.BINARY,
                        "--port", "8123")  # fmt: skip
    assert p.stdout.readline() == "listening on http://127.0.0.1:8123\n"
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=cli.LIMIT_S)
    assert p.returncode == 0, err


def test_another_one_is_refused(hosts, up, venv):  # noqa: F811
    other = venv.parent / "other"
    other.symlink_to(venv)
    usual = ["up", str(MODEL), "--engine", "vllm", "--agent-path", cli.BINARY, "--port", "8123"]
    for more, says in (
        (["--nodes", NODES, "--venv", other], [f"--venv {venv}", f"--venv {other}", "another vLLM"]),
        (["--nodes", NODES, "--wire", "thunderbolt"], ["thunderbolt"]),
        (["--nodes", f"node-a={two_hosts.LAN[A]},node-b={two_hosts.LAN[B]}"], [ROCE[B], two_hosts.LAN[B]]),
        (["--local"], ["another set of nodes", ROCE[B]]),
    ):
        p = up.run(*usual, *more)
        assert p.returncode == 1, p.out
        for text in says:
            assert text in p.err, p.err
    assert rays(hosts) == [1, 1]


def test_erase_cache_reaches_all_nodes(hosts, up, serve):
    """Ray's own start erases; under one that is up already it has to be done beside it."""
    compiled = [hosts.cache(host) / "torch_compile_cache" for host in hosts.all]
    for folder in compiled:
        (folder / "abc").mkdir(parents=True)
    with environ(VLLM_CACHE_ROOT=str(hosts.cache(A))):
        s = serve("--erase-cache")
    s.ready()
    assert [folder.exists() for folder in compiled] == [False, False]
    assert all(hosts.cache(host).exists() for host in hosts.all)
    s.end()


@pytest.mark.parametrize("name", ["ray of a worker", "ray of the head", "its twinax"])
def test_a_model_ends_with_its_ray(hosts, up, serve, name):
    s = serve()
    s.ready()
    killed = {
        "ray of a worker": lambda host, line: "bin/ray start --address" in line,
        "ray of the head": lambda host, line: "bin/ray start --head" in line,
        "its twinax": lambda host, line: " serve --ray-only" in line,
    }[name]
    os.kill(who(hosts, killed), signal.SIGKILL)
    err = s.wait()
    assert s.p.returncode == 1 and "twinax logs --ray" in err.splitlines()[-1], err
    assert hosts.quiet_after(60) < 60
    code, said = up.status()
    assert code == 1 and said["ray"]["state"] == "ended", said
    p = up.run("status")
    assert "Ray ended at" in p.out, p.out
    assert "twinax serve of Ray begins" in up.run("logs", "--ray").out


def test_a_model_waits_for_a_ray_that_is_started_again(hosts, ray, serve):
    """Between two lives of Ray its record says that it is up; it has no token then."""
    p = ray.up("--restart", "1")
    assert p.returncode == 0, p.err
    s = serve("--restart", "1")
    s.ready()
    old = ray.token().read_text()
    os.kill(who(hosts, KILLED["ray of a worker"]), signal.SIGKILL)
    os.kill(who(hosts, KILLED["vllm"]), signal.SIGKILL)
    s.ready()
    assert ray.token().read_text() != old
    err = s.end()
    assert err.count("uses the Ray that is up") == 2 and "another" not in err, err
    assert rays(hosts) == [1, 1]


def test_a_model_ends_with_the_life_of_its_ray(hosts, ray, serve):
    """The process that keeps Ray is the same one, Ray is not."""
    p = ray.up("--restart", "1")
    assert p.returncode == 0, p.err
    s = serve("--restart", "1")
    s.ready()
    os.kill(who(hosts, KILLED["ray of a worker"]), signal.SIGKILL)
    s.ready()
    err = s.end()
    assert "has crashed and begun anew" in err and err.count("uses the Ray that is up") == 2, err
    assert rays(hosts) == [1, 1]


def test_one_that_crashed_is_cleaned_up(hosts, up):
    os.kill(who(hosts, lambda host, line: " keep --ray-only" in line), signal.SIGKILL)
    assert hosts.quiet_after(60) < 60
    code, said = up.status()
    assert code == 1 and said["ray"]["state"] == "crashed", said
    assert "went without a word" in up.run("status").out
    again = up.up()
    assert again.returncode == 0 and "an earlier one (Ray" in again.err, again.err
    assert rays(hosts) == [1, 1]


def test_print_starts_nothing(hosts, ray, venv):  # noqa: F811
    p = ray.run("serve", "--engine", "vllm", "--ray-only", "--print", "--venv", venv, "--nodes", NODES,
                "--agent-path", cli.BINARY, "--wire", "ethernet")  # fmt: skip
    assert p.returncode == 0, p.err
    assert "ray start --head" in p.out and f"--address {ROCE[A]}:6379" in p.out and "vllm serve" not in p.out
    assert notes(venv) == []


@pytest.mark.parametrize("words, says", [
    (["up", str(MODEL), "--ray-only", "--engine", "vllm"], "without MODEL"),
    (["up", "--ray-only"], "--engine vllm"),
    (["up", "--ray-only", "--engine", "vllm", "--executor", "mp"], "mp has no Ray"),
    (["up", "--ray-only", "--engine", "vllm", "--install"], "--install"),
    (["serve", "--engine", "vllm"], "no MODEL given"),
    (["serve", "--ray-only", "--engine", "vllm", "--local"], "twinax up"),
])  # fmt: skip
def test_wrong_words(ray, words, says):
    p = ray.run(*words)
    assert p.returncode in (1, 2) and says in p.err, p.err
