# SPDX-License-Identifier: Apache-2.0
"""Small models for the tests of .gguf files: made here, and written by tools/make_gguf.py."""

import base64
import importlib.util
import json
import random

import numpy as np
import twinax_cli as cli
from safetensors.numpy import save_file

_spec = importlib.util.spec_from_file_location("make_gguf", cli.ROOT / "tools" / "make_gguf.py")
make_gguf = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_gguf)

TOKENIZERS = cli.ROOT / "tests" / "data" / "tokenizers"
GREEDY = ("-n", "12", "--ids", "--ignore-eos", "--temp", "0")


CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}


def random_model(folder, vocab, d=64, layers=1, heads=4, kv=2, q=32, ffn=128, family="llama", **keys):
    """A folder in Hugging Face layout, F32."""
    rng = np.random.RandomState(3)
    config = {
        "architectures": [CLASSES[family]],
        "model_type": family,
        "hidden_size": d,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": q,
        "intermediate_size": ffn,
        "vocab_size": vocab,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "bos_token_id": 1,
        "eos_token_id": 2,
        **keys,
    }
    shapes = {"model.embed_tokens": (vocab, d), "lm_head": (vocab, d), "model.norm": (d,)}
    for i in range(layers):
        p = f"model.layers.{i}."
        shapes |= {
            p + "input_layernorm": (d,),
            p + "self_attn.q_proj": (heads * q, d),
            p + "self_attn.k_proj": (kv * q, d),
            p + "self_attn.v_proj": (kv * q, d),
            p + "self_attn.o_proj": (d, heads * q),
            p + "post_attention_layernorm": (d,),
        }
        blocks = ["mlp."]
        if family == "qwen3_moe":
            shapes |= {p + "mlp.gate": (keys["num_experts"], d)}
            shapes |= {p + f"self_attn.{k}_norm": (q,) for k in "qk"}
            blocks = [f"mlp.experts.{e}." for e in range(keys["num_experts"])]
            ffn = keys["moe_intermediate_size"]
        for block in blocks:
            shapes |= {
                p + block + "gate_proj": (ffn, d),
                p + block + "up_proj": (ffn, d),
                p + block + "down_proj": (d, ffn),
            }
    tensors = {}
    for name, shape in shapes.items():
        gain = 1 / np.sqrt(shape[-1]) if len(shape) == 2 else 0.1
        mean = 1 if len(shape) == 1 else 0
        loud = name == "lm_head" or ("proj" in name and name[-6:-5] not in "qk")
        gain = gain * 2 if loud else gain
        tensors[name + ".weight"] = (rng.standard_normal(shape) * gain + mean).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def tokenizer_model(folder, name):
    """A model that has one of the committed tokenizers, with added tokens as GGUF can say them."""
    tok = json.loads((TOKENIZERS / name / "tokenizer.json").read_text())
    n = 1 + max([*tok["model"]["vocab"].values(), *(t["id"] for t in tok["added_tokens"])])
    model = random_model(folder / name, -(-n // 64) * 64 + 64)
    for added in tok["added_tokens"]:
        added |= dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), False)
    (model / "tokenizer.json").write_text(json.dumps(tok))
    return model


def golden_texts(n, seed):
    """Some of the strings that the tokenizers are tested with."""
    lines = [json.loads(x) for x in (TOKENIZERS / "goldens.jsonl").read_text().split("\n")[1:] if x]
    texts = [x["t"].encode() if "t" in x else base64.b64decode(x["b"]) for x in lines if "r" not in x]
    return random.Random(seed).sample(texts, min(n, len(texts)))


def generate(model, prompt, folder, *more, env=None):
    """(line of ids, bytes of the logits)"""
    argv = ["--prompt-ids", cli.comma(prompt), *GREEDY, "--logits", folder / "logits", *more]
    done = cli.good("run", model, *argv, env=env)
    return done.stdout, (folder / "logits").read_bytes()


def widened(path, folder, model):
    """A folder whose F32 tensors are those of a .gguf file, widened by the package gguf; model: the
    folder it was made from."""
    import gguf

    named = {make_gguf.gguf_name(n): n for n in make_gguf.read_safetensors(model)}
    config = json.loads((model / "config.json").read_text())
    tensors = {}
    for t in gguf.GGUFReader(path).tensors:
        rows = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        name = named[t.name]
        if rows.ndim == 3:  # all experts of a layer
            layer, part = name.split(".experts.")[0], name.split(".")[-2]
            for e, one in enumerate(rows):
                tensors[f"{layer}.experts.{e}.{part}.weight"] = np.ascontiguousarray(one)
            continue
        if config["model_type"] == "llama" and ("q_proj" in name or "k_proj" in name):
            heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            q = rows.shape[0] // heads
            rows = rows.reshape(heads, q // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)
        tensors[name] = np.ascontiguousarray(rows)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32"}))
    return folder
