# SPDX-License-Identifier: Apache-2.0
"""Quantised .gguf files: the same bits for every split and kernel table, and near the model whose
weights are the same numbers in F32 (the package gguf widens them; activations are quantised too)."""

import itertools
import json

import gguf_world as world
import numpy as np
import pytest
import twinax_cli as cli

PROMPT = [int(i) for i in np.random.RandomState(5).randint(3, 500, 40)]
MIXES = {
    "Q8_0": ("Q8_0", {}),
    "Q4_0": ("Q4_0", {"lm_head": "Q8_0"}),
    "Q4_1": ("Q4_1", {"v_proj": "Q5_0", "down_proj": "Q5_1", "embed_tokens": "Q4_0"}),
    "MXFP4": ("MXFP4", {"lm_head": "F16"}),
    # as llama-quantize mixes them
    "Q4_K_M": ("Q4_K", {"v_proj": "Q6_K", "0.mlp.down_proj": "Q6_K", "lm_head": "Q6_K"}),
    "Q5_K_M": ("Q5_K", {"v_proj": "Q6_K", "embed_tokens": "Q5_K", "o_proj": "BF16"}),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Dimensions that 256 divides and eight ranks share."""
    folder = tmp_path_factory.mktemp("quant") / "m"
    return world.random_model(folder, 512, d=256, layers=2, heads=8, kv=4, q=32, ffn=512)


def splits(i):
    """Some of the ways to run it; each is in some mix."""
    tables = cli.tables()
    every = list(itertools.product((1, 2, 4, 8), tables))
    return [(8, tables[0]), *every[i :: len(MIXES)]]


@pytest.mark.parametrize("mix", MIXES)
def test_same_bits_and_near_the_widened(mix, model, folder):
    kind, kinds = MIXES[mix]
    check_model(model, folder, kind, kinds, splits(list(MIXES).index(mix)))


def test_experts(folder):
    """All of a layer in one tensor, cut at blocks."""
    experts = {
        "num_experts": 5,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 256,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }
    model = world.random_model(
        folder / "m", 512, d=256, layers=2, heads=8, kv=4, q=32, family="qwen3_moe", **experts
    )
    kinds = {"down_proj": "Q6_K", "1.mlp.experts.0.gate": "Q8_0"}
    ways = [(8, cli.tables()[-1]), *((tp, table) for tp in (1, 2) for table in cli.tables())]
    check_model(model, folder, "Q4_K", kinds, ways)


def check_model(model, folder, kind, kinds, ways):
    path = folder / "m.gguf"
    world.make_gguf.write(model, path, kind, kinds=kinds)
    want = world.generate(path, PROMPT, folder, "--threads", "1", env={"TW_CPU": "ref"})
    for tp, table in ways:
        more = ("--local", "--tp", tp) if tp > 1 else ()
        got = world.generate(
            path, PROMPT, folder, "--threads", "1", "--chunk", "7", *more, env={"TW_CPU": table}
        )
        assert got == want, f"tp {tp}, {table}"
    logits = np.frombuffer(want[1], "<f4")
    wide = world.generate(world.widened(path, folder / "w", model), PROMPT, folder)
    wide = np.frombuffer(wide[1], "<f4")
    off = np.sqrt(np.mean((logits - wide) ** 2) / np.mean(wide**2))
    print(f"{kind}: {off:.4f} of the widened model's logits")
    assert 0 < off < 0.05


def test_memory_is_what_the_blocks_take(model, folder):
    """plan counts blocks, not widened numbers."""
    sizes = {}
    for kind in ("F16", "Q8_0", "Q4_0"):
        path = folder / f"{kind}.gguf"
        world.make_gguf.write(model, path, kind)
        done = cli.good("plan", path, "--tp", "1", "--json")
        sizes[kind] = weights_of(done.stdout)
    assert 0.52 < sizes["Q8_0"] / sizes["F16"] < 0.58
    assert 0.27 < sizes["Q4_0"] / sizes["F16"] < 0.33


def weights_of(text):
    return json.loads(text)["splits"][0]["ranks"][0]["weight_bytes"]


def test_heads_that_no_block_fits_are_named(folder):
    """The sums over o-proj begin at heads."""
    model = world.random_model(folder / "m", 256, d=64, heads=4, q=16)
    path = folder / "m.gguf"
    world.make_gguf.write(model, path, "Q8_0")
    done = cli.run("run", path, "--prompt-ids", "1", "-n", "1")
    assert done.returncode == 1
    assert '"blk.0.attn_output.weight": type Q8_0 wants heads of a multiple of 32' in done.stderr


@pytest.mark.parametrize("quant, kind", [("q8", "Q8_0"), ("q4", "Q4_0")])
def test_quantised_on_load_as_the_file_would_be(quant, kind, model, folder):
    """The embedding stays, the head gets eight bits; every rank does the same to its part."""
    path = folder / "m.gguf"
    world.make_gguf.write(model, path, kind, kinds={"embed_tokens": "F32", "lm_head": "Q8_0"})
    want = world.generate(path, PROMPT, folder, "--kv", "f32")
    more = ("--kv", "f32", "--quant", quant)
    assert world.generate(model, PROMPT, folder, *more) == want
    assert world.generate(model, PROMPT, folder, *more, "--local", "--tp", "4") == want
    plans = [cli.good("plan", m, "--tp", "2", "--json", *o).stdout for m, o in
             ((path, ()), (model, ("--quant", quant)))]  # fmt: skip
    assert weights_of(plans[0]) == weights_of(plans[1])
