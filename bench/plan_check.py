#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How far `twinax plan` is from `twinax bench`: predicted over measured speed, prefill and decode, one
rank and two on this machine. Each round asks both, one after the other, so that what else the machine
does hits both; the median of the rounds is the result. JSON lines go to bench/results.

On a machine that others use, wall time says how much of it was left. --cpu measures in processor time
instead: `twinax run` with one thread, the difference of a long and a short one.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import random_model

ROOT = pathlib.Path(__file__).resolve().parents[1]
CTX, PROMPT, TOKENS = 1024, 256, 64
DEPTH = CTX // 4  # of which plan speaks
SHAPES = {"small": {"hidden": 512, "layers": 4, "ffn": 1536, "heads": 8, "kv_heads": 4}, "large": {}}


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build-release")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--model", action="append", help="a folder; default: the demo model, and two that are made")
    p.add_argument("--cpu", action="store_true", help="processor time of one thread, not wall time")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "bench" / "results")
    return p.parse_args()


def run(twinax, *argv, env=None):
    argv = [str(twinax), *map(str, argv)]
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    text = p.stdout.read().decode()
    p.stdout.close()
    _, status, used = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode != 0:
        raise SystemExit(f"{' '.join(argv)}: exit status {p.returncode}")
    return text, used.ru_utime + used.ru_stime


def predict(twinax, model, way, env):
    v = json.loads(run(twinax, "plan", model, "--json", "--measure", "--ctx", CTX, *way, env=env)[0])
    split = next(s for s in v["splits"] if s["tp"] == v["tp"])
    return {"prefill": split["prefill_tok_s"], "decode": split["decode_tok_s"], "read_gb_s": v["machine"]["read_gb_s"]}


def measure(twinax, model, way, env):
    """Prefill with DEPTH behind it on the average, decode at DEPTH."""
    lines = run(twinax, "bench", model, "--json", "-p", 2 * DEPTH, "-n", TOKENS, "-r", 3, "-d", DEPTH, "--ctx", CTX, *way, env=env)[0]
    found = {}
    for line in lines.splitlines():
        v = json.loads(line)
        found["prefill" if v["test"].startswith("pp") else "decode"] = v["tok_s"]
        if v["unit"] == "GB/s":
            found["read_gb_s"] = v["limit"]
    return found


def seconds_of(twinax, model, n_prompt, n_tokens, env):
    ids = ",".join(str(2 + i % 900) for i in range(n_prompt))
    return run(twinax, "run", model, "--threads", 1, "--ctx", CTX, "--prompt-ids", ids, "-n", n_tokens, "--ignore-eos",
               "--temp", 0, env=env)[1]  # fmt: skip


def measure_cpu(twinax, model, _, env):
    long = [seconds_of(twinax, model, n, 1, env) for n in (32, 2 * DEPTH)]
    more = seconds_of(twinax, model, DEPTH - TOKENS, 2 * TOKENS + 1, env)
    less = seconds_of(twinax, model, DEPTH - TOKENS, 1, env)
    return {"prefill": (2 * DEPTH - 32) / max(long[1] - long[0], 1e-9), "decode": 2 * TOKENS / max(more - less, 1e-9)}


def ways(args):
    if args.cpu:
        return {"tp1": ["--tp", "1", "--threads", "1"]}
    return {"tp1": ["--tp", "1"], "tp2": ["--tp", "2", "--local"]}


def models(args, folder):
    if args.model:
        return {os.path.basename(os.path.abspath(m)): m for m in args.model}
    return {"demo": random_model.DEMO} | {n: random_model.make(folder / n, **s) for n, s in SHAPES.items()}


def check(args, folder, report=print):
    """[{model, way, what, ratio: median of predicted over measured, ...}]"""
    twinax = args.build.resolve() / "twinax"
    env = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}  # nobody's numbers are replaced
    found = []
    for name, model in models(args, folder).items():
        for way, options in ways(args).items():
            rounds = []
            for _ in range(args.rounds):
                said = predict(twinax, model, options, env)
                rounds.append((said, (measure_cpu if args.cpu else measure)(twinax, model, options, env)))
            for what in "prefill", "decode":
                ratios = [said[what] / did[what] for said, did in rounds]
                memory = [said["read_gb_s"] / did["read_gb_s"] for said, did in rounds if "read_gb_s" in did]
                found.append({"model": name, "way": way, "what": what, "ratio": statistics.median(ratios),
                              "min": min(ratios), "max": max(ratios), "rounds": len(ratios),
                              "measured_tok_s": statistics.median(did[what] for _, did in rounds),
                              "time": "cpu" if args.cpu else "wall"})  # fmt: skip
                if what == "decode" and len(memory) == len(ratios):
                    # What plan and bench read of the same memory, one after the other, may differ.
                    found[-1]["at_same_bandwidth"] = statistics.median(r / m for r, m in zip(ratios, memory))
                report("{model:8} {way} {what:8} predicted/measured {ratio:5.2f} ({min:.2f} to {max:.2f})".format(**found[-1]))
    return found


def check_all(twinax, rounds, folders):
    """Of those models by wall time, one rank and two."""
    args = argparse.Namespace(build=twinax.program.parent, model=[str(f) for f in folders], rounds=rounds, cpu=False)
    with tempfile.TemporaryDirectory(prefix="twinax-plan-check-") as folder:
        return check(args, pathlib.Path(folder), report=lambda _: None)


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="twinax-plan-check-") as folder:
        found = check(args, pathlib.Path(folder))
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "plan_check.jsonl", "a", encoding="utf-8") as f:
        for r in found:
            f.write(json.dumps(r) + "\n")


if __name__ == "__main__":
    main()
