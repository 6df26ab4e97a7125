# SPDX-License-Identifier: Apache-2.0
"""Two machines (two_hosts.py) and a net: a namespace of its own with the fake hub in it, a shaped wire
to each machine. A machine's twinax has a cache of its own and knows the hub: a script that ssh starts
instead of it."""

import contextlib
import ctypes
import os
import pathlib

import fake_hub
import twinax_cli as cli
import two_hosts

NAME = "org/name"
CLONE_NEWNET = 0x40000000
HUB = ["10.77.0.1", "10.77.0.2"]  # the hub and its store
SIDES = [("10.77.1.1", "10.77.1.2"), ("10.77.2.1", "10.77.2.2")]  # (the net's end, the machine's)


@contextlib.contextmanager
def inside(namespace):
    """Sockets that are made meanwhile belong to that namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{namespace}") as there:
        assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(own.fileno(), CLONE_NEWNET) == 0


class Net:
    def __init__(self, hosts):
        self.hosts, self.name = hosts, f"twx{os.getpid()}n"
        two_hosts.sh("ip", "netns", "add", self.name)
        self.do("ip", "link", "set", "lo", "up")
        for ip in HUB:
            self.do("ip", "addr", "add", f"{ip}/32", "dev", "lo")
        for host, (ours, theirs) in enumerate(SIDES):
            port = f"net-{host}"
            two_hosts.sh("ip", "link", "add", "net0", "netns", hosts.names[host], "type", "veth", "peer", "name",
                         port, "netns", self.name)  # fmt: skip
            self.do("ip", "addr", "add", f"{ours}/24", "dev", port)
            self.do("ip", "link", "set", port, "up")
            hosts.address(host, "net0", theirs, 24)
            hosts.do(host, "ip", "link", "set", "net0", "up")
            for ip in HUB:
                hosts.do(host, "ip", "route", "add", f"{ip}/32", "via", ours)

    def do(self, *argv):
        return two_hosts.sh("ip", "netns", "exec", self.name, *argv)

    def remove(self):
        two_hosts.sh("ip", "netns", "del", self.name, check=False)

    def shape(self, host, mbit):
        """What the net sends to host; 0: as fast as it goes."""
        dev = ["dev", f"net-{host}", "root"]
        two_hosts.sh("ip", "netns", "exec", self.name, "tc", "qdisc", "del", *dev, check=False)
        if mbit:
            self.do("tc", "qdisc", "add", *dev, "tbf", "rate", f"{mbit}mbit", "burst", "64k", "limit", "256k")

    def cut(self, host, is_cut=True):
        self.hosts.do(host, "ip", "link", "set", "net0", "down" if is_cut else "up")
        if not is_cut:
            for ip in HUB:
                self.hosts.do(host, "ip", "route", "replace", f"{ip}/32", "via", SIDES[host][0])

    def serving(self, folder):
        def make(where):
            with inside(self.name):
                return fake_hub.FakeHub(where, HUB)

        return fake_hub.serving(folder, make)


def shape_link(hosts, mbit):
    """The cluster link, both ways."""
    for host in hosts.all:
        dev = ["dev", "roce0", "root"]
        hosts.do(host, "tc", "qdisc", "del", *dev, check=False)
        if mbit:
            hosts.do(host, "tc", "qdisc", "add", *dev, "tbf", "rate", f"{mbit}mbit", "burst", "256k", "limit", "1m")


class Cluster:
    """The machines with a cache each, for one test."""

    def __init__(self, hosts, hub, folder):
        self.hosts, self.hub, self.folder = hosts, hub, pathlib.Path(folder)
        self.homes = [self.folder / f"home{h}" for h in hosts.all]
        self.extra = [{} for _ in hosts.all]
        self.hidden = None  # a folder that B does not see
        self.small = None  # a folder that is a disk of 16 MB there

    def env(self, host):
        return self.hub.env(self.homes[host]) | self.extra[host]

    def agent(self):
        """The twinax of machine B: what ssh starts."""
        path = self.folder / "twinax-b"
        env = self.env(1)
        text = "#!/bin/sh\n" + "".join(f"export {k}='{v}'\n" for k, v in env.items())
        start = f'exec {cli.BINARY} "$@"\n'
        over = self.hidden or self.small  # the machines share one file system
        if over:
            size = "-o size=16m " if self.small else ""
            mount = f"mkdir -p {over} && mount -t tmpfs {size}none {over}"
            start = f"exec unshare -m sh -c '{mount} && {start.strip()}' sh \"$@\"\n"
        path.write_text(text + start)
        path.chmod(0o755)
        return path

    def argv(self, *more, name=NAME):
        nodes = f"box1={two_hosts.ROCE[0]},node-b={two_hosts.ROCE[1]}"
        return ["pull", name, "--nodes", nodes, "--agent-path", self.agent(), *more]

    def start(self, *more, command=None, **kw):
        env = os.environ | self.hosts.path() | self.env(0)
        argv = command or self.argv(*more, **kw)
        return two_hosts.subprocess.Popen(
            self.hosts.ns(0, cli.BINARY, *argv), stdin=two_hosts.subprocess.DEVNULL,
            stdout=two_hosts.subprocess.PIPE, stderr=two_hosts.subprocess.PIPE, text=True, env=env,
            start_new_session=True)  # fmt: skip

    def run(self, *more, **kw):
        p = self.start(*more, **kw)
        try:
            p.out, p.err = p.communicate(timeout=cli.LIMIT_S)
        finally:
            if p.poll() is None:
                os.killpg(p.pid, two_hosts.signal.SIGKILL)
                p.wait()
        return p

    def pulled(self, *more, **kw):
        p = self.run(*more, **kw)
        assert p.returncode == 0, p.err
        return p

    def snapshot(self, host, name=NAME):
        folder = self.homes[host] / "hub" / f"models--{name.replace('/', '--')}"
        return folder / "snapshots" / (folder / "refs" / "main").read_text()

    def check(self, host, files):
        snapshot = self.snapshot(host)
        for path, data in files.items():
            assert (snapshot / path).read_bytes() == data, (host, path)
        blobs = snapshot.parents[1] / "blobs"
        assert not [p for p in blobs.iterdir() if "twinax" in p.name], host
