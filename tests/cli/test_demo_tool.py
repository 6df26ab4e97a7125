# SPDX-License-Identifier: Apache-2.0
"""tools/demo.py passes on a sound build, and fails, and says why, on anything that is not."""

import os
import re
import shutil
import struct
import subprocess
import sys

import pytest
import twinax_cli as cli
from test_bad_models import load, store

TRANSPORTS = ["auto", "shm"]


def demo(*argv):
    """`tools/demo.py argv...` to its end."""
    tool = [sys.executable, str(cli.ROOT / "tools" / "demo.py"), "--build", str(cli.BINARY.parent)]
    return subprocess.run(
        [*tool, *map(str, argv)], capture_output=True, text=True, timeout=cli.LIMIT_S
    )


def check_failed(done, *wanted):
    """Exit 1, and what is said to have failed names one of the wanted."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "demo failed: " in done.stderr and "Traceback" not in done.stderr, done.stderr
    why = done.stderr.partition("demo failed: ")[2]
    assert any(w in why for w in wanted), done.stderr


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_demo_passes(transport):
    done = demo("--transport", transport)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same bits: yes" in done.stdout and "golden logits: yes" in done.stdout
    carried = "shm" if transport == "shm" or cli.no_netns() else "tcp"
    assert f"transport: rank 1 by {carried}," in done.stdout
    told = re.findall(r"first token after (\d+) ms, (\d+) tokens in (\d+) ms \((\d+) tokens/s\)", done.stdout)
    assert len(told) == 3, done.stdout
    for first, n, total, rate in (map(int, x) for x in told):
        assert first <= total and n > 1
        assert 1000 * n / (total + 0.5) - 1 <= rate <= 1000 * n / max(total - 0.5, 0.1) + 1


def test_demo_looks_at_its_own_veth():
    """Another run's pair is there at the same time."""
    if cli.no_netns():
        pytest.skip(cli.no_netns())
    mine = f"twx{os.getpid()}"  # no server has our pid
    pair = ["ip", "link", "add", f"{mine}a", "type", "veth", "peer", "name", f"{mine}b"]
    subprocess.run(pair, check=True, capture_output=True)
    try:
        done = demo("--transport", "netns")
    finally:
        subprocess.run(["ip", "link", "del", f"{mine}a"], check=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kernel tx" in done.stdout


def scale(path, name, factor):
    """Multiplies a BF16 tensor."""
    header, data = load(path)
    assert header[name]["dtype"] == "BF16"
    a, b = header[name]["data_offsets"]
    for i in range(a, b, 2):
        (x,) = struct.unpack("<f", b"\0\0" + data[i : i + 2])
        data[i : i + 2] = struct.pack("<f", x * factor)[2:]
    store(path, header, data)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("factor", [1.5, -4])
def test_demo_fails_with_a_perturbed_tensor(transport, factor, folder):
    """Every way to run it agrees with every other one: only what was known before tells. A strong
    damage shows in the answers, a weak one in the committed logits."""
    m = folder / "demo"
    shutil.copytree(cli.DEMO, m)
    scale(m / "model.safetensors", "model.layers.1.mlp.down_proj.weight", factor)
    done = demo("--transport", transport, "--model", m)
    check_failed(done, "not word for word right" if factor == -4 else "not those of tests/data/demo_logits.f32")


@pytest.mark.parametrize("byte", [0, 1])
def test_demo_fails_with_one_byte_of_a_tensor(byte, folder):
    """The last weight of the last o-proj, its low (mantissa) or its high byte (sign, exponent)."""
    m = folder / "demo"
    shutil.copytree(cli.DEMO, m)
    header, data = load(m / "model.safetensors")
    at = header["model.layers.3.self_attn.o_proj.weight"]["data_offsets"][1] - 2 + byte
    data[at] ^= 0x40 if byte == 0 else 0x80
    store(m / "model.safetensors", header, data)
    check_failed(demo("--transport", "shm", "--model", m), "not those of tests/data/demo_logits.f32")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("fault", ["flip", "order"])
def test_demo_fails_with_a_fault(fault, transport):
    """A byte flipped on the wire; segments summed in another order."""
    done = demo("--transport", transport, "--fault", fault)
    check_failed(done, "not word for word right", "bits of TP=1, 2 and 4 differ", "rank")


def test_demo_fails_without_a_server():
    done = demo("--model", "/no/such/model")
    check_failed(done, "no such folder")


def test_demo_fails_on_a_damaged_model(folder):
    m = folder / "demo"
    shutil.copytree(cli.DEMO, m)
    os.truncate(m / "model.safetensors", 100_000)
    check_failed(demo("--transport", "shm", "--model", m), "cut short")
