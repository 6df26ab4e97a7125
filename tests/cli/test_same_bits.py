# SPDX-License-Identifier: Apache-2.0
"""The same model and prompt give the same logits, byte by byte, and the same ids, however the work
is split: ranks, threads, prompt chunks, transport, kernel table, checksums. Every pair of settings
meets in some run."""

import itertools
import json
import pathlib
import re

import pytest
import twinax_cli as cli

MODELS = [*sorted(p.parent for p in cli.TINY.glob("*/golden.json")), cli.DEMO]
N_TOKENS = 16
ALL = "512"  # prompt tokens per step: longer than any prompt here
THREADS, CHUNKS = ("1", "2", "3"), ("1", "7", "64", ALL)
MOST_THREADS = 12  # of all ranks: they share the machine's cores
LINKS = ("auto", "tcp", "shm", "netns")


def settings(model):
    """Every allowed (tp, threads, chunk, link, table, verify). One rank has no link."""
    # "ref", the slowest, comes last: a run that no pair asks for is a fast one
    for tp, threads, chunk, table in itertools.product(
        allowed_tp(model), THREADS, CHUNKS, cli.tables()[::-1]
    ):
        if tp == 1:
            yield tp, threads, chunk, None, table, False
            continue
        for link, verify in itertools.product(LINKS, (False, True)):
            if (link != "netns" or tp == 2) and tp * int(threads) <= MOST_THREADS:
                yield tp, threads, chunk, link, table, verify


def pairs_of(case):
    return set(itertools.combinations(enumerate(case), 2))


def pairwise(cases):
    """Few of the cases, greedily, so that each pair of values that occurs in any occurs in one."""
    left = {case: pairs_of(case) for case in cases}
    open_pairs = set().union(*left.values())
    while open_pairs:
        best = max(left, key=lambda case: len(left[case] & open_pairs))
        open_pairs -= left.pop(best)
        yield best


def allowed_tp(model):
    """Where no rank is without work: heads, ffn granules of 32 (of a layer, of an expert) and blocks
    of 64 ids are dealt to 8 segments by floor(i*G/8)."""
    c = json.loads((model / "config.json").read_text())
    ffns = [c["moe_intermediate_size"]] if "moe_intermediate_size" in c else []
    if not ffns or c["mlp_only_layers"] or c["decoder_sparse_step"] > 1:
        ffns.append(c["intermediate_size"])
    granules = (
        c["num_attention_heads"],
        *(-(-f // 32) for f in ffns),
        -(-c["vocab_size"] // 64),
    )

    def no_rank_is_empty(tp):
        return all(
            (r + 1) * 8 // tp * n // 8 > r * 8 // tp * n // 8 for n in granules for r in range(tp)
        )

    return [tp for tp in (1, 2, 4, 8) if no_rank_is_empty(tp)]


def prompt_of(model):
    golden = model / "golden.json"
    if golden.exists():
        return json.loads(golden.read_text())["prompt_ids"]
    return [i for a in cli.answers()[:2] for i in a["prompt_ids"] + a["answer_ids"]][:70]


def generate(model, prompt, case, folder):
    """(ids, bytes of the logits, stderr)"""
    tp, threads, chunk, link, table, verify = case
    argv = ["--prompt-ids", cli.comma(prompt), "-n", N_TOKENS, "--ids", "--ignore-eos", "--temp", 0]
    argv += ["--threads", threads, "--chunk", chunk, "--logits", folder / "logits"]
    if tp > 1:
        argv += ["--local", "--tp", tp]
        argv += ["--netns"] if link == "netns" else ["--transport", link]
    argv += ["--verify"] if verify else []
    done = cli.good("run", model, *argv, env={"TW_CPU": table})
    logits = (folder / "logits").read_bytes()
    (folder / "logits").unlink()
    return done.stdout, logits, done.stderr


def cases_of(model):
    return list(pairwise(list(settings(model))))


def share(model):
    """One model's part of the pairs; demo and one tiny model take all of theirs."""
    cases = cases_of(model)
    if model.name in ("demo", "llama-plain"):
        return cases
    i, step = MODELS.index(model), 4
    return cases[i % step :: step]


@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.name)
def test_same_bits(model, folder):
    prompt, base_case = prompt_of(model), (1, "1", ALL, None, "ref", False)
    ids, logits, _ = generate(model, prompt, base_case, folder)
    assert len(cli.ids_of(ids)) == N_TOKENS and len(logits) >= 4 * 256
    n_run = 0
    for case in share(model):
        if case[3] == "netns" and cli.no_netns():
            continue
        got_ids, got_logits, _ = generate(model, prompt, case, folder)
        wrong = [i for i in range(0, len(logits), 4) if got_logits[i : i + 4] != logits[i : i + 4]]
        assert not wrong, f"{case}: {len(wrong)} of {len(logits) // 4} logits differ"
        assert len(got_logits) == len(logits) and got_ids == ids, f"{case}: other ids"
        n_run += 1
    assert n_run >= 4


@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.name)
def test_every_allowed_tp_and_no_other(model):
    """What may be split runs, the rest is refused by name; and more than one split is tried."""
    allowed = allowed_tp(model)
    assert {1, 2} <= set(allowed)
    for tp in (2, 4, 8):
        argv = ["--prompt-ids", "1,2,3", "-n", "1", "--ids", "--local", "--tp", tp]
        done = cli.run("run", model, *argv)
        if tp in allowed:
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode == 1
            assert f"tp {tp}: " in done.stderr and f"allows tp {cli.comma(allowed)}" in (
                done.stderr.replace(", ", ",")
            )


def test_netns():
    """Its own test, so that a machine without namespaces shows the skip."""
    if cli.no_netns():
        pytest.skip(cli.no_netns())
    argv = ["--prompt-ids", "1,2,3", "-n", "8", "--ids", "--temp", "0"]
    alone = cli.good("run", cli.DEMO, *argv)
    both = cli.good("run", cli.DEMO, *argv, "--local", "--tp", "2", "--netns")
    assert both.stdout == alone.stdout
    proof = re.search(r"rank 1 by (\w+), device (\S+),", both.stderr)
    assert proof and proof.group(1) == "tcp" and proof.group(2).startswith("twx"), both.stderr


def test_the_proof_names_the_transport():
    for asked, carried in (("tcp", "tcp"), ("shm", "shm"), ("auto", "shm")):
        argv = ["--local", "--tp", "2", "--transport", asked, "-n", "4", "--prompt-ids", "1,2"]
        done = cli.good("run", cli.DEMO, *argv)
        assert f"rank 1 by {carried}," in done.stderr, done.stderr


def test_the_comparison_can_fail(folder):
    """Another prompt, and another type of KV cache, give other bits."""
    model, base = cli.TINY / "llama-plain", (1, "1", ALL, None, "ref", False)
    prompt = prompt_of(model)
    first = generate(model, prompt, base, folder)
    other = generate(model, [*prompt[:-1], prompt[-1] ^ 1], base, folder)
    assert first[1] != other[1]
    argv = ["--prompt-ids", cli.comma(prompt), "-n", "1", "--kv", "f32"]
    cli.good("run", model, *argv, "--logits", folder / "f32")
    assert pathlib.Path(folder / "f32").read_bytes() != first[1]
