#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two small machines with Soft-RoCE (QEMU, the distribution's kernel, rdma_rxe), for trying RDMA
code without an RDMA card. The host's files are there read-only at the same paths, so what was built
on the host runs; $JOB is a folder to write into, $ME and $PEER are the addresses, $ROLE is A or B.
"""

import argparse
import signal
import sys
import time

import image
import machines

EXAMPLES = """examples:
  tests/lab/lab.py pair 'ib_write_lat -d rxe0 -F' 'sleep 1; ib_write_lat -d rxe0 -F $PEER'
  tests/lab/lab.py solo 'build/twinax ...' --keep /tmp/job      consoles and outputs stay there
Exit status: the command's (pair: B's, or else A's); 125 when the lab itself failed or is not to be
had here."""


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = ap.add_subparsers(dest="verb", required=True)
    verbs.add_parser("setup", help="fetch and build what the machines boot from, once")
    clean = verbs.add_parser("clean", help="drop what setup built")
    clean.add_argument("--all", action="store_true", help="the downloads too")
    solo = verbs.add_parser("solo", help="one machine, one command")
    solo.add_argument("command", nargs=1)
    pair = verbs.add_parser("pair", help="two machines, a command each, started together")
    pair.add_argument("command", nargs=2, metavar=("COMMAND_A", "COMMAND_B"))
    for p in (solo, pair):
        p.add_argument("--seconds", type=int, default=120, help="limit of a command (%(default)s)")
        p.add_argument("--mtu", type=int, default=4500, help="of eth0 (%(default)s)")
        p.add_argument("--mib", type=int, default=640, help="memory of each (%(default)s)")
        p.add_argument("--accel", choices=("kvm", "tcg"), help="else kvm where it works")
        p.add_argument("--pcap", action="store_true", help="keep what went over the wire")
        p.add_argument("--keep", metavar="DIR", help="job folder that stays")
    return ap.parse_args()


def work(args):
    if args.verb == "clean":
        image.clean(downloads=args.all)
        return 0
    t0 = time.monotonic()
    folder = image.get(lambda text: print(text, file=sys.stderr))
    if args.verb == "setup":
        print(f"{folder} ({machines.accelerator(folder)}, {time.monotonic() - t0:.1f} s)")
        return 0
    roles = "AB" if args.verb == "pair" else "A"
    with machines.Lab(roles, folder, args.keep, accel=args.accel, mtu=args.mtu, mib=args.mib,
                      capture=args.pcap) as lab:
        for m, command in zip(lab.machines, args.command):
            m.start(command, args.seconds)
        results = [m.wait() for m in lab.machines]
        for m, r in zip(lab.machines, results):
            print(f"== {m.role}: exit {r.status}, up after {m.boot_s:.1f} s", flush=True)
            print(r.out + r.err, end="", flush=True)
    return results[-1].status or results[0].status


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        return work(arguments())
    except (image.Unavailable, image.Broken, machines.LabError) as why:
        print(f"lab: {why}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
