# SPDX-License-Identifier: Apache-2.0
"""The pair itself is sound (tools that are not ours), and our C tests pass on its kernel."""

import os
import re
import time

import conftest
import pytest

UNIT = re.compile(r"test_(link|coll)\w*")
TIME_SCALE = 6  # an emulated core does a few percent of the host's work, and shares it with others
SOAK = 20000  # exchanges: ten times as many take 100 s of the 150 here on a busy host
SIMULATED = {"test_coll_group_sim"}  # virtual time: nothing of the machine is in it


def units():
    found = sorted(p.name for p in (conftest.BUILD / "tests").glob("test_*") if p.is_file())
    return [name for name in found if UNIT.fullmatch(name) and name not in SIMULATED]


def test_the_ports_are_active_with_a_roce_v2_gid(pair):
    port = "/sys/class/infiniband/rxe0/ports/1"
    for r in pair.both(f"rdma link; ulimit -l; cat {port}/gids/1 {port}/gid_attrs/types/1"):
        assert r.status == 0, r
        assert "rxe0/1 state ACTIVE physical_state LINK_UP netdev eth0" in r.out
        assert "unlimited\n0000:0000:0000:0000:0000:ffff:0a4d:000" in r.out
        assert r.out.endswith("RoCE v2\n")


@pytest.mark.parametrize("tool", ["ib_write_lat", "ib_send_lat"])
def test_perftest_moves_messages(pair, tool):
    server = f"{tool} -d rxe0 -F -s 64 -n 100"
    client = f"for i in $(seq 50); do {server} $PEER && exit; sleep 0.1; done; exit 1"
    for r in pair.both(server, client):
        assert r.status == 0, r
        row = re.search(r"^ 64 +100 +([\d.]+) ", r.out, re.MULTILINE)
        assert row and float(row.group(1)) > 0, r


def test_units_were_found(pair):
    """An empty list of parameters would be passed over without a word."""
    assert {"test_link", "test_link_verbs", "test_coll", "test_coll_death"} <= set(units())


@pytest.mark.parametrize("name", units())
def test_units_pass_there(pair, name):
    env = f"CMOCKA_MESSAGE_OUTPUT=TAP TW_TIME_SCALE={TIME_SCALE} TW_SOAK={SOAK}"
    env += f" TW_TEST_DATA={conftest.ROOT}/tests/data TW_SOURCE_ROOT={conftest.ROOT}"
    until = time.monotonic() + 150
    for _ in range(3):
        r = pair.a.run(f"{env} {conftest.BUILD}/tests/{name}", int(until - time.monotonic()))
        # As machines.Lab.both: silence is death by contract, and its core may be taken away so long.
        if "was silent for" not in r.out + r.err or time.monotonic() > until - 60:
            break
    assert r.status == 0 and "\nok " in r.out and "\nnot ok" not in r.out, r.out[-3000:] + r.err[-2000:]


def test_the_hosts_files_cannot_be_changed_from_there(pair):
    """Writes go to memory; the host's tree stays as it was."""
    probe = conftest.ROOT / "lab-probe"
    r = pair.a.run(f"echo x >{probe} && cat {probe}")
    assert r.status == 0 and r.out == "x\n", r
    assert not os.path.exists(probe)
