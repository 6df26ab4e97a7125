#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of a model in one run: TP=1 with all threads against TP=2 with half of them each.

The two ways take turns (A B A B ...), so that a noisy machine hits both; medians and their ratio
are the result. Shares are of what the machine reads and multiplies, measured in the same run by
`twinax bench`. Also: start to first token on the demo model. JSON lines go to bench/results.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "twinax")
DEMO_PROMPT = "1022,100,200,300"


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--build", default=os.path.join(ROOT, "build-release"))
    p.add_argument("--shape", default="llama-3.2-1b", help="of tools/make_model.py")
    p.add_argument("--model", help="a model folder instead of a shape")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("-p", type=int, default=512, help="prompt tokens")
    p.add_argument("-n", type=int, default=64, help="generated tokens")
    p.add_argument("--out", default=os.path.join(ROOT, "bench", "results"))
    return p.parse_args()


def model_folder(args):
    """The random model of the shape, made once outside the tree (needs numpy)."""
    if args.model:
        return args.model
    folder = os.path.join(CACHE, "models", args.shape)
    if not os.path.exists(os.path.join(folder, "model.safetensors")):
        print(f"making {args.shape} in the cache ...", flush=True)
        subprocess.run([sys.executable, os.path.join(ROOT, "tools", "make_model.py"), "--shape",
                        args.shape, folder], check=True)
    return folder


def ways(n_cpus):
    half = max(1, n_cpus // 2)
    tp2 = ["--local", "--tp", "2", "--threads", str(half), "--transport", "tcp"]
    probe = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    if probe.returncode == 0:
        tp2.append("--netns")
    return {"tp1": ["--threads", str(2 * half)], "tp2": tp2}


def bench(args, model, way):
    command = [args.twinax, "bench", model, "--json", "-p", str(args.p), "-n", str(args.n),
               "--ctx", str(args.p + args.n + 64), *way]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def first_token_s(args):
    """From exec to the first id on stdout."""
    command = [args.twinax, "run", os.path.join(ROOT, "models", "demo"), "--prompt-ids",
               DEMO_PROMPT, "-n", "8", "--ids", "--ignore-eos"]
    t0 = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as p:
        p.stdout.read(1)
        seconds = time.monotonic() - t0
        p.stdout.read()
    return seconds


def machine():
    cpu = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    git = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True,
                         text=True, check=False).stdout.strip()
    return {"git": git, "cpu": cpu, "cpus": os.cpu_count(), "kernel": platform.release(),
            "flags": "release -O3"}


def median_share(rs):
    """None: the weights fit the cache, and memory is no limit."""
    known = [r["share"] for r in rs if r["share"] is not None]
    return statistics.median(known) if known else None


def summary(model, rows, starts):
    records = []
    for (name, test), rs in rows.items():
        records.append({"model": model, "way": name, "test": test,
                        "tok_s": statistics.median(r["tok_s"] for r in rs),
                        "share": median_share(rs),
                        "of": rs[0]["of"], "rounds": len(rs)})
    for test in sorted({t for _, t in rows}):
        ratios = [b["tok_s"] / a["tok_s"]
                  for a, b in zip(rows[("tp1", test)], rows[("tp2", test)])]
        records.append({"model": model, "way": "tp2/tp1", "test": test,
                        "ratio": statistics.median(ratios), "rounds": len(ratios)})
    records.append({"model": "demo", "test": "start to first token",
                    "seconds": statistics.median(starts), "max_seconds": max(starts)})
    return records


def main():
    args = arguments()
    args.twinax = os.path.join(os.path.abspath(args.build), "twinax")
    model = model_folder(args)
    rows = {}
    for i in range(args.rounds):
        for name, way in ways(os.cpu_count()).items():
            for r in bench(args, model, way):
                rows.setdefault((name, r["test"]), []).append(r)
                share = "" if r["share"] is None else f"{100 * r['share']:5.1f} % of "
                print(f"round {i + 1} {name} {r['test']:8} {r['tok_s']:9.2f} tok/s  {share}{r['of']}", flush=True)
    starts = [first_token_s(args) for _ in range(9)]
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "model.jsonl"), "a", encoding="utf-8") as f:
        for r in summary(os.path.basename(os.path.abspath(model)), rows, starts):
            line = json.dumps({**r, **machine()})
            f.write(line + "\n")
            print(line)


if __name__ == "__main__":
    main()
