# SPDX-License-Identifier: Apache-2.0
"""Two machines (or up to eight) made of network namespaces: a LAN shaped to 1 Gbit/s, a "RoCE NIC", a
thunderbolt0 between the first two, and a real sshd on each, with keys that live as long as the test
module. (two_hosts_fixture.py has the fixtures; bench/ uses this file without pytest.)"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import twinax_cli as cli

A, B, C = 0, 1, 2
LETTERS = "abcdefgh"
ROCE = [f"192.168.100.{i + 1}" for i in range(len(LETTERS))]
LAN = [f"192.168.77.{i + 1}" for i in range(len(LETTERS))]
LAN6 = [f"fd00:77::{i + 1}" for i in range(len(LETTERS))]
TB = ["192.168.2.1", "192.168.2.2"]
STEP_S = 60  # ends what hangs
# sshd wants /run/sshd: in a /run of its own (`ip netns exec` has made the mounts private), so that
# nothing of the machine is touched and another run of the tests cannot take it away.
OWN_RUN = 'mount -t tmpfs -o mode=755 none /run && mkdir /run/sshd && exec "$0" "$@"'


def why_not():
    """What is missing for this, or None."""
    if cli.no_netns():
        return cli.no_netns()
    for program, package in ("sshd", "openssh-server"), ("ssh", "openssh-client"), ("tc", "iproute2"):
        if find(program) is None:
            return f"{program} is not here ({package})"
    return None


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def sh(*argv, check=True):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=STEP_S, check=False)
    assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
    return done


class TwoHosts:
    WHERE = None  # its folder: where temporary ones are

    def __init__(self, n=2):
        self.all = range(n)
        self.names = [f"twx{os.getpid()}{LETTERS[host]}" for host in self.all]
        self.switch = f"twx{os.getpid()}s"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="twinax-two-hosts-", dir=self.WHERE))
        self.sshd = []
        # What the daemons start must not look like strays of a test.
        self.env = {k: v for k, v in os.environ.items() if k != cli.MARK}

    # ---- the network ----

    def ns(self, host, *argv):
        return ["ip", "netns", "exec", self.names[host], *map(str, argv)]

    def do(self, host, *argv, check=True):
        return sh(*self.ns(host, *argv), check=check)

    def wire(self, name, addresses, prefix, hosts):
        """A cable between two, a switch for more."""
        if len(hosts) == 2:
            sh("ip", "link", "add", name, "netns", self.names[A], "type", "veth", "peer", "name", name,
               "netns", self.names[B])  # fmt: skip
        else:
            self.plug_in(name, hosts)
        for host in hosts:
            self.do(host, "ip", "link", "set", name, "up")
            self.address(host, name, addresses[host], prefix)

    def plug_in(self, name, hosts):
        ip = ["ip", "-n", self.switch, "link"]
        sh(*ip, "add", name, "type", "bridge")
        sh(*ip, "set", name, "up")
        for host in hosts:
            port = f"{name}-{host}"
            sh("ip", "link", "add", name, "netns", self.names[host], "type", "veth", "peer", "name", port,
               "netns", self.switch)  # fmt: skip
            sh(*ip, "set", port, "master", name, "up")

    def address(self, host, name, ip, prefix):
        self.do(host, "ip", "addr", "add", f"{ip}/{prefix}", "dev", name, *(["nodad"] if ":" in ip else []))

    def build(self):
        for name in self.names if len(self.all) == 2 else [*self.names, self.switch]:
            sh("ip", "netns", "add", name)
        self.wire("lan0", LAN, 24, self.all)
        self.wire("roce0", ROCE, 30 if len(self.all) == 2 else 28, self.all)
        self.wire("thunderbolt0", TB, 24, (A, B))
        for host in self.all:
            self.do(host, "ip", "link", "set", "lo", "up")
            self.address(host, "lan0", LAN6[host], 64)
            self.do(host, "ip", "route", "add", "default", "via", LAN[(host + 1) % len(self.all)])
            self.do(host, "tc", "qdisc", "add", "dev", "lan0", "root", "tbf", "rate", "1gbit",
                    "burst", "512k", "limit", "3m")  # fmt: skip
        self.write_keys()
        for host in self.all:
            self.start_sshd(host)

    # ---- ssh ----

    def write_keys(self):
        for name in *(f"host_{LETTERS[host]}" for host in self.all), "host_other", "user", "stranger":
            sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        shutil.copy(self.folder / "user.pub", self.folder / "authorized_keys")
        known = "".join(f"{LAN[host]} {self.public_key(LETTERS[host])}\n" for host in self.all)
        (self.folder / "known").write_text(known)
        (self.folder / "known_wrong").write_text(f"{LAN[B]} {self.public_key('other')}\n")
        (self.folder / "known_none").write_text("")
        self.write_client()

    def public_key(self, of):
        return (self.folder / f"host_{of}.pub").read_text().strip()

    def write_client(self):
        f = self.folder
        for host in self.all:
            self.add_client(f"node-{LETTERS[host]}", HostName=LAN[host])
        self.add_client("changed", UserKnownHostsFile=f / "known_wrong")
        self.add_client("unknown", UserKnownHostsFile=f / "known_none")
        self.add_client("stranger", IdentityFile=f / "stranger")
        self.add_client("down", Port=9)
        self.add_client("nowhere", HostName="no..such..host")
        (f / "bin").mkdir()
        wrapper = f / "bin" / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {f}/ssh_config "$@"\n')
        wrapper.chmod(0o755)

    def add_client(self, name, **options):
        """A name that ssh knows, on every machine; without options: machine B."""
        f = self.folder
        usual = {
            "HostName": LAN[B], "HostKeyAlias": options.get("HostName", LAN[B]), "User": "root",
            "UserKnownHostsFile": f / "known", "GlobalKnownHostsFile": "/dev/null", "StrictHostKeyChecking": "yes",
            "IdentityFile": f / "user", "IdentitiesOnly": "yes", "IdentityAgent": "none",
        }  # fmt: skip
        with open(f / "ssh_config", "a") as config:
            config.write(f"Host {name}\n" + "".join(f"  {k} {v}\n" for k, v in (usual | options).items()))

    def start_sshd(self, host, name=None, port=22, prepare="true", **settings):
        """prepare: sh, in its own mounts, first. settings: over those that all have."""
        name = name or host
        config = self.folder / f"sshd_{name}"
        usual = {
            "ListenAddress": f"{LAN[host]}:{port}", "HostKey": f"{self.folder}/host_{LETTERS[host]}",
            "AuthorizedKeysFile": f"{self.folder}/authorized_keys", "StrictModes": "no", "UsePAM": "no",
            "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "PidFile": "none",
            "PermitRootLogin": "prohibit-password", "PrintMotd": "no", "MaxStartups": 100,
        }  # fmt: skip
        # bash below sshd reads the user's .bashrc, but not as a second shell: what is in there may take
        # a lock, and tests kill what they started.
        settings["SetEnv"] = f"{settings.get('SetEnv', '')} SHLVL=1".strip()
        config.write_text("".join(f"{k} {v}\n" for k, v in (usual | settings).items()))
        run = f"{prepare} && {OWN_RUN}"
        with open(self.folder / f"sshd_{name}.log", "wb") as log:
            self.sshd.append(
                subprocess.Popen(self.ns(host, "sh", "-c", run, find("sshd"), "-D", "-e", "-f", config),
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)  # fmt: skip
            )
        until = time.monotonic() + STEP_S
        while self.listeners(host).get(port) != LAN[host]:
            assert time.monotonic() < until, (self.folder / f"sshd_{name}.log").read_text()
            time.sleep(0.02)

    # ---- what is there ----

    def listeners(self, host):
        """{port: address} of IPv4 TCP listeners."""
        found = {}
        for line in self.do(host, "cat", "/proc/net/tcp").stdout.splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A":
                ip, port = local.split(":")
                found[int(port, 16)] = ".".join(str(b) for b in reversed(bytes.fromhex(ip)))
        return found

    def processes(self, host):
        """Command lines of all processes there but the sshd that we started."""
        found = {}
        for pid in sh("ip", "netns", "pids", self.names[host]).stdout.split():
            with contextlib.suppress(OSError):
                if int(pid) not in [s.pid for s in self.sshd] and cli.alive(int(pid)):
                    found[int(pid)] = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def quiet_after(self, limit_s=10.0):
        """Seconds until nothing but sshd is on any host; infinity beyond the limit."""
        t0 = time.monotonic()
        while any(self.processes(h) or set(self.listeners(h)) - {22} for h in self.all):
            if time.monotonic() - t0 > limit_s:
                return float("inf")
            time.sleep(0.02)
        return time.monotonic() - t0

    # ---- running twinax ----

    def path(self):
        return {"PATH": f"{self.folder}/bin:{os.environ.get('PATH', '')}"}

    def start(self, host, *argv, binary=cli.BINARY, **more):
        return subprocess.Popen(
            self.ns(host, binary, *argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=os.environ | self.path(), start_new_session=True, **more,
        )  # fmt: skip

    def run(self, host, *argv, **more):
        p = self.start(host, *argv, **more)
        try:
            p.out, p.err = p.communicate(timeout=cli.LIMIT_S)
        finally:
            if p.poll() is None:
                os.killpg(p.pid, signal.SIGKILL)
                p.wait()
        return p

    def remove(self):
        for p in self.sshd:
            p.terminate()
            p.wait(STEP_S)
        for host, name in enumerate(self.names):
            for pid in self.processes(host) if os.path.exists(f"/run/netns/{name}") else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            sh("ip", "netns", "del", name, check=False)
        if len(self.all) > 2:
            sh("ip", "netns", "del", self.switch, check=False)
        shutil.rmtree(self.folder)


class Apart(TwoHosts):
    """The second one has a /tmp and a shared memory of its own, as another machine has."""

    WHERE = "/var/tmp"
    OWN = "mount -t tmpfs none /tmp && mount -t tmpfs none /dev/shm"

    def start_sshd(self, host, *more, **settings):
        super().start_sshd(host, *more, prepare=self.OWN if host == B else "true", **settings)
