# SPDX-License-Identifier: Apache-2.0
"""Models in .gguf files, written by the package gguf: plain types give the very bits of the folder
they were made from; the tokenizer inside gives the ids of tokenizer.json; what is not read is
refused by name."""

import json
import shutil

import gguf
import gguf_world as world
import numpy as np
import pytest
import twinax_cli as cli

MODELS = [*sorted(p.parent for p in cli.TINY.glob("*/golden.json")), cli.DEMO]


def prompt_of(model):
    golden = model / "golden.json"
    if golden.exists():
        return json.loads(golden.read_text())["prompt_ids"]
    return cli.answers()[0]["prompt_ids"]


@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.name)
def test_the_same_bits_as_the_folder(model, folder):
    prompt, out = prompt_of(model), folder / "m.gguf"
    world.make_gguf.write(model, out)
    want = world.generate(model, prompt, folder)
    assert world.generate(out, prompt, folder) == want
    if model.name in ("llama-llama3", "qwen2", "demo"):
        two = ("--local", "--tp", "2", "--threads", "1")
        assert world.generate(out, prompt, folder, *two) == want


def test_files_of_a_split_model(folder):
    """Any of them names the model; without one of them it is none."""
    model = cli.TINY / "llama-plain"
    want = world.generate(model, prompt_of(model), folder)
    world.make_gguf.write(model, folder / "part.gguf", split=8)
    parts = sorted(folder.glob("part-0000*-of-0000*.gguf"))
    assert len(parts) == 3
    for part in parts[:2]:
        assert world.generate(part, prompt_of(model), folder) == want
    parts[0].rename(folder / "alone.gguf")
    done = cli.run("run", folder / "alone.gguf", "--prompt-ids", "1", "-n", "1")
    assert done.returncode == 1 and "split.count is 3, want 1" in done.stderr
    (folder / "alone.gguf").rename(parts[0])
    parts[1].unlink()
    done = cli.run("run", parts[0], "--prompt-ids", "1", "-n", "1")
    assert done.returncode == 1 and f"{parts[1].name}: is missing beside" in done.stderr


@pytest.mark.parametrize("name", ["gpt2", "qwen", "llama3", "llama2"])
def test_the_tokenizer_inside(name, folder):
    """The same ids and the same text as by tokenizer.json, for texts of every kind."""
    model = world.tokenizer_model(folder, name)
    world.make_gguf.write(model, folder / "m.gguf")
    few = world.golden_texts(12, seed=name)
    for text in [*few, b" ".join(world.golden_texts(400, seed=name))]:
        both = [
            cli.good("tokenize", m, stdin=text.decode(errors="replace"))
            for m in (model, folder / "m.gguf")
        ]
        assert both[0].stdout == both[1].stdout, text
        ids = both[0].stdout.strip()
        if ids:
            both = [cli.good("detokenize", m, stdin=ids) for m in (model, folder / "m.gguf")]
            assert both[0].stdout == both[1].stdout, text


def test_chat_and_text_by_the_file_alone(folder):
    world.make_gguf.write(cli.DEMO, folder / "demo.gguf")
    argv = ["-p", "What is twinax?", "-n", "24", "--temp", "0"]
    assert (
        cli.good("run", folder / "demo.gguf", *argv).stdout
        == cli.good("run", cli.DEMO, *argv).stdout
    )


def refused(path, *parts):
    done = cli.run("run", path, "--prompt-ids", "1", "-n", "1")
    assert done.returncode == 1, done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr


def test_what_is_not_read_is_named(folder):
    model = world.random_model(folder / "m", 256, d=256, q=64)
    out = folder / "m.gguf"
    raw = np.zeros((256, 84), dtype=np.uint8)
    w = gguf.GGUFWriter(out, "llama")
    world.make_gguf.add_config(w, json.loads((model / "config.json").read_text()), "llama")
    w.add_tensor("token_embd.weight", np.zeros((256, 256), np.float32))
    w.add_tensor("blk.0.attn_norm.weight", np.ones(256, np.float32))
    w.add_tensor("blk.0.attn_q.weight", raw, raw_dtype=gguf.GGMLQuantizationType.Q2_K)
    for part in (w.write_header_to_file, w.write_kv_data_to_file, w.write_tensors_to_file):
        part()
    w.close()
    refused(out, "m.gguf", '"blk.0.attn_q.weight": type Q2_K is not read', "Q4_K")
    world.make_gguf.write(model, out, endian=gguf.GGUFEndian.BIG)
    refused(out, "m.gguf: a big-endian GGUF file")
    w = gguf.GGUFWriter(out, "gemma3")
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    refused(out, 'general.architecture is "gemma3", want one of llama')
    out.write_bytes(b"GGUF\x01\0\0\0" + bytes(16))
    refused(out, "GGUF version 1, want 2 or 3")
    world.make_gguf.write(model, out)
    out.write_bytes(out.read_bytes()[:-4096])
    refused(out, "is it cut short?")


def test_experts_that_are_not_read_are_named(folder):
    experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
    keys = dict(norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[])
    model = world.random_model(folder / "m", 256, family="qwen3_moe", **experts, **keys)
    out = folder / "m.gguf"
    world.make_gguf.write(model, out)
    whole = out.read_bytes()
    out.write_bytes(whole.replace(b"0.ffn_up_exps", b"0.ffn_up_expz"))
    refused(out, '"blk.0.ffn_up_exps.weight" is missing')
    at = whole.index(b"expert_used_count") + len("expert_used_count") + 4
    out.write_bytes(whole[:at] + (5).to_bytes(4, "little") + whole[at + 4 :])
    refused(out, "qwen3moe.expert_used_count is 5", "1..4")
    at = whole.index(b"expert_count") + len("expert_count") + 4
    out.write_bytes(whole[:at] + (3).to_bytes(4, "little") + whole[at + 4 :])
    refused(out, '"blk.0.ffn_gate_inp.weight": shape', "its keys want")
    out.write_bytes(whole.replace(b"qwen3moe", b"qwen3mow"))
    refused(out, 'general.architecture is "qwen3mow"', "qwen3, qwen3moe")
    model = world.random_model(folder / "dense", 256)
    config = json.loads((model / "config.json").read_text())
    w = gguf.GGUFWriter(out, "llama")
    world.make_gguf.add_config(w, config, "llama")
    w.add_expert_count(8)
    w.add_tensor("token_embd.weight", np.zeros((256, 64), np.float32))
    for part in (w.write_header_to_file, w.write_kv_data_to_file, w.write_tensors_to_file):
        part()
    w.close()
    refused(out, "llama.expert_count is 8", "qwen3moe")


def test_a_damaged_number_is_named(folder):
    model = world.random_model(folder / "m", 256)
    out = folder / "m.gguf"
    world.make_gguf.write(model, out)
    reader = gguf.GGUFReader(out, "r+")
    t = next(t for t in reader.tensors if t.name == "blk.0.ffn_up.weight")
    t.data[5][7] = np.inf
    reader.data.flush()
    refused(out, '"blk.0.ffn_up.weight": row 5 column 7 is not finite')


def place_of(raw, key, i):
    """Where element i of an array of texts or of four bytes begins."""
    at = raw.index(key) + len(key) + 4
    kind, at = int.from_bytes(raw[at : at + 4], "little"), at + 4 + 8
    for _ in range(i):
        at += 4 if kind in (5, 6) else 8 + int.from_bytes(raw[at : at + 8], "little")
    return at


def test_tokens_that_cannot_be_merged_are_named(folder):
    """A text whose every cut would be looked up, and a score that has no place in an order."""
    out = folder / "m.gguf"
    world.make_gguf.write(world.tokenizer_model(folder, "llama2"), out)
    raw, types = out.read_bytes(), b"tokenizer.ggml.token_type"
    at = place_of(raw, types, 0)
    normal = [raw[at + 4 * i] for i in range(1000)].index(1, 300)
    at, want = place_of(raw, b"tokenizer.ggml.scores", normal), f"m.gguf: token {normal} has "
    out.write_bytes(raw[:at] + np.float32(np.nan).tobytes() + raw[at + 4 :])
    done = cli.run("tokenize", out, "-p", "x")
    assert done.returncode == 1 and want in done.stderr and "score nan" in done.stderr
    at = place_of(raw, b"tokenizer.ggml.tokens", normal)
    n = int.from_bytes(raw[at : at + 8], "little")
    longer = (n + 2**20).to_bytes(8, "little") + b"x" * 2**20
    out.write_bytes(raw[:at] + longer + raw[at + 8 :])
    done = cli.run("tokenize", out, "-p", "x")
    assert done.returncode == 1 and f"{want}{n + 2**20} bytes" in done.stderr, done.stderr


def test_a_token_that_is_no_text_is_named(folder):
    """Were it looked for in a text, it would be found inside a character."""
    out = folder / "m.gguf"
    world.make_gguf.write(world.tokenizer_model(folder, "gpt2"), out)
    raw = out.read_bytes()
    at = place_of(raw, b"tokenizer.ggml.tokens", 40) + 8
    out.write_bytes(raw[:at] + b"\xa9" + raw[at + 1 :])
    done = cli.run("tokenize", out, "-p", "caf\u00e9")
    assert done.returncode == 1 and "tokenizer.ggml.tokens[40] is no UTF-8" in done.stderr


def test_a_chat_template_without_bound_is_named(folder):
    model, out = world.tokenizer_model(folder, "gpt2"), folder / "m.gguf"
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x" * (9 << 20)}))
    world.make_gguf.write(model, out)
    refused(out, "m.gguf: tokenizer.chat_template of 9437184 bytes, want at most 8388608")


def test_an_unknown_way_to_cut_text_is_named(folder):
    model = world.tokenizer_model(folder, "gpt2")
    out = folder / "m.gguf"
    world.make_gguf.write(model, out)
    raw = out.read_bytes()
    assert raw.count(b"gpt-2") == 1
    out.write_bytes(raw.replace(b"gpt-2", b"gpt-9"))
    done = cli.run("tokenize", out, "-p", "x")
    assert done.returncode == 1 and 'tokenizer.ggml.pre is "gpt-9", want one of' in done.stderr
    shutil.rmtree(model)
