# SPDX-License-Identifier: Apache-2.0
"""twinax doctor over recorded machines: what it prints, as text and as JSON, is golden.

Goldens are written anew with TW_GOLDEN=write.
"""

import json
import os
import re

import pytest
import twinax_cli as cli

DATA = cli.ROOT / "tests" / "data" / "doctor"
GOLDEN = DATA / "golden"
RECORDS = sorted(p.stem for p in DATA.glob("*.json"))
GREEN = {"laptop-wifi", "recorded-debian12-pair", "recorded-dev-vm", "strix128-e810-good", "strix64-e810-good",
         "strix96-e810-good"}


def doctor(name, *more):
    return cli.run("doctor", "--facts", DATA / f"{name}.json", *more)


def golden(path, text):
    if os.environ.get("TW_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, f"{path.name}: TW_GOLDEN=write writes it anew"


@pytest.mark.parametrize("name", RECORDS)
def test_text(name):
    done = doctor(name)
    golden(GOLDEN / f"{name}.txt", done.stdout)
    assert done.stderr == "" and "\x1b" not in done.stdout
    assert done.returncode == ("FAIL" in done.stdout)
    if name in GREEN:
        assert done.returncode == 0 and " 0 failed," in done.stdout


@pytest.mark.parametrize("name", RECORDS)
def test_json(name):
    done = doctor(name, "--json")
    golden(GOLDEN / f"{name}.json", done.stdout)
    found = json.loads(done.stdout)
    assert sum(found["summary"].values()) == len(found["checks"])
    assert done.returncode == (found["summary"]["fail"] > 0)
    for c in found["checks"]:
        assert c["found"] and (c["status"] in ("warn", "fail")) == ("mend" in c), c


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_says_its_source(name):
    record = json.loads((DATA / f"{name}.json").read_text())
    assert record["source"].startswith("synthetic: ") != name.startswith("recorded-")
    assert len(record["source"]) > 20


def test_enough_machines():
    assert len(RECORDS) >= 8


def test_the_guides_numbers():
    done = doctor("strix128-e810-fresh", "--json")
    mends = {c["id"]: c["mend"] for c in json.loads(done.stdout)["checks"] if c["status"] == "fail"}
    assert "amdgpu.gttsize=126976 ttm.pages_limit=32505856" in mends["kernel.gtt"]
    assert "enable_roce" in mends["rdma.mode"]
    assert "NVM Update Tool" in mends["nic.firmware"]


def test_one_dead_node_is_named_while_seven_report():
    out = doctor("eight-one-dead").stdout
    assert "not reached: box6" in out and out.count("FAIL") == 1
    assert len(re.findall(r"^  ok    5\d checks", out, re.M)) == 7


def test_this_machine_alone(tmp_path):
    """Without a config nothing is asked for: whatever machine this is, nothing fails."""
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = cli.run("doctor", "--json", env=env)
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["summary"]["fail"] == 0, done.stdout
    assert done.stderr == "" and [n["name"] for n in found["nodes"]] == ["this machine"]


def test_fix_without_anything_to_mend(tmp_path):
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    steps = [c for c in json.loads(cli.run("doctor", "--json", env=env).stdout)["checks"] if "step" in c]
    if steps:
        pytest.skip(f"this machine has something to mend: {steps[0]['id']}")
    done = cli.run("doctor", "--fix", env=env)
    assert done.returncode == 0 and "nothing here that setup could mend" in done.stderr


def test_a_record_that_cannot_be_written(tmp_path):
    done = cli.run("doctor", "--record", tmp_path / "no" / "r.json", env={"HOME": str(tmp_path)})
    assert done.returncode == 1 and "r.json" in done.stderr


def test_the_list_is_the_page():
    assert cli.good("doctor", "--list").stdout == (cli.ROOT / "docs" / "doctor.md").read_text()


def test_usage():
    for argv, what in (
        (["x"], "what is that"),
        (["--facts", "f", "--fix"], "--facts judges a file"),
        (["--engine", "magic"], "magic"),
    ):
        done = cli.run("doctor", *argv)
        assert done.returncode == 2 and what in done.stderr, done.stderr


def test_what_is_no_record(tmp_path):
    for text, what in (
        ("", "end of file"),
        ("[]", "no JSON object"),
        ('{"nodes":[{"facts":1}]}', "facts"),
        ('{"schema":7,"nodes":[{}]}', "newer"),
        ("{}", "doctor --record"),
    ):
        path = tmp_path / "r.json"
        path.write_text(text)
        done = cli.run("doctor", "--facts", path)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and what in done.stderr, done.stderr
        assert done.stdout == ""
    done = cli.run("doctor", "--facts", tmp_path / "none.json")
    assert done.returncode == 1 and "none.json" in done.stderr
