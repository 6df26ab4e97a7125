# SPDX-License-Identifier: Apache-2.0
"""Help, version and usage errors: exit 2, one line that names what was wrong."""

import json
import pathlib
import re
import subprocess

import pytest
import twinax_cli as cli

MODEL = cli.TINY / "llama-plain"
IDS = ("--prompt-ids", "1,2,3", "-n", "2")
COMMANDS = (
    []
    if cli.missing_binary()
    else re.findall(r"^  (\w+(?: \w+)?)  ", cli.run("help").stdout, re.MULTILINE)
)
COLUMNS = 80

# what was typed, and what the line must name
WRONG = {
    "unknown command": (["frobnicate"], ["frobnicate", "twinax help"]),
    "misspelt command": (["compar"], ["compar:", "did you mean compare?"]),
    "a page that there is not": (["help", "rnu"], ["rnu", "did you mean run?"]),
    "unknown option": (["run", MODEL, "--frob"], ["--frob", "--help lists them"]),
    "misspelt option": (["run", MODEL, "--promt", "x"], ["--promt", "did you mean --prompt?"]),
    "value for a flag": (["run", MODEL, "--ids=1"], ["--ids takes no value"]),
    "serve: the client samples": (["serve", MODEL, "--temp", "1"], ["--temp: unknown option"]),
    "serve: no prompt": (["serve", MODEL, "-p", "x"], ["-p: unknown option"]),
    "run: no server": (["run", MODEL, "--port", "1"], ["--port: unknown option"]),
    "run: no bench": (["run", MODEL, "--json"], ["--json: unknown option"]),
    "tokenize: one rank": (["tokenize", MODEL, "--tp", "2"], ["--tp: unknown option"]),
    "bench coll: no model": (["bench", "coll", "--ctx", "64"], ["--ctx: unknown option"]),
    "bench kern: no ranks": (["bench", "kern", "--tp", "2"], ["--tp: unknown option"]),
    "bench kern: one word": (["bench", "kern", "fast"], ["fast", "wanted kernels out of: matmul"]),
    "version": (["version", "--jsn"], ["--jsn", "did you mean --json?"]),
    "unknown short option": (["run", MODEL, "-Z"], ["-Z"]),
    "value missing": (["run", MODEL, "--tp"], ["--tp"]),
    "value missing of -n": (["run", MODEL, "-n"], ["-n"]),
    "no model": (["run", "-p", "x"], ["MODEL"]),
    "no model to tokenize": (["tokenize", "-p", "x"], ["MODEL"]),
    "no model to serve": (["serve"], ["MODEL"]),
    "no model to bench": (["bench"], ["MODEL"]),
    "two models": (["run", MODEL, "second"], ["second", "one MODEL"]),
    "tp 3": (["run", MODEL, "--local", "--tp", "3"], ["--tp 3", "1, 2, 4 or 8"]),
    "tp 0": (["run", MODEL, "--local", "--tp", "0"], ["--tp 0"]),
    "tp 16": (["run", MODEL, "--local", "--tp", "16"], ["--tp 16"]),
    "tp 2 without --local": (["run", MODEL, "--tp", "2"], ["--tp 2", "--local"]),
    "netns without two ranks": (["run", MODEL, "--local", "--netns"], ["--netns", "--tp 2"]),
    "transport": (["run", MODEL, "--transport", "pigeon"], ["pigeon", "tcp", "shm"]),
    "kv": (["run", MODEL, "--kv", "int3"], ["--kv int3", "bf16"]),
    "threads": (["run", MODEL, "--threads", "0"], ["--threads 0", "from 1"]),
    "n no number": (["run", MODEL, "-n", "many"], ["-n many"]),
    "n negative": (["run", MODEL, "-n", "-1"], ["-n -1"]),
    "n with a tail": (["run", MODEL, "-n", "5x"], ["-n 5x"]),
    "temperature": (["run", MODEL, "--temp", "-0.5"], ["--temp -0.5"]),
    "temperature nan": (["run", MODEL, "--temp", "nan"], ["--temp nan"]),
    "top-p": (["run", MODEL, "--top-p", "1.5"], ["--top-p 1.5"]),
    "seed": (["run", MODEL, "--seed", "18446744073709551616"], ["--seed 18446744073709551616"]),
    "ctx": (["run", MODEL, "--ctx", "4"], ["--ctx 4", "from 16"]),
    "port": (["serve", MODEL, "--port", "70000"], ["--port 70000"]),
    "engine": (["run", MODEL, "--engine", "abacus"], ["--engine abacus", "native"]),
    "bench prompt": (["bench", MODEL, "-p", "many"], ["-p many", "number"]),
    "bench batch no number": (["bench", MODEL, "-b", "1,x"], ["-b 1,x", "1 to 256"]),
    "bench batch 0": (["bench", MODEL, "-b", "0"], ["-b 0"]),
    "bench batch empty": (["bench", MODEL, "-b", "1,,2"], ["-b 1,,2"]),
    "bench batches too many": (["bench", MODEL, "-b", "1,2,3,4,5,6,7,8,9"], ["up to 8"]),
    "bench depth": (["bench", MODEL, "-d", "deep"], ["-d deep"]),
    "empty stop": (["run", MODEL, "--stop", ""], ["--stop", "empty"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_usage_error(name):
    argv, wanted = WRONG[name]
    done = cli.run(*argv)
    assert done.returncode == 2, done
    assert done.stdout == "" and done.stderr.count("\n") == 1, done
    assert done.stderr.startswith("twinax") and all(w in done.stderr for w in wanted), done.stderr


def test_help():
    page = cli.good("help").stdout
    assert len(COMMANDS) == len(set(COMMANDS)), COMMANDS
    assert set(COMMANDS) >= {"run", "serve", "bench", "bench coll", "bench kern", "compare", "tokenize", "detokenize",
                             "doctor", "setup", "pull", "models", "plan", "up", "down", "status", "logs", "version",
                             "help"}  # fmt: skip
    assert not re.search("^  (rank|agent) ", page, re.MULTILINE)  # not for people
    for argv in (["--help"], ["-h"], []):
        assert cli.good(*argv).stdout == page
    assert max(map(len, page.splitlines())) <= COLUMNS


@pytest.mark.parametrize("name", [*COMMANDS, "agent", "rank"])
def test_page(name):
    """Asked for in three ways; no line is too long; what every page has."""
    page = cli.good("help", *name.split()).stdout
    assert page.startswith(f"usage: twinax {name}") and page.endswith("\n")
    assert [line for line in page.splitlines() if len(line) > COLUMNS or line != line.rstrip()] == []
    assert re.search(r"^exit codes:\n  0 ", page, re.MULTILINE)
    if name in COMMANDS:
        examples = re.findall(r"^  (.*)\n      \S", page.partition("\nexamples:\n")[2], re.MULTILINE)
        assert len(examples) >= 2 and all(f"twinax {name}" in e for e in examples), examples
    for flag in ("--help", "-h"):
        assert cli.good(*name.split(), flag).stdout == page


def test_page_names_the_environment():
    assert "TWINAX_API_KEY" in cli.good("help", "serve").stdout
    assert "NO_COLOR" in cli.good("help", "compare").stdout


def options_of(name):
    return re.findall(r"^  (?:-\w, |    )--([a-z-]+)", cli.good("help", *name.split()).stdout, re.MULTILINE)


@pytest.mark.parametrize("name", [c for c in COMMANDS if c not in ("help", "toolbox")])  # they have none
def test_every_option_of_a_page_is_known(name):
    """An option that does not exist is called unknown; none of a page's own is."""
    options = options_of(name)
    assert options
    e = cli.run(*name.split(), "--no-such-option=").stderr
    assert "--no-such-option: unknown" in e, e
    for option in options:
        e = cli.run(*name.split(), f"--{option}=", "--no-such-option").stderr
        assert f"--{option}: unknown" not in e, e


def test_help_as_a_value():
    """-p takes it: no page is asked for."""
    done = cli.good("tokenize", cli.DEMO, "-p", "--help")
    assert cli.ids_of(done.stdout)


def test_version():
    meson = (cli.ROOT / "meson.build").read_text()
    version = re.search(r"version: '([0-9.]+)'", meson).group(1)
    line = cli.good("version").stdout
    assert line == cli.good("--version").stdout
    facts = json.loads(cli.good("version", "--json").stdout)
    assert facts["version"] == version
    assert line == (
        f"twinax {version} (protocol {facts['protocol']}, arithmetic {facts['arithmetic']})\n"
    )


# ---- what only the model can judge: exit 1 ------------------------------------------------------

REFUSED = {
    "an id that is none": (["--prompt-ids", "1,x,3"], ["--prompt-ids", '"x,3"', "1,2,3"]),
    "a negative id": (["--prompt-ids", "1,-2"], ["--prompt-ids", '"-2"']),
    "an id too large": (["--prompt-ids", "99999999999999999999"], ["--prompt-ids"]),
    "an id outside the vocabulary": (["--prompt-ids", "1,320"], ["320", "vocabulary of 320"]),
    "no id": (["--prompt-ids", ""], ["prompt is empty"]),
    "a prompt longer than the context": (
        ["--prompt-ids", cli.comma([1] * 40), "--ctx", "32"],
        ["40 tokens", "32", "--ctx"],
    ),
    "text without a tokenizer": (["-p", "hello"], ["tokenizer.json", "missing"]),
    "tp that leaves a rank without work": (
        ["--prompt-ids", "1", "--local", "--tp", "8"],
        ["tp 8", "allows tp 1, 2, 4"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    argv, wanted = REFUSED[name]
    done = cli.run("run", MODEL, "-n", "2", "--ids", *argv)
    assert done.returncode == 1 and done.stdout == "", done
    assert done.stderr.startswith("twinax run: ") and done.stderr.count("\n") == 1, done
    assert all(w in done.stderr for w in wanted), done.stderr


@pytest.mark.parametrize("tp", [1, 2])
def test_a_refused_prompt_with_two_ranks(tp):
    """The same words, and the other rank goes without a word of its own."""
    done = cli.run("run", MODEL, "--local", "--tp", tp, "--prompt-ids", "1,320")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "vocabulary of 320" in done.stderr


def test_rdma_where_there_is_none():
    """Refused, not replaced by another transport."""
    devices = pathlib.Path("/sys/class/infiniband")
    if devices.is_dir() and any(devices.iterdir()):
        pytest.skip("there is an RDMA device: the refusal cannot be seen")
    done = cli.run("run", MODEL, *IDS, "--local", "--tp", "2", "--transport", "rdma")
    assert done.returncode == 1 and done.stdout == ""
    assert "transport rdma: " in done.stderr and "speed" not in done.stderr, done.stderr


def test_netns_without_its_tools():
    """The line names the option and what it needs, not only what failed inside."""
    argv = ["run", MODEL, *IDS, "--local", "--tp", "2", "--netns"]
    done = cli.run(*argv, env={"PATH": "/no/such/folder"})
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done
    assert all(w in done.stderr for w in ("--netns", "root", "iproute2")), done.stderr


def test_broken_ids_and_text():
    done = cli.run("detokenize", cli.DEMO, "-p", "1,zwei")
    assert done.returncode == 1 and '"zwei"' in done.stderr, done
    done = cli.run("run", cli.DEMO, stdin=b"\xff\xfe broken \xc3\n")
    assert done.returncode == 1 and "UTF-8" in done.stderr and done.stderr.count("\n") == 1, done


def test_a_place_for_logits_that_is_none():
    done = cli.run("run", MODEL, *IDS, "--ids", "--logits", "/no/such/folder/file")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "/no/such/folder/file: cannot create" in done.stderr


def test_unknown_table():
    done = cli.run("run", MODEL, *IDS, env={"TW_CPU": "abacus"})
    assert done.returncode == 1 and "TW_CPU=abacus" in done.stderr and "ref" in done.stderr
    assert "ref" in cli.tables()


def test_context_past_the_models_own():
    done = cli.run("run", cli.DEMO, "--ctx", "4096", "--prompt-ids", "1", "-n", "1")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done
    assert "4096" in done.stderr and "2048" in done.stderr, done


@pytest.mark.parametrize("name", ["compare_eth_vs_rdma", "compare_eth_vs_rdma.sh"])
def test_the_guides_program_names(folder, name):
    (folder / name).symlink_to(cli.BINARY)
    page = subprocess.run([folder / name, "--help"], capture_output=True, text=True, timeout=cli.LIMIT_S)
    assert page.returncode == 0 and page.stdout == cli.good("help", "compare").stdout


def test_closed_stdout_is_no_file_of_ours(folder):
    """Whatever is opened first must not become stdout: the logits file stays whole."""
    path = folder / "logits"
    argv = [cli.BINARY, "run", cli.DEMO, "--prompt-ids", "1", "-n", "1", "--logits", path]
    shell = " ".join(f"'{a}'" for a in argv) + " >&- 2>&- <&-"
    subprocess.run(["sh", "-c", shell], check=False, timeout=cli.LIMIT_S)
    assert path.stat().st_size == 1024 * 4
