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
