#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands for `ray` and `vllm` where the real ones are too large (tests/vllm has those): the same
words on the same command lines, processes that daemonise as theirs do, an API that answers.

FAKE_VLLM=WHAT changes it: "dies", "silent-socket", "gated", "slow", "one-node", "other-wire".
FAKE_VLLM_PEER: the other machine's address, to which an answer's bytes go."""

import http.server
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import time

NAME = pathlib.Path(sys.argv[0]).name
WORDS = sys.argv[1:]
HOW = os.environ.get("FAKE_VLLM", "")


def option(name, default=None):
    return WORDS[WORDS.index(name) + 1] if name in WORDS else default


def say(line):
    print(line, flush=True)


def note(what, **more):
    """For the test: what reached this process, beside its command line."""
    folder = os.environ.get("FAKE_VLLM_NOTES")
    if folder:
        seen = {"words": WORDS, "env": dict(os.environ), "token": token(), "what": what, "uid": os.getuid(),
                "model": model(), **more}  # fmt: skip
        (pathlib.Path(folder) / f"{what}-{os.getpid()}.json").write_text(json.dumps(seen))


def model():
    """The folder it is really in; of Ray, what its run's link names."""
    link = pathlib.Path(os.environ.get("RAY_TMPDIR", "/"), "model")
    return os.path.realpath(WORDS[1] if NAME == "vllm" else link)


def token():
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return pathlib.Path(path).read_text() if path else None


def ray():
    if WORDS[0] == "status":
        nodes = 1 if HOW == "one-node" else 2
        say("Active:\n" + " 1 node_ab\n" * nodes + f"Pending:\nResources\nTotal Usage:\n 0.0/{nodes}.0 GPU")
        return 0
    stranger = socket.create_server(("", 0))  # as Ray and torch listen: to all networks
    note("ray", port=stranger.getsockname()[1])
    # A daemon of its own session whose parent is gone, as the raylet is.
    subprocess.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &"], check=True)
    say("Ray runtime started.")
    time.sleep(1000)
    return 0


def exchange(peer, n=64):
    """What ranks do: bytes in both directions, here by the kernel's own echo."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        s.settimeout(5)
        for i in range(n):
            body = bytes(1200)
            head = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, i)
            total = sum(struct.unpack(f"!{(len(head) + len(body)) // 2}H", head + body))
            total = (total & 0xFFFF) + (total >> 16)
            check = ~(total + (total >> 16)) & 0xFFFF
            s.sendto(head[:2] + struct.pack("!H", check) + head[4:] + body, (peer, 0))
            s.recv(2000)


class Api(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        peer = os.environ.get("FAKE_VLLM_PEER")
        if peer and HOW != "other-wire":
            exchange(peer)
        key = os.environ.get("VLLM_API_KEY")
        wrong = key and self.headers["Authorization"] != f"Bearer {key}"
        said = json.dumps({"usage": {"completion_tokens": asked["max_tokens"]}}).encode()
        self.send_response(401 if wrong else 200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def vllm():
    note("vllm")
    if "--headless" in WORDS:
        say("Loading safetensors checkpoint shards: 100% Completed | 1/1")
        time.sleep(1000)
    if HOW == "gated":
        say("huggingface_hub.errors.GatedRepoError: 401 Client Error.")
        return 1
    if HOW == "silent-socket":
        say("box1:1:1 [0] NCCL INFO NET/Socket : Using [0]roce0:192.168.100.1<0>")
    say("Loading safetensors checkpoint shards:  50% Completed | 1/2")
    if HOW == "slow":
        time.sleep(1000)
    server = http.server.HTTPServer((option("--host"), int(option("--port"))), Api)
    say("INFO:     Application startup complete.")
    if HOW == "dies":
        server.handle_request()
        return 3
    server.serve_forever()


sys.exit(ray() if NAME == "ray" else vllm())
