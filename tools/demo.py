#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two ranks, one model, one API, on this machine, in a minute.

Serves the demo model with TP=2. Where network namespaces may be made, rank 1 lives in one of its
own, joined by a veth pair, and the partial sums travel over TCP; else they go through shared
memory. Asks three questions through the OpenAI API, shows what carried the bytes, and checks that
TP=1, 2 and 4 compute the same bits. Exits with 1 when anything is not as it should be.
"""
import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IN_NAMESPACE = "TWINAX_DEMO_IN_NAMESPACE"
START_LIMIT_S = 30
# The logits of the first golden prompt, bit for bit; made anew (--write-golden) by a commit that
# raises the arithmetic version or changes the model.
GOLDEN_LOGITS = os.path.join(ROOT, "tests", "data", "demo_logits.f32")


class Failed(Exception):
    """A check that did not hold, in one line."""


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", default=os.path.join(ROOT, "build"), help="build folder")
    p.add_argument("--model", default=os.path.join(ROOT, "models", "demo"))
    p.add_argument("--transport", choices=["auto", "netns", "userns", "shm"], default="auto")
    p.add_argument("--fault", help="break something on purpose: the demo must then fail")
    p.add_argument("--write-golden", action="store_true", help="only write the golden logits")
    return p.parse_args()


class Server:
    """`twinax serve` as a child; its stderr is kept for the transport proof."""

    def __init__(self, args, extra):
        command = [args.twinax, "serve", args.model, "--local", "--tp", "2", "--port", "0", *extra]
        if args.fault:
            command += ["--fault", args.fault]
        print("$", " ".join(os.path.relpath(c) if c.startswith("/") else c for c in command))
        self.t0 = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, text=True)
        self.log = []
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr))
        self.reader.start()
        timer = threading.Timer(START_LIMIT_S, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        found = re.search(r"http://([^:/]+|\[[^\]]+\]):(\d+)", line)
        if not found:
            self.process.wait()
            self.reader.join()
            raise Failed("the server did not start: " + "".join(self.log).strip())
        self.host, self.port = found.group(1), int(found.group(2))
        self.start_s = time.monotonic() - self.t0

    def stop(self):
        children = child_pids(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        left = [pid for pid in children if os.path.exists(f"/proc/{pid}")]
        if self.process.returncode != 0:
            raise Failed(f"the server ended with {self.process.returncode}: {''.join(self.log)}")
        if left:
            raise Failed(f"the server left processes behind: {left}")


def child_pids(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def ask(server, question):
    """One streamed chat completion: text, tokens, seconds to the first of them and to the last."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    body = {"model": "demo", "stream": True, "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": question}]}
    t0 = time.monotonic()
    connection.request("POST", "/v1/chat/completions", json.dumps(body),
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise Failed(f"HTTP {response.status}: {response.read().decode(errors='replace')}")
    text, first, usage = "", None, {}
    for line in response:
        data = line.decode().strip()
        if not data.startswith("data: ") or data == "data: [DONE]":
            continue
        event = json.loads(data[6:])
        if "error" in event:
            raise Failed(f"the answer broke off: {event['error']}")
        usage = event.get("usage") or usage
        for choice in event.get("choices", []):
            piece = choice.get("delta", {}).get("content") or ""
            if piece and first is None:
                first = time.monotonic() - t0
            text += piece
            print(piece, end="", flush=True)
    total = time.monotonic() - t0
    connection.close()
    print()
    return text, usage.get("completion_tokens", 0), first or total, total


def questions():
    with open(os.path.join(ROOT, "tests", "data", "demo_answers.jsonl")) as f:
        pairs = [json.loads(line) for line in f]
    step = max(1, len(pairs) // 3)
    return pairs[::step][:3], pairs[0]["prompt_ids"]


def veth_counters(pid):
    """Bytes and packets of the veth end that the server pid, and no other one, made here. /proc,
    not /sys: it shows the network namespace of this process, whatever is mounted."""
    with open("/proc/self/net/dev") as f:
        for line in f:
            name, _, numbers = line.partition(":")
            if name.strip() == f"twx{pid % 10000000}a":
                n = [int(v) for v in numbers.split()]
                return {"rx_bytes": n[0], "rx_packets": n[1], "tx_bytes": n[8],
                        "tx_packets": n[9]}
    return None


def check_proof(log, counters):
    """The proof's bytes against the kernel's own, within frame headers and heartbeats."""
    lines = [line.rstrip() for line in log if line.startswith(("transport:", "exchanges:"))]
    print("\n".join(lines))
    found = re.search(r"out (\d+) bytes in \d+ messages, in (\d+) bytes", "\n".join(lines))
    if not found:
        raise Failed("the server printed no transport proof")
    if counters is None:
        return
    for ours, way in ((int(found.group(1)), "tx"), (int(found.group(2)), "rx")):
        kernel, packets = counters[way + "_bytes"], counters[way + "_packets"]
        payload = kernel - packets * 66  # ethernet, IPv4, TCP with time stamps
        print(f"kernel {way}: {kernel} bytes in {packets} packets, {payload} without headers; "
              f"twinax counted {ours}")
        if not ours * 0.98 - 4096 <= payload <= ours * 1.02 + 65536:
            raise Failed(f"the veth's {way} counter and the transport proof do not agree")


def serve_and_ask(args, extra):
    server = Server(args, extra)
    try:
        print(f"serving after {server.start_s * 1000:.0f} ms\n")
        wrong = []
        for pair in questions()[0]:
            print(f"Q: {pair['q']}\nA: ", end="")
            text, n, first, total = ask(server, pair["q"])
            # Over all of it: on a busy machine many tokens arrive with the first.
            print(f"   first token after {first * 1000:.0f} ms, {n} tokens in {total * 1000:.0f} ms "
                  f"({n / total:.0f} tokens/s)\n")
            if text.strip() != pair["a"].strip():
                wrong.append(f"wanted: {pair['a']}")
        counters = veth_counters(server.process.pid)
    finally:
        server.stop()
    if "--netns" in extra and counters is None:
        raise Failed("the veth pair is not there")
    check_proof(server.log, counters)
    if wrong:
        raise Failed("an answer is not word for word right; " + wrong[0])


def same_bits(args, prompt_ids):
    """Logits and greedy tokens of TP=1, 2 and 4, byte by byte."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="twinax-demo-") as folder:
        for tp in (1, 2, 4):
            path = os.path.join(folder, f"logits{tp}")
            command = [args.twinax, "run", args.model, "--prompt-ids",
                       ",".join(map(str, prompt_ids)), "-n", "48", "--ids", "--ignore-eos",
                       "--temp", "0", "--logits", path]
            if tp > 1:
                command += ["--local", "--tp", str(tp)]
            if args.fault and tp > 1:
                command += ["--fault", args.fault]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if done.returncode != 0:
                raise Failed(f"TP={tp}: {done.stderr.strip()}")
            with open(path, "rb") as f:
                results[tp] = (f.read(), done.stdout)
    same = all(r == results[1] for r in results.values())
    print(f"TP=1, TP=2, TP=4: {len(results[1][0]) // 4} logits and 48 tokens each")
    print("same bits:", "yes" if same else "no")
    if not same:
        raise Failed("the bits of TP=1, 2 and 4 differ")
    with open(GOLDEN_LOGITS, "rb") as f:
        golden = f.read() == results[1][0]
    print("same bits as the golden logits:", "yes" if golden else "no")
    if not golden:
        raise Failed("the logits are not those of tests/data/demo_logits.f32: other weights or arithmetic")


def write_golden(args, prompt_ids):
    subprocess.run([args.twinax, "run", args.model, "--prompt-ids", ",".join(map(str, prompt_ids)),
                    "-n", "1", "--ids", "--temp", "0", "--logits", GOLDEN_LOGITS], check=True,
                   env={**os.environ, "TW_CPU": "ref"})


def can_share_user_namespace():
    """Tried, not guessed: some systems refuse late."""
    probe = "ip link add twxprobe type veth peer name twxprobe2 && unshare -n true"
    try:
        return subprocess.run(["unshare", "-Urn", "sh", "-c", probe], capture_output=True,
                              timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def enter_user_namespace():
    print("transport: two network namespaces of our own, inside a user namespace")
    os.environ[IN_NAMESPACE] = "1"
    os.execvp("unshare", ["unshare", "-Urn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                          sys.executable, os.path.abspath(__file__), *sys.argv[1:]])


def choose_and_serve(args):
    if args.transport in ("auto", "netns") or IN_NAMESPACE in os.environ:
        try:
            return serve_and_ask(args, ["--netns", "--transport", "tcp"])
        except Failed as why:
            if not str(why).startswith("the server did not start") or args.transport == "netns" \
                    or IN_NAMESPACE in os.environ:
                raise
            print(f"no network namespace here ({str(why).splitlines()[-1]})")
    if args.transport in ("auto", "userns") and can_share_user_namespace():
        enter_user_namespace()
    if args.transport == "userns":
        raise Failed("this system gives no user namespace with veth")
    print("transport: shared memory")
    return serve_and_ask(args, ["--transport", "shm"])


def main():
    args = arguments()
    args.twinax = os.path.join(os.path.abspath(args.build), "twinax")
    args.model = os.path.abspath(args.model)
    if args.write_golden:
        write_golden(args, questions()[1])
        return 0
    try:
        choose_and_serve(args)
        same_bits(args, questions()[1])
    except Failed as why:
        print(f"demo failed: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("demo: all as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
