# SPDX-License-Identifier: Apache-2.0
"""A second oracle: `twinax run` in f64 numpy, straight from the papers.

It shares no code with transformers, so it proves the goldens and the tests themselves:
    TWINAX="python3 tests/parity/reference.py" pytest tests/parity
Options are those of `twinax run` that the parity tests use.
"""

import argparse
import json
import math
import pathlib

import numpy as np


def widen(raw, dtype):
    if dtype == "BF16":
        return (raw.view("<u2").astype("u4") << 16).view("f4").astype("f8")
    return raw.view({"F16": "<f2", "F32": "<f4"}[dtype]).astype("f8")


def load_tensors(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        n = int.from_bytes(data[:8], "little")
        for name, t in json.loads(data[8 : 8 + n]).items():
            if name != "__metadata__":
                a, b = t["data_offsets"]
                raw = np.frombuffer(data, "u1", b - a, 8 + n + a)
                tensors[name] = widen(raw, t["dtype"]).reshape(t["shape"])
    return tensors


def rope_frequencies(c, q):
    """(inverse frequencies [Q/2], factor on cos and sin)."""
    r = c.get("rope_parameters") or c.get("rope_scaling") or {}
    theta = r.get("rope_theta") or c.get("rope_theta") or 10000.0
    kind = r.get("rope_type", r.get("type", "default"))
    f = theta ** (-np.arange(0, q, 2) / q)
    if kind == "default":
        return f, 1.0
    factor, orig = (
        r["factor"],
        r.get("original_max_position_embeddings", c["max_position_embeddings"]),
    )
    if kind == "linear":
        return f / factor, 1.0
    if kind == "llama3":
        low, high = r["low_freq_factor"], r["high_freq_factor"]
        keep = np.clip((orig * f / (2 * math.pi) - low) / (high - low), 0, 1)
        return f * (keep + (1 - keep) / factor), 1.0
    if kind != "yarn":
        raise SystemExit(f"rope type {kind} is not known here")

    def dim_of(turns):
        return q * math.log(orig / (turns * 2 * math.pi)) / (2 * math.log(theta))

    lo = max(math.floor(dim_of(r.get("beta_fast") or 32)), 0)
    hi = min(math.ceil(dim_of(r.get("beta_slow") or 1)), q - 1)
    ramp = np.clip((np.arange(q // 2) - lo) / (hi - lo if hi != lo else 0.001), 0, 1)
    return f * (1 - ramp + ramp / factor), r.get("attention_factor") or 0.1 * math.log(factor) + 1


def windows(c):
    """Per layer the number of keys a query sees, itself included, or None for all."""
    n, w = c["num_hidden_layers"], c.get("sliding_window")
    if c["model_type"] == "mistral":
        return [w] * n
    if not c["model_type"].startswith("qwen") or not c.get("use_sliding_window") or w is None:
        return [None] * n
    first = c.get("max_window_layers", 28)
    kinds = c.get("layer_types") or ["full_attention"] * min(first, n) + ["sliding_attention"] * (
        n - first
    )
    return [w if k == "sliding_attention" else None for k in kinds]


def norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


class Model:
    def __init__(self, folder, kv):
        self.c, self.w, self.kv = (
            json.loads((folder / "config.json").read_text()),
            load_tensors(folder),
            kv,
        )
        self.heads, self.kv_heads = self.c["num_attention_heads"], self.c["num_key_value_heads"]
        self.q = self.c.get("head_dim") or self.c["hidden_size"] // self.heads
        self.freq, self.factor = rope_frequencies(self.c, self.q)
        self.cache = [([], []) for _ in range(self.c["num_hidden_layers"])]
        self.windows = windows(self.c)

    def linear(self, name, x):
        return self.w[name + ".weight"] @ x + self.w.get(name + ".bias", 0.0)

    def store(self, x):
        if self.kv == "f32":
            return x
        bits = x.astype("<f4").view("<u4")
        return (
            ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype("<u4").view("<f4").astype("f8")
        )

    def rotate(self, x, pos):
        cos, sin = np.cos(pos * self.freq) * self.factor, np.sin(pos * self.freq) * self.factor
        a, b = np.split(x, 2, -1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def attend(self, i, x, pos):
        p = f"model.layers.{i}.self_attn."
        q = self.linear(p + "q_proj", x).reshape(self.heads, self.q)
        k = self.linear(p + "k_proj", x).reshape(self.kv_heads, self.q)
        v = self.linear(p + "v_proj", x).reshape(self.kv_heads, self.q)
        if p + "q_norm.weight" in self.w:
            q = norm(q, self.w[p + "q_norm.weight"], self.c["rms_norm_eps"])
            k = norm(k, self.w[p + "k_norm.weight"], self.c["rms_norm_eps"])
        keys, values = self.cache[i]
        keys.append(self.store(self.rotate(k, pos)))
        values.append(self.store(v))
        seen = slice(-self.windows[i] if self.windows[i] else None, None)
        group = self.heads // self.kv_heads
        ks = np.repeat(np.stack(keys[seen]), group, 1)  # [T][H][Q]
        vs = np.repeat(np.stack(values[seen]), group, 1)
        s = np.einsum("hq,thq->ht", self.rotate(q, pos), ks) / math.sqrt(self.q)
        s = np.exp(s - s.max(-1, keepdims=True))
        return self.linear(
            p + "o_proj", np.einsum("ht,thq->hq", s / s.sum(-1, keepdims=True), vs).ravel()
        )

    def forward(self, token, pos):
        eps, x = self.c["rms_norm_eps"], self.w["model.embed_tokens.weight"][token]
        for i in range(self.c["num_hidden_layers"]):
            p = f"model.layers.{i}."
            x = x + self.attend(i, norm(x, self.w[p + "input_layernorm.weight"], eps), pos)
            h = norm(x, self.w[p + "post_attention_layernorm.weight"], eps)
            gate = self.linear(p + "mlp.gate_proj", h)
            x = x + self.linear(
                p + "mlp.down_proj", gate / (1 + np.exp(-gate)) * self.linear(p + "mlp.up_proj", h)
            )
        head = "model.embed_tokens" if self.c.get("tie_word_embeddings") else "lm_head"
        return self.linear(head, norm(x, self.w["model.norm.weight"], eps))


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("command", choices=["run"])
    ap.add_argument("model", type=pathlib.Path)
    ap.add_argument("--prompt-ids", required=True)
    ap.add_argument("-n", type=int, default=64)
    ap.add_argument("--temp", type=float, default=0.0)
    ap.add_argument("--kv", choices=["f32", "bf16"], default="bf16")
    ap.add_argument("--logits")
    ap.add_argument("--ids", action="store_true")
    ap.add_argument("--ignore-eos", action="store_true")
    args = ap.parse_args()
    model, ids = Model(args.model, args.kv), [int(i) for i in args.prompt_ids.split(",")]
    for pos, token in enumerate(ids):
        logits = model.forward(token, pos)
    if args.logits:
        logits.astype("<f4").tofile(args.logits)
    made = [int(logits.argmax())]
    while len(made) < args.n:
        made.append(int(model.forward(made[-1], len(ids) + len(made) - 1).argmax()))
    print(*made)


if __name__ == "__main__":
    main()
