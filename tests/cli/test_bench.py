# SPDX-License-Identifier: Apache-2.0
"""What `twinax bench MODEL` says; no time is judged."""

import json
import subprocess

import twinax_cli as cli


def test_a_model_that_fits_the_cache_has_no_share_of_memory():
    lines = [json.loads(s) for s in cli.good("bench", cli.DEMO, "-p", 8, "-n", 4, "--json").stdout.splitlines()]
    assert [x["test"] for x in lines] == ["pp8", "tg4"]
    for x in lines:
        assert x["tok_s"] > 0 and x["machine"]
    assert 0 < lines[0]["share"] and lines[0]["of"] == "fma peak"
    largest = subprocess.run(["getconf", "LEVEL3_CACHE_SIZE"], capture_output=True, text=True).stdout.strip()
    if int(largest or 0) >= 16 << 20:
        assert lines[1]["share"] is None and lines[1]["of"] == "weights fit the cache"
    else:
        assert lines[1]["share"] is None or lines[1]["share"] > 0


def test_sequences_at_once_and_depths():
    lines = [json.loads(s) for s in cli.good("bench", cli.DEMO, "-p", 0, "-n", 3, "-r", 2, "-b", "1,5", "-d", "16,1024",
                                             "--threads", 1, "--json").stdout.splitlines()]  # fmt: skip
    assert [x["test"] for x in lines] == ["tg3", "tg3x5", "tg3@d1024", "tg3x5@d1024"]
    for x in lines:
        assert x["repeats"] == 2 and x["threads"] == 1 and x["tok_s_min"] <= x["tok_s"] <= x["tok_s_max"]
        assert x["limit"] > 0 and x["unit"] in ("GB/s", "GFLOP/s")
        assert 0 < x["weight_bytes"] < x["rss_peak_bytes"]


def test_a_prompt_after_others():
    """Only what is said is timed: the demo model reads 8 tokens after 600 in less than it read those 608."""
    lines = [json.loads(s) for s in cli.good("bench", cli.DEMO, "-p", 8, "-n", 2, "-r", 3, "-d", "16,600",
                                             "--threads", 1, "--json").stdout.splitlines()]  # fmt: skip
    assert [x["test"] for x in lines] == ["pp8", "tg2", "pp8@d600", "tg2@d600"]
    assert lines[2]["of"] == "fma peak" and lines[2]["tok_s"] > lines[0]["tok_s"] / 20


def test_a_context_that_is_too_small_is_refused():
    p = cli.run("bench", cli.DEMO, "-p", 0, "-n", 4, "-d", 100, "--ctx", 64)
    assert p.returncode == 1 and "64" in p.stderr
