# SPDX-License-Identifier: Apache-2.0
"""The guide's steps 2, 3, 4 for vLLM: start Ray, look at it, serve a model on it, stop. Stand-ins for ray
and vllm are on both machines' PATH."""

import pathlib
import shutil
import socket
import subprocess

import pytest
import two_hosts
import twinax_cli as cli
from two_hosts import A, B, ROCE
from two_hosts_fixture import made, nothing_is_left  # noqa: F401

FAKE = pathlib.Path(cli.__file__).with_name("fake_vllm.py")
MENU = "4  Launch serve"


class Apart(two_hosts.Apart):
    """vLLM is on PATH, for who comes by ssh too."""

    def build(self):
        self.fake = self.folder / "fake"
        self.fake.mkdir()
        for name in "ray", "vllm":
            shutil.copy(FAKE, self.fake / name)
            (self.fake / name).chmod(0o755)
        super().build()

    def start_sshd(self, host, *more, **settings):
        super().start_sshd(host, *more, SetEnv=f"PATH={self.fake}:/usr/bin:/bin", **settings)

    def give_demo(self, folder):
        """The second machine, whose /tmp is its own, has the menu's model where this one has it."""
        for sshd in self.sshd:
            subprocess.run(["nsenter", "-t", str(sshd.pid), "-m", "sh", "-c",
                            f"mkdir -p {folder} && ln -sfn {cli.DEMO} {folder}/demo"], check=True)  # fmt: skip

    def path(self):
        return {"PATH": f"{self.fake}:{super().path()['PATH']}"}


@pytest.fixture(scope="module")
def hosts():
    yield from made(make=Apart)


def test_ray_then_status_then_a_model(menus, hosts, monkeypatch):
    monkeypatch.setenv("FAKE_VLLM_PEER", ROCE[B])
    m = menus("one", ns=hosts.ns(A), path=hosts.path()["PATH"])
    hosts.give_demo(m.conf.parents[3])
    head = socket.gethostname().split(".")[0]
    m.conf.write_text(
        f"[cluster]\nnodes = {head}, node-b\ninterface = roce0\n[node.{head}]\nip = {ROCE[A]}\n"
        f"[node.node-b]\nip = {ROCE[1]}\nagent_path = {cli.BINARY}\n"
    )
    m.conf.chmod(0o600)
    m.wait(MENU)
    m.go("2", to="START")
    m.keys("Right")
    m.golden("start_vllm", r"\[vllm\]")
    m.keys("Enter", "Enter", "Enter")  # vllm, head
    m.wait("every node can be started: start Ray", r"\$ twinax up --engine vllm --ray-only")
    m.keys("Enter")
    m.wait("Ray is up at", "done after")
    m.go("Enter", to="No model yet")
    m.golden("status_ray", "2 nodes, 2.0 GPU, 0.0 in use", r"node-b +1 .*MiB")
    assert sum("ray start" in line for h in hosts.all for line in hosts.processes(h).values()) == 2
    m.go("Escape", to=MENU)
    m.go("4", to="Qwen")
    m.keys("End", "Up")
    m.wait("the small model")
    m.go("Enter", to="LAUNCH SERVER")
    m.wait("--engine vllm --tp 2")
    m.keys("Down", "Down", "Down", "Down", "Down", "Enter")
    m.wait("is up at http", "done after")
    m.go("Enter", to="carried by")
    m.golden("status_vllm", "demo", "2 nodes, 2.0 GPU")
    m.keys("x")
    m.wait("for everybody")
    m.keys("Enter")
    m.wait("stopped demo; nothing is left", "stopped Ray; nothing is left on any node", "done after")
    m.go("Escape", "Escape", to=MENU)
    m.go("q", to="EXIT 0")
