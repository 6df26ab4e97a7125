# SPDX-License-Identifier: Apache-2.0
"""More than two machines (a bridge and a namespace each, real sshd), and addresses that have zones."""

import contextlib
import os
import re
import signal

import pytest
import twinax_cli as cli
import two_hosts
from two_hosts import A, B, ROCE
from two_hosts_fixture import made

RUN = ["--prompt-ids", "1,2,3,4,5", "-n", "6", "--temp", "0", "--ids", "--ignore-eos", "--threads", "1"]
AGENT = ["--agent-path", cli.BINARY]


class ManyHosts(two_hosts.TwoHosts):
    """The two, and more of the second kind: `nodes` of them in all, on one cable through a bridge."""

    def __init__(self, nodes):
        super().__init__()
        self.more = [f"twx{os.getpid()}{x}" for x in "cdefgh"[: nodes - 2]]
        self.bridge = f"twx{os.getpid()}s"

    def everyone(self):
        return self.names + self.more

    def build(self):
        super().build()
        for name in [self.bridge, *self.more]:
            two_hosts.sh("ip", "netns", "add", name)
        two_hosts.sh("ip", "-n", self.bridge, "link", "add", "br0", "type", "bridge")
        two_hosts.sh("ip", "-n", self.bridge, "link", "set", "br0", "up")
        for i, name in enumerate(self.everyone()):
            self.plug(i, name)
        for i in range(2, len(self.everyone())):
            self.serve(i)

    def plug(self, i, name):
        """Each end has a name of its own: a zone of one is nothing to the other."""
        end = f"cable{i}"
        two_hosts.sh("ip", "link", "add", end, "netns", name, "type", "veth", "peer", "name", f"p{i}", "netns", self.bridge)
        two_hosts.sh("ip", "-n", self.bridge, "link", "set", f"p{i}", "master", "br0", "up")
        for argv in (
            ["link", "set", "lo", "up"], ["link", "set", end, "up"], ["addr", "add", f"10.7.0.{i + 1}/24", "dev", end],
            ["addr", "add", f"fe80::7:{i + 1}/64", "dev", end, "nodad"],
        ):  # fmt: skip
            two_hosts.sh("ip", "-n", name, *argv, check=argv[0] != "link")

    def serve(self, i):
        names = self.names
        try:
            self.names = [names[A], self.everyone()[i]]
            config = (self.folder / f"sshd_{B}").read_text()
            lan, two_hosts.LAN[B] = two_hosts.LAN[B], f"10.7.0.{i + 1}"
            self.start_sshd(B)
        finally:
            two_hosts.LAN[B], self.names = lan, names
        (self.folder / f"sshd_{B}").write_text(config)
        text = (self.folder / "ssh_config").read_text()
        block = re.search(r"Host node-b\n(?:  .*\n)+", text).group(0)
        block = block.replace("node-b", f"node-{i}").replace(f"HostName {lan}", f"HostName 10.7.0.{i + 1}\n  HostKeyAlias {lan}")
        (self.folder / "ssh_config").write_text(text + block)

    def remove(self):
        for name in self.more:
            for pid in two_hosts.sh("ip", "netns", "pids", name, check=False).stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        for p in self.sshd:
            p.kill()
            p.wait()
        super().remove()
        for name in [self.bridge, *self.more]:
            two_hosts.sh("ip", "netns", "del", name, check=False)


@pytest.fixture(scope="module")
def hosts():
    yield from made(8, ManyHosts)


def nodes(n, address="10.7.0.{0}"):
    return ",".join(["head", "node-b", *(f"node-{i}" for i in range(2, n))][i] + "=" + address.format(i + 1, i) for i in range(n))


@pytest.fixture(scope="module")
def wanted():
    return cli.good("run", cli.DEMO, *RUN).stdout


@pytest.mark.parametrize("n", [4, 8])
def test_more_than_two(hosts, wanted, n):
    p = hosts.run(A, "run", cli.DEMO, "--nodes", nodes(n), *AGENT, *RUN)
    assert p.returncode == 0 and p.out == wanted, p.err
    for r in range(1, n):
        assert re.search(rf"transport: rank {r} by tcp, device cable0, 10\.7\.0\.1:\d+ -> 10\.7\.0\.{r + 1}:\d+", p.err), p.err


@pytest.mark.parametrize("n", [2, 4])
def test_link_local(hosts, wanted, n):
    """fe80:: with the zone as each node calls its own end."""
    p = hosts.run(A, "run", cli.DEMO, "--nodes", nodes(n, "fe80::7:{0}%cable{1}"), *AGENT, *RUN)
    assert p.returncode == 0 and p.out == wanted, p.err
    assert "device cable0, [fe80::7:1%cable0]:" in p.err and "-> [fe80::7:2%cable0]:" in p.err, p.err


def test_link_local_without_its_zone(hosts):
    p = hosts.run(A, "run", cli.DEMO, "--nodes", nodes(2, "fe80::7:{0}"), *AGENT, *RUN)
    assert p.returncode == 2 and "is link-local: add its interface on head: fe80::7:1%" in p.err, p.err


def test_one_dead_of_eight(hosts):
    """It is named; nobody waits for long."""
    p = hosts.run(A, "run", cli.DEMO, "--nodes", nodes(8).replace("node-5=", "down="), *AGENT, *RUN)
    assert p.returncode == 1 and "down: ssh refused" in p.err, p.err
