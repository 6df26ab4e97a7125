#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""twinax beside llama.cpp (tools/peers.sh) and, where its environment is there (tests/vllm/env.sh), vLLM
for CPUs: the same random weights, in one run, in turns, medians. Prints ours, theirs, and the median
of the rounds' ratios; JSON lines go to bench/results/peers.jsonl, where a row replaces the one that it
repeats. A peer that is missing is named."""

import argparse
import json
import pathlib
import shlex
import statistics
import subprocess
import sys

import figures
import models
import sides
from sides import say

ROOT = pathlib.Path(__file__).resolve().parents[1]
LLAMA, QWEN = "llama-3.2-1b", "qwen3-0.6b"
PROMPT, TOKENS, BATCHED_TOKENS, BATCHES = 512, 32, 32, (8, 32)


def in_turns(rounds, *calls):
    """[[{test: row} of each call] of each round]; who begins changes."""
    found = []
    for i in range(rounds):
        order = range(len(calls)) if i % 2 == 0 else reversed(range(len(calls)))
        one = [None] * len(calls)
        for k in order:
            one[k] = calls[k]()
        found.append(one)
    return found


def median_rows(found, test):
    """Ours and theirs, tok/s, and the median of the rounds' ratios; share where ours tells one."""
    pairs = [(one[0][test], one[1].get(test) if one[1] else None) for one in found]
    row = {"test": test, "rounds": len(pairs), "ours_tok_s": statistics.median(a["tok_s"] for a, _ in pairs)}
    shares = [a["share"] for a, _ in pairs if a.get("share") is not None]
    if shares:
        row |= {"share": statistics.median(shares), "of": pairs[0][0]["of"],
                "limit": statistics.median(a["limit"] for a, _ in pairs)}  # fmt: skip
    if pairs[0][1]:
        row |= {"theirs_tok_s": statistics.median(b["tok_s"] for _, b in pairs),
                "ratio": statistics.median(a["tok_s"] / b["tok_s"] for a, b in pairs)}  # fmt: skip
    return row


def tell(row):
    ratio = f"{row['ratio']:6.2f} x" if "ratio" in row else " (no peer)"
    share = f"   ours: {100 * row['share']:5.1f} % of {row['of']}" if "share" in row else ""
    theirs = f"{row['theirs_tok_s']:9.2f}" if "theirs_tok_s" in row else "        -"
    print(f"{row['model']:13} {row['weights']:5} {row['threads']} thr {row['test']:9} ours {row['ours_tok_s']:9.2f}  "
          f"{row['peer']} {theirs} tok/s {ratio}{share}", flush=True)  # fmt: skip


def kept(split, whole):
    """Of a split's speed, by the limits that were measured around each: a virtual machine's memory may be
    half as fast a minute later."""
    return split["tok_s"] / whole["tok_s"] * whole["limit"] / split["limit"]


class Record:
    """Rows by what was measured; what this run does not measure stays."""

    KEY = ("model", "weights", "threads", "test", "peer")

    def __init__(self, path):
        self.path, self.machine, self.rows = path, sides.machine(), {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                self.put(json.loads(line))

    def put(self, row):
        self.rows[tuple(row.get(k) for k in self.KEY)] = row

    def add(self, **row):
        self.put({**row, **self.machine})

    def write(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(json.dumps(r) + "\n" for r in self.rows.values()), encoding="utf-8")


def compare(args, record, shape, weights, threads, tests, **what):
    """One model at so many threads, ours and llama.cpp's in turns."""
    model = models.gguf(shape, weights)
    ours = lambda: args.twinax.speed(model, threads, **what)  # noqa: E731
    theirs = (lambda: args.llama.speed(model, threads, **what)) if args.llama else (lambda: None)
    found = in_turns(args.rounds, ours, theirs)
    for test in tests:
        row = {"model": shape, "weights": weights, "threads": threads, "peer": "llama.cpp", **median_rows(found, test)}
        record.add(**row)
        tell(row)


# ---- sections ------------------------------------------------------------------------------------


def types(args, record):
    for weights in args.types:
        for threads in args.threads:
            compare(args, record, LLAMA, weights, threads, [f"pp{PROMPT}", f"tg{TOKENS}"], prompt=PROMPT, tokens=TOKENS)


def batched(args, record):
    compare(args, record, QWEN, "BF16", 2, [f"tg{BATCHED_TOKENS}x{b}" for b in BATCHES], tokens=BATCHED_TOKENS, batches=BATCHES)


def our_split(args, model):
    return args.twinax.bench(model, "--local", "--tp", 2, "--threads", 1, "--transport", "tcp", "--netns", "-p", PROMPT, "-n",
                             TOKENS, "-r", 1)  # fmt: skip


def their_split(args, model, way):
    """Two boxes of one core: this process works in the first one, a server in the second."""
    with sides.TwoBoxes() as boxes:
        port = 50052
        boxes.serve(1, [args.llama.folder / "ggml-rpc-server", "-H", boxes.ADDRESS[1], "-p", port, "-t", 1], 1, port)
        first = sides.Llama(args.llama.folder, boxes.inside(0, 0))
        return first.bench(model, 1, PROMPT, TOKENS, "--rpc", f"{boxes.ADDRESS[1]}:{port}", *way)


def split(args, record):
    """Two boxes of one core against one box of two: what a split keeps, ours and theirs."""
    why = sides.why_no_boxes()
    if why:
        say(f"split: left out: {why}")
        return
    model = models.gguf(LLAMA, "BF16")
    n_layers = 16
    whole = lambda side: lambda: side.speed(model, 2, prompt=PROMPT, tokens=TOKENS)  # noqa: E731
    halves = lambda: their_split(args, model, ["-ngl", n_layers // 2])  # noqa: E731
    calls = [whole(args.twinax), lambda: our_split(args, model)]
    calls += [whole(args.llama), halves] if args.llama else []
    found = in_turns(args.rounds, *calls)
    for test in f"pp{PROMPT}", f"tg{TOKENS}":
        row = {"model": LLAMA, "weights": "BF16", "threads": "1+1", "test": f"{test} split", "rounds": args.rounds,
               "ours_tok_s": statistics.median(r[1][test]["tok_s"] for r in found),
               "ours_kept": statistics.median(kept(r[1][test], r[0][test]) for r in found)}  # fmt: skip
        text = f"{LLAMA} BF16 {test} over two boxes of one core: ours {row['ours_tok_s']:.2f} tok/s, {row['ours_kept']:.2f} of one box"
        if args.llama:
            row |= {"peer": "llama.cpp rpc", "theirs_tok_s": statistics.median(r[3][test]["tok_s"] for r in found),
                    "theirs_kept": statistics.median(r[3][test]["tok_s"] / r[2][test]["tok_s"] for r in found)}  # fmt: skip
            row["ratio"] = statistics.median(r[1][test]["tok_s"] / r[3][test]["tok_s"] for r in found)
            text += f"; llama.cpp rpc {row['theirs_tok_s']:.2f}, {row['theirs_kept']:.2f} of one box; {row['ratio']:.2f} x"
        record.add(**row)
        print(text, flush=True)


def vllm(args, record):
    python = vllm_python()
    if python is None:
        say("vllm: left out: its environment is not in the cache (tests/vllm/env.sh makes it, 6.5 GB)")
        return
    model = models.folder(QWEN)
    program = [python, ROOT / "bench" / "vllm_speed.py", model, "--threads", 2, "--prompt", PROMPT, "--tokens", TOKENS]
    theirs = lambda: json.loads(sides.run(program, args.prefix).splitlines()[-1])  # noqa: E731
    found = in_turns(args.rounds, lambda: args.twinax.speed(model, 2, prompt=PROMPT, tokens=TOKENS), theirs)
    for test in f"pp{PROMPT}", f"tg{TOKENS}":
        row = {"model": QWEN, "weights": "BF16", "threads": 2, "peer": "vllm cpu", **median_rows(found, test)}
        record.add(**row)
        tell(row)


def vllm_python():
    found = sorted(models.CACHE.parent.glob("vllm-*/complete"))
    return found[-1].parent / "bin" / "python" if found else None


SECTIONS = {"types": types, "batched": batched, "split": split, "vllm": vllm}


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("sections", nargs="*", default=list(SECTIONS), help=", ".join(SECTIONS) + " (all)")
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build-release")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--types", type=lambda s: s.split(","), default=list(models.TYPES))
    p.add_argument("--threads", type=lambda s: [int(n) for n in s.split(",")], default=[2, 1])
    p.add_argument("--prefix", type=shlex.split, default=[], help="before each measured command: nice -n -5, chrt -r 1, ...")
    p.add_argument("--no-peers", action="store_true", help="ours alone")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "bench" / "results" / "peers.jsonl")
    args = p.parse_args()
    for s in args.sections:
        if s not in SECTIONS:
            p.error(f"{s}: wanted one of {', '.join(SECTIONS)}")
    return args


def find_sides(args):
    args.twinax = sides.Twinax(args.build, args.prefix)
    folder = None if args.no_peers else models.peers()
    args.llama = sides.Llama(folder, args.prefix) if folder else None
    if args.llama is None:
        say("llama.cpp: left out" + (": tools/peers.sh could not build it" if not args.no_peers else ""))


def main():
    args = arguments()
    find_sides(args)
    record, failed = Record(args.out), 0
    for s in args.sections:
        try:
            SECTIONS[s](args, record)
        except (sides.Failed, OSError, LookupError, ValueError, SystemExit, subprocess.SubprocessError) as why:
            say(f"{s}: {why!r}")
            failed = 1
        record.write()
    figures.draw_all()
    return failed


if __name__ == "__main__":
    sys.exit(main())
