# SPDX-License-Identifier: Apache-2.0
"""Fixtures of two_hosts.py: `from two_hosts_fixture import hosts, nothing_is_left` gives a module a
pair of machines, and the check that each of its tests leaves nothing on them."""

import pytest
import twinax_cli as cli
import two_hosts


def made(n=2, make=two_hosts.TwoHosts, prepare=None):
    """For a fixture of module scope: built and prepared before, removed after."""
    why = cli.missing_binary() or two_hosts.why_not()
    if why:
        pytest.skip(why)
    h = make(n)
    try:
        h.build()
        if prepare:
            prepare(h)
        yield h
    finally:
        h.remove()


@pytest.fixture(scope="module")
def hosts():
    yield from made()


@pytest.fixture(autouse=True)
def nothing_is_left(hosts):
    yield
    assert hosts.quiet_after(60) < 60, f"left: {[hosts.processes(h) for h in hosts.all]}"
