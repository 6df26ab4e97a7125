# SPDX-License-Identifier: Apache-2.0
"""--fault damages a run on purpose; the damage is seen in the bits, or refused by --verify."""

import pathlib

import pytest
import twinax_cli as cli


def generate(folder, *argv):
    path = pathlib.Path(folder) / "logits"
    prompt = cli.comma(cli.answers()[0]["prompt_ids"])
    base = ["--prompt-ids", prompt, "-n", "48", "--temp", "0", "--ids", "--ignore-eos"]
    done = cli.run("run", cli.DEMO, *base, "--logits", path, *argv)
    return done, path.read_bytes() if path.exists() else b""


@pytest.mark.parametrize("link", ["tcp", "shm"])
@pytest.mark.parametrize("fault, tp", [("flip", 2), ("flip", 4), ("order", 4)])
def test_fault_is_seen(fault, tp, link, folder):
    good, bits = generate(folder)
    assert good.returncode == 0 and bits
    bad, other = generate(folder, "--local", "--tp", tp, "--transport", link, "--fault", fault)
    assert bad.returncode != 0 or (bad.stdout, other) != (good.stdout, bits)


@pytest.mark.parametrize("link", ["tcp", "shm"])
def test_checksums_find_the_flip(link, folder):
    argv = ["--local", "--tp", "2", "--transport", link, "--verify", "--fault", "flip"]
    done, _ = generate(folder, *argv)
    assert done.returncode == 1 and "checksum" in done.stderr and "rank 1" in done.stderr, done


def test_unknown_fault(folder):
    done, _ = generate(folder, "--local", "--tp", "2", "--fault", "gremlin")
    assert done.returncode != 0 and "gremlin" in done.stderr and "flip" in done.stderr
