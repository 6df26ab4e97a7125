# SPDX-License-Identifier: Apache-2.0
"""The programs that benchmarks run: twinax, and llama.cpp's. Each call is one process and gives
{test: {"tok_s": ..., ...}}, with twinax's names of tests for both."""

import contextlib
import json
import os
import pathlib
import platform
import shlex
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHOWN = 400  # of a program's complaint


class Failed(Exception):
    """A program that did not do what it should."""


def run(argv, prefix=(), **more):
    argv = [*prefix, *map(str, argv)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise Failed(f"{shlex.join(argv)}: exit status {done.returncode}: {done.stderr.strip()[-SHOWN:]}")
    return done.stdout


def machine():
    cpu = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"], capture_output=True, text=True,
                         check=False).stdout.strip()  # fmt: skip
    return {"git": git, "cpu": cpu, "cpus": os.cpu_count(), "kernel": platform.release(),
            "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}  # fmt: skip


class Twinax:
    name = "twinax"

    def __init__(self, build, prefix=()):
        self.program, self.prefix = pathlib.Path(build).resolve() / "twinax", prefix

    def run(self, *argv, **more):
        return run([self.program, *argv], self.prefix, **more)

    def bench(self, model, *options):
        out = self.run("bench", model, "--json", *options)
        return {v["test"]: v for v in map(json.loads, out.splitlines())}

    def speed(self, model, threads, prompt=0, tokens=0, repeats=1, batches=(1,), depth=16):
        return self.bench(model, "--threads", threads, "-p", prompt, "-n", tokens, "-r", repeats, "-d", depth,
                          "-b", ",".join(map(str, batches)))  # fmt: skip


class Llama:
    name = "llama.cpp"

    def __init__(self, folder, prefix=()):
        self.folder, self.prefix = folder, prefix

    def bench(self, model, threads, prompt, tokens, *options):
        out = run([self.folder / "llama-bench", "-m", model, "-t", threads, "-p", prompt, "-n", tokens, "-r", 1, "-o", "jsonl",
                   *options], self.prefix)  # fmt: skip
        rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return {(f"tg{r['n_gen']}" if r["n_gen"] else f"pp{r['n_prompt']}"): {"tok_s": r["avg_ts"]} for r in rows}

    def batched(self, model, threads, tokens, batches, prompt=16):
        ctx = max(batches) * (prompt + tokens + 8)
        out = run([self.folder / "llama-batched-bench", "-m", model, "-t", threads, "-tb", threads, "-c", ctx, "-npp", prompt,
                   "-ntg", tokens, "-npl", ",".join(map(str, batches)), "--output-format", "jsonl"], self.prefix)  # fmt: skip
        rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return {f"tg{tokens}x{r['pl']}": {"tok_s": r["speed_tg"]} for r in rows}

    def speed(self, model, threads, prompt=0, tokens=0, repeats=1, batches=(1,), depth=16):
        if tuple(batches) != (1,):
            return self.batched(model, threads, tokens, batches)
        found = {}
        for _ in range(repeats):
            for test, row in self.bench(model, threads, prompt, tokens).items():
                found.setdefault(test, []).append(row["tok_s"])
        return {test: {"tok_s": sorted(v)[len(v) // 2]} for test, v in found.items()}


# ---- two machines out of one: network namespaces, a core each ------------------------------------


class TwoBoxes:
    """Two namespaces with a cable between them. Wants root."""

    ADDRESS = ("10.231.7.1", "10.231.7.2")

    def __init__(self):
        self.holders, self.servers = [], []

    def __enter__(self):
        try:
            for i in range(2):
                p = subprocess.Popen(["unshare", "-n", "--kill-child", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                self.holders.append(p)
                p.stdin.write(b"\n")
                p.stdin.flush()
                p.stdout.readline()  # it is there
                self.ns(i, "ip", "link", "set", "lo", "up")
            names = [f"twb{os.getpid()}{end}" for end in "ab"]
            inner = [self.pid(i) for i in range(2)]
            run(["ip", "link", "add", names[0], "netns", inner[0], "type", "veth", "peer", "name", names[1], "netns", inner[1]])
            for i in range(2):
                self.ns(i, "ip", "addr", "add", f"{self.ADDRESS[i]}/24", "dev", names[i])
                self.ns(i, "ip", "link", "set", names[i], "up")
        except Exception:
            self.__exit__()
            raise
        return self

    def pid(self, i):
        children = pathlib.Path(f"/proc/{self.holders[i].pid}/task/{self.holders[i].pid}/children").read_text().split()
        return children[0] if children else str(self.holders[i].pid)

    def inside(self, i, core=None):
        pin = ["taskset", "-c", str(core)] if core is not None else []
        return ["nsenter", f"--net=/proc/{self.pid(i)}/ns/net", *pin]

    def ns(self, i, *argv):
        return run(argv, self.inside(i))

    def serve(self, i, argv, core, port, prefix=()):
        """A server that ends with this object; waits until it listens."""
        p = subprocess.Popen([*prefix, *self.inside(i, core), *map(str, argv)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)  # fmt: skip
        self.servers.append(p)
        want = f":{port:04X}"
        for _ in range(200):
            for row in self.ns(i, "cat", "/proc/net/tcp").splitlines()[1:]:
                if row.split()[1].endswith(want) and row.split()[3] == "0A":
                    return
            if p.poll() is not None:
                break
            time.sleep(0.05)
        raise Failed(f"{argv[0]} does not listen")

    def __exit__(self, *_):
        for p in self.servers:
            p.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(timeout=5)
            p.kill()
            p.wait()
        for p in self.holders:
            p.stdin.close()
            p.wait()
            p.stdout.close()


def why_no_boxes():
    probe = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    return None if probe.returncode == 0 else "network namespaces want root"


def say(text):
    print(text, file=sys.stderr, flush=True)
