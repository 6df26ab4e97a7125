# SPDX-License-Identifier: Apache-2.0
"""A model of random weights of whatever size, written in a moment with Python alone: for tests and
benchmarks whose result is time, not text. (tools/make_model.py makes real shapes with a tokenizer.)"""

import array
import json
import pathlib
import random
import shutil

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEMO = ROOT / "models" / "demo"  # whose tokenizer is taken
BLOCK = 65521  # values, prime: no two rows alike


def tensors(c):
    d, f, q = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    h, k = c["num_attention_heads"] * q, c["num_key_value_heads"] * q
    yield "model.embed_tokens.weight", [c["vocab_size"], d]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", [d]
        yield p + "self_attn.q_proj.weight", [h, d]
        yield p + "self_attn.k_proj.weight", [k, d]
        yield p + "self_attn.v_proj.weight", [k, d]
        yield p + "self_attn.o_proj.weight", [d, h]
        yield p + "self_attn.q_norm.weight", [q]
        yield p + "self_attn.k_norm.weight", [q]
        yield p + "post_attention_layernorm.weight", [d]
        yield p + "mlp.gate_proj.weight", [f, d]
        yield p + "mlp.up_proj.weight", [f, d]
        yield p + "mlp.down_proj.weight", [d, f]
    yield "model.norm.weight", [d]


def size_of(shape):
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


def block_of(rng, around, spread):
    """BLOCK bf16 values: the upper halves of floats."""
    floats = array.array("f", (rng.gauss(around, spread) for _ in range(BLOCK)))
    return array.array("H", memoryview(floats).cast("B").cast("H")[1::2].tolist()).tobytes()


def make(folder, hidden=1024, layers=8, ffn=4096, heads=16, kv_heads=8, seed=1, empty=False):
    """~2 bytes a weight: 1024 x 8 are 254 MB. empty: zeros that take no place on the disk, for who
    reads no weights."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in "tokenizer.json", "tokenizer_config.json", "generation_config.json":
        if (DEMO / name).exists():
            shutil.copy(DEMO / name, folder / name)
    c = json.loads((DEMO / "config.json").read_text()) | {
        "hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": ffn, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": 64, "max_window_layers": layers, "max_position_embeddings": 4096,
    }  # fmt: skip
    for gone in "layer_types", "quantization_config":
        c.pop(gone, None)
    (folder / "config.json").write_text(json.dumps(c))
    header, at = {}, 0
    for name, shape in tensors(c):
        n = 2 * size_of(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = random.Random(seed)
    weights, ones = block_of(rng, 0, hidden**-0.5), block_of(rng, 1, 0.01)
    with open(folder / "model.safetensors", "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        if empty:
            f.truncate(8 + len(text) + at)
            return folder
        for _, shape in tensors(c):
            n, block = 2 * size_of(shape), weights if len(shape) > 1 else ones
            for _ in range(n // len(block)):
                f.write(block)
            f.write(block[: n % len(block)])
    return folder
