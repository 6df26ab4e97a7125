# SPDX-License-Identifier: Apache-2.0
"""`twinax upgrade`: another version on this machine and two others, or on none of them; and back."""

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
NAMES = ("one", "two")
NODES = f"head={ROCE[A]},one={ROCE[B]},two={ROCE[B]}"
LIST = ["--nodes", NODES]


def start_nodes(h):
    for i, name in enumerate(NAMES):
        home = h.folder / name
        home.mkdir()
        daemons.start(h, name, 2211 + i, daemons.SHELL, {"SetEnv": f"HOME={home} XDG_RUNTIME_DIR={home}"})


@pytest.fixture(scope="module")
def hosts():
    if not NODE.exists():
        pytest.skip(f"no {NODE}")
    yield from made(prepare=start_nodes)


def current():
    return json.loads(cli.good("version", "--json").stdout)["version"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Both programs without what is for debuggers: they are copied a lot."""
    folder = tmp_path_factory.mktemp("plain")
    for name in "twinax", "twinax-node":
        shutil.copy(cli.BINARY.parent / name, folder / name)
        if shutil.which("strip"):
            subprocess.run(["strip", folder / name], check=True)
    return folder


def other_version(plain, folder):
    """Both programs, of a version that differs in its last digit: all that says it is changed."""
    old = current()
    new = old[:-1] + str((int(old[-1]) + 1) % 10)
    folder.mkdir(parents=True)
    for name in "twinax", "twinax-node":
        text = (plain / name).read_bytes()
        assert old.encode() + b"\0" in text
        (folder / name).write_bytes(text.replace(old.encode() + b"\0", new.encode() + b"\0"))
        (folder / name).chmod(0o755)
    return new


@pytest.fixture(scope="module")
def new(tmp_path_factory, plain):
    """(its folder, its version)"""
    folder = tmp_path_factory.mktemp("new") / "bin"
    return folder, other_version(plain, folder)


class Site:
    """This machine's programs in a folder of their own, and what the nodes have."""

    def __init__(self, h, plain, folder):
        self.h, self.bin = h, folder / "bin"
        self.bin.mkdir(parents=True)
        self.env = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run"), "XDG_STATE_HOME": str(folder / "state"),
                    "XDG_CONFIG_HOME": str(folder / "config")}  # fmt: skip
        (folder / "run").mkdir(mode=0o700)
        for name in "twinax", "twinax-node":
            shutil.copy(plain / name, self.bin / name)
        for name in NAMES:
            shutil.rmtree(h.folder / name / ".local", ignore_errors=True)
            place = self.place(name)
            place.parent.mkdir(parents=True)
            shutil.copy(plain / "twinax-node", place)

    def place(self, name):
        return self.h.folder / name / ".local" / "bin" / "twinax-node"

    def run(self, *argv, path=None, env=None):
        more = os.environ | self.h.path() | self.env | (env or {})
        if path:
            more["PATH"] = f"{path}:{more['PATH']}"
        return subprocess.run(self.h.ns(A, self.bin / "twinax", *argv), text=True, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=cli.LIMIT_S, env=more)  # fmt: skip

    def good(self, *argv, **more):
        done = self.run(*argv, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def versions(self):
        """Of the head's two programs, then of each node's; what says `0.1.0 (protocol ...`."""
        every = [self.bin / "twinax", self.bin / "twinax-node", *(self.place(n) for n in NAMES)]
        return [subprocess.run([p, "version"], capture_output=True, text=True).stdout.split()[1] if p.exists() else None
                for p in every]  # fmt: skip

    def tree(self):
        """Everything there: {path: bytes}."""
        places = [self.bin, *(self.place(n).parent for n in NAMES)]
        return {str(f): f.read_bytes() for p in places for f in p.iterdir() if f.is_file()}


@pytest.fixture
def site(hosts, plain, tmp_path):
    return Site(hosts, plain, tmp_path)


def test_all_nodes_and_back(site, new):
    folder, version = new
    old = current()
    shown = site.good("upgrade", folder, *LIST, "--dry-run").stdout
    assert shown.count(f"{old} -> {version}") == 3 and site.versions() == [old] * 4
    done = site.good("upgrade", folder, *LIST, "--yes")
    assert site.versions() == [version] * 4, done.stdout
    assert "upgraded" in done.stdout and "--rollback" in done.stdout
    v = json.loads(site.good("upgrade", "--rollback", *LIST, "--yes", "--json").stdout)
    assert site.versions() == [old] * 4 and v["state"] == "rolled back" and len(v["nodes"]) == 2
    site.good("upgrade", "--rollback", *LIST, "--yes")  # the one before the rollback: forward
    assert site.versions() == [version] * 4


def test_a_node_without_gets_one(site, new):
    folder, version = new
    site.place("two").unlink()
    shown = site.good("upgrade", folder, *LIST, "--yes").stdout
    assert "two: none that runs" in shown and site.versions() == [version] * 4
    done = site.run("upgrade", "--rollback", *LIST, "--yes")
    assert done.returncode == 1 and "two: no version before" in done.stderr
    assert site.versions() == [version] * 4


def test_one_node_fails(site, new):
    """The last one cannot keep its old program: the first one gets its own back."""
    blocked = site.place("two").parent / "twinax-node.old"
    blocked.mkdir()
    (blocked / "full").touch()
    before = site.tree()
    done = site.run("upgrade", new[0], *LIST, "--yes")
    assert done.returncode == 1 and "two: " in done.stderr and "all nodes are as they were" in done.stderr
    assert site.tree() == before


@pytest.mark.parametrize("had", [True, False])
def test_the_new_one_does_not_understand_the_nodes(site, new, tmp_path, had):
    """It is asked before it takes its place, when the nodes have theirs already."""
    if not had:
        site.place("one").unlink()
    before = site.tree()
    folder = tmp_path / "deaf"
    folder.mkdir()
    shutil.copy(new[0] / "twinax-node", folder)
    (folder / "twinax").write_text(
        f'#!/bin/sh\n[ "$1" = version ] && echo \'{{"version":"{new[1]}"}}\' && exit 0\necho "one: speaks another protocol" >&2\nexit 1\n'
    )
    (folder / "twinax").chmod(0o755)
    done = site.run("upgrade", folder, *LIST, "--yes")
    assert done.returncode == 1 and "another protocol" in done.stderr and "as they were" in done.stderr, done.stderr
    assert site.tree() == before


def test_ctrl_c_rolls_back(site, new, tmp_path):
    """It comes while the new program is asked, when the nodes have theirs already."""
    before, folder = site.tree(), tmp_path / "slow"
    folder.mkdir()
    shutil.copy(new[0] / "twinax-node", folder)
    (folder / "twinax").write_text(
        f'#!/bin/sh\n[ "$1" = version ] && echo \'{{"version":"{new[1]}"}}\' && exit 0\nkill -INT $PPID\nexit 1\n'
    )
    (folder / "twinax").chmod(0o755)
    done = site.run("upgrade", folder, *LIST, "--yes")
    assert done.returncode != 0 and "as they were" in done.stderr, done.stderr
    assert site.tree() == before


def test_this_machine_cannot_be_written(site, new):
    """The head is the last: the nodes are rolled back."""
    (site.bin / "twinax.old").mkdir()
    (site.bin / "twinax.old" / "full").touch()
    before = site.tree()
    done = site.run("upgrade", new[0], *LIST, "--yes")
    assert done.returncode == 1 and "twinax.old" in done.stderr and "as they were" in done.stderr
    assert site.tree() == before


def test_archives_and_packages(site, new, tmp_path):
    folder, version = new
    tree = tmp_path / "pkg"
    shutil.copytree(folder, tree / "usr" / "bin")
    subprocess.run(["tar", "-I", "gzip -1", "-cf", tmp_path / "twinax.tar.gz", "-C", tree, "usr"], check=True)
    files = [tmp_path / "twinax.tar.gz", folder / "twinax"]
    if shutil.which("dpkg-deb"):
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN" / "control").write_text(f"Package: twinax\nVersion: {version}\nArchitecture: all\nMaintainer: x\nDescription: x\n")
        subprocess.run(["dpkg-deb", "-Znone", "-b", tree, tmp_path / "twinax.deb"], check=True, capture_output=True)
        files.append(tmp_path / "twinax.deb")
    for f in files:
        v = json.loads(site.good("upgrade", f, *LIST, "--json", "--dry-run").stdout)
        assert v["to"] == version and v["state"] == "planned", f
    site.good("upgrade", files[0], *LIST, "--yes")
    assert site.versions() == [version] * 4
    assert not list(pathlib.Path(site.env["XDG_STATE_HOME"]).glob("twinax/upgrade-*"))


def test_an_rpm_by_a_relative_name(site, new, tmp_path, monkeypatch):
    folder, version = new
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "rpm2cpio").write_text('#!/bin/sh\nexec cat "$1"\n')  # that of an rpm; this one has no more
    (tools / "cpio").write_text("#!/bin/sh\nexec tar -xf -\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    shutil.copytree(folder, tmp_path / "pkg" / "usr" / "bin")
    subprocess.run(["tar", "-cf", tmp_path / "twinax.rpm", "-C", tmp_path / "pkg", "usr"], check=True)
    monkeypatch.chdir(tmp_path)
    v = json.loads(site.good("upgrade", "twinax.rpm", *LIST, "--json", "--dry-run", path=tools).stdout)
    assert v["to"] == version


@pytest.mark.parametrize("what", ["no consent", "nothing there", "no such file", "two versions", "broken", "not pushed", "no FILE"])
def test_refused_and_nothing_changed(site, new, tmp_path, what):
    before, argv, code = site.tree(), [new[0], *LIST, "--yes"], 1
    if what == "no consent":
        argv, code, named = [new[0], *LIST], 2, "--yes"
    elif what == "nothing there":
        (tmp_path / "empty").mkdir()
        argv, named = [tmp_path / "empty", *LIST, "--yes"], "side by side"
    elif what == "no such file":
        argv, named = ["/nowhere.tar.gz", *LIST, "--yes"], "no such file"
    elif what == "no FILE":
        argv, code, named = [*LIST, "--yes"], 2, "name a FILE"
    elif what == "not pushed":
        argv, named = [*argv, "--agent-path", NODE], "was not pushed from here"
    else:
        shutil.copytree(new[0], tmp_path / "mixed")
        text = NODE.read_bytes()
        (tmp_path / "mixed" / "twinax-node").write_bytes(text if what == "two versions" else text[:5000])
        named = "another version" if what == "two versions" else "does not run here"
        argv = [tmp_path / "mixed", *LIST, "--yes"]
    done = site.run("upgrade", *argv)
    assert done.returncode == code and named in done.stderr, done.stderr
    assert site.tree() == before


def test_while_a_service_runs(site, new):
    """Refused; with --restart it is ended, and serves again with the new program."""
    folder, version = new
    argv = ["--nodes", f"head={ROCE[A]}", "--yes"]
    env = {"TWINAX_API_KEY": "k-1"}
    site.good("up", cli.DEMO, "--tp", "1", "--port", "0", "--threads", "1", env=env)
    try:
        first = json.loads(site.good("status", "--json").stdout)
        done = site.run("upgrade", folder, *argv)
        assert done.returncode == 1 and "--restart" in done.stderr and site.versions()[0] == current()
        done = site.run("upgrade", folder, *argv, "--restart")
        assert done.returncode == 1 and "TWINAX_API_KEY" in done.stderr and site.versions()[0] == current()
        assert json.loads(site.good("status", "--json").stdout)["serve"]["pid"] == first["serve"]["pid"]  # it still runs
        site.good("upgrade", folder, *argv, "--restart", env=env)
        assert site.versions()[:2] == [version] * 2
        second = json.loads(site.good("status", "--json").stdout)
        assert second["state"] == "ready" and first["serve"]["pid"] != second["serve"]["pid"]
        pid = json.loads((pathlib.Path(site.env["XDG_STATE_HOME"]) / "twinax" / "service.json").read_text())["keeper"]["pid"]
        assert os.readlink(f"/proc/{pid}/exe") == str(site.bin / "twinax")
        assert b"k-1" not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    finally:
        site.run("down")


def test_a_service_that_stays_ended_is_told(site, new, tmp_path):
    """The upgrade fails, and its model has gone since it was started."""
    model = tmp_path / "model"
    shutil.copytree(cli.DEMO, model)
    site.good("up", model, "--tp", "1", "--port", "0", "--threads", "1")
    try:
        shutil.rmtree(model)
        (site.bin / "twinax.old" / "full").mkdir(parents=True)
        done = site.run("upgrade", new[0], "--nodes", f"head={ROCE[A]}", "--yes", "--restart")
        assert done.returncode == 1 and "twinax.old" in done.stderr
        assert "service does not start again" in done.stderr, done.stderr
    finally:
        site.run("down")


def test_by_the_package_manager(site, new, tmp_path):
    """Where the program is a package's, its manager does this machine; what was installed is kept."""
    if not shutil.which("dpkg-deb"):
        pytest.skip("no dpkg-deb")
    folder, version = new
    tools, log, tree = tmp_path / "tools", tmp_path / "log", tmp_path / "pkg"
    tools.mkdir()
    shutil.copytree(folder, tree / "usr" / "bin")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(f"Package: twinax\nVersion: {version}\nArchitecture: all\nMaintainer: x\nDescription: x\n")
    package = tmp_path / "twinax_new.deb"
    subprocess.run(["dpkg-deb", "-Znone", "-b", tree, package], check=True, capture_output=True)
    scripts = {
        "dpkg-query": "exit 0",
        "apt-get": f'echo "$@" >>{log}\ncase "$*" in\n*download*) cp {package} . ;;\n*twinax=0*) exit 0 ;;\n'
                   f'*) for f; do :; done; dpkg-deb -x "$f" {tmp_path}/x && cp {tmp_path}/x/usr/bin/* {site.bin}/ ;;\nesac',
        "sudo": 'exec "$@"',
    }  # fmt: skip
    for name, text in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    done = site.run("upgrade", folder, *LIST, "--yes", path=tools)
    assert done.returncode == 2 and "wanted a .deb" in done.stderr
    # A running program's file cannot be written: apt replaces it by a rename, cp would fail.
    (tools / "apt-get").write_text((tools / "apt-get").read_text().replace("cp " + str(tmp_path) + "/x", "cp --remove-destination " + str(tmp_path) + "/x"))
    done = site.good("upgrade", *LIST, "--yes", path=tools)
    assert site.versions() == [version] * 4, done.stdout
    assert "install -y --allow-downgrades" in log.read_text() and "download twinax" in log.read_text()
    old = current()
    site.good("upgrade", "--rollback", *LIST, "--yes", path=tools)
    assert log.read_text().splitlines()[-1] == f"install -y --allow-downgrades twinax={old}"
    assert site.versions()[2:] == [old] * 2
