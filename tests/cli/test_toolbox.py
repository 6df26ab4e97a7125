# SPDX-License-Identifier: Apache-2.0
"""toolbox with real podman, toolbox and distrobox: root here, a rootless user as the second node (the
ssh between them is a stand-in; real ones are test_nodes' matter), a registry on loopback. Not possible
on a machine without them: GPU and InfiniBand devices (golden plans say what is passed), the real
image of 10 GB."""

import json
import os
import re
import signal
import subprocess
import time

import container_world
import pytest
import twinax_cli as cli

NODES = "--nodes=here,there"


@pytest.fixture(scope="module")
def built():
    yield from container_world.made()


@pytest.fixture
def world(built):
    yield built
    built.clear()


def refresh(w, *more, node=(NODES, f"--agent-path={cli.BINARY}"), **how):
    return w.twinax("toolbox", "refresh", "--image", w.image(), "--name", "box", *node, *more, **how)


def good(p):
    assert p.returncode == 0, p.stdout + p.stderr
    return p


def listed(w, nodes=NODES):
    more = [nodes, f"--agent-path={cli.BINARY}"] if nodes else []
    p = good(w.twinax("toolbox", "list", "--json", "--name", "box", *more))
    return json.loads(p.stdout)["nodes"]


def box_of(node):
    return next((c for c in node["containers"] if c["name"] == "box"), None)


def enter(w, *command, **how):
    return good(w.twinax("toolbox", "enter", "--name", "box", "--", *command, **how)).stdout


# ---- the way of a user -----------------------------------------------------------------------------


def test_life(world):
    """refresh, again, a new version, back, forward, old ones away; on two nodes."""
    w = world
    first = w.publish("one", files=container_world.rocm())
    p = good(refresh(w, "--dry-run"))
    assert f"podman pull {w.registry}/org/box@{first}" in p.stdout and not any(map(box_of, listed(w)))
    p = good(refresh(w, "--yes"))
    assert re.search(r"^here: torch 2.9.1, ROCm 7.14.0, RCCL runs on gfx1151, memlock", p.stdout, re.M), p.stdout
    assert re.search(r"^there: torch 2.9.1", p.stdout, re.M) and "pull the image" in p.stderr
    assert [box_of(n)["digest"] for n in listed(w)] == [first] * 2
    assert enter(w, "cat", "/version") == "one\n" == enter(w, "cat", "/version", who=w.as_user)
    for who in w.as_root, w.as_user:
        w.podman(who, "stop", "-t", "1", "box")

    before = [box_of(n) for n in listed(w)]
    assert "nothing is to be done" in good(refresh(w, "--yes")).stdout
    assert [box_of(n) for n in listed(w)] == before

    second = w.publish("two")
    p = good(refresh(w, "--yes", "--json"))
    done = json.loads(p.stdout)
    assert done["state"] == "done" and [n["digest"] for n in done["nodes"]] == [second] * 2
    nodes = listed(w)
    assert [box_of(n)["digest"] for n in nodes] == [second] * 2
    assert [[i["digest"] for i in n["images"]] for n in nodes] == [[second, first]] * 2
    assert [[i["used"] for i in n["images"]] for n in nodes] == [[True, False]] * 2

    back = ["toolbox", "rollback", "--name", "box", NODES, f"--agent-path={cli.BINARY}", "--yes"]
    good(w.twinax(*back))
    assert [box_of(n)["digest"] for n in listed(w)] == [first] * 2
    p = w.twinax(*back)
    assert p.returncode == 1 and "here: no earlier image" in p.stderr
    p = good(refresh(w, "--yes", "--keep", "0", "--remove-old"))
    assert "pull the image" not in p.stderr and "old image of" in p.stdout
    nodes = listed(w)
    assert [[i["digest"] for i in n["images"]] for n in nodes] == [[second]] * 2
    assert [box_of(n)["digest"] for n in nodes] == [second] * 2


def test_distrobox(world):
    """By a rootless user, as distrobox wants it; what it is told is seen in the container."""
    w, here = world, []
    w.publish("one", files=container_world.rocm())
    p = good(refresh(w, "--yes", "--with", "distrobox", node=here, who=w.as_user))
    assert "distrobox create --yes" in p.stdout and "--group-add=keep-groups" in p.stdout
    label = w.podman(w.as_user, "inspect", "--format", '{{index .Config.Labels "twinax.flags"}}', "box")
    assert label.startswith("--group-add=keep-groups,--ulimit=memlock=")
    p = good(refresh(w, "--yes", node=here, who=w.as_user))
    assert "with distrobox" in p.stdout and "nothing is to be done" in p.stdout
    p = w.twinax("toolbox", "refresh", "--name", "box", "--image", w.image(), "--yes", "--with", "distrobox")
    assert p.returncode == 1 and "not supported" in p.stderr + p.stdout, p.stderr  # root: distrobox's own rule


def test_consent_and_undo(world):
    """What is lost is asked for. An image whose torch does not import: the old container is back, and
    runs, as before."""
    w, here = world, []
    w.publish("one", files=container_world.rocm())
    p = refresh(w, node=here)
    assert p.returncode == 2 and "--yes" in p.stderr
    good(refresh(w, "--yes", node=here))
    enter(w, "touch", "/usr/bin/mine")  # and it runs now
    w.publish("two", files=container_world.rocm() | {"opt/lib/librccl.so.1": "BROKEN gfx1151\n"})
    p = refresh(w, "--yes", node=here)
    assert p.returncode == 1 and "--discard" in p.stderr
    assert "lost: container box is running" in p.stdout and "/usr/bin/mine" in p.stdout
    p = refresh(w, "--yes", "--discard", node=here)
    assert p.returncode == 1 and "import torch" in p.stderr and "ncclCommResume" in p.stderr, p.stderr
    node = listed(w, None)[0]
    assert box_of(node)["state"] == "running" and len(node["images"]) == len(node["containers"]) == 1
    assert enter(w, "cat", "/version", "/usr/bin/mine") == "one\n"
    w.publish("three")
    good(refresh(w, "--yes", "--discard", node=here))
    assert enter(w, "cat", "/version") == "three\n"


def test_rccl(world):
    """Refused where the image's own does; put in where it lacks gfx1151; a bad one is undone."""
    w, here = world, []
    mine = w.w / "librccl-mine.so"
    mine.write_text("mine for gfx1151\n")
    w.publish("one", files=container_world.rocm())
    p = refresh(w, "--yes", f"--rccl={mine}", node=here)
    assert p.returncode == 1 and "runs on gfx1151" in p.stderr and "ROCm 7.14.0" in p.stderr, p.stderr
    w.publish("old", files=container_world.rocm("7.2.0", "gfx1100"))
    p = good(refresh(w, "--yes", f"--rccl={mine}", node=here))
    assert "RCCL runs on gfx1151" in p.stdout
    assert enter(w, "cat", "/opt/lib/librccl.so.1") == "mine for gfx1151\n"
    w.podman(w.as_root, "stop", "-t", "1", "box")
    assert "nothing is to be done" in good(refresh(w, "--yes", f"--rccl={mine}", node=here)).stdout
    mine.write_text("BROKEN\n")
    p = refresh(w, "--yes", f"--rccl={mine}", node=here)
    assert p.returncode == 1 and "import torch" in p.stderr
    assert enter(w, "cat", "/opt/lib/librccl.so.1") == "mine for gfx1151\n"
    p = good(refresh(w, "--yes", "--discard", f"--rccl={mine}", "--with=distrobox", "--dry-run", node=here, who=w.as_user))
    assert f"--volume={mine}:" in p.stdout


def test_refusals(world):
    w = world
    w.publish("one")
    for more, says in [
        (["--image", w.image("nothing")], "has no such image"),
        (["--image", "127.0.0.1:1/org/box"], "cannot be reached"),
        (["--image", w.image() + "@sha256:" + "0" * 64], "no such image"),
        (["--image", "localhost/not/here"], "no registry has it"),
    ]:
        p = w.twinax("toolbox", "refresh", "--name", "box", "--yes", *more)
        assert p.returncode == 1 and says in p.stderr, (more, p.stderr)
    w.publish("arm", name="arm", arch="arm64" if os.uname().machine == "x86_64" else "amd64")
    p = w.twinax("toolbox", "refresh", "--name", "box", "--yes", "--image", w.image("arm"))
    assert p.returncode == 1 and "is made for" in p.stderr, p.stderr
    for argv in ["--name", "Box"], ["weekly"], ["--with", "docker"], ["--discard"], ["--rccl", "here.so"]:
        p = w.twinax("toolbox", "refresh", *argv)
        assert p.returncode == 2, (argv, p.stderr)
    p = w.twinax("toolbox", "enter", "--name", "box")
    assert p.returncode == 1 and "toolbox refresh" in p.stderr
    hidden = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$(command -v podman)" && exec "$0" "$@"']
    p = subprocess.run([*w.as_root(), *hidden, str(cli.BINARY), "toolbox", "refresh", "--yes"],
                       capture_output=True, text=True, env=w.env, cwd=w.w)  # fmt: skip
    assert p.returncode == 1 and "podman is not installed" in p.stderr, p.stderr


def test_interrupted_swap(world):
    """ctrl-C while the container is made anew: that is finished, or undone. By the guide's name of the
    program; without --name the guide's `vllm` is found."""
    w = world
    w.publish("one")
    script = w.w / "refresh_toolbox.sh"
    script.symlink_to(cli.BINARY)
    argv = [*w.as_root(), str(script), "--image", w.image(), "--yes"]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": w.env, "cwd": w.w}
    good(subprocess.run([*argv, "--name", "vllm"], timeout=container_world.STEP_S, **how))
    w.publish("two")
    p = subprocess.Popen(argv, start_new_session=True, **how)
    for line in p.stderr:
        if "put the container aside" in line:
            break
    os.killpg(p.pid, signal.SIGINT)
    p.communicate(timeout=container_world.STEP_S)
    assert w.podman(w.as_root, "ps", "-a", "--format", "{{.Names}}") == "vllm\n"
    assert good(w.twinax("toolbox", "enter", "cat", "/version")).stdout in ("one\n", "two\n")


# ---- inside ----------------------------------------------------------------------------------------


def test_inside(world, folder):
    """In a toolbox twinax goes to the host by flatpak-spawn, in a distrobox by distrobox-host-exec."""
    bin_dir = folder / "bin"
    bin_dir.mkdir()
    for name in "flatpak-spawn", "distrobox-host-exec":
        (bin_dir / name).write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (bin_dir / name).chmod(0o755)
    distrobox = {"CONTAINER_ID": "box", "DISTROBOX_ENTER_PATH": "/usr/bin/distrobox-enter"}
    only = {"PATH": str(bin_dir)}
    p = cli.run("status", "--json", env=distrobox | only)
    assert p.returncode == 0 and re.fullmatch(r"distrobox-host-exec \S*twinax status --json\n", p.stdout), p.stdout
    (bin_dir / "distrobox-host-exec").unlink()
    p = cli.run("status", env=distrobox | only | {"HF_TOKEN": "hf_secret", "HF_HOME": "/models"})
    assert p.stdout.startswith("flatpak-spawn --host --watch-bus --directory=") and "--env=HF_HOME=/models" in p.stdout
    assert "hf_secret" not in p.stdout
    p = cli.run("status", env=distrobox | only | {"HF_ENDPOINT": "https://me:hf_secret@hub.example"})
    assert p.returncode == 1 and "HF_ENDPOINT has a login" in p.stderr and "hf_secret" not in p.stdout + p.stderr
    (bin_dir / "flatpak-spawn").unlink()
    p = cli.run("status", env=distrobox | only)
    assert p.returncode == 1 and "distrobox-host-exec" in p.stderr and "on the host" in p.stderr
    p = cli.run("version", env=distrobox | only)
    assert p.returncode == 0


def test_what_becomes_of_words(folder):
    """A command in a container: every word, or none; and what a pipe's end does to it is its own."""
    bin_dir = folder / "bin"
    bin_dir.mkdir()
    answers = {"info": "{}", "images": "[]", "ps": '[{"Names":["box"],"Labels":{"com.github.containers.toolbox":"true"}}]'}
    cases = "".join(f"{k}) echo '{v}' ;;\n" for k, v in answers.items())
    for name, text in ("podman", f'case "$1" in\n{cases}esac'), ("toolbox", 'echo "ran $*"\nkill -PIPE $$\necho deaf'):
        (bin_dir / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_dir / name).chmod(0o755)
    env = {"PATH": f"{bin_dir}:{os.environ['PATH']}", "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    p = cli.run("toolbox", "enter", "--name", "box", "--", "rm", "-r", "there", env=env)
    assert p.stdout == "ran run --container box rm -r there\n" and p.returncode == -signal.SIGPIPE, (p.stdout, p.stderr)
    p = cli.run("toolbox", "enter", "--name", "box", "--", "rm", "-r", os.fsdecode(b"\xff"), "there", env=env)
    assert p.returncode == 1 and "word 3 " in p.stderr and "ran" not in p.stdout, p.stdout + p.stderr
    for path in "/lib/$(id).so", "/lib/a;b.so", "/lib/`id`.so", "/lib/a&b", "/lib/a b.so":
        p = cli.run("toolbox", "refresh", "--rccl", path, env=env)
        assert p.returncode == 2 and "--rccl" in p.stderr, (path, p.stderr)  # distrobox evals its flags
