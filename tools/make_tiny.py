# SPDX-License-Identifier: Apache-2.0
"""Makes the tiny parity models and their golden outputs.

Each model is a folder in Hugging Face layout with random weights (config.json in the classic
style, in the new one, or both), plus
  golden.json   prompt_ids, greedy_ids (64 tokens, f32, with KV cache), max_abs_logit, and what
                was measured
  logits.f32    raw little-endian f32 [V], the logits of the last prompt position

The oracle is transformers in f32 with eager attention on the stored weights, upcast. A seed is
taken only when
  attention is far from uniform, the logits are not degenerate, and no greedy step is nearly a tie,
  nor any choice of experts;
  the f32 oracle agrees with its own f64 run, and its cached run with its uncached one;
  a KV cache rounded to bf16 moves the logits by much less than the parity tests allow;
  every trap of the family (rope scaling, window, bias, q/k norm, eps ...) moves the logits by much
  more, so that an engine that falls into it fails.
Weights come from numpy's frozen RandomState: the same on every machine, with every transformers.
"""

import argparse
import copy
import json
import logging
import math
import os
import pathlib
import sys

import numpy as np

GREEDY = 64
MIN_GAP = 1e-3  # of max|logit|, at every greedy step
MIN_ROUTE = 1e-3  # between the router's logits of the last expert chosen and the first that is not
MAX_ENTROPY = 0.7  # mean of entropy / log(visible keys), rows with >= 8 keys
MAX_F64 = 1e-5  # of max|logit|: f32 oracle against f64
MAX_BF16_KV = 3.5e-3  # of max|logit|: the parity tests allow 5e-3
MIN_TRAP = 5e-3  # of max|logit|: a trap must move the logits this much; the parity tests allow 1e-4
TRIES = 60

CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "mistral": "MistralForCausalLM",
}
DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32}


def spec(
    name,
    family,
    seed,
    dims,
    dtype="BF16",
    tied=False,
    prompt=88,
    shards=1,
    style="classic",
    theta=10000.0,
    rope=None,
    eps=1e-5,
    traps=(),
    **extra,
):
    """dims = hidden, layers, heads, kv heads, head_dim (None: the key is absent), ffn, vocab."""
    return dict(
        name=name,
        family=family,
        seed=seed,
        dims=dims,
        dtype=dtype,
        tied=tied,
        prompt=prompt,
        shards=shards,
        style=style,
        theta=theta,
        rope=rope,
        eps=eps,
        traps=traps,
        extra=extra,
    )


# fmt: off
MODELS = [
    spec("llama-plain", "llama", 3, (64, 2, 4, 4, None, 256, 320), eps=1e-2, prompt=97,
         traps=("eps", "theta")),
    spec("llama-linear", "llama", 6, (96, 2, 12, 4, None, 96, 300), tied=True,
         rope={"type": "linear", "factor": 4.0}, traps=("rope",)),
    spec("llama-llama3", "llama", 8, (64, 2, 8, 2, 8, 352, 256), tied=True, theta=100.0,
         rope=LLAMA3, prompt=96, traps=("rope", "original", "high_freq_factor"),
         eos_token_id=[2, 5]),
    spec("llama-yarn", "llama", 2, (64, 3, 4, 2, 16, 96, 257), shards=3, theta=500.0,
         rope=YARN, prompt=91,
         traps=("rope", "original", "attention_factor", "beta_slow")),
    spec("llama-mqa", "llama", 4, (64, 2, 8, 1, None, 96, 256), prompt=80, head_dim=None),
    spec("llama-bias-f16", "llama", 9, (64, 2, 4, 2, None, 96, 256), dtype="F16", traps=("bias",),
         attention_bias=True, mlp_bias=True),
    spec("qwen2", "qwen2", 2, (64, 2, 14, 2, 16, 256, 272), tied=True, theta=1e6,
         eps=1e-6, prompt=90, traps=("bias", "window_on"), use_sliding_window=False,
         sliding_window=24, max_window_layers=1),
    spec("qwen2-swa", "qwen2", 6, (64, 2, 8, 2, None, 96, 256), tied=True, style="both",
         theta=1e6, eps=1e-6, prompt=93, traps=("window", "window_all"), use_sliding_window=True,
         sliding_window=24, max_window_layers=1),
    spec("qwen3", "qwen3", 3, (64, 2, 8, 4, 16, 128, 256), tied=True, theta=1e6,
         eps=1e-6, traps=("qk_norm",),
         use_sliding_window=False, sliding_window=None, max_window_layers=2, attention_bias=False),
    spec("qwen3-yarn-f16", "qwen3", 5, (64, 2, 4, 2, 32, 96, 264), dtype="F16", style="new",
         theta=1000.0, prompt=99,
         rope=dict(YARN, beta_fast=2.0, beta_slow=0.5, attention_factor=1.25),
         traps=("rope", "attention_factor", "beta_fast", "window", "layer_types"),
         use_sliding_window=True, sliding_window=24, max_window_layers=1,
         layer_types=["sliding_attention", "full_attention"]),
    spec("qwen3-moe", "qwen3_moe", 15, (64, 2, 8, 4, 16, 96, 256), tied=True, theta=1e4, eps=1e-6,
         prompt=87, traps=("qk_norm", "norm_topk_prob", "num_experts_per_tok"), num_experts=8,
         num_experts_per_tok=3, moe_intermediate_size=64, norm_topk_prob=True,
         decoder_sparse_step=1, mlp_only_layers=[], use_sliding_window=False,
         sliding_window=None, max_window_layers=2, attention_bias=False),
    spec("qwen3-moe-mixed", "qwen3_moe", 3, (64, 3, 8, 2, None, 128, 257), style="new", theta=1e4,
         eps=1e-6, prompt=82, traps=("norm_topk_prob", "num_experts_per_tok", "bias", "window_off"),
         num_experts=5, num_experts_per_tok=2, moe_intermediate_size=128, norm_topk_prob=False,
         decoder_sparse_step=1, mlp_only_layers=[0, 2], use_sliding_window=True, sliding_window=24,
         attention_bias=True),
    spec("mistral", "mistral", 1, (64, 2, 8, 2, None, 96, 288), prompt=100, traps=("window",),
         sliding_window=24),
    spec("mistral-f32", "mistral", 3, (64, 2, 4, 2, 8, 64, 256), dtype="F32", tied=True,
         style="new", prompt=84, traps=("window",), sliding_window=24),
]
# fmt: on


def make_config(s):
    d, n_layers, heads, kv_heads, head_dim, ffn, vocab = s["dims"]
    c = {
        "architectures": [CLASSES[s["family"]]],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": d,
        "initializer_range": 0.02,
        "intermediate_size": ffn,
        "max_position_embeddings": 256,
        "model_type": s["family"],
        "num_attention_heads": heads,
        "num_hidden_layers": n_layers,
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": s["eps"],
        "tie_word_embeddings": s["tied"],
        "use_cache": True,
        "vocab_size": vocab,
        **s["extra"],
    }
    if head_dim:
        c["head_dim"] = head_dim
    if s["style"] in ("classic", "both"):
        c.update(rope_theta=s["theta"], rope_scaling=s["rope"], torch_dtype=DTYPES[s["dtype"]])
    if s["style"] in ("new", "both"):
        rope = dict(s["rope"] or {"rope_type": "default"})
        c.update(rope_parameters={"rope_theta": s["theta"], **rope}, dtype=DTYPES[s["dtype"]])
    return c


def has_experts(s, layer):
    c = s["extra"]
    return (
        "num_experts" in c
        and layer not in c["mlp_only_layers"]
        and (layer + 1) % c["decoder_sparse_step"] == 0
    )


def make_weights(s, seed):
    """name -> f32 array. q and k are wide, for peaked attention; yarn's factor is taken out."""
    d, n_layers, heads, kv_heads, head_dim, ffn, vocab = s["dims"]
    q = head_dim or d // heads
    rng = np.random.RandomState(seed)
    w = {}
    rope = s["rope"] or {}
    yarn_factor = 0.1 * math.log(rope["factor"]) + 1.0 if rope.get("rope_type") == "yarn" else 1.0
    qk_gain = 1.5 / rope.get("attention_factor", yarn_factor)

    embed_std = 2.4 / math.sqrt(d) if s["tied"] else 0.6

    def normal(name, shape, std, mean=0.0):
        w[name] = (rng.standard_normal(shape) * std + mean).astype(np.float32)

    qkv_bias = s["family"] == "qwen2" or s["extra"].get("attention_bias")
    o_bias = s["family"] in ("llama", "qwen3_moe") and s["extra"].get("attention_bias")
    mlp_bias = s["extra"].get("mlp_bias")

    def linear(name, n_out, n_in, gain, bias):
        normal(name + ".weight", (n_out, n_in), gain / math.sqrt(n_in))
        if bias:
            normal(name + ".bias", (n_out,), 0.4)

    normal("model.embed_tokens.weight", (vocab, d), embed_std)
    for i in range(n_layers):
        p = f"model.layers.{i}."
        normal(p + "input_layernorm.weight", (d,), 0.2, 1.0)
        linear(p + "self_attn.q_proj", heads * q, d, qk_gain, qkv_bias)
        linear(p + "self_attn.k_proj", kv_heads * q, d, qk_gain, qkv_bias)
        linear(p + "self_attn.v_proj", kv_heads * q, d, 1.0, qkv_bias)
        if s["family"].startswith("qwen3"):
            normal(p + "self_attn.q_norm.weight", (q,), 0.3, qk_gain)
            normal(p + "self_attn.k_norm.weight", (q,), 0.3, qk_gain)
        linear(p + "self_attn.o_proj", d, heads * q, 1.5 * embed_std, o_bias)
        normal(p + "post_attention_layernorm.weight", (d,), 0.2, 1.0)
        blocks, f = ["mlp."], ffn
        if has_experts(s, i):
            linear(p + "mlp.gate", s["extra"]["num_experts"], d, 2.0, False)
            blocks = [f"mlp.experts.{e}." for e in range(s["extra"]["num_experts"])]
            f = s["extra"]["moe_intermediate_size"]
        for block in blocks:
            linear(p + block + "gate_proj", f, d, 1.2, mlp_bias)
            linear(p + block + "up_proj", f, d, 1.0, mlp_bias)
            linear(p + block + "down_proj", d, f, 1.5 * embed_std, mlp_bias)
    normal(
        "model.norm.weight", (d,), 1.0
    )  # both signs: a tied head must not favour the id that was fed
    if not s["tied"]:
        normal("lm_head.weight", (vocab, d), 2.4 / math.sqrt(d))
    return w


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_model(s, seed, folder):
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    dtype = getattr(torch, DTYPES[s["dtype"]])
    tensors = {k: torch.from_numpy(v).to(dtype) for k, v in make_weights(s, seed).items()}
    write_json(folder / "config.json", make_config(s))
    write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    if s["shards"] == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    where, total = {}, sum(t.nbytes for t in tensors.values())
    names = list(tensors)
    for i in range(s["shards"]):
        file = f"model-{i + 1:05d}-of-{s['shards']:05d}.safetensors"
        part = names[i * len(names) // s["shards"] : (i + 1) * len(names) // s["shards"]]
        save_file({n: tensors[n] for n in part}, folder / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(part, file))
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": where},
    )


def load_oracle(folder, config=None):
    """The model in f32; config, where given, replaces the folder's."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if config is None:
        config = json.loads((folder / "config.json").read_text())
    config = AutoConfig.for_model(**config)
    if "num_experts" in config.to_dict() or "num_local_experts" in config.to_dict():
        config._experts_implementation = "eager"  # the fast one knows no f64
    model, info = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
    )
    wrong = {k: v for k, v in info.items() if v}
    if wrong:
        raise ValueError(f"{folder}: transformers did not load every weight: {wrong}")
    return model.eval()


def last_logits(model, ids, cache=None, first_position=None):
    import torch

    where = {}
    if first_position is not None:
        where["position_ids"] = torch.arange(first_position, first_position + len(ids))[None]
    with torch.no_grad():
        out = model(
            torch.tensor([ids]), past_key_values=cache, use_cache=cache is not None, **where
        )
    return out.logits[0, -1].double().numpy()


def bf16_logits(model, ids, first_position):
    """As last_logits with a bf16 KV cache. RoPE is relative: only rounding sees the position."""
    import torch
    from transformers import DynamicCache

    class Rounded(DynamicCache):
        def update(self, key, value, *args, **kwargs):
            return super().update(
                key.to(torch.bfloat16).to(key.dtype),
                value.to(torch.bfloat16).to(value.dtype),
                *args,
                **kwargs,
            )

    return last_logits(model, ids, Rounded(config=model.config), first_position)


def greedy(model, prompt, n):
    """n greedy ids, the last prompt position's logits, each step's top-2 gap over max|logit|."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    ids, gaps, first, feed = [], [], None, prompt
    for _ in range(n):
        logits = last_logits(model, feed, cache)
        first = logits if first is None else first
        second, best = np.partition(logits, -2)[-2:]
        gaps.append((best - second) / np.abs(logits).max())
        ids.append(int(logits.argmax()))
        feed = ids[-1:]
    return ids, first, gaps


def attention_entropy(model, prompt):
    """Mean of entropy / log(visible keys) over layers, heads, and rows with >= 8 visible keys."""
    import torch

    with torch.no_grad():
        layers = model(torch.tensor([prompt]), output_attentions=True).attentions
    ratios = []
    for a in layers:
        a = a[0].double()
        visible = (a > 0).sum(-1)
        entropy = -(a * a.clamp_min(1e-300).log()).sum(-1)
        ratios.append((entropy / visible.double().log())[visible >= 8])
    return float(torch.cat(ratios).mean())


def softmax_peak(model, ids):
    """Mean over positions of the largest probability."""
    import torch

    with torch.no_grad():
        return float(model(torch.tensor([ids])).logits[0].softmax(-1).amax(-1).mean())


def route_gap(model, ids):
    """The least distance between the router's logits of the last expert that a token takes and the
    first that it does not; None without experts."""
    import torch

    gaps = []

    def watch(gate, _, out):
        best = out[0].double().sort(-1, descending=True).values
        gaps.append(float((best[:, gate.top_k - 1] - best[:, gate.top_k]).min()))

    hooks = [
        m.register_forward_hook(watch)
        for m in model.modules()
        if type(m).__name__.endswith("TopKRouter")
    ]
    with torch.no_grad():
        model(torch.tensor([ids]))
    for h in hooks:
        h.remove()
    return min(gaps) if hooks else None


def trapped_config(config, trap):
    """The config as an engine in the trap sees it; None where the weights must change."""
    c = copy.deepcopy(config)
    ropes = [c[k] for k in ("rope_scaling", "rope_parameters") if c.get(k)]
    if trap == "eps":
        c["rms_norm_eps"] = 1e-6
    elif trap == "theta":
        c["rope_theta"] = 1e6
    elif trap == "norm_topk_prob":
        c[trap] = not c[trap]
    elif trap == "num_experts_per_tok":
        c[trap] -= 1
    elif trap == "rope":
        c["rope_scaling"] = None
        if "rope_parameters" in c:
            c["rope_parameters"] = {
                "rope_type": "default",
                "rope_theta": c["rope_parameters"]["rope_theta"],
            }
    elif trap == "original":
        for r in ropes:
            r["original_max_position_embeddings"] = c["max_position_embeddings"]
    elif trap in ("high_freq_factor", "attention_factor", "beta_fast", "beta_slow"):
        for r in ropes:
            r[trap] = {
                "high_freq_factor": 2.0,
                "attention_factor": 1.0,
                "beta_fast": 32.0,
                "beta_slow": 2.0,
            }[trap]
    elif trap == "window_on":
        c["use_sliding_window"] = True
    elif trap == "window_all":
        c["max_window_layers"] = 0
        c["layer_types"] = ["sliding_attention"] * c["num_hidden_layers"]
    elif trap == "layer_types":
        del c["layer_types"]
    elif trap in ("window+1", "window-1"):
        c["sliding_window"] += int(trap[6:])
    elif trap == "window_off":
        c.update(sliding_window=None, use_sliding_window=False)
        if "layer_types" in c:
            c["layer_types"] = ["full_attention"] * c["num_hidden_layers"]
    else:
        return None
    return c


def trap_deltas(folder, config, traps, prompt, logits):
    """trap -> how far it moves the logits, over max|logit|."""
    traps = [
        u
        for t in traps
        for u in (("window+1", "window-1", "window_off") if t == "window" else (t,))
    ]
    deltas = {}
    for trap in traps:
        c = trapped_config(config, trap)
        model = load_oracle(folder, c)
        if c is None:
            ends = {"bias": ".bias", "qk_norm": "_norm.weight"}[trap]
            for name, p in model.named_parameters():
                if name.endswith(ends) and (trap == "bias" or "self_attn" in name):
                    p.data.fill_(0.0 if trap == "bias" else 1.0)
        deltas[trap] = float(
            np.abs(last_logits(model, prompt) - logits).max() / np.abs(logits).max()
        )
    return deltas


def make_golden(s, seed, folder):
    """Writes the golden files; returns (what was measured, what is wrong with this seed or '')."""
    vocab = s["dims"][6]
    prompt = [int(i) for i in np.random.RandomState(seed + 10000).randint(3, vocab, s["prompt"])]
    model = load_oracle(folder)
    ids, logits, gaps = greedy(model, prompt, GREEDY)
    top = np.abs(logits).max()

    def off(other):
        return float(np.abs(other - logits).max() / top)

    m = {
        "seed": seed,
        "min_gap": float(min(gaps)),
        "distinct_ids": len(set(ids)),
        "entropy": attention_entropy(model, prompt),
        "softmax_peak": softmax_peak(model, prompt + ids),
        "bf16_kv": max(off(bf16_logits(model, prompt, first)) for first in (0, 1, 17)),
        "uncached": off(last_logits(model, prompt)),
    }
    gap = route_gap(model, prompt + ids)
    if gap is not None:
        m["route_gap"] = gap
    m["uncached_end"] = int(last_logits(model, prompt + ids[:-1]).argmax()) == ids[-1]
    m["f64"] = off(last_logits(model.double(), prompt))
    checks = {
        "min_gap": m["min_gap"] >= MIN_GAP,
        "distinct_ids": m["distinct_ids"] >= GREEDY // 4,
        "entropy": m["entropy"] < MAX_ENTROPY,
        "softmax_peak": 0.05 < m["softmax_peak"] < 0.95,
        "bf16_kv": m["bf16_kv"] <= MAX_BF16_KV,
        "uncached": m["uncached"] <= MAX_F64,
        "route_gap": m.get("route_gap", MIN_ROUTE) >= MIN_ROUTE,
        "uncached_end": m["uncached_end"],
        "f64": m["f64"] <= MAX_F64,
    }
    wrong = [f"{k}={m[k]:.3g}" for k, good in checks.items() if not good]
    if not wrong:
        deltas = trap_deltas(
            folder, json.loads((folder / "config.json").read_text()), s["traps"], prompt, logits
        )
        m["traps"] = {k: round(v, 6) for k, v in deltas.items()}
        wrong = [f"{k}={v:.3g}" for k, v in m["traps"].items() if v < MIN_TRAP]
    m = {k: round(v, 6) if isinstance(v, float) else v for k, v in m.items()}
    golden = {"prompt_ids": prompt, "greedy_ids": ids, "max_abs_logit": float(top), "measured": m}
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    logits.astype("<f4").tofile(folder / "logits.f32")
    return m, ", ".join(wrong)


def make_one(s, folder, seed_offset, say):
    for seed in range(s["seed"] + seed_offset, s["seed"] + seed_offset + TRIES):
        write_model(s, seed, folder)
        m, wrong = make_golden(s, seed, folder)
        if not wrong:
            say(f"{s['name']}: {json.dumps(m)}")
            return
        say(f"{s['name']}: seed {seed} refused: {wrong}")
    raise SystemExit(f"{s['name']}: no good seed in {TRIES} tries")


def make_all(out_dir, names=None, seed_offset=0, say=print):
    """Writes every tiny model (or the named ones) under out_dir."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    for s in MODELS:
        if not names or s["name"] in names:
            make_one(s, pathlib.Path(out_dir) / s["name"], seed_offset, say)


def main():
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("out_dir", help="folder that gets one sub-folder per model")
    ap.add_argument(
        "--only", metavar="NAME", action="append", help="make only this model; may be repeated"
    )
    ap.add_argument(
        "--seed",
        type=int,
        default=0,
        help="added to every seed; 0, the default, makes the committed set",
    )
    args = ap.parse_args()
    unknown = set(args.only or []) - {s["name"] for s in MODELS}
    if unknown:
        ap.error(f"no such model: {', '.join(sorted(unknown))}")
    try:
        make_all(args.out_dir, args.only, args.seed)
    except ModuleNotFoundError as e:
        sys.exit(
            f"make_tiny: needs the Python package {e.name} (see tools/requirements-parity.txt)"
        )


if __name__ == "__main__":
    main()
