# SPDX-License-Identifier: Apache-2.0
"""`twinax compare -i` between two machines, by hand (no ssh): an RDMA row that the wire confirms."""

import json

import conftest
import pcap


def test_the_rdma_row_is_measured_over_rdma(pair):
    twinax, start = conftest.program("twinax"), pair.a.pcap.stat().st_size
    line = f"$JOB/line.{pair.a.n}"  # what a person carries from one to the other
    listen = f"{twinax} compare --listen $ME >{line} 2>&1"
    carry = f"until grep -q 'compare --connect' {line}; do sleep 0.1; done 2>/dev/null; "
    carry += f"{twinax} compare -i --quick --json --connect $(sed -n 's/.*compare --connect //p' {line})"
    a, b = pair.both(listen, carry, 120)
    assert a.status == 0 and b.status == 0, (a, b)
    (row,) = json.loads(b.out)["rows"]
    assert (row["path"], row["status"]) == ("rdma", "ok"), row
    assert row["here"]["rdma"] == row["there"]["rdma"] == "rxe0"
    assert all(x["spin"]["p50_us"] > 0 for x in row["latency"]) and len(row["latency"]) == 6
    assert all(v > 0 for v in row["bandwidth_gbit"].values())
    wire = pcap.Tally(pair.a.pcap, start)
    assert sum(wire.roce.values()) >= row["proof"]["moved_bytes"], row["proof"]
    assert sum(wire.tcp.values()) < 64 * 1024, wire.tcp  # its own control connection
