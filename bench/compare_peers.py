#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`twinax compare` beside iperf3 (bandwidth) and sockperf (latency, both ways to wait) on the same
wires: two network namespaces with a LAN shaped to 1 Gbit/s and two plain pairs. Rounds in turns (ours
first, theirs first, ...), five or more; one JSON line a path and measure: medians, and the median of
the rounds' ratios. What is not installed is named and left out. Wants root.

usage: bench/compare_peers.py [ROUNDS]        TWINAX: the program (build-release/twinax)
"""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("TWINAX", str(ROOT / "build-release" / "twinax"))
os.environ.setdefault("TWINAX_TEST_MARK", "bench")
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests" / "cli"))
import twinax_cli as cli  # noqa: E402
import two_hosts  # noqa: E402
from two_hosts import A, B  # noqa: E402

PATHS = {"lan": two_hosts.LAN, "roce_tcp": two_hosts.ROCE, "thunderbolt": two_hosts.TB}


def ours(h):
    p = h.run(A, "compare", "--node", "node-b", "--agent-path", cli.BINARY, "--roce", two_hosts.ROCE[A],
              "--json", "--cross-check")  # fmt: skip
    assert p.returncode == 0, p.err
    return {r["path"]: r for r in json.loads(p.out)["rows"] if r["status"] == "ok"}


def sockperf(h, ip, wait):
    """Half round trip at 14 bytes (its smallest), p50 in us; both ends sleep in recvfrom, or spin."""
    how = ["--tcp", "-i", ip, "-p", "5001", *(["--nonblocked"] if wait == "spin" else [])]
    server = subprocess.Popen(h.ns(B, "sockperf", "server", *how), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        until = time.monotonic() + 10
        while 5001 not in h.listeners(B) and time.monotonic() < until:
            time.sleep(0.05)
        out = h.do(A, "sockperf", "ping-pong", *how, "-t", "2", check=False).stdout
    finally:
        server.terminate()
        server.wait()
    found = re.search(r"percentile 50\.000\s*=\s*([0-9.]+)", out)
    return float(found.group(1)) if found else None


def theirs_of(h):
    """{(path, wait): us}"""
    if not shutil.which("sockperf"):
        return {}
    return {(path, wait): sockperf(h, ips[B], wait) for path, ips in PATHS.items() for wait in ("sleep", "spin")}


def measure(h, ours_first):
    """{(path, measure): (ours, theirs)} of one round; iperf3 runs inside ours, beside its row."""
    got = None if ours_first else theirs_of(h)
    rows = ours(h)
    got = theirs_of(h) if got is None else got
    pairs = {}
    for path, row in rows.items():
        cross = row.get("cross_check", {})
        for way in "to_peer", "from_peer":
            if cross.get(f"{way}_gbit", 0) > 0:
                pairs[path, f"{way}_gbit"] = row["bandwidth_gbit"][way], cross[f"{way}_gbit"]
        for wait in "sleep", "spin":
            if got.get((path, wait)):
                pairs[path, f"{wait}_us"] = row["latency"][0][wait]["p50_us"], got[path, wait]
    return pairs


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    why = two_hosts.why_not() or cli.missing_binary()
    if why:
        print(f"nothing compared: {why}", file=sys.stderr)
        return 1
    for tool in "iperf3", "sockperf":
        if not shutil.which(tool):
            print(f"{tool} is not installed: left out", file=sys.stderr)
    h, pairs = two_hosts.TwoHosts(), {}
    try:
        h.build()
        for i in range(rounds):
            print(f"round {i + 1} of {rounds}", file=sys.stderr, flush=True)
            for key, both in measure(h, i % 2 == 0).items():
                pairs.setdefault(key, []).append(both)
    finally:
        h.remove()
    for (path, what), both in pairs.items():
        mine, theirs = (statistics.median(x) for x in zip(*both))
        print(json.dumps({"test": "compare", "path": path, "measure": what, "ours": mine, "theirs": theirs,
                          "ratio": round(statistics.median(a / b for a, b in both), 3), "rounds": len(both)}))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
