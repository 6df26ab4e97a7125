# SPDX-License-Identifier: Apache-2.0
"""A holder inside a container of real podman, told by the one outside: ending `podman exec` ends nothing
inside, the holder's lifeline does. Root (runc) and a rootless user (crun), as toolbox makes a container.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
import uuid

import container_world
import pytest
import twinax_cli as cli
from test_hold import GONE_S, TIME_SCALE, TREE, TREE_SIZE

FAKE = pathlib.Path(__file__).with_name("fake_vllm.py")
NODE = pathlib.Path(cli.BINARY).with_name("twinax-node")
START_S = 30
WHO = ["root", "user"]


class Box:
    """A running container, and what is in it as the whole machine sees it."""

    def __init__(self, world, who):
        self.w, self.who = world, {"root": world.as_root, "user": world.as_user}[who]
        self.name, mark = f"box-{who}", f"TWINAX_TEST_BOX={uuid.uuid4().hex}"
        self.is_root = who == "root"
        self.notes = world.w / f"notes-{who}"
        self.notes.mkdir()
        self.notes.chmod(0o777)
        # What toolbox and distrobox give: the host's network, its files below /run/host, its user.
        self.podman("run", "--detach", "--name", self.name, "--network=host", "--user=root:root",
                    *(["--userns=keep-id", "--label=manager=distrobox"] if who == "user" else []),
                    "--volume=/:/run/host:rslave", "--volume=/usr:/usr:ro", "--env", mark,
                    f"--volume={world.w}/fake:/opt/fake:ro", f"--volume={self.notes}:/notes",
                    "--env=PATH=/opt/fake:/usr/bin:/bin", "--env=FAKE_VLLM=one-node",
                    "--env=FAKE_VLLM_NOTES=/notes", "localhost/box", "sleep", "infinity")  # fmt: skip
        self.mark = mark
        self.find()

    def find(self):
        mark, until = self.mark, time.monotonic() + START_S
        while not (inits := with_environ(mark)):
            assert time.monotonic() < until
            time.sleep(0.01)
        self.init = min(inits)
        self.space = os.readlink(f"/proc/{self.init}/ns/pid")

    def podman(self, *argv):
        return self.w.podman(self.who, *argv)

    def inside(self):
        """{pid: command line}, all that is in it but what it was made with."""
        found = {}
        for p in processes():
            with contextlib.suppress(OSError):
                if os.readlink(p / "ns" / "pid") == self.space and cli.alive(p.name):
                    found[int(p.name)] = (p / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        found.pop(self.init, None)
        return found

    def gone(self):
        """Seconds until nothing is left."""
        began = time.monotonic()
        while left := self.inside():
            assert time.monotonic() - began < 10 * GONE_S, left
            time.sleep(0.01)
        return time.monotonic() - began

    def files(self):
        """In its /tmp, of ours."""
        folder = pathlib.Path(f"/proc/{self.init}/root/tmp")
        return [p.name for p in folder.glob("twinax-*")]


def processes():
    return (p for p in pathlib.Path("/proc").iterdir() if p.name.isdigit())


def with_environ(mark):
    """{pid: command line} of those started with it."""
    found = {}
    for p in processes():
        with contextlib.suppress(OSError):
            if mark.encode() in (p / "environ").read_bytes().split(b"\0") and cli.alive(p.name):
                found[int(p.name)] = (p / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def add_fakes(w):
    (w.w / "fake").mkdir()
    shutil.copytree(cli.DEMO, w.w / "model")
    for name in "ray", "vllm":
        shutil.copy(FAKE, w.w / "fake" / name)
        (w.w / "fake" / name).chmod(0o755)
    (w.rootfs / "tmp").chmod(0o1777)
    container_world.sh(["tar", "-C", w.rootfs, "-cf", w.w / "image.tar", "."])


@pytest.fixture(scope="module")
def world():
    yield from container_world.made(add_fakes)


@pytest.fixture(scope="module", params=WHO)
def box(world, request):
    who = {"root": world.as_root, "user": world.as_user}[request.param]
    world.podman(who, "import", "-q", world.w / "image.tar", "localhost/box")
    return Box(world, request.param)


# ---- the holder ------------------------------------------------------------------------------------


class Held:
    """The outer holder, `podman exec`, the inner one and its program."""

    def __init__(self, box):
        self.box, self.mark = box, f"TWINAX_TEST_OUTER={uuid.uuid4().hex}"
        self.p = subprocess.Popen([*box.who(), "env", self.mark, str(cli.BINARY), "hold"], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", env=box.w.env)  # fmt: skip
        inner = {"argv": ["sh", "-c", TREE], "dir": "/tmp/twinax-test-tree", "files": {"token": "s3cret"}}
        outer = ["podman", "exec", "--interactive", box.name, "/run/host@SELF@", "hold"]
        self.p.stdin.write(json.dumps({"argv": outer, "stdin": inner}) + "\n")
        self.p.stdin.flush()
        assert self.p.stdout.readline() == "ready\n"
        until = time.monotonic() + START_S
        while len(box.inside()) < 2 + 1 + TREE_SIZE - 1 or not box.files():
            assert time.monotonic() < until, box.inside()
            time.sleep(0.01)

    def outside(self, what):
        """Of the machine outside, the first pid of those with it in their command line."""
        return min(pid for pid, line in with_environ(self.mark).items() if what in line)

    def holders(self):
        """The guard and the holder inside."""
        return sorted(pid for pid, line in self.box.inside().items() if line == f"/run/host{NODE} hold ")

    def close(self):
        self.p.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.p.wait(5)
        for pid in {**with_environ(self.mark), **self.box.inside()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.p.kill()
        self.p.wait()
        self.p.stdout.close()


@pytest.fixture
def held(box):
    h = Held(box)
    yield h
    h.close()


@pytest.mark.parametrize("who", ["lifeline", "podman exec", "outer guard", "outer holder", "guard", "holder"])
def test_nothing_is_left_inside(held, box, who):
    guard, holder = held.holders()
    if who == "lifeline":
        held.p.stdin.close()
    else:
        pid = {
            "podman exec": lambda: held.outside("podman exec"),
            "outer guard": lambda: held.outside("twinax hold"),
            "outer holder": lambda: cli.children(held.outside("twinax hold"))[0],
            "guard": lambda: guard,
            "holder": lambda: holder,
        }[who]()
        os.kill(pid, signal.SIGKILL)
    assert box.gone() < GONE_S * TIME_SCALE
    assert box.files() == []


# ---- serve -----------------------------------------------------------------------------------------

KEY, HF_TOKEN = "k3y-of-the-api", "hf_0123456789"


def serve(box, port, *more, name=None):
    secrets = ["env", f"TWINAX_API_KEY={KEY}", f"HF_TOKEN={HF_TOKEN}"]
    words = ["serve", str(box.w.w / "model"), "--engine", "vllm", "--container", name or box.name, "--local", "--port", str(port)]
    return subprocess.Popen([*box.who(), *secrets, str(cli.BINARY), *words, *more], text=True, cwd="/",
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=box.w.env)  # fmt: skip


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.parametrize("executor", ["ray", "mp"])
def test_serve(box, executor):
    port = free_port()
    if executor == "ray":  # as after a reboot, and after `toolbox refresh`
        box.podman("stop", "-t", "0", box.name)
    with serve(box, port, "--executor", executor) as p:
        try:
            line = p.stdout.readline()
            assert line == f"listening on http://127.0.0.1:{port}\n", line + p.stderr.read()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as r:
                assert r.status == 200
            if executor == "ray":
                box.find()
            seen = next(json.loads(n.read_text()) for n in box.notes.glob("vllm-*"))
            assert seen["env"]["VLLM_API_KEY"] == KEY and seen["env"]["HF_TOKEN"] == HF_TOKEN
            assert seen["env"]["HOME"] == ("/root" if box.is_root else str(box.w.w / "user"))
            # Not below its home: it is seen by a link of the run, and gone with that.
            assert seen["words"][1].startswith("/tmp/twinax-") and seen["model"] == f"/run/host{box.w.w}/model"
            assert seen["uid"] == (0 if box.is_root else container_world.UID)
            lines = " ".join(container_world.sh(["ps", "-eo", "args"]).split("\n"))
            assert seen["token"] not in lines
            os.kill(cli.children(p.pid)[0], signal.SIGINT)  # p is nsenter
            out, err = p.communicate(timeout=cli.LIMIT_S)
            assert p.returncode == 0, err
            assert box.gone() < GONE_S * TIME_SCALE
            assert box.files() == []
            assert cli.alive(box.init)
        finally:
            for pid in [*cli.children(p.pid), *box.inside()]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for n in box.notes.iterdir():
                n.unlink()


def test_no_way_in(box):
    """A container that is not there; one that does not show this machine's files."""
    bare = f"{box.name}-bare"
    box.podman("create", "--name", bare, "--network=host", "localhost/box", "sleep", "infinity")
    for name, says, mend in [
        ("nothing", "no container of that name", "toolbox refresh"),
        (bare, "below /run/host", "--volume /:/run/host:rslave"),
    ]:
        with serve(box, free_port(), name=name) as p:
            _, err = p.communicate(timeout=cli.LIMIT_S)
        assert p.returncode == 1, err
        last = err.splitlines()[-1]
        assert says in last and mend in last, err
    box.podman("rm", "-f", "-t", "0", bare)
