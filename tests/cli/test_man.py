# SPDX-License-Identifier: Apache-2.0
"""Manual pages and completions are made from the tables of commands and options: every option of
every command is in them, the pages are clean, and the shells do complete."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import twinax_cli as cli

pytestmark = pytest.mark.skipif(cli.missing_binary() is not None, reason=str(cli.missing_binary()))
COMPLETIONS = ("bash", "zsh", "fish")


def commands():
    page = cli.good("help").stdout
    return re.findall(r"^  ([a-z-]+(?: [a-z]+)?)(?:  |$)", page, re.MULTILINE)


def options(command):
    """Of its help page: {"--name" or "-x"}."""
    page = cli.good("help", *command.split()).stdout
    page = page.partition("\nenvironment:")[0].partition("\nexamples:")[0].partition("\nexit codes:")[0]
    found = set()
    for line in re.findall(r"^  (-\S.*|    --\S.*)$", page, re.MULTILINE):
        for letter, name in re.findall(r"^(-\w)?(?:, |\s*)?(--[a-z0-9-]+)?", line.strip()):
            found |= {x for x in (letter, name) if x}
    return found


def man(*page):
    return cli.good("help", "--man", *page).stdout


def complete(*words, env=None):
    """What the program offers: (how, {word: what})."""
    lines = cli.good("help", "--complete", "--", "twinax", *words, env=env).stdout.splitlines()
    return lines[0], dict(line.split("\t") for line in lines[1:])


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("man")
    cli.good("help", "--man-pages", folder)
    return folder


# ---- pages ---------------------------------------------------------------------------------------


def test_every_option_is_in_its_page_and_is_completed():
    assert len(commands()) > 15
    for c in commands():
        page = man(*c.split()).replace("\\-", "-")
        offered = set(complete(*c.split(), "-")[1])
        wanted = options(c)
        for o in wanted:
            assert re.search(rf"^(\\fB-\w\\fR, )?\\fB{o}\\fR", page, re.MULTILINE), f"{c}: {o}"
        assert wanted | {"--help"} == offered, c


def test_every_command_has_a_page(pages):
    names = {f"twinax-{c.replace(' ', '-')}.1" for c in commands()} | {"twinax.1", "twinax-node.1"}
    links = {p for p in (pages / "man1").iterdir() if p.read_text().startswith(".so man1/twinax-")}  # the guide's names
    assert {p.name for p in set((pages / "man1").iterdir()) - links} == names
    assert "compare_eth_vs_rdma.1" in {p.name for p in links} and all(p.read_text()[9:].strip() in names for p in links)
    assert [p.name for p in (pages / "man5").iterdir()] == ["twinax.conf.5"]
    overview = (pages / "man1" / "twinax.1").read_text().replace("\\-", "-")
    for c in commands():
        assert f".BR twinax-{c.replace(' ', '-')} (1)" in overview
    conf = man("twinax.conf").replace("\\-", "-")
    for s in json.loads(cli.good("config", "--local", "--json").stdout)["settings"]:
        if s["section"] in ("cluster", "serve") and s["key"] != "api_key":
            assert f"\\fB{s['key']}\\fR" in conf


def test_old_pages_go(pages):
    (pages / "man1" / "twinax-frobnicate.1").write_text("")
    cli.good("help", "--man-pages", pages)
    assert not (pages / "man1" / "twinax-frobnicate.1").exists()


def test_pages_are_clean(pages):
    every = [p for p in sorted(pages.glob("man*/*")) if not p.read_text().startswith(".so ")]
    checkers = []
    if shutil.which("man") and shutil.which("groff"):
        checkers.append(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
    if shutil.which("mandoc"):
        checkers.append(["mandoc", "-Tlint", "-Wwarning"])
    if not checkers:
        pytest.skip("neither man and groff nor mandoc is here")
    for c in checkers:
        for page in every if c[0] == "man" else [None]:
            done = subprocess.run([*c, *([page] if page else every)], capture_output=True, text=True,
                                  env=os.environ | {"MANROFFSEQ": "", "LC_ALL": "C.UTF-8"}, timeout=60)  # fmt: skip
            said = done.stderr if c[0] == "man" else done.stdout + done.stderr
            assert done.returncode == 0 and said == "", f"{c} {page}: {said}"


@pytest.mark.skipif(not shutil.which("man") or not shutil.which("groff"), reason="no man, or no groff")
def test_a_page_reads_well(pages):
    shown = subprocess.run(["man", "-l", pages / "man1" / "twinax-run.1"], capture_output=True, text=True,
                           env=os.environ | {"MANWIDTH": "100", "LC_ALL": "C.UTF-8"}, timeout=60).stdout  # fmt: skip
    assert "twinax-run - " in shown and re.search(r"^ +--tp R\b", shown, re.MULTILINE), shown
    assert "\\" not in shown.partition("EXAMPLES")[0]


def test_unknown_shell():
    done = cli.run("help", "--completion", "tcsh")
    assert done.returncode == 2 and "bash, zsh or fish" in done.stderr


# ---- what is offered -----------------------------------------------------------------------------

CONF = """[cluster]
nodes = here, box2
[node.here]
ip = 10.0.0.1
[node.box2]
ip = 10.0.0.2
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "twinax").mkdir()
    (tmp_path / "twinax" / "twinax.conf").write_text(CONF)
    for name in "models--org--small", "models--org--large":
        snapshot = tmp_path / "hf" / "hub" / name / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
    return {"XDG_CONFIG_HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_CACHE": ""}


OFFERED = {
    "commands": (["ru"], "words", ["run"]),
    "second words": (["bench", "k"], "words dirs", ["kern"]),
    "options": (["run", "--tem"], "words", ["--temp"]),
    "tp": (["run", "--tp", ""], "words", ["1", "2", "4", "8"]),
    "tp with =": (["run", "--tp="], "words", ["--tp=1", "--tp=2", "--tp=4", "--tp=8"]),
    "transport": (["serve", "--transport", "r"], "words", ["rdma"]),
    "transport of setup": (["setup", "--transport", "t"], "words", ["tcp"]),
    "kv": (["run", "--kv", ""], "words", ["auto", "bf16", "f32"]),
    "nodes": (["run", "--nodes", ""], "words", ["here=10.0.0.1,box2=10.0.0.2"]),
    "one more node": (["run", "--nodes", "x,b"], "nospace", ["x,box2=10.0.0.2"]),
    "node": (["compare", "--node", "b"], "words", ["box2"]),
    "node is": (["run", "--model-path", ""], "nospace", ["box2="]),
    "steps": (["setup", "--only", "net"], "words", ["network"]),
    "models": (["run", "org/s"], "words dirs", ["org/small"]),
    "models in the cache": (["models", "rm", ""], "words", ["org/large", "org/small"]),
    "file": (["run", "--logits", ""], "words files", []),
    "value behind letters": (["run", "-n", ""], "words", []),
    "no option behind --": (["run", "--", "-"], "words dirs", []),
    "one model": (["run", "org/small", ""], "words", []),
    "help": (["help", "bench", ""], "words", ["coll", "kern"]),
    "not for people": (["agen"], "words", []),
}


@pytest.mark.parametrize("name", OFFERED)
def test_offered(home, name):
    words, how, wanted = OFFERED[name]
    got = complete(*words, env=home)
    assert got[0] == how and sorted(got[1]) == wanted


def test_a_damaged_file_costs_nothing(home, tmp_path):
    (tmp_path / "twinax" / "twinax.conf").write_text("[nonsense")
    assert complete("run", "--nodes", "", env=home) == ("words", {})


# ---- shells --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shells")
    for shell in COMPLETIONS:
        (folder / shell).write_text(cli.good("help", "--completion", shell).stdout)
    (folder / "bin").mkdir()
    (folder / "bin" / "twinax").symlink_to(cli.BINARY)
    return folder


def shell(scripts, home, *argv, **more):
    env = os.environ | home | {"PATH": f"{scripts / 'bin'}:{os.environ['PATH']}", "HOME": str(scripts)}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=scripts, timeout=60, **more)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return [line for line in done.stdout.splitlines() if line]


# bash's own cutting at '=', ':' and '@', as of readline.
BASH = r"""
. "$1"
complete -p twinax >/dev/null || exit 1
COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDS=()
for piece in $2; do
    while [[ $piece =~ ^([^=:@]*)([=:@]+)(.*)$ ]]; do
        [[ -n ${BASH_REMATCH[1]} ]] && COMP_WORDS+=("${BASH_REMATCH[1]}")
        COMP_WORDS+=("${BASH_REMATCH[2]}")
        piece=${BASH_REMATCH[3]}
        [[ -z $piece ]] && break
    done
    [[ -n $piece ]] && COMP_WORDS+=("$piece")
done
[[ $2 == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_twinax
printf '%s\n' "${COMPREPLY[@]}"
"""
LINES = {
    "twinax ru": ["run"],
    "twinax run --tem": ["--temp"],
    "twinax run --tp ": ["1", "2", "4", "8"],
    "twinax run --tp=": ["1", "2", "4", "8"],
    "twinax run --transport=r": ["rdma"],
    "twinax run --nodes x,b": ["x\\,box2=10.0.0.2"],
    "twinax run --nodes here=10.0.0.1,b": ["10.0.0.1\\,box2=10.0.0.2"],
    "twinax run --model-path b": ["box2="],
    "twinax models rm org/": ["org/large", "org/small"],
    "twinax run org/s": ["org/small"],
    "twinax run --logits ba": ["bash"],
    "twinax bench co": ["coll"],
}


@pytest.mark.parametrize("line", LINES)
def test_bash(scripts, home, line):
    got = shell(scripts, home, "bash", "--norc", "-c", BASH, "bash", scripts / "bash", line)
    assert sorted(got) == LINES[line]


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_zsh(scripts, home):
    """The function with what the line editor would give it; compadd and _files say what they got."""
    for line, wanted in {"run --tem": "--temp", "run --tp=4": "--tp=4", "models rm org/s": "org/small"}.items():
        words = " ".join(f"'{w}'" for w in ["twinax", *line.split(" ")])
        text = (f"compadd() {{ print -rl -- $answers }}; _files() {{ print files }}; compset() {{ : }}\n"
                f"source {scripts / 'zsh'}\nwords=({words}) CURRENT=$#words PREFIX=$words[-1]\n_twinax")  # fmt: skip
        assert shell(scripts, home, "zsh", "-f", "-c", text) == [wanted]


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
def test_fish(scripts, home):
    for line, wanted in {"run --tem": "--temp", "run --tp 4": "4", "models rm org/s": "org/small"}.items():
        got = shell(scripts, home, "fish", "--no-config", "-c", f"source {scripts / 'fish'}; complete -C 'twinax {line}'")
        assert [g.split("\t")[0] for g in got] == [wanted]


def test_scripts_are_clean(scripts):
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", "-s", "bash", "-e", "SC2207", scripts / "bash"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    subprocess.run(["bash", "-n", scripts / "bash"], check=True)


def test_the_build_made_them():
    """What `make install` installs is what this program prints."""
    built = cli.BINARY.parent / "packaging"
    if not built.is_dir():
        pytest.skip("no packaging folder beside twinax: `ninja twinax` alone, or a cross build")
    assert (built / "twinax").read_text() == cli.good("help", "--completion", "bash").stdout
    assert (built / "man1" / "twinax-run.1").read_text() == man("run")
    assert pathlib.Path(built / "_twinax").exists() and (built / "twinax.fish").exists()
