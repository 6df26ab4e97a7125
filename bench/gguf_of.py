#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A GGUF file of a folder in Hugging Face layout (llama, qwen3), BF16, without loss: so that llama.cpp
and twinax run the same weights. Quantised files are made from it by llama-quantize. Wants the
environment of tools/requirements-peers.txt.

usage: bench/gguf_of.py FOLDER FILE.gguf
"""

import json
import os
import pathlib
import sys

import gguf
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))

import make_gguf  # noqa: E402


def tensors_of(path):
    """(name, shape, bf16 bits [rows][columns]) in file order."""
    data = np.memmap(path, np.uint8, "r")
    n = int.from_bytes(data[:8].tobytes(), "little")
    head = json.loads(data[8 : 8 + n].tobytes())
    for name, t in head.items():
        if name == "__metadata__":
            continue
        if t["dtype"] != "BF16":
            raise SystemExit(f"{path}: {name} is {t['dtype']}: wanted BF16")
        a, z = (8 + n + o for o in t["data_offsets"])
        yield name, t["shape"], data[a:z].view("<u2").reshape(t["shape"])


def add_sizes(w, c):
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_key_length(c["head_dim"])
    w.add_value_length(c["head_dim"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_vocab_size(c["vocab_size"])
    w.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    if c["model_type"] == "llama":
        w.add_rope_dimension_count(c["head_dim"])


def add_tokenizer(w, folder, n_vocab):
    """The folder's; ids without a token get one, since this format has no gaps."""
    t = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = [f"[unused{i}]" for i in range(n_vocab)]
    kinds = [gguf.TokenType.UNUSED] * n_vocab
    for text, i in t["model"]["vocab"].items():
        tokens[i], kinds[i] = text, gguf.TokenType.NORMAL
    for added in t["added_tokens"]:
        tokens[added["id"]], kinds[added["id"]] = added["content"], gguf.TokenType.CONTROL
    merges = [m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]]
    if not merges:  # the format wants one
        i = max(k for k in range(n_vocab) if kinds[k] != gguf.TokenType.CONTROL)
        tokens[i], kinds[i], merges = "zq", gguf.TokenType.NORMAL, ["z q"]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types(kinds)
    w.add_token_merges(merges)
    eos = json.loads((folder / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    w.add_eos_token_id(eos)
    w.add_add_bos_token(False)


def write(folder, path):
    c = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if c["model_type"] not in ("llama", "qwen3"):
        raise SystemExit(f"{folder}: model_type {c['model_type']}: wanted llama or qwen3")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    w = gguf.GGUFWriter(str(part), c["model_type"])
    w.add_name(folder.name)
    add_sizes(w, c)
    add_tokenizer(w, folder, c["vocab_size"])
    if c["model_type"] == "llama" and c.get("rope_scaling"):
        w.add_tensor("rope_freqs.weight", make_gguf.rope_divisors(c["rope_scaling"], c["rope_theta"], c["head_dim"]))
    heads = {"q_proj": c["num_attention_heads"], "k_proj": c["num_key_value_heads"]}
    for name, shape, bits in tensors_of(folder / "model.safetensors"):
        if len(shape) == 1:
            wide = (bits.astype(np.uint32) << 16).view(np.float32)
            w.add_tensor(make_gguf.gguf_name(name), wide)
            continue
        n_heads = heads.get(name.split(".")[-2]) if c["model_type"] == "llama" else None
        bits = make_gguf.turn(bits, n_heads) if n_heads else bits
        w.add_tensor(make_gguf.gguf_name(name), np.ascontiguousarray(bits).view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    os.replace(part, path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__.rsplit("\n\n", maxsplit=1)[-1].strip())
    write(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
