# SPDX-License-Identifier: Apache-2.0
"""What twinax itself costs beside vLLM: its part of a cold start, and its processor time while it waits."""

import os
import pathlib
import signal
import subprocess
import time

import pytest
import twinax_cli as cli
import two_hosts
from test_vllm import serve, venv  # noqa: F401
from test_vllm_ray import home, ray  # noqa: F401
from two_hosts_fixture import made, nothing_is_left  # noqa: F401

TIME_SCALE = float(os.environ.get("TW_TIME_SCALE", "1"))
# Where others compute too, as much longer.
COLD_S = 0.1 * TIME_SCALE * min(max(os.getloadavg()[0] / os.cpu_count(), 1.0), 8.0)
IDLE = 0.01  # of a core
WATCH_S = 2.0
TRIES = 20
# Bash knows the time without a process of its own.
NOTE = '#!/bin/bash\necho "{what} $EPOCHREALTIME" >>"{folder}/times"\n{then}\n'


@pytest.fixture(scope="module")
def hosts():
    yield from made(make=two_hosts.Apart)


def test_cold_start(tmp_path):
    """From the command to vLLM's first moment on this machine, the best of some: facts, plan, versions (as
    far as they are not Python's), secrets, holder."""
    (tmp_path / "bin").mkdir()
    for what, then in ("vllm", "exec sleep 1000"), ("python3", "echo 'twinax-versions {\"python\":\"3.12.4\"}'"):
        script = tmp_path / "bin" / what
        script.write_text(NOTE.format(what=what, folder=tmp_path, then=then))
        script.chmod(0o755)
    took = []
    while len(took) < TRIES and (not took or min(took) > COLD_S):
        (tmp_path / "times").unlink(missing_ok=True)
        began = time.time()
        p = subprocess.Popen([cli.BINARY, "serve", cli.DEMO, "--engine", "vllm", "--venv", tmp_path, "--local",
                              "--tp", "1", "--executor", "mp"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)  # fmt: skip
        until = time.monotonic() + cli.LIMIT_S
        while "vllm" not in (words := times(tmp_path)):
            assert p.poll() is None and time.monotonic() < until
            time.sleep(0.002)
        took.append(float(words.split()[3]) - began)
        assert words.split()[0] == "python3", words
        p.send_signal(signal.SIGINT)
        assert p.wait(cli.LIMIT_S) == 130
    print(f"twinax's own part of the start: {[round(1000 * t) for t in took]} ms")
    assert min(took) < COLD_S


def times(folder):
    path = folder / "times"
    return path.read_text() if path.exists() else ""


def cpu_s(h, host):
    """Processor time of twinax' own processes there: of all their threads, to the nanosecond."""
    total = 0
    for pid, line in h.processes(host).items():
        if pathlib.Path(line.split(" ")[0]).name.startswith("twinax") or "/proc/self/exe" in line:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def cost_of_waiting(h):
    began, before = time.monotonic(), [cpu_s(h, host) for host in h.all]
    time.sleep(WATCH_S)  # the wait that is measured
    took = time.monotonic() - began
    share = [(cpu_s(h, host) - b) / took for host, b in zip(h.all, before)]
    print(f"of a core: {share}")
    return max(share)


def test_it_sleeps_while_vllm_loads(hosts, serve):  # noqa: F811
    s = serve(how="slow")
    for line in s.p.stderr:
        if line.startswith("vllm: node-a: loading"):
            break
    assert cost_of_waiting(hosts) < IDLE * TIME_SCALE
    s.end()


def test_a_ray_that_waits_for_a_model_costs_nothing(hosts, ray):  # noqa: F811
    assert ray.up().returncode == 0
    assert cpu_s(hosts, 0) > 0 and cpu_s(hosts, 1) > 0
    assert cost_of_waiting(hosts) < IDLE * TIME_SCALE
