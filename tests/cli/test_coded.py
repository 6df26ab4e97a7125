# SPDX-License-Identifier: Apache-2.0
"""Safetensors whose matrices are FP8, GPTQ or AWQ: the very bits of a model of the same numbers in
F32, at every split, and quantised on load too."""

import json
import shutil

import gguf_world as world
import numpy as np
import pytest
import twinax_cli as cli

PROMPT = [int(i) for i in np.random.RandomState(6).randint(3, 250, 30)]
ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # AWQ's, of the eight numbers of a word
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def e4m3(byte):
    e, m = byte >> 3 & 15, byte & 7
    v = m / 512 if e == 0 else (8 + m) * 2.0 ** (e - 10)
    return -v if byte & 128 else v


E4M3 = np.array([np.nan if b & 127 == 127 else e4m3(b) for b in range(256)], np.float32)


def write_safetensors(path, tensors):
    """name -> (dtype, array)"""
    head, at = {}, 0
    for name, (dtype, a) in tensors.items():
        head[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    raw = json.dumps(head).encode()
    raw += b" " * (-len(raw) % 8)
    data = b"".join(np.ascontiguousarray(a).tobytes() for _, a in tensors.values())
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


def spread(scales, shape):
    """Scales by rows, or by blocks of 64 x 64 of which the last are cut, over all numbers."""
    if scales.shape == (shape[0], 1):
        return np.broadcast_to(scales, shape)
    return np.kron(scales, np.ones((64, 64), np.float32))[: shape[0], : shape[1]]


def fp8(w, rng, scale_shape, tail):
    """(parts, widened)"""
    raw = rng.randint(0, 256, w.shape).astype(np.uint8)
    raw[(raw & 127) == 127] = 5
    raw[(raw & 127) > 80] &= 0x8F  # small ones, as trained weights are
    scales = (rng.uniform(0.5, 1.5, scale_shape(w.shape)) * 0.3 / np.sqrt(w.shape[1])).astype(np.float32)
    return {
        ".weight": ("F8_E4M3", raw),
        tail: ("F32", scales),
    }, E4M3[raw] * spread(scales, w.shape).astype(np.float32)


def pack(numbers, order=range(8)):
    """[n][8 k] of 4 bits to [n][k] words."""
    words = np.zeros((numbers.shape[0], numbers.shape[1] // 8), np.uint32)
    for i, k in enumerate(order):
        words |= numbers[:, k::8].astype(np.uint32) << np.uint32(4 * i)
    return words.view(np.int32)


def four(w, rng, awq, group, act_order=False, zero_add=1):
    n, k = w.shape
    q = rng.randint(0, 16, (k, n))
    zeros = rng.randint(4, 12, (k // group, n))
    scales = (rng.uniform(0.5, 1.5, (k // group, n)) * 0.3 / np.sqrt(k)).astype(np.float16)
    g_idx = np.arange(k) // group
    if act_order:
        rng.shuffle(g_idx)
    wide = (q - zeros[g_idx]).astype(np.float32) * scales.astype(np.float32)[g_idx]
    if awq:
        parts = {".qweight": pack(q, ORDER), ".qzeros": pack(zeros, ORDER)}
    else:
        parts = {
            ".qweight": np.ascontiguousarray(pack(np.ascontiguousarray(q.T)).T),
            ".qzeros": pack(zeros - zero_add),
            ".g_idx": g_idx.astype(np.int32),
        }
    return {t: ("I32", a) for t, a in parts.items()} | {".scales": ("F16", scales)}, wide.T


KINDS = {
    "fp8-blocks": (
        {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [64, 64]},
        lambda w, r: fp8(w, r, lambda s: (-(-s[0] // 64), -(-s[1] // 64)), ".weight_scale_inv"),
    ),
    "fp8-rows": (
        {"quant_method": "compressed-tensors", "format": "float-quantized",
         "config_groups": {"group_0": {"weights": {"num_bits": 8, "strategy": "channel"}}}},
        lambda w, r: fp8(w, r, lambda s: (s[0], 1), ".weight_scale"),
    ),
    "gptq": (
        {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False},
        lambda w, r: four(w, r, False, 32),
    ),
    "gptq-act-order": (
        {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": True,
         "checkpoint_format": "gptq_v2"},
        lambda w, r: four(w, r, False, 32, act_order=True, zero_add=0),
    ),
    "awq": (
        {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True},
        lambda w, r: four(w, r, True, 32),
    ),
}  # fmt: skip


def make(folder, kind):
    """(coded model, the same numbers in F32)"""
    method, code = KINDS[kind]
    plain = world.random_model(folder / "plain", 256, d=96, layers=2, heads=8, kv=4, q=32, ffn=256)
    rng, coded, wide = np.random.RandomState(8), {}, {}
    for name, (dtype, shape, raw) in world.make_gguf.read_safetensors(plain).items():
        w = np.frombuffer(raw, "<f4").reshape(shape)
        stem = name.removesuffix(".weight")
        coded[name] = wide[name] = (dtype, w)
        if any(m in name for m in MATRICES):
            parts, values = code(w, rng)
            del coded[name]
            coded |= {stem + tail: part for tail, part in parts.items()}
            wide[name] = ("F32", values.astype(np.float32))
    other = folder / kind
    shutil.copytree(plain, other)
    write_safetensors(plain / "model.safetensors", wide)
    write_safetensors(other / "model.safetensors", coded)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"quantization_config": method}))
    return other, plain


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_as_widened(kind, folder):
    coded, plain = make(folder, kind)
    want = world.generate(plain, PROMPT, folder)
    assert world.generate(coded, PROMPT, folder) == want
    assert world.generate(coded, PROMPT, folder, "--local", "--tp", "2", "--threads", "1") == want
    more = ("--quant", "q8")
    assert world.generate(coded, PROMPT, folder, *more) == world.generate(plain, PROMPT, folder, *more)


def broken(folder, **parts):
    """The model of FP8 by blocks with some tensors in the place of others."""
    coded, _ = make(folder, "fp8-blocks")
    kinds = {"F8_E4M3": np.uint8, "F32": np.float32}
    tensors = {
        name: (dtype, np.frombuffer(raw, kinds[dtype]).reshape(shape))
        for name, (dtype, shape, raw) in world.make_gguf.read_safetensors(coded).items()
    }
    tensors = {name: t for name, t in tensors.items() if name not in parts} | parts
    write_safetensors(coded / "model.safetensors", tensors)
    return coded


@pytest.mark.parametrize("name, shape", [("model.norm", (96,)), ("model.embed_tokens", (256, 96))])
def test_what_may_not_be_coded_is_named(name, shape, folder):
    parts = {
        name + ".weight": ("F8_E4M3", np.full(shape, 0x38, np.uint8)),
        name + ".weight_scale": ("F32", np.ones((), np.float32)),
    }
    done = cli.run("run", broken(folder, **parts), "--prompt-ids", "1", "-n", "1")
    assert done.returncode == 1
    assert f'"{name}.weight": is coded' in done.stderr, done.stderr


def test_scales_of_no_numbers_are_named(folder):
    """As many blocks as wanted, of none each, at the very end of the file."""
    name = "model.layers.0.self_attn.q_proj.weight_scale_inv"
    scales = np.zeros((4, 2, 0), np.float32)
    done = cli.run("run", broken(folder, **{name: ("F32", scales)}), "--prompt-ids", "1", "-n", "1")
    assert done.returncode == 1
    assert f'"{name}": shape [4, 2, 0]: want one scale' in done.stderr, done.stderr


@pytest.mark.parametrize("kind, tail, last", [("fp8-blocks", ".weight", b"\xff"), ("fp8-rows", ".weight_scale", b"\x80\x7f"),
                                              ("gptq", ".scales", b"\x00\x7c"), ("awq", ".scales", b"\x01\xfe")])  # fmt: skip
def test_what_is_no_number_is_named(kind, tail, last, folder):
    """NaN or an infinity in the last place of the last matrix."""
    coded, _ = make(folder, kind)
    kinds = {"F8_E4M3": np.uint8, "F32": np.float32, "F16": np.float16, "I32": np.int32}
    name, tensors = "model.layers.1.mlp.down_proj", {}
    for key, (dtype, shape, raw) in world.make_gguf.read_safetensors(coded).items():
        raw = raw[: -len(last)] + last if key == name + tail else raw
        tensors[key] = (dtype, np.frombuffer(raw, kinds[dtype]).reshape(shape))
    write_safetensors(coded / "model.safetensors", tensors)
    done = cli.run("run", coded, "--prompt-ids", "1", "-n", "1")
    assert done.returncode == 1
    assert f'tensor "{name}.' in done.stderr and "is not finite" in done.stderr, done.stderr
