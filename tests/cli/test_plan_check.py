# SPDX-License-Identifier: Apache-2.0
"""`twinax plan` is right within a factor: bench/plan_check.py by processor time, which does not mind
what else this machine does."""

import argparse
import pathlib
import sys

import twinax_cli as cli

sys.path.insert(0, str(cli.ROOT / "bench"))
import plan_check  # noqa: E402

FACTOR = 2.5
N_TRIES = 3  # neighbours take memory bandwidth too


def test_prediction(folder, monkeypatch):
    monkeypatch.delitem(plan_check.SHAPES, "large")
    args = argparse.Namespace(build=pathlib.Path(cli.BINARY).parent, model=None, rounds=1, cpu=True)
    wrong = []
    for i in range(N_TRIES):
        (folder / str(i)).mkdir()
        found = plan_check.check(args, folder / str(i))
        wrong = [f for f in found if not 1 / FACTOR < f["ratio"] < FACTOR]
        assert {(f["model"], f["what"]) for f in found} == {(m, w) for m in ("demo", "small") for w in ("prefill", "decode")}
        if not wrong:
            return
    raise AssertionError(wrong)
