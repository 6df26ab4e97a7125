# SPDX-License-Identifier: Apache-2.0
"""Peak memory of each rank: its shard of the weights, its KV cache, and little more."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import pytest
import twinax_cli as cli

CTX, SEQS, LAYERS = 512, 1, 2
SLACK = 64 << 20


def peak_rss(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) << 10


def expected(config, tp):
    """(weights, KV) in bytes of one of tp equal ranks; the embedding is also the head, held once."""
    c = config
    d, q, f = c["hidden_size"], c["head_dim"], c["intermediate_size"]
    heads, kv = c["num_attention_heads"] // tp, max(c["num_key_value_heads"] // tp, 1)
    matrices = d * q * (2 * heads + 2 * kv) + 3 * d * f // tp
    vectors = 2 * d + 2 * q  # norms, held as f32
    vocab = -(-c["vocab_size"] // (64 * tp)) * 64 + 64  # blocks of 64 ids, one more here or there
    layers = c["num_hidden_layers"]
    weights = 2 * (vocab * d + layers * matrices) + 4 * (layers * vectors + d)
    return weights, 2 * 2 * layers * kv * q * CTX * SEQS


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("numpy")
    make = [sys.executable, str(cli.ROOT / "tools" / "make_model.py"), "--shape", "qwen3-0.6b"]
    with tempfile.TemporaryDirectory(prefix="twinax-cli-") as tmp:
        path = pathlib.Path(tmp) / "model"
        subprocess.run([*make, "--layers", str(LAYERS), str(path)], check=True, capture_output=True)
        for file in path.glob("*.safetensors"):  # what was written just now would not be kept packed
            os.utime(file, (1e9, 1e9))
        yield path


def peaks_of(model, tp, *more):
    """Peak of every rank, once it has seen a long prompt and decodes."""
    argv = ["--local", "--tp", tp, "--transport", "shm", "--ctx", CTX, "--max-seqs", SEQS]
    argv += ["--prompt-ids", cli.comma(range(1, 301)), "-n", "200", "--ignore-eos", "--ids", *more]
    with cli.running("run", model, *argv) as p:
        seen = b""
        while seen.count(b",") < 8:
            more = os.read(p.stdout.fileno(), 4096)
            assert more, p.stderr.read().decode()
            seen += more
        peaks = [peak_rss(pid) for pid in (p.pid, *cli.children(p.pid))]
        p.terminate()
        _, e = p.communicate(timeout=60)
        assert p.returncode == 130, e.decode()
    assert len(peaks) == tp
    return peaks


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache of packed weights, of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "twinax" / "packs"


def keep(model, tp, cache):
    """Runs until every rank has its weights in the cache; the ids."""
    args = ["--local", "--tp", tp, "--ctx", CTX, "--max-seqs", SEQS, "--prompt-ids", "1,2,3", "-n", "8"]
    for _ in range(50):  # a slow disk takes more than one run's end
        ids = cli.good("run", model, *args, "--ignore-eos", "--ids").stdout
        if len(list(cache.glob("*.pack"))) == tp:
            return ids
    pytest.fail(f"not kept: {sorted(cache.glob('*'))}")


@pytest.mark.parametrize("kept", [False, True], ids=["files", "cache"])
@pytest.mark.parametrize("tp", [1, 2])
def test_peak_memory(tp, kept, model, cache):
    """The best of three: how many pages of the file are mapped at once hangs on its timing."""
    if kept:
        keep(model, tp, cache)
    weights, kv = expected(json.loads((model / "config.json").read_text()), tp)
    for _ in range(3):
        peaks = peaks_of(model, tp, *([] if kept else ["--no-pack-cache"]))
        told = f"peaks {[p >> 20 for p in peaks]} MiB, weights {weights >> 20}, KV {kv >> 20}"
        print(told)
        assert all(p >= weights * 0.95 for p in peaks), f"too little to be true: {told}"
        if all(p <= weights + kv + SLACK for p in peaks):
            return
    pytest.fail(told)


def test_a_second_start_maps_the_weights(model, cache):
    args = [model, "--local", "--ctx", CTX, "--prompt-ids", "1,2,3", "-n", "8", "--ignore-eos", "--ids"]
    off = cli.good("run", *args, "--no-pack-cache")
    assert not cache.exists()
    ids = keep(model, 1, cache)
    again = cli.good("run", *args)
    assert off.stdout == ids == again.stdout
    assert "(weights mapped)" in again.stderr and "(weights mapped)" not in off.stderr
    assert "(weights mapped)" not in cli.good("run", *args, "--no-pack-cache").stderr
    two = ["--tp", 2, "--transport", "shm"]
    assert cli.good("run", *args, *two).stdout == ids  # other shards, packs of their own
    (pack,) = [p for p in cache.glob("*.pack") if p.stat().st_size > 300 << 20]
    with open(pack, "r+b") as f:  # one bit of one weight
        f.seek(100 << 20)
        byte = f.read(1)
        f.seek(100 << 20)
        f.write(bytes([byte[0] ^ 1]))
    listed = [json.loads(line) for line in cli.good("models", "packs", "--json").stdout.splitlines()]
    assert sorted(p["path"] for p in listed) == sorted(map(str, cache.iterdir()))
    assert {p["name"] for p in listed if p["state"] == "whole"} >= {"model, rank 0 of 1"}
    mended = cli.good("run", *args)
    assert mended.stdout == ids and "(weights mapped)" not in mended.stderr


def test_a_pack_that_cannot_be_read(model, cache):
    """A bad sector, or here a file cut short under the map: a sentence, and the next start packs anew."""
    args = [model, "--local", "--ctx", CTX, "--prompt-ids", "1,2,3", "--ignore-eos", "--ids"]
    ids = keep(model, 1, cache)
    (pack,) = cache.glob("*.pack")
    with cli.running("run", *args, "-n", "400") as p:
        while (byte := os.read(p.stdout.fileno(), 1)) != b",":
            assert byte, p.communicate(timeout=60)[1].decode()
        os.truncate(pack, 4096)
        _, e = p.communicate(timeout=60)
        assert p.returncode == 1, e.decode()
        assert f"twinax: {pack}: a part of it cannot be read any more" in e.decode(), e.decode()
    assert not pack.exists()
    assert cli.good("run", *args, "-n", 8).stdout == ids


def test_packs_are_listed_and_removed(model, cache):
    assert "no packed weights" in cli.good("models", "packs").stderr
    keep(model, 1, cache)
    assert "model, rank 0 of 1" in cli.good("models", "packs").stdout
    refused = cli.run("models", "packs", "--rm")
    assert refused.returncode == 1 and "--yes" in refused.stderr and len(list(cache.iterdir())) == 1
    assert " freed" in cli.good("models", "packs", "--rm", "--yes").stdout
    assert not list(cache.iterdir())


def test_ctrl_c_does_not_wait_for_the_cache(model, cache):
    """P7: who is asked to go goes, whatever is being written."""
    args = ["--local", "--ctx", CTX, "--prompt-ids", "1,2,3", "-n", "400", "--ignore-eos", "--ids"]
    with cli.running("run", model, *args) as p:
        while (byte := os.read(p.stdout.fileno(), 1)) != b",":
            assert byte, p.communicate(timeout=60)[1].decode()
        began = time.monotonic()
        p.terminate()
        p.communicate(timeout=60)
        assert p.returncode == 130
        assert time.monotonic() - began < 2 * float(os.environ.get("TW_TIME_SCALE", "1"))
    assert cli.good("run", model, *args[:5], "-n", 4, "--ignore-eos", "--ids").stdout.count(",") == 3
