# SPDX-License-Identifier: Apache-2.0
"""Real containers in a world of its own: a mount and a process namespace, so that nothing of it
outlives its holder, in which root is one node (runc) and a user without rights the other (rootless,
crun), each with its own images; a registry on loopback, a D-Bus for toolbox, and an `ssh` that
becomes that user. Images are made of this machine's own programs."""

import contextlib
import functools
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time

import pytest
import twinax_cli as cli

STEP_S = 90
UID = 23456
NEEDED = {
    "podman": "podman", "runc": "runc", "crun": "crun", "newuidmap": "uidmap", "toolbox": "podman-toolbox",
    "distrobox": "distrobox", "skopeo": "skopeo", "docker-registry": "docker-registry", "capsh": "libcap2-bin",
    "dbus-daemon": "dbus-daemon", "unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux",
}  # fmt: skip
PROGRAMS = """capsh sh bash ls cat uname find grep head tail sed rm mkdir ln touch chmod chown id mount umount
useradd usermod groupadd sleep env readlink basename dirname sort cut tr mv cp test true tee getent stat date su
xargs printf""".split()
# distrobox looks whether they are there.
EMPTY = "passwd chpasswd sudo diff pinentry wget curl less bc time lsof".split()
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\nsudo:x:27:\n",
    "etc/shadow": "root:*:19000::::::\n", "etc/gshadow": "", "etc/login.defs": "",
    "etc/os-release": "ID=debian\nVERSION_ID=12\n",
}  # fmt: skip
HOLD = """
mount --make-rshared / && mount -t tmpfs -o mode=755 none /run && mount -t tmpfs -o mode=755 none @W@/var
for f in passwd group subuid subgid; do [ ! -e /etc/$f ] || mount --bind @W@/etc/$f /etc/$f; done
mkdir -p /var/lib/containers && mount --bind @W@/var /var/lib/containers
umount -l /sys/fs/cgroup/unified 2>/dev/null
ln -s / /run/host; mkdir -p /run/lock /run/user && echo ready && exec sleep infinity
"""
# The words behind "--": a host, and what its shell is to run.
SSH = """#!/bin/bash
while [ "$1" != -- ]; do shift; done; shift 2
exec @AS_USER@ sh -c "$*"
"""


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def why_not():
    """(why it cannot be, whether a package is what is missing)"""
    if os.geteuid() != 0:
        return "containers of their own want root", False
    gone = [f"{p} ({package})" for p, package in NEEDED.items() if not find(p)]
    if gone:
        return "missing: " + ", ".join(gone) + "; tools/deps.sh --dev installs them", True
    if subprocess.run(["unshare", "-m", "-p", "-f", "true"], capture_output=True).returncode:
        return "no mount and process namespaces here (CAP_SYS_ADMIN)", False
    return None, False


def sh(argv, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=STEP_S, **more)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


class World:
    def __init__(self):
        self.w = pathlib.Path(tempfile.mkdtemp(prefix="twinax-containers-", dir="/tmp"))
        self.w.chmod(0o755)
        self.started = []
        self.cgroups = set(pathlib.Path("/sys/fs/cgroup").glob("*/libpod_parent"))
        # What podman leaves in the background must not look like strays of a test.
        self.env = {k: v for k, v in os.environ.items() if k != cli.MARK}

    # ---- building ----

    def build(self):
        w = self.w
        for d in "etc", "var", "root", "user", "bin", "rundir":
            (w / d).mkdir()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.registry = f"127.0.0.1:{s.getsockname()[1]}"
        for name, line in (("passwd", f"twx:x:{UID}:{UID}::{w}/user:/bin/bash"), ("group", f"twx:x:{UID}:"),
                           ("subuid", "twx:300000:65536"), ("subgid", "twx:300000:65536")):  # fmt: skip
            there = pathlib.Path("/etc", name)
            (w / "etc" / name).write_text((there.read_text() if there.exists() else "") + line + "\n")
        self.write_config(w / "root", "runc")
        self.write_config(w / "user", "crun")
        for d in "user", "rundir":
            sh(["chown", "-R", f"{UID}:{UID}", w / d])
        (w / "rundir").chmod(0o700)
        self.hold()
        self.start_daemons()
        (w / "bin" / "ssh").write_text(SSH.replace("@AS_USER@", shlex.join(self.becoming_user())))
        (w / "bin" / "ssh").chmod(0o755)
        self.rootfs = w / "rootfs"
        make_rootfs(self.rootfs)

    def write_config(self, home, runtime):
        folder = home / ".config" / "containers"
        folder.mkdir(parents=True)
        (folder / "containers.conf").write_text(
            '[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=4096:4096"]\n'
            f'[engine]\nruntime="{runtime}"\ncgroup_manager="cgroupfs"\nevents_logger="file"\n'
        )
        (folder / "registries.conf").write_text(f'[[registry]]\nlocation="{self.registry}"\ninsecure=true\n')
        graph = f'graphroot="{home}/store"\nrunroot="{home}/runroot"\n' if runtime == "runc" else ""
        (folder / "storage.conf").write_text('[storage]\ndriver="overlay"\n' + graph)

    def hold(self):
        script = HOLD.replace("@W@", str(self.w))
        p = subprocess.Popen(["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-ec", script],
                             stdout=subprocess.PIPE, env=self.env, text=True)  # fmt: skip
        self.started.append(p)
        assert p.stdout.readline() == "ready\n"
        self.pid = int(sh(["pgrep", "-P", str(p.pid)]).split()[0])

    def start_daemons(self):
        w = self.w
        (w / "registry.yml").write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {w}/registry}}}}\n"
            f"http: {{addr: '{self.registry}'}}\n"
        )
        log = open(w / "daemons.log", "wb")
        bus = ["dbus-daemon", "--session", f"--address=unix:path={w}/bus", "--nofork"]
        for argv in [find("docker-registry"), "serve", str(w / "registry.yml")], bus:
            self.started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                 env=self.env, start_new_session=True))  # fmt: skip
        log.close()
        host, port = self.registry.split(":")
        until = time.monotonic() + STEP_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                if (w / "bus").exists():
                    break
            time.sleep(0.02)
        (w / "bus").chmod(0o777)

    def registry_stops(self):
        self.started[1].send_signal(signal.SIGTERM)
        self.started[1].wait(STEP_S)

    # ---- being one of the two ----

    def inside(self):
        return ["nsenter", "-m", "-p", "-t", str(self.pid)]

    def environment(self, home, **more):
        return ["env", "-i", f"HOME={home}", f"PATH={self.w}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "SHELL=/bin/bash", f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={self.w}/bus", "LC_ALL=C.UTF-8",
                *(f"{k}={v}" for k, v in more.items())]  # fmt: skip

    def as_root(self):
        home = self.w / "root"
        conf = home / ".config" / "containers"
        return [*self.inside(), *self.environment(home, CONTAINERS_CONF=conf / "containers.conf", USER="root",
                                                  CONTAINERS_STORAGE_CONF=conf / "storage.conf")]  # fmt: skip

    def becoming_user(self):
        ids = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups"]
        return [*ids, *self.environment(self.w / "user", USER="twx", XDG_RUNTIME_DIR=self.w / "rundir")]

    def as_user(self):
        return [*self.inside(), *self.becoming_user()]

    def podman(self, who, *argv):
        return sh([*who(), "podman", *argv], env=self.env)

    def twinax(self, *argv, who=None, stdin=None):
        argv = [*(who or self.as_root)(), str(cli.BINARY), *map(str, argv)]
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=STEP_S,
                              cwd=self.w, env=self.env)  # fmt: skip

    # ---- images ----

    def image(self, name="box", tag="latest"):
        return f"{self.registry}/org/{name}:{tag}"

    def publish(self, version, name="box", files=(), arch=None):
        """An image of this machine's programs and /version, pushed; its digest."""
        (self.rootfs / "version").write_text(version + "\n")
        for path, text in dict(files).items():
            (self.rootfs / path).parent.mkdir(parents=True, exist_ok=True)
            (self.rootfs / path).write_text(text)
            (self.rootfs / path).chmod(0o755)
        tar, ref = self.w / "image.tar", self.image(name)
        sh(["tar", "-C", self.rootfs, "-cf", tar, "."])
        more = ["--arch", arch] if arch else []
        self.podman(self.as_root, "import", "-q", *more, "--change", 'CMD=["/bin/sh"]', tar, ref)
        self.podman(self.as_root, "push", "-q", "--digestfile", self.w / "digest", ref)
        self.podman(self.as_root, "rmi", "-f", ref)
        for path in dict(files):
            (self.rootfs / path).unlink()
        return (self.w / "digest").read_text().strip()

    def clear(self):
        for who in self.as_root, self.as_user:
            self.podman(who, "rm", "-af", "-t", "0")
            self.podman(who, "rmi", "-af")

    def remove(self):
        for who in self.as_root, self.as_user:
            with contextlib.suppress(AssertionError):
                self.podman(who, "rm", "-af", "-t", "0")
        for p in reversed(self.started):  # the holder last: with it goes all that is inside
            p.send_signal(signal.SIGKILL if p is self.started[0] else signal.SIGTERM)
            p.wait(STEP_S)
        for path in set(pathlib.Path("/sys/fs/cgroup").glob("*/libpod_parent")) - self.cgroups:
            for d in sorted([path, *path.rglob("*/")], reverse=True):
                with contextlib.suppress(OSError):
                    d.rmdir()
        shutil.rmtree(self.w, ignore_errors=True)


def make_rootfs(root):
    for d in "usr/bin usr/sbin usr/lib usr/lib64 proc sys dev run tmp var home root opt media mnt boot srv".split():
        (root / d).mkdir(parents=True)
    for name in "bin", "sbin", "lib", "lib64":
        (root / name).symlink_to(f"usr/{name}")
    for path, text in FILES.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text)
    for d in "etc/profile.d", "etc/krb5.conf.d":
        (root / d).mkdir()
    libraries = set()
    for name in PROGRAMS:
        program = os.path.realpath(find(name) or "/nowhere")
        assert os.path.exists(program), f"{name} is not here"
        shutil.copy(program, root / "usr/bin" / name)
        libraries |= set(linked(program))
    for path in libraries:
        to = root / ("usr" + path.removeprefix("/usr"))
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(path), to)
    for name in EMPTY:
        (root / "usr/bin" / name).write_text("#!/bin/sh\n")
        (root / "usr/bin" / name).chmod(0o755)


@functools.cache
def linked(program):
    done = subprocess.run(["ldd", program], capture_output=True, text=True)
    return [word for word in done.stdout.split() if word.startswith("/") and os.path.exists(word)]


def made(prepare=None):
    """For a fixture of module scope: built and prepared before, removed after. CI must have podman."""
    why, package = why_not()
    if why and package and os.environ.get("CI"):
        pytest.fail(why)
    why = why or cli.missing_binary()
    if why:
        pytest.skip(why)
    w = World()
    try:
        w.build()
        if prepare:
            prepare(w)
        yield w
    finally:
        w.remove()


# ---- what an image has beside programs -------------------------------------------------------------

TORCH = textwrap.dedent("""\
    #!/bin/sh
    # stands for python3: `import torch` needs nothing that librccl has not
    if grep -q BROKEN /opt/lib/librccl.so.1; then
        echo "ImportError: undefined symbol: ncclCommResume" >&2; exit 1
    fi
    echo 2.9.1
    """)


def rocm(version="7.14.0", code="gfx1151"):
    """The files of an image with torch and RCCL."""
    return {"usr/bin/python3": TORCH, "opt/rocm/.info/version": version + "\n",
            "opt/lib/librccl.so.1": f"library for {code}\n"}  # fmt: skip
