#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/quant: blocks of each quantised type with what the package `gguf` makes of them.

NAME.blocks: 512 columns of random blocks; NAME.f32: their values. source.f32 and NAME.from: what
quantising gives. Needs: pip install gguf numpy.
"""

import pathlib
import sys

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants

TYPES = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "MXFP4"]
SCALES = {"Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "Q4_1": [0, 2], "Q5_1": [0, 2], "MXFP4": []}
COLUMNS = 512


def random_blocks(rng: np.random.Generator, name: str) -> np.ndarray:
    columns, size = quants.GGML_QUANT_SIZES[T[name]]
    blocks = rng.integers(0, 256, (COLUMNS // columns, size), dtype=np.uint8)
    for at in SCALES.get(name, [0]):  # finite f16, both signs, a subnormal now and then
        d = rng.normal(0, 0.01, len(blocks)) * rng.choice([1, 1, 1, 1e-4], len(blocks))
        blocks[:, at : at + 2] = d.astype(np.float16).view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":
        blocks[:, 0] = np.resize([0, 1, 2, 100, 127, 128, 200, 254], len(blocks))
    return blocks.reshape(1, -1)


def source(rng: np.random.Generator) -> np.ndarray:
    """Plain rows, ties, a block of zeros, one of tiny numbers, one of -128/128 steps."""
    x = rng.normal(0, 1, COLUMNS).astype(np.float32)
    x[32:64] = 0
    x[64:96] *= np.float32(1e-6)
    x[96:128] = np.arange(32, dtype=np.float32) - 16
    x[128:160] = (np.arange(32, dtype=np.float32) - 15.5) * 8
    x[160:192] *= np.float32(3e4)
    return x.reshape(1, -1)


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(8)
    for name in TYPES:
        blocks = random_blocks(rng, name)
        blocks.tofile(folder / f"{name}.blocks")
        quants.dequantize(blocks, T[name]).tofile(folder / f"{name}.f32")
    x = source(rng)
    x.tofile(folder / "source.f32")
    for name in ["Q8_0", "Q4_0"]:
        quants.quantize(x, T[name]).tofile(folder / f"{name}.from")


if __name__ == "__main__":
    main()
