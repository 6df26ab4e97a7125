# SPDX-License-Identifier: Apache-2.0
"""--profile and --profile-trace: what they say adds up, and is told of every rank."""

import json
import re

import pytest
import twinax_cli as cli

N = 40
COLUMNS = ["arithmetic", "waiting", "transport", "sampling", "server", "all"]


def tables_of(text):
    """{"prompts": (tokens, steps, [row of each rank]), "decode": ...}"""
    found = {}
    for name, tokens, steps, rows in re.findall(
        r"profile: (\w+), (\d+) tokens in (\d+) steps; milliseconds a token\nrank .*\n((?: .*\n)+)", text
    ):
        table = [line.split() for line in rows.splitlines()]
        assert [int(row[0]) for row in table] == list(range(len(table)))
        found[name] = (int(tokens), int(steps), [dict(zip(COLUMNS, map(float, r[1:]))) for r in table])
    return found


@pytest.mark.parametrize("tp", [1, 2, 4])
def test_a_run_says_where_its_time_went(tp, tmp_path):
    trace = tmp_path / "trace.json"
    args = [cli.DEMO, "--prompt-ids", cli.comma(range(1, 31)), "-n", N, "--ids", "--ignore-eos"]
    ranks = ["--local", "--tp", tp, "--threads", 1, "--chunk", 16]
    plain = cli.good("run", *args, *ranks)
    done = cli.good("run", *args, *ranks, "--profile", "--profile-trace", trace)
    assert done.stdout == plain.stdout and "profile:" not in plain.stderr
    tables = tables_of(done.stderr)
    assert tables["prompts"][:2] == (30, 2) and tables["decode"][:2] == (N - 1, N - 1)
    for _, _, rows in tables.values():
        assert len(rows) == tp
        for row in rows:
            assert row["all"] == pytest.approx(sum(row[c] for c in COLUMNS[:-1]), abs=3e-4)
            assert row["arithmetic"] > 0
            assert (row["transport"] > 0) == (tp > 1)
    assert tables["decode"][2][0]["server"] > 0
    if tp > 1:  # who comes last waits for nobody
        assert len({row["transport"] for row in tables["decode"][2]}) == 1
    events = json.loads(trace.read_text())["traceEvents"]
    slices = [e for e in events if e["ph"] == "X"]
    assert {e["pid"] for e in slices} == set(range(tp))
    for rank in range(tp):
        mine = [e for e in slices if e["pid"] == rank]
        assert sum(e["name"] == "decode" for e in mine) == N - 1
        steps = sum(e["dur"] for e in mine if e["name"] in ("decode", "prefill"))
        inside = sum(e["dur"] for e in mine if e["name"] in ("arithmetic", "waiting", "transport", "sampling"))
        assert inside == pytest.approx(steps, rel=0.02)
        assert all(e["ts"] >= 0 and e["dur"] > 0 for e in mine)


def test_bench_says_it_too():
    args = ["bench", cli.DEMO, "-p", 0, "-n", 8, "--local", "--tp", 2, "--threads", 1]
    lines = cli.good(*args, "--json", "--profile").stdout.splitlines()
    rows = [o for o in map(json.loads, lines) if o.get("profile") == "decode"]
    assert [r["rank"] for r in rows] == [0, 1]
    assert all(r["arithmetic_ms"] > 0 and r["tokens"] > 0 for r in rows)
    assert "decode" in tables_of(cli.good(*args, "--profile").stdout)


def test_a_trace_that_cannot_be_written():
    done = cli.run("run", cli.DEMO, "--prompt-ids", "1", "-n", "2", "--profile-trace", "/nowhere/x.json")
    assert done.returncode == 1 and "/nowhere/x.json: cannot create" in done.stderr
