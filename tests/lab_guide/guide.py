#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The guide, walked on two whole machines (QEMU, Debian 12): doctor, setup, reboot, doctor, compare,
run, up, a chat, status, down, setup --undo. Says how long each step took; keeps a log.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import time

import boxes
import disk
import image
import machines
import walk

EXAMPLES = """examples:
  tests/lab_guide/guide.py walk --log docs/lab-guide.log     the whole, about 25 minutes
  tests/lab_guide/guide.py hold /tmp/pair &                   two machines to work with ...
  tests/lab_guide/guide.py walk --with /tmp/pair doctor setup      ... some steps on them
  tests/lab_guide/guide.py ssh /tmp/pair 1 'nmcli connection'      ... or a command
Exit status: 0; 1 when a step failed; 77 when this machine cannot have the lab; 125 when the lab
itself failed."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = ap.add_subparsers(dest="verb", required=True)
    verbs.add_parser("image", help="make the disk, once")
    verbs.add_parser("clean", help="drop it")
    hold = verbs.add_parser("hold", help="two machines until this is ended")
    hold.add_argument("folder", type=pathlib.Path)
    ssh = verbs.add_parser("ssh", help="a command on a machine that is held")
    ssh.add_argument("folder", type=pathlib.Path)
    ssh.add_argument("box", type=int, choices=(1, 2))
    ssh.add_argument("command")
    ssh.add_argument("--user", default=boxes.USER)
    go = verbs.add_parser("walk", help="the steps, in their order")
    go.add_argument("steps", nargs="*", metavar="STEP", help=f"{' '.join(walk.names())} (all)")
    go.add_argument("--with", dest="held", type=pathlib.Path, metavar="DIR", help="held machines")
    go.add_argument("--build", type=pathlib.Path, default=walk.ROOT / "build")
    go.add_argument("--log", type=pathlib.Path, help="written when all steps have passed")
    return ap.parse_args()


def work(args):
    if args.verb == "clean":
        disk.forget()
        return 0
    if args.verb == "image":
        print(disk.get(say))
        return 0
    if args.verb == "hold":
        with boxes.Pair(say, args.folder) as pair:
            pair.power_on(say).hold()
            say(f"both up after {pair.boot_s:.0f} s; ctrl-C ends them")
            while all(box.is_on() for box in pair.boxes):
                time.sleep(1)
        return 125
    if args.verb == "ssh":
        box = boxes.Pair(say, args.folder).attach().boxes[args.box - 1]
        return subprocess.run(box.ssh_argv(args.command, args.user), check=False).returncode
    if args.held:
        return walk.walk(boxes.Pair(say, args.held).attach(), args)
    with boxes.Pair(say) as pair:
        pair.power_on(say)
        return walk.walk(pair, args)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return work(arguments())
    except image.Unavailable as why:
        print(f"lab-guide: skipped: {why}", file=sys.stderr)
        return 77
    except (image.Broken, machines.LabError) as why:
        print(f"lab-guide: {why}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    sys.exit(main())
