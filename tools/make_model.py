# SPDX-License-Identifier: Apache-2.0
"""Writes a random-weight model of a real shape, for benchmarks; needs numpy alone.

The folder is in Hugging Face layout: config.json, generation_config.json, model.safetensors (BF16)
and a byte-level tokenizer (ids 0..255 are the bytes, the next one is the end of text), so that
text prompts work. Text comes out only for ids that have a token; --fill-vocab gives every other id
one too. The same seed gives the same bytes.
"""

import argparse
import functools
import json
import math
import os
import pathlib
import sys
import time

import numpy as np

BLOCK = 4_194_301  # prime, so that no two rows of a tensor cut out of the tiled block are equal
LLAMA3 = {
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
EOS, EOS_ID = "<|endoftext|>", 256
CHAT = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)

LLAMA_1B = dict(
    model_type="llama",
    hidden_size=2048,
    num_hidden_layers=16,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=64,
    intermediate_size=8192,
    vocab_size=128256,
    rms_norm_eps=1e-5,
    rope_theta=500000.0,
    rope_scaling=LLAMA3,
    max_position_embeddings=131072,
    attention_bias=False,
    mlp_bias=False,
    pretraining_tp=1,
)
QWEN3_06B = dict(
    model_type="qwen3",
    hidden_size=1024,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
    intermediate_size=3072,
    vocab_size=151936,
    rms_norm_eps=1e-6,
    rope_theta=1000000,
    rope_scaling=None,
    max_position_embeddings=40960,
    attention_bias=False,
    use_sliding_window=False,
    sliding_window=None,
    max_window_layers=28,
)
# The layers of Qwen3-30B-A3B, fewer of them and with fewer experts to choose from: a token takes 8.
QWEN3_MOE = dict(
    QWEN3_06B,
    model_type="qwen3_moe",
    hidden_size=2048,
    num_hidden_layers=8,
    num_attention_heads=32,
    num_key_value_heads=4,
    intermediate_size=6144,
    vocab_size=32000,
    max_window_layers=8,
    num_experts=32,
    num_experts_per_tok=8,
    moe_intermediate_size=768,
    norm_topk_prob=True,
    decoder_sparse_step=1,
    mlp_only_layers=[],
)
TINY = dict(
    LLAMA_1B,
    hidden_size=128,
    num_hidden_layers=2,
    num_attention_heads=8,
    num_key_value_heads=2,
    head_dim=16,
    intermediate_size=384,
    vocab_size=512,
    max_position_embeddings=4096,
    rope_scaling=None,
)
SHAPES = {
    "llama-3.2-1b": LLAMA_1B,
    "qwen3-0.6b": QWEN3_06B,
    "qwen3-moe-8of32": QWEN3_MOE,
    "tiny": TINY,
}
CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}


def make_config(shape, layers):
    c = {
        "architectures": [CLASSES[shape["model_type"]]],
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": EOS_ID,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        **shape,
    }
    c["num_hidden_layers"] = layers or c["num_hidden_layers"]
    return c


def tensor_shapes(c):
    """(name, shape) of every tensor, in file order."""
    d, f, q = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    h, k = c["num_attention_heads"] * q, c["num_key_value_heads"] * q
    yield "model.embed_tokens.weight", (c["vocab_size"], d)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (d,)
        yield p + "self_attn.q_proj.weight", (h, d)
        yield p + "self_attn.k_proj.weight", (k, d)
        yield p + "self_attn.v_proj.weight", (k, d)
        yield p + "self_attn.o_proj.weight", (d, h)
        if c["model_type"] in ("qwen3", "qwen3_moe"):
            yield p + "self_attn.q_norm.weight", (q,)
            yield p + "self_attn.k_norm.weight", (q,)
        yield p + "post_attention_layernorm.weight", (d,)
        blocks = ["mlp."]
        if "num_experts" in c:
            yield p + "mlp.gate.weight", (c["num_experts"], d)
            blocks = [f"mlp.experts.{e}." for e in range(c["num_experts"])]
            f = c["moe_intermediate_size"]
        for block in blocks:
            yield p + block + "gate_proj.weight", (f, d)
            yield p + block + "up_proj.weight", (f, d)
            yield p + block + "down_proj.weight", (d, f)
    yield "model.norm.weight", (d,)


def tensor_std(name, shape):
    """Keeps the model alive: peaked attention, layers that add about what the embedding is."""
    if name.endswith(("embed_tokens.weight", "q_proj.weight", "k_proj.weight")):
        return 2.0 / math.sqrt(shape[1])
    if name.endswith(("o_proj.weight", "down_proj.weight")):
        return 3.0 / math.sqrt(shape[0] * shape[1])
    return 1.0 / math.sqrt(shape[1])


def to_bf16(x):
    """f32 to the bits of bf16, round to nearest even."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def safetensors_header(tensors):
    """Length, JSON, spaces up to a multiple of 8; returns (the header, bytes of the data)."""
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        n = 2 * math.prod(shape)
        head[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, at


def write_tensor(file, n, block, rng):
    """n elements of the endlessly tiled block, from a random place."""
    at = int(rng.integers(len(block)))
    while n:
        part = block[at : at + n]
        file.write(part.data)
        n -= len(part)
        at = 0


def norm_weights(name, n, rng):
    """q and k norms peak the attention; with one sign at the end a tied head repeats its input."""
    if name == "model.norm.weight":
        return rng.choice(np.array([1.0, -1.0], np.float32), n)
    return np.full(n, 2.0 if name.endswith(("q_norm.weight", "k_norm.weight")) else 1.0, np.float32)


def write_weights(path, config, seed):
    """Returns the bytes written."""
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal(BLOCK, dtype=np.float32)

    @functools.cache
    def block_of(std):
        return to_bf16(normals * np.float32(std))

    tensors = list(tensor_shapes(config))
    header, size = safetensors_header(tensors)
    with open(path, "wb") as file:
        file.write(header)
        for name, shape in tensors:
            if name.endswith("norm.weight"):
                file.write(to_bf16(norm_weights(name, shape[0], rng)).data)
            else:
                write_tensor(file, math.prod(shape), block_of(tensor_std(name, shape)), rng)
    return len(header) + size


def byte_tokens():
    """The 256 characters that byte-level BPE writes for the bytes, in byte order."""
    plain = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    other = iter(range(256, 512))
    return [chr(b if b in plain else next(other)) for b in range(256)]


def make_tokenizer(fill_to):
    vocab = {token: i for i, token in enumerate(byte_tokens())}
    vocab.update({f"~{i}": i for i in range(EOS_ID + 1, fill_to)})
    eos = {
        "id": EOS_ID,
        "content": EOS,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [eos],
        "normalizer": None,
        "pre_tokenizer": {**level, "use_regex": True},
        "post_processor": {**level, "use_regex": True},
        "decoder": {**level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [],
        },
    }


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def make_model(shape, out_dir, seed=0, layers=0, fill_vocab=False):
    """Writes the folder, the weights last and renamed when whole; returns their bytes."""
    config = make_config(SHAPES[shape], layers)
    out_dir.mkdir(parents=True, exist_ok=True)
    write_json(out_dir / "config.json", config)
    write_json(out_dir / "generation_config.json", {"eos_token_id": EOS_ID})
    write_json(
        out_dir / "tokenizer.json", make_tokenizer(config["vocab_size"] if fill_vocab else 0)
    )
    write_json(
        out_dir / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": None,
            "eos_token": EOS,
            "chat_template": CHAT,
            "clean_up_tokenization_spaces": False,
            "model_max_length": config["max_position_embeddings"],
        },
    )
    part = out_dir / "model.safetensors.part"
    size = write_weights(part, config, seed)
    os.replace(part, out_dir / "model.safetensors")
    return size


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("out_dir", type=pathlib.Path)
    ap.add_argument("--shape", choices=SHAPES, required=True)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument(
        "--layers",
        type=int,
        default=0,
        metavar="N",
        help="so many layers instead of the shape's own",
    )
    ap.add_argument(
        "--fill-vocab", action="store_true", help="a token for every id, so that all output is text"
    )
    args = ap.parse_args()
    if args.layers < 0:
        ap.error("--layers must be positive")
    began = time.monotonic()
    size = make_model(args.shape, args.out_dir, args.seed, args.layers, args.fill_vocab)
    print(
        f"{args.out_dir}: {size / 1e9:.2f} GB in {time.monotonic() - began:.1f} s", file=sys.stderr
    )


if __name__ == "__main__":
    main()
