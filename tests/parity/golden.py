# SPDX-License-Identifier: Apache-2.0
"""Runs twinax on a model with golden outputs and says how it differs from them."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "tiny"
LIMIT = {"f32": 1e-4, "bf16": 5e-3}  # of max|logit|


def binary():
    """The command under test: $TWINAX, a path (with spaces, it may be) or a command with arguments,
    else build/twinax."""
    named = os.environ.get("TWINAX") or str(ROOT / "build" / "twinax")
    return [named] if os.path.exists(named) else shlex.split(named)


def missing_binary():
    """Why nothing can be run, or None."""
    if shutil.which(binary()[0]):
        return None
    return f"no twinax binary at {binary()[0]}: build it, or name one in TWINAX"


def run(model, prompt_ids, n, kv, args=()):
    """Greedy generation; returns (ids, logits of the last prompt position)."""
    with tempfile.TemporaryDirectory(prefix="twinax-parity-") as tmp:
        file = pathlib.Path(tmp) / "logits.f32"
        argv = [
            *binary(),
            "run",
            str(model),
            "--prompt-ids",
            ",".join(map(str, prompt_ids)),
            "-n",
            str(n),
            "--ids",
            "--ignore-eos",
            "--temp",
            "0",
            "--kv",
            kv,
            "--logits",
            str(file),
            *args,
        ]
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )
        if done.returncode != 0:
            raise AssertionError(f"exit {done.returncode}: {shlex.join(argv)}\n{done.stderr}")
        lines = done.stdout.splitlines()
        if len(lines) != 1 or not re.fullmatch(r"\d+([ ,]+\d+)*\s*", lines[0]):
            raise AssertionError(f"stdout is not one line of ids: {done.stdout!r}")
        return [int(i) for i in re.findall(r"\d+", lines[0])], np.fromfile(file, "<f4")


def logits_error(got, want, limit):
    """What is wrong with the logits, or None; limit is a fraction of max|want|."""
    if got.shape != want.shape:
        return f"{got.size} logits, expected {want.size}"
    if not np.isfinite(got).all():
        return f"logit {int(np.argmin(np.isfinite(got)))} is not finite"
    off, top = np.abs(got.astype("f8") - want), np.abs(want).max()
    if off.max() <= limit * top:
        return None
    i = int(off.argmax())
    return (
        f"logit {i} is {got[i]:.6g}, expected {want[i]:.6g}: "
        f"{off[i] / top:.2e} of max|logit|, limit {limit:.0e}"
    )


def ids_error(got, want):
    """What is wrong with the generated ids, or None."""
    if got == want:
        return None
    shorter = min(len(got), len(want))
    i = next((i for i in range(shorter) if got[i] != want[i]), shorter)
    return (
        f"ids differ first at step {i}: got {got[i : i + 4]} of {len(got)}, "
        f"expected {want[i : i + 4]} of {len(want)}"
    )


def check(model, kv):
    """Errors of one model against its goldens; with a bf16 KV cache only the logits count."""
    golden = json.loads((model / "golden.json").read_text())
    n = len(golden["greedy_ids"]) if kv == "f32" else 1
    ids, logits = run(model, golden["prompt_ids"], n, kv)
    errors = [logits_error(logits, np.fromfile(model / "logits.f32", "<f4"), LIMIT[kv])]
    if kv == "f32":
        errors.append(ids_error(ids, golden["greedy_ids"]))
    return [e for e in errors if e]


def tiny_models(folder=TINY):
    return sorted(p.parent for p in folder.glob("*/golden.json"))
