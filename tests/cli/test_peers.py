# SPDX-License-Identifier: Apache-2.0
"""What surrounds the benchmarks: figures are those of the results, peers are found or said to be missing,
rows are put together right. No time is measured."""

import argparse
import json
import os
import subprocess
import sys

import pytest
import twinax_cli as cli

sys.path.insert(0, str(cli.ROOT / "bench"))
import bars  # noqa: E402
import peers  # noqa: E402
import sides  # noqa: E402


def test_figures_and_tables_are_drawn_from_the_results():
    p = subprocess.run([sys.executable, cli.ROOT / "bench" / "figures.py", "--check"], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr


def test_peers_that_are_not_built_are_said_to_be(folder):
    p = subprocess.run([cli.ROOT / "tools" / "peers.sh", "--if-built"], capture_output=True, text=True,
                       env=os.environ | {"XDG_CACHE_HOME": str(folder)})  # fmt: skip
    assert p.returncode == 1 and p.stdout == "" and ("not built" in p.stderr or "is missing" in p.stderr)
    assert list(folder.iterdir()) == []


def test_who_begins_changes_and_ratios_are_of_the_same_round():
    order, speeds = [], iter([10, 5, 40, 20, 9, 3])

    def side(name):
        def call():
            order.append(name)
            return {"tg32": {"tok_s": next(speeds)}}

        return call

    found = peers.in_turns(3, side("ours"), side("theirs"))
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    row = peers.median_rows(found, "tg32")
    assert row["ratio"] == 2 and row["ours_tok_s"] == 10 and row["theirs_tok_s"] == 5 and "share" not in row
    alone = peers.median_rows([[{"tg32": {"tok_s": 7, "share": 0.5, "of": "fma peak", "limit": 9}}, None]], "tg32")
    assert alone["share"] == 0.5 and "ratio" not in alone


def test_a_split_is_held_against_the_whole_by_their_own_limits():
    assert peers.kept({"tok_s": 30, "limit": 80}, {"tok_s": 20, "limit": 50}) == 30 / 20 * 50 / 80


def test_a_row_replaces_the_one_it_repeats_and_no_other(folder):
    path = folder / "peers.jsonl"
    for tok_s, threads in (1, 2), (2, 1), (3, 2):
        record = peers.Record(path)
        record.add(model="m", weights="BF16", threads=threads, test="tg32", peer="llama.cpp", ours_tok_s=tok_s)
        record.write()
    assert [r["ours_tok_s"] for r in map(json.loads, path.read_text().splitlines())] == [3, 2]


def test_a_start_that_fails_is_no_fast_start(monkeypatch):
    monkeypatch.setattr(bars.models, "folder", lambda shape: "/nowhere/at/all")
    args = argparse.Namespace(prefix=[], twinax=sides.Twinax(os.path.dirname(cli.BINARY)))
    with pytest.raises(sides.Failed, match="/nowhere/at/all"):
        bars.start(args, None)


def test_a_program_that_fails_is_told_with_its_words():
    try:
        sides.Twinax(os.path.dirname(cli.BINARY)).bench("/nowhere/at/all")
    except sides.Failed as why:
        assert "/nowhere/at/all" in str(why) and "exit status" in str(why)
    else:
        raise AssertionError("no failure")
