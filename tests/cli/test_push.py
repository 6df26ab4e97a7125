# SPDX-License-Identifier: Apache-2.0
"""twinax-node: what it links, that its rank computes the same, and how it gets to other machines."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import daemons
import pytest
import twinax_cli as cli
import two_hosts
from two_hosts import LAN, ROCE, A, B
from two_hosts_fixture import made

NODE = cli.BINARY.parent / "twinax-node"
RUN = ["--prompt-ids", "1,2,3,4,5", "-n", "8", "--temp", "0", "--ids", "--ignore-eos", "--threads", "1"]
PROGRAMS = ["sh", "mkdir", "cat", "df", "chmod", "mv", "rm"]
BARE, FULL, HOME = "bare", "full", "home"


def fill_root(root):
    """A machine with a shell, a few small programs, what these link, and nothing else."""
    for d in "bin", "root", "proc", "sys", "dev", "model", "tmp":
        (root / d).mkdir(parents=True)
    for name in PROGRAMS:
        program = os.path.realpath(shutil.which(name))
        shutil.copy(program, root / "bin" / name)
        for lib in re.findall(r"(/\S+) \(0x", two_hosts.sh("ldd", program).stdout):
            to = root / lib.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(lib, to)
    for lib in "/lib/x86_64-linux-gnu/libm.so.6", "/lib64/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6":
        if os.path.exists(lib):  # libc's own
            (root / lib.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(lib, root / lib.lstrip("/"))


def enter(root):
    return f'exec env -i HOME=/root PATH=/bin {two_hosts.find("chroot")} {root} /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'


def mounts(root):
    return (
        f"mount --bind /proc {root}/proc && mount --rbind /sys {root}/sys && mount --rbind /dev {root}/dev"
        f" && mount --bind {cli.DEMO} {root}/model"
    )


def start_nodes(h):
    for i, name in enumerate((BARE, FULL)):
        root = h.folder / name
        fill_root(root)
        prepare = mounts(root)
        if name == FULL:
            (root / "root" / ".local").mkdir()
            prepare += f" && mount -t tmpfs -o size=1m none {root}/root/.local"
        daemons.start(h, name, 2201 + i, enter(root), {}, prepare)
    (h.folder / HOME).mkdir()
    daemons.start(h, HOME, 2210, daemons.SHELL, {"SetEnv": f"HOME={h.folder / HOME}"})


@pytest.fixture(scope="module")
def hosts():
    if not NODE.exists():
        pytest.skip(f"no {NODE}")
    yield from made(prepare=start_nodes)


def over(h, node, *argv, binary=cli.BINARY):
    return h.run(A, "run", cli.DEMO, "--nodes", f"head={ROCE[A]},{node}={ROCE[B]}", *argv, *RUN, binary=binary)


def pushed(h, node):
    return h.folder / node / ("" if node == HOME else "root") / ".local" / "bin" / "twinax-node"


@pytest.fixture(scope="module")
def wanted():
    return cli.good("run", cli.DEMO, *RUN).stdout


def test_links_the_c_library_alone():
    if not NODE.exists() or shutil.which("readelf") is None:
        pytest.skip("no twinax-node, or no readelf (binutils)")
    out = subprocess.run(["readelf", "-d", NODE], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"NEEDED.*\[(.*)\]", out)
    if "libjansson.so.4" in needed and not any(pathlib.Path("/usr").glob("lib*/**/libjansson.a")):
        pytest.skip("no static jansson here")
    assert needed and all(re.fullmatch(r"lib(c|m|dl|pthread|rt)\.so\.\d+|ld-linux.*", n) for n in needed), needed


def test_its_rank(hosts, wanted):
    p = over(hosts, "node-b", "--agent-path", NODE)
    assert p.returncode == 0 and p.out == wanted, p.err


def test_push_to_a_bare_machine(hosts, wanted):
    argv = "--model-path", f"{BARE}=/model"
    p = over(hosts, BARE, *argv)
    assert p.returncode == 1 and "bare: no twinax there" in p.err and "--push" in p.err, p.err
    root = hosts.folder / BARE
    names = {f.name for f in root.glob("lib*/**/*.so*")} | {f.name for f in root.glob("usr/lib*/**/*.so*")}
    assert not [n for n in names if re.search("jansson|pcre2-8|utf8proc|microhttpd|inih|crypto|ibverbs", n) and "pcre2" not in n]
    p = over(hosts, BARE, *argv, "--push")
    assert p.returncode == 0 and p.out == wanted, p.err
    assert "bare: twinax-node copied to ~/.local/bin/twinax-node" in p.err
    file = pushed(hosts, BARE)
    assert file.stat().st_mode & 0o7777 == 0o755 and file.read_bytes() == NODE.read_bytes()
    assert [f.name for f in file.parent.iterdir()] == ["twinax-node"]
    p = over(hosts, BARE, *argv)  # found where it was put
    assert p.returncode == 0 and p.out == wanted and "copied" not in p.err, p.err


def other(h, *argv, cwd=None):
    """A command that is no run: it measures nothing, so that it is quick."""
    return h.run(A, *argv, cwd=cwd)


@pytest.fixture
def nothing_there(hosts):
    """node HOME, without what an earlier test has pushed."""
    shutil.rmtree(hosts.folder / HOME / ".local", ignore_errors=True)


COMMANDS = [
    ["doctor", "--no-load", "--json", "--nodes", f"{LAN[A]}={ROCE[A]},{HOME}={ROCE[B]}"],  # no name for DNS
    ["setup", "--dry-run", "--json", "--nodes", f"head={ROCE[A]},{HOME}={ROCE[B]}"],
    ["setup", "--init", "--dry-run", "--head", "head", "--worker", HOME],
    ["compare", "--quick", "--json", "-t", "--node", HOME],
]


@pytest.mark.parametrize("argv", COMMANDS, ids=lambda argv: argv[0] + ("-init" if "--init" in argv else ""))
def test_push_of_every_command(hosts, nothing_there, folder, argv):
    """Not there: the mend names --push. With it: copied, and the command does its work."""
    p = other(hosts, *argv, "--agent-path", "/nowhere/twinax", cwd=folder)
    assert p.returncode == 1 and "--push" in p.out + p.err, p.err
    p = other(hosts, *argv, "--agent-path", "/nowhere/twinax", "--push", cwd=folder)
    assert f"{HOME}: twinax-node copied to ~/.local/bin/twinax-node" in p.err, p.err
    assert pushed(hosts, HOME).read_bytes() == NODE.read_bytes()
    if argv[0] == "doctor":
        reached = [c for c in json.loads(p.out)["checks"] if c["id"] == "node.reached"]
        assert [c["status"] for c in reached] == ["ok", "ok"], reached
    else:
        assert p.returncode == 0, p.err


def test_doctor_pushes_over_other_bits(hosts, nothing_there, folder):
    """What is there answers, but its ranks would compute other bits: with --push that is mended too."""
    old = folder / "twinax"
    old.write_text(OLD % (sys.executable, 1, 77))
    old.chmod(0o755)
    p = other(hosts, *COMMANDS[0], "--agent-path", old, "--push")
    assert f"{HOME}: twinax-node copied" in p.err, p.err
    same = [c for c in json.loads(p.out)["checks"] if c["id"] == "same.twinax"]
    assert [c["status"] for c in same] == ["ok"], same


def test_full_disk(hosts):
    p = over(hosts, FULL, "--push")
    assert p.returncode == 1 and re.search(r"full: its disk is full, .*: No space left on device: \d+ KiB free", p.err), p.err
    (hosts.folder / FULL / "bin" / "df").unlink()  # nobody says so before
    p = over(hosts, FULL, "--push")
    assert p.returncode == 1 and "full: its disk is full, twinax-node was not copied" in p.err, p.err
    lines = {p.pid: pathlib.Path(f"/proc/{p.pid}/cmdline").read_bytes() for p in hosts.sshd}
    (pid,) = [pid for pid, line in lines.items() if b"sshd_full" in line]  # its mounts are its own
    inside = pathlib.Path(f"/proc/{pid}/root{hosts.folder / FULL}/root/.local")
    assert os.path.ismount(inside) and [p for p in inside.rglob("*") if not p.is_dir()] == []


@pytest.mark.parametrize("argv", [["--listen"], ["--connect", "x@1.2.3.4:5"]], ids=str)
def test_push_goes_by_ssh(argv):
    p = cli.run("compare", "--push", *argv)
    assert p.returncode == 2 and "--push goes by ssh" in p.stderr, p.stderr


OLD = """#!%s
import json, struct, sys
sys.stdout.buffer.write(b"twinax-agent/1\\n")
sys.stdout.buffer.flush()
n = struct.unpack("<I", sys.stdin.buffer.read(4))[0]
v = json.loads(sys.stdin.buffer.read(n))
text = json.dumps({"id": v["id"], "ok": True, "version": "0.0.1", "host": "b", "protocol": %d, "arithmetic": %d}).encode()
sys.stdout.buffer.write(struct.pack("<I", len(text)) + text)
sys.stdout.buffer.flush()
sys.stdin.buffer.read()
"""


@pytest.mark.parametrize("protocol, arithmetic", [(77, 1), (1, 77)])
def test_another_version_there(hosts, wanted, folder, protocol, arithmetic):
    shutil.rmtree(hosts.folder / HOME / ".local", ignore_errors=True)
    old = folder / "twinax"
    old.write_text(OLD % (sys.executable, protocol, arithmetic))
    old.chmod(0o755)
    argv = "--agent-path", old
    p = over(hosts, HOME, *argv)
    assert p.returncode == 1 and "--push" in p.err, p.err
    p = over(hosts, HOME, *argv, "--push")
    assert p.returncode == 0 and p.out == wanted and "home: twinax-node copied" in p.err, p.err
    p = over(hosts, HOME, *argv, "--push")
    assert p.returncode == 0 and p.out == wanted and "is there already" in p.err, p.err
    pushed(hosts, HOME).unlink()
    pushed(hosts, HOME).write_bytes(b"garbage")  # another one is replaced
    p = over(hosts, HOME, *argv, "--push")
    assert p.returncode == 0 and "home: twinax-node copied" in p.err, p.err


def test_what_does_not_run_is_taken_away(hosts, folder):
    shutil.rmtree(hosts.folder / HOME / ".local", ignore_errors=True)
    shutil.copy(cli.BINARY, folder / "twinax")
    broken = folder / "twinax-node"
    broken.write_bytes(NODE.read_bytes()[:1000])
    p = over(hosts, HOME, "--agent-path", "/nowhere/twinax", "--push", binary=folder / "twinax")
    assert p.returncode == 1 and "taken away again: it does not run there" in p.err, p.err
    assert list(pushed(hosts, HOME).parent.iterdir()) == []
    broken.unlink()
    p = over(hosts, HOME, "--agent-path", "/nowhere/twinax", "--push", binary=folder / "twinax")
    assert p.returncode == 1 and "twinax-node: is not here" in p.err, p.err


# ---- a model that lies elsewhere there -----------------------------------------------------------


def test_it_prepares_its_host_too(hosts, folder):
    """setup on a machine that has this file alone: the agent starts its own setup-hand."""
    p = subprocess.run(hosts.ns(A, cli.BINARY, "setup", "--dry-run", "--json", "--nodes",
                                f"head={ROCE[A]},{HOME}={ROCE[B]}", "--agent-path", NODE), text=True,
                       capture_output=True, stdin=subprocess.DEVNULL, timeout=60,
                       env=os.environ | hosts.path() | {"XDG_STATE_HOME": str(folder)})  # fmt: skip
    assert p.returncode == 0, p.stderr
    assert [n["node"] for n in json.loads(p.stdout)["nodes"]] == ["head", HOME]


def test_model_is_found_by_its_id(hosts, wanted, folder):
    """Not at the same path on the node: beside it, or in the cache of Hugging Face there."""
    home = hosts.folder / HOME
    here = folder / "here"
    shutil.copytree(cli.DEMO, here / "demo")
    shutil.copytree(cli.TINY / "llama-plain", here / "other")
    argv = ["--nodes", f"head={ROCE[A]},{HOME}={ROCE[B]}", "--agent-path", NODE, *RUN]
    hub = home / ".cache" / "huggingface" / "hub"
    shutil.copytree(cli.TINY / "qwen2", hub / "models--a--other" / "snapshots" / "1")

    def run():
        """From a machine that has it where the node has not."""
        hidden = ["unshare", "-m", "sh", "-c", f'mount --bind {here} {folder / "only-here"} && exec "$@"', "sh"]
        p = subprocess.run(hosts.ns(A, *hidden, cli.BINARY, "run", folder / "only-here" / "demo", *argv), text=True,
                           capture_output=True, stdin=subprocess.DEVNULL, env=os.environ | hosts.path(), timeout=60)  # fmt: skip
        return p

    (folder / "only-here").mkdir()
    p = run()
    assert p.returncode == 1 and re.search(r"home: model \.\.\.\S*only-here/demo: not here, and of 1 others", p.stderr), p.stderr
    assert str(hub)[-40:] in p.stderr and "--model-path" in p.stderr
    found = hub / "models--twinax--demo" / "snapshots" / "0123"
    found.parent.mkdir(parents=True)
    shutil.copytree(cli.DEMO, found)
    p = run()
    assert p.returncode == 0 and p.stdout == wanted and f"the one with its id is {found}" in p.stderr, p.stderr
    shutil.copytree(cli.DEMO, folder / "only-here" / "renamed")  # on the node: beside the path
    p = run()
    assert p.returncode == 0 and p.stdout == wanted and "only-here/renamed" in p.stderr, p.stderr
