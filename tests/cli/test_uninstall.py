# SPDX-License-Identifier: Apache-2.0
"""`twinax uninstall`: lists what twinax made on this machine and on another one, and removes that
alone. In mounts of its own: what setup wrote on the machine that runs the tests is out of sight."""

import json
import os
import pathlib
import shutil
import subprocess

import daemons
import pytest
import twinax_cli as cli
from two_hosts import A, ROCE, B
from two_hosts_fixture import made

NODE = cli.BINARY.parent / "twinax-node"
LIST = ["--nodes", f"head={ROCE[A]},box={ROCE[B]}"]
HIDE = "mount -t tmpfs none /var/lib && mkdir -p /var/lib/twinax"


def start_node(h):
    home = h.folder / "box"
    home.mkdir()
    daemons.start(h, "box", 2221, daemons.SHELL, {"SetEnv": f"HOME={home} XDG_RUNTIME_DIR={home}/run"}, HIDE)


@pytest.fixture(scope="module")
def hosts():
    if not NODE.exists():
        pytest.skip(f"no {NODE}")
    yield from made(prepare=start_node)


OURS = [".config/twinax/twinax.conf", ".config/systemd/user/twinax.service", ".local/state/twinax/service.log",
        ".cache/twinax/measured.json", "run/twinax/service.sock"]  # fmt: skip
NOT_OURS = [".cache/huggingface/hub/models--org--name/snapshots/1/model.safetensors", ".config/other/twinax.conf",
            ".local/bin/other", ".local/state/other/log", "twinax/mine.txt", ".ssh/config"]  # fmt: skip


def fill(home, names):
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("x")


def files(home):
    return {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file() and p.name != "service.lock"}


@pytest.fixture
def homes(hosts, tmp_path):
    """Of this machine, with the programs as `make install` puts them, and of the other."""
    box = hosts.folder / "box"
    for home in tmp_path, box:
        for p in home.iterdir():
            shutil.rmtree(p) if p.is_dir() else p.unlink()
        fill(home, OURS + NOT_OURS)
    (box / ".local" / "bin" / "twinax-node").write_bytes(NODE.read_bytes())
    (box / ".local" / "bin" / "twinax-node").chmod(0o755)
    fill(box, [".local/bin/twinax-node.old", ".local/bin/.twinax-node.123"])
    prefix = tmp_path / "usr"
    fill(tmp_path, ["usr/lib/libtwinax.so.0", "usr/share/man/man1/twinax-run.1", "usr/share/man/man1/twined.1",
                    "usr/include/twinax/coll.h", "usr/lib/pkgconfig/twinax.pc", "usr/bin/other"])  # fmt: skip
    for name in "twinax", "twinax-node":
        shutil.copy(cli.BINARY.parent / name, prefix / "bin")
    (tmp_path / ".config/systemd/user/twinax.service").unlink()  # else a service is installed here
    return tmp_path, box


def uninstall(h, home, *argv, prepare=HIDE, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")} | h.path()
    env |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
    return subprocess.run(h.ns(A, "unshare", "-m", "sh", "-c", f'{prepare} && exec "$@"', "sh", home / "usr/bin/twinax", "uninstall",
                               *argv), text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=cli.LIMIT_S, env=env, **more)  # fmt: skip


def test_lists_and_removes_what_is_ours(hosts, homes):
    head, box = homes
    before = files(head), files(box)
    shown = uninstall(hosts, head, *LIST, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert (files(head), files(box)) == before
    for name in [*OURS[:1], ".local/state/twinax", ".cache/twinax"]:
        assert f"head: {''}" in shown.stdout and str(head / name.split("/twinax.conf")[0]) in shown.stdout, name
    for text in "box: program", "twinax-node.old", ".twinax-node.123", "box: unit", "kept: the models in", "usr/bin/twinax":
        assert text in shown.stdout, shown.stdout
    done = uninstall(hosts, head, *LIST, "--yes")
    assert done.returncode == 0 and done.stdout.endswith("removed\n"), done.stderr
    kept = set(NOT_OURS)
    assert files(box) == kept
    assert files(head) == kept | {"usr/bin/other", "usr/share/man/man1/twined.1"}


def test_no_consent(hosts, homes):
    head, box = homes
    before = files(head), files(box)
    done = uninstall(hosts, head, *LIST)
    assert done.returncode == 2 and "--yes" in done.stderr
    assert (files(head), files(box)) == before


def test_a_node_that_cannot_be_asked(hosts, homes):
    """Nothing is removed anywhere: there would be nothing left to ask it with later."""
    head, box = homes
    before = files(head), files(box)
    done = uninstall(hosts, head, "--nodes", f"head={ROCE[A]},down={ROCE[B]}", "--yes")
    assert done.returncode == 1 and "down" in done.stderr
    assert (files(head), files(box)) == before


def test_a_node_without_twinax(hosts, homes):
    head, box = homes
    (box / ".local" / "bin" / "twinax-node").unlink()
    done = uninstall(hosts, head, "--nodes", f"head={ROCE[A]},box={ROCE[B]}", "--agent-path", "/nowhere/twinax", "--yes")
    assert done.returncode == 0 and "box: no twinax there" in done.stdout, done.stderr


@pytest.mark.skipif(not shutil.which("perl"), reason="no perl")
def test_a_node_that_steers_the_terminal(hosts, homes, tmp_path):
    """Its words are another machine's: none reaches the terminal as it came."""
    agent = tmp_path / "agent"
    change = "$|=1; while (sysread(STDIN, $b, 65536)) { $b =~ s/\"runtime\"/\"\\\\u001b[\"/g; syswrite(STDOUT, $b) }"
    agent.write_text(f"#!/bin/sh\n\"$HOME/.local/bin/twinax-node\" \"$@\" | perl -e '{change}'\n")
    agent.chmod(0o755)
    shown = uninstall(hosts, homes[0], *LIST, "--agent-path", agent, "--dry-run")
    assert shown.returncode == 0 and "box: ?[ " in shown.stdout, shown.stdout + shown.stderr
    assert "\x1b" not in shown.stdout


JOURNAL = {"schema": 1, "entries": [{"n": 1, "state": "done", "step": {"id": "network", "title": "x"}, "saved": []}]}


def test_setup_is_undone_first(hosts, homes):
    """What setup changed is named; without consent to undo it nothing is removed."""
    head, _ = homes
    before = files(head)
    put = f"{HIDE} && mkdir -p /var/lib/twinax/setup && echo '{json.dumps(JOURNAL)}' >/var/lib/twinax/setup/journal.json"
    shown = uninstall(hosts, head, *LIST, "--dry-run", prepare=put)
    assert "journal  /var/lib/twinax/setup: 1 step of setup" in shown.stdout, shown.stdout + shown.stderr
    v = json.loads(uninstall(hosts, head, *LIST, "--dry-run", "--json", prepare=put).stdout)
    assert v["state"] == "listed" and [t["steps"] for t in v["nodes"][0]["traces"] if t["what"] == "journal"] == [1]
    done = uninstall(hosts, head, *LIST, prepare=put)
    assert done.returncode == 2 and files(head) == before


PUT = HIDE + r"""
d=/var/lib/twinax/setup && mkdir -p $d/saved && echo changed | tee /var/lib/thing.conf >$d/saved/0001-0.after
echo before >$d/saved/0001-0.before && chmod 600 $d/saved/* && cat >$d/journal.json <<'END'
{"schema":1,"entries":[{"n":1,"state":"done","unconfirmed":false,"step":{"id":"limits","title":"x","why":"y"},
 "saved":[{"path":"/var/lib/thing.conf","was":"file","mode":420,"uid":0,"gid":0,"is":"file"}]}]}
END
"$@" && cat /var/lib/thing.conf && find /var/lib -name 'twinax*' && set -- true"""


def test_undone_and_removed(hosts, homes):
    """setup's own journal, of one file that it changed: the file is as before, and nothing is left."""
    head, _ = homes
    done = uninstall(hosts, head, "--nodes", "head", "--yes", prepare=PUT)
    assert done.returncode == 0, done.stderr
    assert "head: undo limits (x)" in done.stdout and done.stdout.endswith("removed\nbefore\n"), done.stdout
    assert not (head / "usr" / "bin" / "twinax").exists()


def test_one_object_whatever_is_undone(hosts, homes):
    done = uninstall(hosts, homes[0], "--nodes", "head", "--yes", "--json", prepare=PUT)
    assert done.returncode == 0, done.stderr
    v, end = json.JSONDecoder().raw_decode(done.stdout)
    assert v["state"] == "removed" and done.stdout[end:] == "\nbefore\n" and "undo limits" in done.stderr, done.stdout


def test_a_service_is_there(hosts, homes):
    head, _ = homes
    fill(head, OURS[1:2])
    before = files(head)
    done = uninstall(hosts, head, *LIST, "--yes")
    assert done.returncode == 1 and "twinax down" in done.stderr and before <= files(head)


def test_a_package_is_its_managers(hosts, homes, tmp_path):
    head, _ = homes
    tools, log = pathlib.Path(tmp_path / "tools"), tmp_path / "log"
    tools.mkdir()
    for name, text in {"dpkg-query": "exit 0", "apt-get": f'echo "$@" >{log}'}.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    put = f"{HIDE} && PATH={tools}:$PATH"
    assert "apt-get purge twinax" in uninstall(hosts, head, "--nodes", "head", "--dry-run", prepare=put).stdout
    done = uninstall(hosts, head, "--nodes", "head", "--yes", prepare=put)
    assert done.returncode == 0 and log.read_text() == "purge -y twinax\n", done.stderr
    assert (head / "usr" / "bin" / "twinax").exists()  # apt's to remove
