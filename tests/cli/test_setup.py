# SPDX-License-Identifier: Apache-2.0
"""setup over two machines made of network namespaces: real ssh, real agents, real files below a folder
a node, and an address that really comes and goes. Programs that would change this machine (package
managers, systemctl, ...) are replaced by one that keeps a log."""

import contextlib
import json
import os
import pathlib
import pty
import signal
import stat
import subprocess
import sys
import time

import pytest
import twinax_cli as cli
import two_hosts
from two_hosts import A, B, LAN
from two_hosts_fixture import made

REVERT_S = 20
IPS = ["192.168.50.1", "192.168.50.2"]  # of cable0 alone: doctor looks too
NODES = f"head={IPS[A]},node-b={IPS[B]}"
STUBS = """apt-get dpkg-query rpm dnf update-grub ifup ifdown systemctl nmcli netplan networkctl firewall-cmd ufw nft
modprobe udevadm ssh-keygen usermod gpasswd groupadd groupdel grubby runuser systemd-run""".split()
# $R: the node's folder. Packages are a list; grub.cfg is made of /etc/default/grub.
STUB = r"""#!/bin/sh
R=@ROOT@; name=$(basename "$0"); echo "$name $*" >> @LOG@
case "$name $*" in
"dpkg-query "*) sed 's/^/installed /' $R/var/packages;;
"apt-get install "*) shift 3; for p; do echo "$p" >> $R/var/packages; done; sort -o $R/var/packages $R/var/packages;;
"apt-get purge "*) shift 2; for p; do sed -i "/^$p\$/d" $R/var/packages; done;;
"update-grub "*) sed -n 's/^GRUB_CMDLINE/linux &/p' $R/etc/default/grub > $R/boot/grub/grub.cfg;;
"ifup "*) @IFUP@
  a=$(sed -n 's/ *address //p' $R/etc/network/interfaces.d/twinax-$1)
  ip addr add "$a" dev $1 && ip link set $1 mtu "$(sed -n 's/ *mtu //p' $R/etc/network/interfaces.d/twinax-$1)";;
"ifdown "*) ip addr flush dev $2; ip link set $2 mtu 1500 up
  @IFDOWN@
  :;;
"systemd-run "*) exit 1;;
esac
"""
FILES = {
    "etc/default/grub": 'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX="quiet amdgpu.gttsize=1" # mine\n',
    "boot/grub/grub.cfg": 'linux GRUB_CMDLINE_LINUX="quiet amdgpu.gttsize=1" # mine\n',
    "etc/network/interfaces": "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n",
    "etc/ssh/ssh_host_ed25519_key.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHost@X@ root@@X@\n",
    "root/.ssh/id_ed25519.pub": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIUser@X@ me@@X@\n",
    "root/.ssh/authorized_keys": "ssh-rsa AAAAB3Nzold somebody@laptop",
    "var/packages": "libc6\n",
    "var/lib/there": "",
    "proc/sys/kernel/random/boot_id": "first boot\n",
}  # fmt: skip
# Strix Halo with grub, where this machine has neither.
FACTS = {
    "os": {"id": "debian", "pretty_name": "Debian 12", "systemd": True, "kernel": "6.18.0"},
    "mem": {"total_bytes": 131 * 10**9, "installed_bytes": 128 << 30},
    "gpus": [{"gfx": "gfx1151", "driver": "amdgpu"}],
    "gpu_limits": {"amdgpu": True, "amdgpu_gttsize_auto": True},
    "limits": {"memlock_soft": 8388608, "memlock_hard": 8388608},
    "boot": {"kind": "grub", "grub_cfg": "/boot/grub/grub.cfg"},
    "firewall": {"kind": "none", "active": False},
    "running": [],
}


class Node:
    """A folder that stands for a host's files, programs that stand for its tools, and an agent there."""

    def __init__(self, where, host, ifup="", ifdown=""):
        self.root, self.bin, self.log = where / f"root{host}", where / f"bin{host}", where / f"log{host}"
        for name, text in FILES.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("@X@", "AB"[host]))
        (self.root / "etc/network/interfaces.d").mkdir()
        (self.root / "root/.ssh").chmod(0o700)
        (self.root / ".facts.json").write_text(json.dumps(FACTS))
        self.bin.mkdir()
        if host == B:
            self.program("ssh", "#!/bin/sh\nexit 0\n")  # its way back: nobody asks DNS for "head"
        for name in STUBS:
            self.program(name, STUB.replace("@ROOT@", str(self.root)).replace("@LOG@", str(self.log))
                         .replace("@IFUP@", ifup).replace("@IFDOWN@", ifdown))  # fmt: skip
        self.agent(REVERT_S)
        self.before = self.tree()

    def agent(self, revert_s):
        self.program("twinax-agent", f'#!/bin/sh\nexport TW_SETUP_ROOT={self.root} TW_SETUP_REVERT_S={revert_s}\n'
                     f'export PATH={self.bin}:$PATH\nexec {cli.BINARY} "$@"\n')  # fmt: skip

    def program(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def tree(self):
        found = {}
        for path in sorted(self.root.rglob("*")):
            s = path.lstat()
            found[str(path.relative_to(self.root))] = (
                stat.filemode(s.st_mode), s.st_uid, path.read_bytes() if path.is_file() else None)  # fmt: skip
        return found

    def is_as_before(self):
        """While others still work there: files may come and go under our eyes."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return self.tree() == self.before
        return False

    def text(self, name):
        return (self.root / name).read_text()

    def logged(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def journal(self):
        path = self.root / "var/lib/twinax/setup/journal.json"
        return json.loads(path.read_text())["entries"] if path.exists() else []


def add_cable(h):
    two_hosts.sh("ip", "link", "add", "cable0", "netns", h.names[A], "type", "veth", "peer", "name", "cable0",
                 "netns", h.names[B])  # fmt: skip


@pytest.fixture(scope="module")
def hosts():
    yield from made(prepare=add_cable)


@pytest.fixture
def clean(hosts):
    for host in A, B:
        hosts.do(host, "ip", "addr", "flush", "dev", "cable0")
        hosts.do(host, "ip", "link", "set", "cable0", "mtu", "1500", "up")
    yield hosts
    assert hosts.quiet_after(20) < 20, f"left: {hosts.processes(A)} {hosts.processes(B)}"


@pytest.fixture
def nodes(clean, folder):
    return Node(folder, A), Node(folder, B)


def environment(h, node):
    return {"TW_SETUP_ROOT": str(node.root), "PATH": f"{node.bin}:{h.path()['PATH']}", "TW_SETUP_REVERT_S": str(REVERT_S),
            "XDG_CONFIG_HOME": "/nowhere"}  # fmt: skip


def argv_of(nodes, *argv):
    return ["setup", "--nodes", NODES, "--interface", "cable0", "--transport", "tcp", "--agent-path",
            str(nodes[B].bin / "twinax-agent"), *argv]  # fmt: skip


def start(h, nodes, *argv, env=None):
    return subprocess.Popen(
        h.ns(A, cli.BINARY, *argv_of(nodes, *argv)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=os.environ | environment(h, nodes[A]) | (env or {}), cwd=nodes[A].root.parent,
        start_new_session=True,
    )  # fmt: skip


def setup(h, nodes, *argv, env=None):
    p = start(h, nodes, *argv, env=env)
    try:
        p.out, p.err = p.communicate(timeout=cli.LIMIT_S)
    finally:
        if p.poll() is None:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
    return p


def addresses(h, host, name="cable0"):
    return h.do(host, "ip", "-o", "-4", "addr", "show", "dev", name).stdout


def unchanged(nodes):
    for n in nodes:
        now = n.tree()
        assert {k: v for k, v in now.items() if n.before.get(k) != v} == {} and now.keys() == n.before.keys()


# ---- plan, do, verify, undo ----------------------------------------------------------------------


def test_dry_run_changes_nothing(clean, nodes):
    p = setup(clean, nodes, "--dry-run")
    assert p.returncode == 0, p.err
    for words in ("head: 4 steps", "node-b: 4 steps", f"address {IPS[B]}/30", "amdgpu.gttsize=126976",
                  "undone by:", "update-grub", "reverts by itself after 60 s"):  # fmt: skip
        assert words in p.out, p.out
    unchanged(nodes)
    assert not any("ifup" in line or "update-grub" in line for n in nodes for line in n.logged())


def test_do_again_and_undo(clean, nodes):
    p = setup(clean, nodes, "--yes")
    assert p.returncode == 0, p.out + p.err
    assert "verified" in p.out and "not rebooted" in p.out
    for host in A, B:
        assert f"{IPS[host]}/30" in addresses(clean, host)
        assert "mtu 9000" in clean.do(host, "ip", "link", "show", "cable0").stdout
        n = nodes[host]
        assert "amdgpu.gttsize=126976" in n.text("etc/default/grub") and "# mine" in n.text("etc/default/grub")
        assert "126976" in n.text("boot/grub/grub.cfg")
        assert "memlock unlimited" in n.text("etc/security/limits.d/90-twinax.conf")
        keys = n.text("root/.ssh/authorized_keys").splitlines()
        assert keys[0].endswith("somebody@laptop") and f"IUser{'BA'[host]} me@{'BA'[host]}" in keys[1]
        assert f"{IPS[1 - host]} ssh-ed25519" in n.text("root/.ssh/known_hosts")
        state = n.root / "var/lib/twinax/setup"
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in state.rglob("*") if f.is_file())
        assert not any(e["unconfirmed"] for e in n.journal())
    # Who refuses answers.
    clean.do(A, sys.executable, "-c", f"import errno, socket as s; x = s.socket(); x.settimeout(10); "
             f"assert x.connect_ex(('{IPS[B]}', 9)) == errno.ECONNREFUSED")  # fmt: skip

    count = [len(n.logged()) for n in nodes]
    p = setup(clean, nodes, "--yes")
    assert p.returncode == 0 and "nothing is to be changed" in p.out, p.out + p.err
    for n, before in zip(nodes, count):
        assert not any(w in line for line in n.logged()[before:] for w in ("ifup", "update-grub", "apt-get"))

    p = setup(clean, nodes, "--undo", "--yes")
    assert p.returncode == 0 and "the files are as before" in p.out, p.out + p.err
    unchanged(nodes)
    assert not addresses(clean, A) and not addresses(clean, B)
    p = setup(clean, nodes, "--undo", "--yes")
    assert p.returncode == 0 and "nothing is to be undone" in p.out


def test_what_others_changed_is_kept(clean, nodes):
    assert setup(clean, nodes, "--yes", "--only", "kernel,ssh-trust").returncode == 0
    grub, known = nodes[B].root / "etc/default/grub", nodes[B].root / "root/.ssh/known_hosts"
    grub.write_text(grub.read_text() + "GRUB_TIMEOUT=9\n")
    known.write_text("other ssh-rsa AAAA\n" + known.read_text())
    p = setup(clean, nodes, "--undo", "--yes")
    assert p.returncode == 0 and "node-b: note: /etc/default/grub was changed by others" in p.out, p.out
    assert "GRUB_TIMEOUT=9" in grub.read_text() and known.read_text() == "other ssh-rsa AAAA\n"


def test_json(clean, nodes):
    p = setup(clean, nodes, "--json", "--dry-run")
    v = json.loads(p.out)
    assert p.returncode == 0 and v["state"] == "planned" and [n["node"] for n in v["nodes"]] == ["head", "node-b"]
    step = v["nodes"][1]["steps"][0]
    assert {"id", "why", "do", "root", "cuts"} <= step.keys()
    p = setup(clean, nodes, "--json", "--yes", "--only", "memlock")
    assert p.returncode == 0 and json.loads(p.out)["state"] == "done", p.out + p.err
    p = setup(clean, nodes, "--json", "--undo", "--yes")
    assert p.returncode == 0 and json.loads(p.out)["state"] == "undone"
    unchanged(nodes)


def test_failure_is_rolled_back(clean, nodes):
    nodes[B].program("update-grub", "#!/bin/sh\necho no space left >&2; exit 1\n")
    p = setup(clean, nodes, "--yes", "--only", "kernel,memlock")
    assert p.returncode == 1 and "node-b: kernel: update-grub failed" in p.err and "no space left" in p.err, p.err
    assert "memlock unlimited" in nodes[B].text("etc/security/limits.d/90-twinax.conf")
    assert nodes[B].text("etc/default/grub") == FILES["etc/default/grub"]
    assert "126976" in nodes[A].text("boot/grub/grub.cfg")  # the other node went on
    assert setup(clean, nodes, "--undo", "--yes").returncode == 0
    unchanged(nodes)


def test_what_doctor_still_fails_is_setups_failure(clean, folder):
    """Address and MTU are there, as read again; but on one node another interface got the address too."""
    nodes = Node(folder, A), Node(folder, B, ifup=f"ip addr add {IPS[B]}/30 dev roce0",
                                  ifdown=f"ip addr del {IPS[B]}/30 dev roce0")  # fmt: skip
    p = setup(clean, nodes, "--yes", "--only", "network")
    assert p.returncode == 1 and "verified" in p.out, p.out + p.err
    assert "doctor still fails what it should have mended: " in p.err and "node-b: net.address (network)" in p.err, p.err
    assert setup(clean, nodes, "--undo", "--yes").returncode == 0
    unchanged(nodes)


# ---- what is cut -----------------------------------------------------------------------------------


def test_step_that_cuts_ssh_reverts(clean, folder):
    """The worker's ifup takes the LAN's address away too: nobody can come in, so it is undone."""
    nodes = Node(folder, A), Node(folder, B, ifup=f"ip addr del {LAN[B]}/24 dev lan0",
                                  ifdown=f"ip addr add {LAN[B]}/24 dev lan0")  # fmt: skip
    nodes[B].agent(6)
    p = setup(clean, nodes, "--yes", "--only", "network")
    assert p.returncode == 1 and "node-b: network" in p.err, p.out + p.err
    until = time.monotonic() + 3 * REVERT_S
    while not nodes[B].is_as_before() and time.monotonic() < until:
        time.sleep(0.1)
    assert nodes[B].tree() == nodes[B].before
    assert LAN[B] in addresses(clean, B, "lan0") and not addresses(clean, B)
    for pid, line in clean.processes(B).items():  # sessions whose other end is gone for good
        if line.startswith("sshd:"):
            with contextlib.suppress(ProcessLookupError):  # it may have heard of it meanwhile
                os.kill(pid, signal.SIGKILL)
    assert setup(clean, nodes, "--undo", "--yes").returncode == 0
    unchanged(nodes)


def test_undo_that_cuts_ssh_is_done_again(clean, folder):
    """The way back takes the worker's LAN address away: it does its step again, which brings that back."""
    nodes = Node(folder, A), Node(folder, B, ifup=f"ip addr replace {LAN[B]}/24 dev lan0",
                                  ifdown=f"ip addr del {LAN[B]}/24 dev lan0")  # fmt: skip
    assert setup(clean, nodes, "--yes", "--only", "network").returncode == 0
    nodes[B].agent(6)
    p = setup(clean, nodes, "--undo", "--yes", env={"TW_SETUP_REVERT_S": "6"})
    assert p.returncode == 1 and " again" in p.err, p.out + p.err
    until = time.monotonic() + 3 * REVERT_S
    while nodes[B].journal()[-1]["state"] != "done" or any(n.journal() and n.journal()[-1]["unconfirmed"] for n in nodes):
        assert time.monotonic() < until, nodes[B].journal()
        time.sleep(0.1)
    assert LAN[B] in addresses(clean, B, "lan0") and f"{IPS[B]}/30" in addresses(clean, B)
    assert (nodes[B].root / "etc/network/interfaces.d/twinax-cable0").exists()
    for pid, line in clean.processes(B).items():  # sessions whose other end is gone for good
        if line.startswith("sshd:"):
            os.kill(pid, signal.SIGKILL)
    nodes[B].program("ifdown", (nodes[A].bin / "ifdown").read_text().replace(str(nodes[A].root), str(nodes[B].root))
                     .replace(str(nodes[A].log), str(nodes[B].log)))  # fmt: skip
    assert setup(clean, nodes, "--undo", "--yes").returncode == 0
    unchanged(nodes)


def test_only_kernel_where_no_card_asks(clean, folder):
    """A virtual machine's slots are its host's; who names the step gets it (cards that are passed on)."""
    nodes = Node(folder, A), Node(folder, B)
    for n in nodes:
        facts = FACTS | {"gpus": [], "gpu_limits": {}}
        facts["os"] = FACTS["os"] | {"virtual_machine": "kvm"}
        (n.root / ".facts.json").write_text(json.dumps(facts))
    asked = setup(clean, nodes, "--dry-run", "--transport", "rdma", "--only", "kernel")
    assert asked.returncode == 0 and asked.out.count("iommu=pt") >= 2, asked.out + asked.err
    unasked = setup(clean, nodes, "--dry-run", "--transport", "rdma")
    assert unasked.returncode == 0 and "iommu=pt" not in unasked.out, unasked.out + unasked.err


def test_killed_head(clean, folder):
    """kill -9 of the head and of the worker's hand amid a step: the next run takes up from there."""
    mark = folder / "mark"
    nodes = Node(folder, A), Node(folder, B)
    nodes[B].program("update-grub", f"#!/bin/sh\ntouch {mark}; exec sleep 60\n")
    p = start(clean, nodes, "--yes", "--only", "kernel")
    until = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < until:
        time.sleep(0.02)
    for host in A, B:
        for pid, line in clean.processes(host).items():
            if "setup-hand" in line or pid == p.pid or "twinax setup" in line:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    p.communicate(timeout=60)
    assert clean.quiet_after(20) < 20, clean.processes(B)
    assert nodes[B].journal()[-1]["state"] == "begun"
    nodes[B].program("update-grub", (nodes[A].bin / "update-grub").read_text()
                     .replace(str(nodes[A].root), str(nodes[B].root)))  # fmt: skip
    q = setup(clean, nodes, "--yes", "--only", "kernel")
    assert q.returncode == 0 and "cut off" in q.out and "verified" in q.out, q.out + q.err
    assert "126976" in nodes[B].text("boot/grub/grub.cfg")
    assert setup(clean, nodes, "--undo", "--yes").returncode == 0
    unchanged(nodes)


# ---- reboots ---------------------------------------------------------------------------------------


def test_reboots(clean, nodes):
    """By consent; the worker first, and the head only when that is back."""
    boot_id = [n.root / "proc/sys/kernel/random/boot_id" for n in nodes]
    for n, own in zip(nodes, boot_id):
        n.program("systemctl", f"#!/bin/sh\necho systemctl $* when box2 has the $(cat {boot_id[B]}) >> {n.log}\n"
                  f'[ "$1" != reboot ] || echo "second boot" > {own}\n')  # fmt: skip
    p = setup(clean, nodes, "--yes", "--only", "kernel")
    assert p.returncode == 0 and "not rebooted" in p.out, p.out + p.err
    assert not any("reboot" in line for n in nodes for line in n.logged())
    for n, facts in zip(nodes, (FACTS, FACTS)):  # the next boot's line is another than the one that runs
        (n.root / ".facts.json").write_text(json.dumps(facts | {"boot": facts["boot"] | {"reboot_pending": True}}))
    p = setup(clean, nodes, "--yes", "--only", "memlock")  # has nothing to do with it
    assert p.returncode == 0 and "reboot" not in p.out, p.out + p.err
    p = setup(clean, nodes, "--yes", "--only", "kernel", "--reboot")  # nothing to do but that
    assert p.returncode == 0 and "nothing is to be changed" in p.out, p.out + p.err
    assert "the workers are back; this machine goes down now" in p.out
    reboots = [[line for line in n.logged() if "reboot" in line] for n in nodes]
    assert reboots == [["systemctl reboot when box2 has the second boot"], ["systemctl reboot when box2 has the first boot"]]
    for n, own in zip(nodes, boot_id):
        own.write_text("first boot\n")
        (n.root / ".facts.json").write_text(json.dumps(FACTS))
    assert setup(clean, nodes, "--undo", "--yes").returncode == 0
    unchanged(nodes)


# ---- consent, passwords ----------------------------------------------------------------------------


def test_consent(clean, nodes):
    p = setup(clean, nodes)
    assert p.returncode == 2 and "--yes" in p.err, p.err
    unchanged(nodes)
    for answer, code in (b"y\n", 1), (b"yes\n", 0):
        status, said = in_terminal(clean.ns(A, cli.BINARY, *argv_of(nodes, "--only", "memlock")),
                                   environment(clean, nodes[A]), [(b"(yes): ", answer)])  # fmt: skip
        assert status == code, said
    assert "verified" in said
    assert setup(clean, nodes, "--undo", "--yes").returncode == 0
    unchanged(nodes)


def in_terminal(argv, env, talk, uid=None):
    """Runs argv with a terminal of its own; talk: (prompt, answer) in order. (exit code, all it said)"""
    pid, fd = pty.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            os.execvpe(argv[0], [str(a) for a in argv], os.environ | env)
        os._exit(127)
    said, todo, until = b"", list(talk), time.monotonic() + cli.LIMIT_S
    with contextlib.suppress(OSError):  # its end
        while time.monotonic() < until:
            got = os.read(fd, 4096)
            if not got:
                break
            said += got
            if todo and said.endswith(todo[0][0]):
                os.write(fd, todo.pop(0)[1])
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


SUDO = """#!/usr/bin/python3
import os, sys
argv = sys.argv[1:]
if "-n" in argv:
    sys.exit("sudo: a password is required")
for last in range(3):
    word = b""
    while not word.endswith(b"\\n"):
        c = os.read(0, 1)
        if not c:
            sys.exit("sudo: no password was provided")
        word += c
    if word == b"open sesame\\n":
        os.environ["SUDO_RAN"] = "1"
        os.execvp(argv[argv.index("--") + 1], argv[argv.index("--") + 1:])
    print("Sorry, try again.", file=sys.stderr, flush=True)
sys.exit("sudo: 3 incorrect password attempts")
"""


def test_password(folder):
    """One machine, not root: asked once without echo, a wrong one again, in no argument nor file."""
    n = Node(folder, A)
    n.program("sudo", SUDO)
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, 65534, 65534)
    folder.chmod(0o755)
    n.before = n.tree()
    env = {"TW_SETUP_ROOT": str(n.root), "PATH": f"{n.bin}:{os.environ['PATH']}", "XDG_CONFIG_HOME": "/nowhere",
           "HOME": "/nonexistent"}  # fmt: skip
    argv = [cli.BINARY, "setup", "--yes", "--only", "kernel"]
    prompt = b"sudo password (not stored): "
    status, said = in_terminal(argv, env, [(prompt, b"guess\n"), (prompt, b"open sesame\n")], uid=65534)
    assert status == 0 and said.count("sudo password") == 2 and "wrong" in said, said
    assert "126976" in n.text("boot/grub/grub.cfg")
    assert "sesame" not in said and "guess" not in said
    assert not any(b"sesame" in (v[2] or b"") for v in n.tree().values())
    assert not any("sesame" in line for line in n.logged())
    status, said = in_terminal([*argv[:2], "--undo", "--yes"], env, [(prompt, b"open sesame\n")], uid=65534)
    assert status == 0, said
    assert n.tree() == n.before
    status, said = in_terminal(argv, env, [(prompt, b"no\n")] * 4, uid=65534)
    assert status == 1 and "wrong password" in said, said


# ---- init ------------------------------------------------------------------------------------------


def init(h, cwd, *argv):
    p = subprocess.Popen(
        h.ns(A, cli.BINARY, "setup", "--init", *map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=cwd, env=os.environ | h.path(), start_new_session=True,
    )  # fmt: skip
    p.out, p.err = p.communicate(timeout=cli.LIMIT_S)
    return p


def test_init(clean, folder):
    conf = folder / "not" / "there" / "twinax.conf"
    base = "-o", conf, "--head", "box1", "--worker", "node-b", "--agent-path", cli.BINARY
    p = init(clean, folder, *base, "--interface", "cable0", "--transport", "tcp", "--dry-run")
    assert p.returncode == 0 and not conf.exists(), p.err
    p = init(clean, folder, *base, "--interface", "cable0", "--transport", "tcp", "--yes")
    assert p.returncode == 0, p.err
    text = conf.read_text()
    for words in "nodes = box1,node-b", "ip = 192.168.100.1", "ip = 192.168.100.2", "interface = cable0", "transport = tcp":
        assert words in text, text
    assert stat.S_IMODE(conf.stat().st_mode) & 0o022 == 0
    p = init(clean, folder, *base, "--yes")
    assert p.returncode == 1 and "--force" in p.err
    p = init(clean, folder, *base, "--yes", "--force")  # the LAN, by itself, with thunderbolt0 there
    assert p.returncode == 0 and "thunderbolt" in p.out, p.out + p.err


@pytest.mark.parametrize("argv, words, code", [
    (["--worker", "-oProxyCommand=x"], "begins with '-'", 2),
    (["--worker", "node-b", "--head", "node-b"], "named twice", 2),
    (["--head", "x"], "--worker", 2),
    ([], "--worker", 2),
    (["--worker", "nowhere", "--yes"], "name not found", 1),
    (["--worker", "node-b", "--interface", "nope0", "--yes"], "there is no interface nope0", 1),
    (["--worker", "node-b", "--transport", "rdma", "--yes"], "no RDMA card", 1),
])  # fmt: skip
def test_init_errors(clean, folder, argv, words, code):
    p = init(clean, folder, *argv, "--agent-path", cli.BINARY)
    assert p.returncode == code and words in p.err, p.err
    assert not (folder / "twinax.conf").exists()


@pytest.mark.parametrize("argv, words", [
    (["--only", "kernle"], "there are ssh-key"), (["--transport", "ib"], "wanted auto"), (["--undo", "--init"], "--undo"),
    (["--worker", "x"], "belong to --init"), (["extra"], "what is that"),
])  # fmt: skip
def test_usage(argv, words):
    p = cli.run("setup", *argv)
    assert p.returncode == 2 and words in p.stderr, p.stderr
