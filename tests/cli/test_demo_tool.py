# SPDX-License-Identifier: Apache-2.0
"""tools/demo.py passes on a sound build, and fails, and says why, on anything that is not."""

import os
import shutil
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
    """Exit 1 and a last line that names one of the wanted."""
    assert done.returncode == 1, done.stdout + done.stderr
    why = done.stderr.splitlines()[-1] if done.stderr else ""
    assert "demo failed: " in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert any(w in done.stderr for w in wanted), why


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_demo_passes(transport):
    done = demo("--transport", transport)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same bits: yes" in done.stdout
    carried = "shm" if transport == "shm" or cli.no_netns() else "tcp"
    assert f"transport: rank 1 by {carried}," in done.stdout


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_demo_fails_with_a_perturbed_tensor(transport, folder):
    """One weight matrix times 1.5: all bits still agree with each other, the answers do not hold."""
    m = folder / "demo"
    shutil.copytree(cli.DEMO, m)
    header, data = load(m / "model.safetensors")
    tensor = header["model.layers.1.mlp.down_proj.weight"]
    numpy = pytest.importorskip("numpy")
    a, b = tensor["data_offsets"]
    assert tensor["dtype"] == "BF16"
    old = numpy.frombuffer(bytes(data[a:b]), "<u2").astype("<u4") << 16
    new = (old.view("<f4") * numpy.float32(1.5)).view("<u4") >> 16
    data[a:b] = new.astype("<u2").tobytes()
    store(m / "model.safetensors", header, data)
    check_failed(demo("--transport", transport, "--model", m), "not word for word right")


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
