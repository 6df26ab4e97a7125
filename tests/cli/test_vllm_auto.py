# SPDX-License-Identifier: Apache-2.0
"""`--engine auto` over two machines: what is taken, and that it is said why. Each machine has a /dev of its
own, with or without a /dev/kfd; podman, ray and vllm are stand-ins."""

import pathlib
import shutil
import signal

import pytest
import twinax_cli as cli
import two_hosts
from two_hosts import A, B, ROCE
from two_hosts_fixture import made, nothing_is_left  # noqa: F401

FAKE = pathlib.Path(cli.__file__).with_name("fake_vllm.py")
DEMO = cli.DEMO
NODES = f"node-a={ROCE[A]},node-b={ROCE[B]}"
# In a mount namespace: a /dev with what programs want, and a /dev/kfd where FOLDER/kfd-N says so.
DEV = """
mount -t tmpfs none /mnt && cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /mnt/
mkdir /mnt/shm /mnt/pts; ln -s /proc/self/fd /mnt/fd; [ ! -e {folder}/kfd-{host} ] || : >/mnt/kfd
mount --bind /mnt /dev && mount -t tmpfs none /dev/shm && mount --bind {folder}/boxes-{host} {folder}/boxes
"""
# podman as far as twinax asks it; the container is the machine itself, with vLLM on PATH.
PODMAN = """#!/bin/sh
case $1 in
--version) echo podman version 5.2.3;;
ps) cat {folder}/boxes/ps.json;;
start) ;;
exec) while [ "$1" != vllm ]; do shift; done; shift
    prog=${{1#/run/host}}; shift; PATH={folder}/fake:$PATH exec "$prog" "$@";;
*) exit 125;;
esac
"""


class Apart(two_hosts.Apart):
    def build(self):
        for name in "fake", "podman", "boxes", "boxes-0", "boxes-1":
            (self.folder / name).mkdir()
        for name in "ray", "vllm":
            shutil.copy(FAKE, self.folder / "fake" / name)
            (self.folder / "fake" / name).chmod(0o755)
        podman = self.folder / "podman" / "podman"
        podman.write_text(PODMAN.format(folder=self.folder))
        podman.chmod(0o755)
        super().build()

    def has(self, gpus, boxes):
        for host in self.all:
            (self.folder / f"kfd-{host}").unlink(missing_ok=True)
            if host in gpus:
                (self.folder / f"kfd-{host}").touch()
            box = '{"Names":["vllm"],"Image":"x","State":"running"}' if host in boxes else ""
            (self.folder / f"boxes-{host}" / "ps.json").write_text(f"[{box}]")

    def path(self):
        return {"PATH": f"{self.folder}/podman:{super().path()['PATH']}", "FAKE_VLLM_PEER": ROCE[B]}

    def own_dev(self, host):
        return DEV.format(folder=self.folder, host=host)


@pytest.fixture(scope="module")
def hosts():
    yield from made(make=Apart)


@pytest.fixture
def serve(hosts):
    """serve(words) on machine A: its stderr until it listens, or ends."""

    def run(*words, nodes=NODES):
        agent = hosts.folder / "agent"
        # Who comes by ssh gets B's /dev and podman.
        agent.write_text(f"#!/bin/sh\nexport PATH={hosts.folder}/podman:$PATH\n"
                         f"exec unshare -m sh -c '{hosts.own_dev(B)} exec {cli.BINARY} \"$@\"' sh \"$@\"\n")  # fmt: skip
        agent.chmod(0o755)
        where = ["--nodes", nodes, "--agent-path", agent] if nodes else ["--local", "--tp", "1"]
        script = f"{hosts.own_dev(A)} exec \"$0\" \"$@\""
        p = hosts.start(A, "-c", script, cli.BINARY, "serve", *words, *where, "--port", "8123", binary="sh")
        for line in p.stdout:
            p.send_signal(signal.SIGINT)
        err = p.communicate(timeout=cli.LIMIT_S)[1]
        return p.returncode, err

    return run


@pytest.mark.parametrize("gpus, boxes, engine, why", [
    ([A, B], [A, B], "vllm", "every node has a ROCm GPU and vLLM"),
    ([A, B], [A], "native", "node-b lacks a container vllm-therock-gfx1151 or vllm"),
    ([A, B], [], "native", "node-a lacks a container"),
    ([A], [A, B], "native", "node-b has no ROCm GPU (/dev/kfd); elsewhere a ROCm GPU is not used"),
    ([], [A, B], "native", "this machine has no ROCm GPU (/dev/kfd)"),
])  # fmt: skip
def test_two_nodes(hosts, serve, gpus, boxes, engine, why):
    hosts.has(gpus, boxes)
    code, err = serve(DEMO)
    assert code == 0, err
    line = next(line for line in err.splitlines() if "engine " in line)
    assert f"engine {engine}: {why}" in line, err
    assert ("not used" in line) == (engine == "native" and bool(gpus)), line
    if engine == "vllm":
        assert "Ray: 2 nodes, 2.0 GPU" in err


def test_a_venv_says_where(hosts, serve):
    hosts.has([A, B], [])
    venv = hosts.folder / "a venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python3").symlink_to(shutil.which("python3"))
    for name in "ray", "vllm":
        shutil.copy(hosts.folder / "fake" / name, venv / "bin")
    code, err = serve(DEMO, "--venv", venv)
    assert code == 0 and "engine vllm: every node has a ROCm GPU and vLLM" in err, err
    (venv / "bin" / "vllm").chmod(0o644)
    code, err = serve(DEMO, "--venv", venv)
    assert f"lacks vLLM in {venv}" in err and "--engine vllm only" in err, err
    shutil.rmtree(venv)


def test_one_machine(hosts, serve):
    hosts.has([A], [A])
    code, err = serve(DEMO, nodes=None)
    assert code == 0 and "engine vllm: there is a ROCm GPU and vLLM" in err, err
    code, err = serve(DEMO, "--transport", "shm", nodes=None)
    assert code == 0 and "engine native: --transport shm; a ROCm GPU is not used" in err, err
    code, err = serve(DEMO, "--engine", "native", nodes=None)
    assert code == 0 and "a ROCm GPU" not in err, err
