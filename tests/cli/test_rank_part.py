# SPDX-License-Identifier: Apache-2.0
"""A hostile head: whatever part a rank or an agent is given, it ends by itself, with one line."""

import copy
import json
import os
import random
import struct
import subprocess

import twinax_cli as cli

N = 40
LAST = 999
PART = {
    "rank": 1, "n_ranks": 2, "address": "127.0.0.1", "port": 1, "token": "00" * 32, "transport": 0,
    "model": str(cli.TINY / "llama-plain"), "verify": False,
    "engine": {"threads": 1, "ctx": 0, "max_seqs": 0, "chunk": 0, "kv": 0, "n_local": 1, "i_local": 0, "arith": 0},
}  # fmt: skip
VALUES = [-1, 0, 9, 99, 2**31, 2**63 - 1, -(2**63), "", "x" * 5000, "\x01\n\x1b[2J", None, True, [], {}, 1.5, "/dev/zero", "::"]


def mutate(rng):
    part = copy.deepcopy(PART)
    for _ in range(rng.randint(1, 2)):
        where = rng.choice([part, part["engine"]]) if isinstance(part.get("engine"), dict) else part
        key = rng.choice([*where, "bind", "rdma_device", "job", "sizes", "fault", "veth", "cpu", "model_id", "report"])
        where[key] = copy.deepcopy(rng.choice(VALUES))  # a part that is changed again changes no value
    return part


def hostile(part):
    """Not one that may wait for a rendezvous: it is a good one, but for what it names."""
    try:
        return part["engine"] != PART["engine"] or any(part.get(k) != v for k, v in PART.items() if k not in ("port", "model", "verify", "token"))
    except (KeyError, TypeError):
        return True


def check(done, what):
    assert done.returncode in (0, 1, 2), (what, done)  # no signal
    lines = done.stderr.decode(errors="replace").splitlines()
    assert len(lines) <= 3 and "\x1b" not in "".join(lines), (what, lines)


def test_rank():
    seed = int(os.environ.get("TW_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    rng = random.Random(seed)
    parts = [mutate(rng) for _ in range(N)]
    texts = [json.dumps(p).encode() + b"\n" for p in parts if hostile(p)]
    texts += [b"", b"\n", b"{", b"[]\n", b"null\n", b"\x00\xff\n", b"x" * 20000 + b"\n"]
    for text in texts:
        # Its stdin ends with the part: a rank that takes it ends with its lifeline.
        done = subprocess.run([cli.BINARY, "rank"], input=text, capture_output=True, timeout=60)
        check(done, text[:400])
        assert done.returncode == 1, (text[:400], done)


def frame(v):
    text = json.dumps(v).encode()
    return struct.pack("<I", len(text)) + text


def test_agent():
    """Its answers stay frames, its end is its head's end."""
    seed = int(os.environ.get("TW_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    rng = random.Random(seed)
    ops = ["hello", "facts", "probe", "stop", "tool", "run-rank", "nothing", "", 7, None]
    for _ in range(N // 3):
        sent = b""
        for i in range(4):
            v = {"id": rng.choice([i, -1, 2**63, "x"]) if rng.random() < 0.2 else i, "op": rng.choice(ops)}
            v |= rng.choice([{}, {"part": mutate(rng)}, {"part": rng.choice(VALUES)}, {"address": rng.choice(VALUES)},
                             {"token": rng.choice(VALUES), "address": "127.0.0.1"}, {"name": rng.choice(VALUES)}])  # fmt: skip
            sent += frame(v)
        sent += frame({"id": LAST, "op": "hello"})
        p = subprocess.Popen([cli.BINARY, "agent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            p.stdin.write(sent)
            p.stdin.flush()
            assert p.stdout.read(15) == b"twinax-agent/1\n"
            while (head := p.stdout.read(4)) and (v := json.loads(p.stdout.read(struct.unpack("<I", head)[0]))).get("id") != LAST:
                assert isinstance(v, dict)
            _, p.stderr_text = p.communicate(timeout=60)  # its input ends
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
        check(subprocess.CompletedProcess("agent", p.returncode, b"", p.stderr_text), sent[:2000])
