#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`twinax compare` beside iperf3 (bandwidth) and sockperf (latency) on the same wires: two network
namespaces with a LAN shaped to 1 Gbit/s and two plain pairs. One JSON line a path and measure, with
the ratio; what is not installed is named and left out. Wants root.

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


def sockperf(h, ip):
    """Half round trip at 14 bytes (its smallest), p50 in us; it sleeps in recvfrom."""
    server = subprocess.Popen(h.ns(B, "sockperf", "server", "-i", ip, "-p", "5001", "--tcp"),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        until = time.monotonic() + 10
        while 5001 not in h.listeners(B) and time.monotonic() < until:
            time.sleep(0.05)
        out = h.do(A, "sockperf", "ping-pong", "-i", ip, "-p", "5001", "--tcp", "-t", "2", check=False).stdout
    finally:
        server.terminate()
        server.wait()
    found = re.search(r"percentile 50\.000\s*=\s*([0-9.]+)", out)
    return float(found.group(1)) if found else None


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
        for _ in range(rounds):
            for path, row in ours(h).items():
                theirs = row.get("cross_check", {}).get("to_peer_gbit", 0)
                if theirs > 0:
                    pairs.setdefault((path, "gbit"), []).append((row["bandwidth_gbit"]["to_peer"], theirs))
                theirs = sockperf(h, PATHS[path][B]) if shutil.which("sockperf") else None
                if theirs:
                    pairs.setdefault((path, "sleep_us"), []).append((row["latency"][0]["sleep"]["p50_us"], theirs))
    finally:
        h.remove()
    for (path, measure), both in pairs.items():
        mine, theirs = (statistics.median(x) for x in zip(*both))
        print(json.dumps({"test": "compare", "path": path, "measure": measure, "ours": mine, "theirs": theirs,
                          "ratio": round(mine / theirs, 3), "rounds": len(both)}))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
