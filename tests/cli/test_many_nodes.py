# SPDX-License-Identifier: Apache-2.0
"""More than two machines (a bridge and a namespace each, real sshd), and addresses that have zones."""

import re

import pytest
import twinax_cli as cli
import two_hosts
from two_hosts import A
from two_hosts_fixture import made

RUN = ["--prompt-ids", "1,2,3,4,5", "-n", "6", "--temp", "0", "--ids", "--ignore-eos", "--threads", "1"]
AGENT = ["--agent-path", cli.BINARY]


def add_cables(h):
    """One more network of all, through a bridge. Each end has a name of its own: a zone of one is nothing
    to the other; and lan0 of the head has the cable's link-local address too."""
    ip = ["ip", "-n", h.switch, "link"]
    two_hosts.sh(*ip, "add", "cable", "type", "bridge")
    two_hosts.sh(*ip, "set", "cable", "up")
    for host in h.all:
        end = f"cable{host}"
        two_hosts.sh("ip", "link", "add", end, "netns", h.names[host], "type", "veth", "peer", "name", f"p{host}",
                     "netns", h.switch)  # fmt: skip
        two_hosts.sh(*ip, "set", f"p{host}", "master", "cable", "up")
        h.do(host, "ip", "link", "set", end, "up")
        h.address(host, end, f"10.7.0.{host + 1}", 24)
        h.address(host, end, f"fe80::7:{host + 1}", 64)
    h.address(A, "lan0", "fe80::7:1", 64)


@pytest.fixture(scope="module")
def hosts():
    yield from made(8, prepare=add_cables)


def nodes(n, address="10.7.0.{0}"):
    names = ["head", *(f"node-{x}" for x in two_hosts.LETTERS[1:n])]
    return ",".join(f"{name}={address.format(i + 1, i)}" for i, name in enumerate(names))


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
    p = hosts.run(A, "run", cli.DEMO, "--nodes", nodes(8).replace("node-f=", "down="), *AGENT, *RUN)
    assert p.returncode == 1 and "down: ssh refused" in p.err, p.err
