# SPDX-License-Identifier: Apache-2.0
"""Makes the tiny models afresh with the installed transformers and runs twinax against them.

Then compares models/demo with transformers, where it is there. Exit 0: all agree, 1: a difference,
77: skipped (torch, transformers or the binary is missing; the message says which).
"""

import argparse
import json
import pathlib
import sys
import tempfile

try:
    import golden
    import numpy as np
    import torch
    import transformers

    sys.path.insert(0, str(golden.ROOT / "tools"))
    import make_tiny
except ModuleNotFoundError as e:
    print(f"skip: no Python package {e.name}: pip install -r tools/requirements-parity.txt")
    sys.exit(77)

DEMO = golden.ROOT / "models" / "demo"
DEMO_TEXT = "Two machines, one model. The cable between them carries the sums of every layer, and "
DEMO_TOKENS = 64


def report(name, errors):
    print(
        f"{'not ok' if errors else 'ok'} {name}" + "".join(f"\n    {e}" for e in errors), flush=True
    )
    return bool(errors)


def check_fresh(folder):
    """Number of checks that fail on the models under folder."""
    failed = 0
    for model in golden.tiny_models(folder):
        for kv in ("f32", "bf16"):
            failed += report(f"{model.name} kv {kv}", golden.check(model, kv))
        old = golden.TINY / model.name / "logits.f32"
        if (
            old.exists()
            and json.loads((old.parent / "golden.json").read_text())["measured"]["seed"]
            == json.loads((model / "golden.json").read_text())["measured"]["seed"]
        ):
            error = golden.logits_error(
                np.fromfile(model / "logits.f32", "<f4"), np.fromfile(old, "<f4"), 1e-5
            )
            failed += report(f"{model.name} committed golden", [error] if error else [])
    return failed


def demo_prompts():
    """Token ids of a long and of a short prompt."""
    from tokenizers import Tokenizer

    ids = Tokenizer.from_file(str(DEMO / "tokenizer.json")).encode(DEMO_TEXT * 3).ids
    return [ids, ids[:3]]


def check_demo():
    """Number of checks of models/demo that fail. Ids count up to the oracle's first near-tie."""
    if not (DEMO / "config.json").exists():
        print("skip models/demo: it is not in this tree")
        return 0
    model, failed = make_tiny.load_oracle(DEMO), 0
    for i, prompt in enumerate(demo_prompts()):
        want, logits, gaps = make_tiny.greedy(model, prompt, DEMO_TOKENS)
        ids, got = golden.run(DEMO, prompt, DEMO_TOKENS, "f32")
        sure = next((k for k, gap in enumerate(gaps) if gap < make_tiny.MIN_GAP), DEMO_TOKENS)
        errors = [
            golden.logits_error(got, logits, golden.LIMIT["f32"]),
            golden.ids_error(ids[:sure], want[:sure]),
        ]
        failed += report(
            f"models/demo prompt {i} ({len(prompt)} tokens, {sure} sure ids)",
            [e for e in errors if e],
        )
    return failed


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument(
        "--seed",
        type=int,
        default=0,
        help="other random models; 0, the default, is the committed set",
    )
    ap.add_argument("--keep", metavar="DIR", help="make the models here and leave them there")
    args = ap.parse_args()
    if golden.missing_binary():
        print(f"skip: {golden.missing_binary()}")
        return 77
    print(
        f"torch {torch.__version__}, transformers {transformers.__version__}, seed {args.seed}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="twinax-parity-") as tmp:
        folder = pathlib.Path(args.keep or tmp)
        make_tiny.make_all(
            folder, seed_offset=args.seed, say=lambda line: print(f"made {line}", flush=True)
        )
        failed = check_fresh(folder) + check_demo()
    print(f"{failed} failed" if failed else "all agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
