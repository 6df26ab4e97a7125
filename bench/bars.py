#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every bar of docs/PERFORMANCE.md, measured: what is wanted, what came out, llama.cpp beside it in the
same run, in turns. Rows go to bench/results/bars.jsonl, where a row replaces the one that it repeats;
then bench/figures.py draws them. All of it: about eight minutes of an otherwise idle machine."""

import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import time

import figures
import models
import peers
import plan_check
import sides
from peers import LLAMA, QWEN, in_turns, median_rows
from sides import say

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROMPT, TOKENS = 512, 32
# A share of bandwidth: so few tokens between two sweeps that the machine is the same in all three, so many
# such pairs that a median stands.
SHARED, PAIRS = 8, 11
DECODE = {"BF16": 0.95, "Q8_0": 0.93, "Q4_0": 0.90, "Q4_K": 0.88}
PP, TG = f"pp{PROMPT}", f"tg{TOKENS}"


class Table:
    """Rows by name; what this run does not measure stays."""

    def __init__(self, path):
        self.path, self.machine, self.rows = path, sides.machine(), {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                self.rows[row["name"]] = row

    def add(self, name, value, wanted, at_most=False, **more):
        """value None: not measured, and why says so."""
        held = None if value is None or wanted is None else (value <= wanted if at_most else value >= wanted)
        row = {"name": name, "value": value, "wanted": wanted, "at_most": at_most, "held": held, **more}
        self.rows[name] = {**row, **self.machine}
        text = "not measured" if value is None else f"{value:.3f}"
        sign = "-" if wanted is None else ("<= " if at_most else ">= ") + f"{wanted:g}"
        extra = ", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in more.items())
        print(f"{'' if held is None else 'ok ' if held else 'NOT'} {name:52} {text:>12}  wanted {sign:8} {extra}", flush=True)

    def write(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(json.dumps(r) + "\n" for r in self.rows.values()), encoding="utf-8")


def both(args, model, threads, repeats=3, **what):
    ours = lambda: args.twinax.speed(model, threads, repeats=repeats, **what)  # noqa: E731
    theirs = (lambda: args.llama.speed(model, threads, **what)) if args.llama else (lambda: None)
    return in_turns(args.rounds, ours, theirs)


def decode_and_prefill(args, model, threads):
    """Rows of the two, one after the other: decode in short pairs."""
    tg = both(args, model, threads, repeats=PAIRS, tokens=SHARED)
    pp = both(args, model, threads, prompt=PROMPT)
    return median_rows(tg, f"tg{SHARED}"), median_rows(pp, PP)


# ---- sections ------------------------------------------------------------------------------------


def types(args, table):
    """Decode's share of bandwidth, prefill against BF16's: one run, all types."""
    prefill = {}
    for weights, wanted in DECODE.items():
        model = models.gguf(LLAMA, weights)
        tg, pp = decode_and_prefill(args, model, 2)
        prefill[weights] = pp
        table.add(f"decode {weights}, 2 threads, of read bandwidth", tg.get("share"), wanted, **numbers(tg))
        if weights == "BF16":
            table.add("prefill 512 BF16, 2 threads, of fma peak", pp.get("share"), 0.72, **numbers(pp))
        if weights in ("Q8_0", "Q4_0"):
            table.add(f"prefill 512 {weights}, 2 threads, over our BF16",
                      pp["ours_tok_s"] / prefill["BF16"]["ours_tok_s"], 2.5, **numbers(pp))  # fmt: skip
        if weights == "Q4_K":
            table.add("prefill 512 Q4_K, 2 threads, over llama.cpp", pp.get("ratio"), None, **numbers(pp))


def numbers(row):
    return {k: round(v, 3) for k, v in row.items() if k in ("ours_tok_s", "theirs_tok_s", "ratio", "limit")}


def one_thread(args, table):
    tg, pp = decode_and_prefill(args, models.gguf(LLAMA, "BF16"), 1)
    table.add("decode BF16, 1 thread, of read bandwidth", tg.get("share"), 0.92, **numbers(tg))
    table.add("prefill 512 BF16, 1 thread, of fma peak", pp.get("share"), 0.82, **numbers(pp))


def kernel(args, table):
    """The product of 512 rows by itself."""
    for n, wanted in (1, 0.88), (2, 0.78):
        out = args.twinax.run("bench", "kern", "matmul", "--best", "--threads", n, "--json")
        rows = [r for r in map(json.loads, out.splitlines()) if r.get("shape") == "bf16 m512 k2048 n4096"]
        if not rows:
            raise sides.Failed("twinax bench kern matmul tells no bf16 m512 k2048 n4096")
        table.add(f"matmul kernel BF16 m512 k2048 n4096, {n} thread{'s' * (n > 1)}, of fma peak", rows[0]["share"], wanted,
                  gflops=rows[0]["gflops"])  # fmt: skip


def batched(args, table):
    found = both(args, models.gguf(QWEN, "BF16"), 2, tokens=TOKENS, batches=(8, 32))
    for n, wanted in (8, 1.6), (32, 1.5):
        row = median_rows(found, f"{TG}x{n}")
        table.add(f"batched decode x{n}, Qwen3-0.6B BF16, over llama.cpp", row.get("ratio"), wanted, **numbers(row))


def exchange_floor_s(args, n_bytes):
    """Of one exchange of so many bytes: raw bytes over the same wire, by the same two cores."""
    out = args.twinax.run("bench", "coll", "--local", "--tp", 2, "--netns", "--transport", "tcp", "--sizes", n_bytes, "--json")
    rows = [r for r in map(json.loads, out.splitlines()) if r["test"] == "coll_all_reduce" and r["bytes"] == n_bytes]
    if not rows:
        raise sides.Failed(f"twinax bench coll tells no all-reduce of {n_bytes} bytes")
    return rows[0]["floor_us"] / 1e6


def split(args, table):
    """Two boxes of one core over TCP against one box of two. A layer has two exchanges of its rows."""
    why = sides.why_no_boxes()
    config = json.loads((models.folder(LLAMA) / "config.json").read_text(encoding="utf-8"))
    n_exchanges = 2 * config["num_hidden_layers"]
    floors = {} if why else {rows: n_exchanges * exchange_floor_s(args, rows * config["hidden_size"] * 4) for rows in (PROMPT, 1)}
    for shape, weights, wanted in (LLAMA, "BF16", (0.95, 0.97)), (LLAMA, "Q8_0", (None, None)):
        names = [f"TP=2 x 1 core over TCP / TP=1 x 2 threads, {shape} {weights}, {t}" for t in ("prefill", "decode")]
        if why:
            for name, w in zip(names, wanted):
                table.add(name, None, w, why=why)
            continue
        model = models.gguf(shape, weights)
        found = in_turns(args.rounds, lambda: args.twinax.speed(model, 2, prompt=PROMPT, tokens=TOKENS, repeats=2),
                         lambda: args.twinax.bench(model, "--local", "--tp", 2, "--threads", 1, "--transport", "tcp", "--netns",
                                                   "-p", PROMPT, "-n", TOKENS, "-r", 2))  # fmt: skip
        for name, test, rows, w in zip(names, (PP, TG), (PROMPT, 1), wanted):
            kept = statistics.median(peers.kept(r[1][test], r[0][test]) for r in found)
            tok_s = {f"tp{k + 1}_tok_s": round(statistics.median(r[k][test]["tok_s"] for r in found), 2) for k in range(2)}
            whole_s = rows / tok_s["tp1_tok_s"]
            allowed = whole_s / (whole_s + floors[rows])
            table.add(name, kept, w or round(0.97 * allowed, 3), **tok_s, exchanges_allow=round(allowed, 3))


def deep(args, table):
    """Decode at 8,192 against 128: the bytes say how much slower it may be."""
    model = models.gguf(QWEN, "BF16")
    v = args.twinax.bench(model, "-p", 0, "-n", TOKENS, "-d", "128,8192", "-r", 5, "--threads", 2)
    near, far = v[f"{TG}@d128"], v[f"{TG}@d8192"]
    config = json.loads((models.folder(QWEN) / "config.json").read_text(encoding="utf-8"))
    kv = 2 * 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * config["head_dim"]
    weights = near["weight_bytes"]
    allowed = (weights + kv * (128 + TOKENS / 2)) / (weights + kv * (8192 + 5 * TOKENS / 2))
    value = far["tok_s"] / near["tok_s"] / allowed * near["limit"] / far["limit"]
    table.add("decode at 8K context / at 128, of what the bytes allow, Qwen3-0.6B", value, 0.9,
              tok_s_128=near["tok_s"], tok_s_8192=far["tok_s"], bytes_allow=round(allowed, 3))  # fmt: skip


def start(args, table):
    """From exec to the first id on stdout, the second time on; and what a rank holds at most."""
    model, seconds = models.folder(LLAMA), []
    for _ in range(6):
        command = [*args.prefix, args.twinax.program, "run", model, "--prompt-ids", "1,2,3,4", "-n", "4", "--ids", "--ignore-eos"]
        t0 = time.monotonic()
        with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as p:
            first = p.stdout.read(1)
            seconds.append(time.monotonic() - t0)
            p.stdout.read()
        if not first or p.returncode != 0:
            raise sides.Failed(f"{shlex.join(map(str, command))}: exit status {p.returncode}")
    table.add("second start to the first token, Llama-1B BF16, s", statistics.median(seconds[1:]), 0.3, at_most=True, first=seconds[0])
    for way, options in ("TP=1", []), ("TP=2", ["--local", "--tp", "2"]):
        v = args.twinax.bench(model, "-p", PROMPT, "-n", TOKENS, "-r", 1, *options)[TG]
        beside = (v["rss_peak_bytes"] - v["weight_bytes"] - v["kv_bytes"]) / 2**20
        table.add(f"peak RSS of rank 0 beside weights and KV, {way}, MiB", beside, 64, at_most=True,
                  weights_mib=v["weight_bytes"] >> 20, kv_mib=v["kv_bytes"] >> 20)  # fmt: skip


def plan(args, table):
    """Predicted over measured speed, farthest of all from 1: decode by the memory bandwidth of its own
    moment, since the machine's changes between the two."""
    shapes = [models.folder(LLAMA), models.folder(QWEN), models.gguf(LLAMA, "Q8_0")]
    found = {}
    for row in plan_check.check_all(args.twinax, args.rounds, shapes):
        ratio = row.get("at_same_bandwidth", row["ratio"])
        found.setdefault(row["model"], {})[f"{row['way']}_{row['what']}"] = round(ratio, 3)
    for model, ratios in found.items():
        far = max(max(r, 1 / r) for r in ratios.values()) - 1
        table.add(f"plan's prediction, {model}: farthest from measured", far, 0.15, at_most=True, **ratios)


SECTIONS = {"types": types, "one": one_thread, "kernel": kernel, "batched": batched, "split": split, "deep": deep, "start": start,
            "plan": plan}  # fmt: skip


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("sections", nargs="*", default=list(SECTIONS), help=", ".join(SECTIONS) + " (all)")
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build-release")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--prefix", type=shlex.split, default=[], help="before each measured command")
    p.add_argument("--no-peers", action="store_true", help="ours alone")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "bench" / "results" / "bars.jsonl")
    args = p.parse_args()
    for s in args.sections:
        if s not in SECTIONS:
            p.error(f"{s}: wanted one of {', '.join(SECTIONS)}")
    return args


def main():
    args = arguments()
    peers.find_sides(args)
    table, failed = Table(args.out), 0
    for s in args.sections:
        t0 = time.monotonic()
        try:
            SECTIONS[s](args, table)
        except (sides.Failed, OSError, LookupError, ValueError, SystemExit, subprocess.SubprocessError) as why:
            say(f"{s}: {why!r}")
            failed = 1
        table.write()
        say(f"{s}: {time.monotonic() - t0:.0f} s")
    figures.draw_all()
    return failed


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C")
    sys.exit(main())
