# SPDX-License-Identifier: Apache-2.0
"""Makes a .gguf file from a small model in Hugging Face layout, with the package gguf as its writer.

For tests: names, metadata, the order of the rows of q and k, and the tokenizer are as the field's
converter has them; a quantised type is made by the package, or (K-quants, which it only reads) of
random blocks. What the converter cannot say (windows of single layers) is said by the keys that
GGUF has for it.

usage: tools/make_gguf.py FOLDER OUT.gguf [--type Q8_0] [--split N]
"""

import argparse
import json
import math
import pathlib

import gguf
import numpy as np

ARCHS = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe",
}
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
}
EXPERT_NAMES = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"}
TYPES = gguf.GGMLQuantizationType
SCALES_AT = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}  # of a block's f16


def gguf_name(name):
    if name in NAMES:
        return NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    stem, kind = rest.rsplit(".", 1)
    if stem.startswith("mlp.experts."):
        return f"blk.{layer}.{EXPERT_NAMES[stem.split('.')[3]]}.{kind}"
    return f"blk.{layer}.{LAYER_NAMES[stem]}.{kind}"


def read_safetensors(folder):
    """name -> (dtype, shape, raw bytes)"""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        raw = path.read_bytes()
        n = int.from_bytes(raw[:8], "little")
        for name, t in json.loads(raw[8 : 8 + n]).items():
            if name != "__metadata__":
                a, b = t["data_offsets"]
                tensors[name] = (t["dtype"], t["shape"], raw[8 + n + a : 8 + n + b])
    return tensors


def as_bits(dtype, shape, raw):
    """The numbers as they are stored: bf16 as u16."""
    kind = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[dtype]
    return np.frombuffer(raw, kind).reshape(shape)


def as_f32(dtype, bits):
    if dtype == "BF16":
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.astype(np.float32)


def join_experts(tensors):
    """Those of a layer in one tensor, under the name of the first."""
    firsts = {}
    for name, (dtype, shape, raw) in tensors.items():
        out = gguf_name(name)
        first = firsts.setdefault(out, name)
        if ".experts." in name and first == name:
            tensors[name] = (dtype, [1, *shape], raw)
        elif ".experts." in name:
            _, (n, *_), before = tensors[first]
            tensors[first] = (dtype, [n + 1, *shape], before + raw)
    return {name: tensors[name] for name in firsts.values()}


def turn(rows, n_heads):
    """The two rows that rope pairs, next to each other."""
    half = rows.reshape(n_heads, 2, rows.shape[0] // n_heads // 2, *rows.shape[1:])
    return half.swapaxes(1, 2).reshape(rows.shape)


def random_blocks(shape, kind, rng, std):
    """Blocks of any bits, with scales that give numbers of about this size."""
    block, n_bytes = gguf.GGML_QUANT_SIZES[TYPES[kind]]
    raw = rng.randint(0, 256, (*shape[:-1], shape[-1] // block, n_bytes)).astype(np.uint8)
    span = {"Q4_K": 32 * 15, "Q5_K": 32 * 31, "Q6_K": 64 * 32}[kind]
    for at in SCALES_AT[kind]:
        d = rng.uniform(0.5, 1.5, raw.shape[:-1]) * std * 3 / span
        d = d * (15 if at == 2 and kind == "Q4_K" else 31 if at == 2 else 1)
        raw[..., at : at + 2] = d.astype("<f2").view(np.uint8).reshape(*raw.shape[:-1], 2)
    return raw.reshape(*shape[:-1], -1)


def rope_divisors(rope, theta, head_dim):
    """Of llama3, as the converter computes them."""
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    out = []
    for freq in 1.0 / (theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / head_dim)):
        wave = 2 * math.pi / freq
        if wave < high:
            out.append(1)
        elif wave > low:
            out.append(rope["factor"])
        else:
            smooth = (rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]) / (
                rope["high_freq_factor"] - rope["low_freq_factor"]
            )
            out.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(out, dtype=np.float32)


def head_dim_of(c):
    return c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]


def add_rope(w, c):
    rope = c.get("rope_scaling") or c.get("rope_parameters") or {}
    theta = rope.get("rope_theta") or c.get("rope_theta") or 10000.0
    kind = rope.get("rope_type") or rope.get("type") or "default"
    w.add_rope_freq_base(theta)
    w.add_rope_dimension_count(head_dim_of(c))
    if kind == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        for key, add in (
            ("beta_fast", w.add_rope_scaling_yarn_beta_fast),
            ("beta_slow", w.add_rope_scaling_yarn_beta_slow),
        ):
            if key in rope:
                add(rope[key])
        if "attention_factor" in rope:
            default = 0.1 * math.log(rope["factor"]) + 1
            w.add_rope_scaling_attn_factors(rope["attention_factor"] / default)
    elif kind == "llama3":
        if rope["original_max_position_embeddings"] != 8192:
            w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        w.add_tensor("rope_freqs.weight", rope_divisors(rope, theta, head_dim_of(c)))


def add_window(w, c, arch):
    window = c.get("sliding_window")
    if not window:
        return
    if arch == "llama":
        w.add_sliding_window(window)
    elif c.get("use_sliding_window"):
        first = 0 if arch == "qwen3moe" else c["max_window_layers"]
        types = c.get("layer_types") or [
            "sliding_attention" if i >= first else "full_attention"
            for i in range(c["num_hidden_layers"])
        ]
        w.add_sliding_window(window)
        w.add_sliding_window_pattern([t == "sliding_attention" for t in types])


def add_config(w, c, arch):
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c.get("num_key_value_heads") or c["num_attention_heads"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_vocab_size(c["vocab_size"])
    if c.get("head_dim"):
        w.add_key_length(c["head_dim"])
        w.add_value_length(c["head_dim"])
    if arch == "qwen3moe":
        w.add_expert_count(c["num_experts"])
        w.add_expert_used_count(c["num_experts_per_tok"])
        w.add_expert_feed_forward_length(c["moe_intermediate_size"])
        if not c["norm_topk_prob"]:  # the converter cannot say it
            w.add_expert_weights_norm(False)
    add_rope(w, c)
    add_window(w, c, arch)


def pre_of(tok):
    """Its name in GGUF files; None: SentencePiece's design."""
    text = json.dumps(tok["pre_tokenizer"])
    if tok["model"].get("byte_fallback"):
        return None
    if "{1,3}" in text:
        return "llama-bpe"
    return "qwen2" if "Regex" in text else "gpt-2"


def add_tokenizer(w, folder, n_vocab):
    tok = json.loads((folder / "tokenizer.json").read_text())
    pre, added = pre_of(tok), {t["id"]: t for t in tok["added_tokens"]}
    words = {i: s for s, i in tok["model"]["vocab"].items()} | {
        i: t["content"] for i, t in added.items()
    }
    tokens, types, scores = [], [], []
    for i in range(n_vocab):
        text = words.get(i, f"[PAD{i}]")
        kind = gguf.TokenType.NORMAL if i in words else gguf.TokenType.UNUSED
        if i in added:
            kind = gguf.TokenType.CONTROL if added[i]["special"] else gguf.TokenType.USER_DEFINED
        if pre is None and text == tok["model"].get("unk_token"):
            kind = gguf.TokenType.UNKNOWN
        elif pre is None and len(text) == 6 and text.startswith("<0x") and i not in added:
            kind = gguf.TokenType.BYTE
        tokens.append(text)
        types.append(kind)
    merges = [m if isinstance(m, str) else " ".join(m) for m in tok["model"]["merges"]]
    if pre is None:
        rank = {}
        for i, m in enumerate(merges):
            rank.setdefault(m.replace(" ", ""), i)
        scores = [-float(rank.get(t, len(merges))) for t in tokens]
        w.add_tokenizer_model("llama")
        w.add_token_scores(scores)
        w.add_add_space_prefix("Prepend" in json.dumps(tok["normalizer"]))
        if tok["model"].get("unk_token"):
            w.add_unk_token_id(tok["model"]["vocab"][tok["model"]["unk_token"]])
    else:
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(pre)
        w.add_token_merges(merges)
    w.add_token_list(tokens)
    w.add_token_types(types)
    add_special(w, folder, tok)


def add_special(w, folder, tok):
    ids = {t["content"]: t["id"] for t in tok["added_tokens"]}
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) if path.exists() else {}
    post = tok.get("post_processor") or {}
    single = post.get("single") or [
        t for p in post.get("processors", []) for t in p.get("single", [])
    ]
    names = [t["SpecialToken"]["id"] if "SpecialToken" in t else None for t in single]
    at = names.index(None) if None in names else 0
    bos = names[0] if at > 0 else config.get("bos_token")
    eos = names[-1] if names and at < len(names) - 1 else config.get("eos_token")
    if bos in ids:
        w.add_bos_token_id(ids[bos])
    if eos in ids:
        w.add_eos_token_id(ids[eos])
    w.add_add_bos_token(at > 0)
    w.add_add_eos_token(bool(names) and at < len(names) - 1)
    if config.get("chat_template"):
        w.add_chat_template(config["chat_template"])


def wanted_type(name, shape, kind):
    """Vectors stay plain; so do rows that are no whole blocks."""
    if len(shape) == 1 or name.endswith("mlp.gate.weight"):
        return "F32"
    block = gguf.GGML_QUANT_SIZES[TYPES[kind]][0]
    return kind if shape[-1] % block == 0 else "F16"


def add_tensor(w, name, dtype, bits, kind, rng):
    values = as_f32(dtype, bits)
    if kind == dtype and dtype == "BF16":
        w.add_tensor(name, bits.view(np.uint8), raw_dtype=TYPES.BF16)
    elif kind in SCALES_AT:
        w.add_tensor(name, random_blocks(bits.shape, kind, rng, values.std()), raw_dtype=TYPES[kind])
    else:
        w.add_tensor(name, gguf.quants.quantize(values, TYPES[kind]), raw_dtype=TYPES[kind])


def write(folder, out, kind=None, split=0, kinds=None, endian=None):
    """kind: of all matrices (default: each as it is); kinds: of single ones, by part of the name."""
    folder, rng = pathlib.Path(folder), np.random.RandomState(7)
    c = json.loads((folder / "config.json").read_text())
    arch = ARCHS[c["model_type"]]
    more = {"endianess": endian} if endian else {}
    w = gguf.GGUFWriter(out, arch, split_max_tensors=split, **more)
    add_config(w, c, arch)
    if (folder / "tokenizer.json").exists():
        add_tokenizer(w, folder, c["vocab_size"])
    else:
        w.add_bos_token_id(c.get("bos_token_id") or 1)
        eos = c.get("eos_token_id") or 2
        w.add_eos_token_id(eos[0] if isinstance(eos, list) else eos)
    for name, (dtype, shape, raw) in join_experts(read_safetensors(folder)).items():
        bits = as_bits(dtype, shape, raw)
        if arch == "llama" and ("q_proj" in name or "k_proj" in name):
            heads = c["num_attention_heads"]
            bits = turn(bits, heads if "q_proj" in name else c.get("num_key_value_heads") or heads)
        want = kind or dtype
        for part, other in (kinds or {}).items():
            want = other if part in name else want
        add_tensor(w, gguf_name(name), dtype, bits, wanted_type(name, shape, want), rng)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("folder", type=pathlib.Path)
    ap.add_argument("out", type=pathlib.Path)
    ap.add_argument("--type", help="of the matrices; default: as they are")
    ap.add_argument("--split", type=int, default=0, help="so many tensors a file")
    args = ap.parse_args()
    write(args.folder, args.out, args.type, args.split)


if __name__ == "__main__":
    main()
