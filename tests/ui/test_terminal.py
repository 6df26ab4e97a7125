# SPDX-License-Identifier: Apache-2.0
"""The menu as a program of the terminal: pages, keys, sizes, colours, ends. No other machine."""

import os
import pathlib
import re
import signal
import subprocess

import pytest
import twinax_cli as cli

MENU = "4  Launch serve"


def test_pages(menus):
    m = menus()
    m.golden("menu", MENU, "nothing runs")
    m.keys("3")
    m.golden("status_nothing", "Nothing runs")
    m.go("Escape", to=MENU)
    m.keys("2")
    m.golden("start", "START")
    m.go("Escape", to=MENU)
    m.keys("4")
    m.golden("models", "Meta-Llama-3.1-8B-Instruct", "google/gemma-2-27b-it", without="looks what")
    m.go("e", to="for the vllm engine")
    m.go("e", to="for the native engine")
    m.keys("End")
    m.wait("another one")
    m.keys("Up", "Enter")
    m.golden("launch_alone", "LAUNCH SERVER", "context up to")
    m.keys("Up", "Up", "Right")
    m.wait(r"\$ twinax up .*demo --engine vllm --tp 1 --port 8000", without="--erase-cache|--graphs")
    m.keys("Tab", "Tab", "Tab", "Tab", "Tab", "Right", "Down", "Left")
    m.wait("--erase-cache", "--graphs")
    m.go("Escape", "Escape", to=MENU)
    m.keys("t")
    m.golden("toolbox", "Roll back")
    m.go("Escape", to=MENU)
    m.go("q", to="EXIT 0")


def test_wrong_input(menus):
    m = menus()
    m.wait(MENU)
    m.go("1", to="WRITE IT")
    m.keys("Down")
    m.type("192.168.100.300")
    m.keys("Tab")
    m.golden("config_wrong", "no address")
    m.keys("BTab", "BSpace")
    m.wait(r"192\.168\.100\.30 ", without="no address")
    m.keys("Tab", "Tab", "Tab")
    m.type("an interface that is no name")
    m.keys("Up")
    m.wait("too long for an interface")
    m.keys("Down", "C-u", "Tab", "Tab", "Tab", "Enter")
    m.wait("wanted: the worker's address")
    m.go("Escape", to=MENU)
    m.keys("p")
    m.wait("PULL")
    m.type("no-slash")
    m.go("Enter", to="wanted org/name")
    m.keys("C-c")
    m.wait(MENU)
    m.go("4", to="Qwen")
    m.keys("End")
    m.go("Enter", to="LAUNCH SERVER")
    m.type(str(m.folder / "none"))
    m.go("Enter", to="no such folder here")
    assert not m.conf.exists()


def test_resize(menus):
    m = menus()
    m.wait(MENU)
    m.resize(60, 20)
    m.golden("too_small", "wants 80 x 24")
    m.resize(110, 32)
    screen = m.wait(MENU, "─{110}")
    assert len(screen.rstrip("\n").split("\n")) == 32
    m.go("4", to="gpt-oss-120b")  # more rows: all of the list
    m.resize(80, 24)
    m.wait("─{80}", "Qwen/Qwen3-0.6B", without="gpt-oss-120b")
    m.resize(20, 5)
    m.wait("larger")
    m.go("q", to="EXIT 0")


def test_command_runs_and_is_stopped(menus):
    m = menus()
    m.wait(MENU)
    m.keys("l")
    m.golden("logs_running", "running", r"\$ twinax logs -f")
    child = cli.children(m.pid())
    m.keys("C-c")
    m.golden("logs_stopped", "stopped after|done after")
    assert cli.gone_after(child) < 10
    m.go("r", to="running")
    m.go("C-c", to="stopped after")
    m.go("Escape", to=MENU)
    m.go("C-c", to="EXIT 0")


def test_errors_are_the_commands_own(menus):
    m = menus()
    m.wait(MENU)
    m.go("2", to="START")
    m.keys("Right", "Enter", "Enter", "Enter")
    m.wait(r"\$ twinax doctor .*--engine vllm")
    m.go("Escape", "Escape", to=MENU)
    m.keys("x")
    m.golden("stop_asks", "for everybody")
    m.go("Enter", to="nothing runs\n")


def test_in_the_terminal_itself(menus):
    """What may ask for a password has the terminal; the menu comes back as it was."""
    m = menus()
    m.wait(MENU)
    m.go("s", to="Enter does it, in this terminal")
    m.keys("Enter")
    if "(yes)" in m.wait("Enter goes back to the menu|\\(yes\\)"):  # this machine lacks something
        m.keys("n", "o", "Enter")
        m.wait("Enter goes back to the menu")
    m.go("Enter", to=MENU)
    m.keys("Home")
    m.golden("menu", MENU, "nothing runs")


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals(menus, sig):
    """The terminal is as it was, and what it ran is gone."""
    m = menus()
    m.wait(MENU)
    m.go("l", to="running")
    pid = m.pid()
    family = [pid, *cli.children(pid)]
    os.kill(pid, sig)
    screen = m.wait("EXIT 0")
    assert cli.gone_after(family) < 10 and "twinax logs" not in screen
    assert m.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"]


def test_killed_menu_leaves_no_child(menus):
    m = menus()
    m.wait(MENU)
    m.go("l", to="running")
    pid = m.pid()
    family = [pid, *cli.children(pid)]
    os.kill(pid, signal.SIGKILL)
    assert len(family) > 1 and cli.gone_after(family) < 10


def test_colours(menus):
    m = menus()
    m.wait(MENU)
    assert re.search(r"\x1b\[[0-9;]*3[0-7]", m.text("-e"))


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "vt100"}], ids=str)
def test_no_colours(menus, env):
    m = menus(env=env)
    m.wait(MENU)
    m.go("Down", to="Looks whether")
    screen = m.text("-e")
    assert not re.search(r"\x1b\[([0-9]+;)*[34][0-7]m", screen), screen
    assert re.search(r"\x1b\[[0-9;]*7m +2  Start cluster", screen), "the chosen line is seen without colours too"


def test_ascii(menus):
    m = menus(env={"LC_ALL": "C", "TERM": "vt100"})
    m.wait(MENU)
    m.go("4", to="Qwen")
    m.keys("End", "Up")
    m.golden("models_ascii", "demo .folder.", without="looks what")
    assert m.text().isascii()


def test_refused_without_terminal():
    done = cli.run("ui")
    assert done.returncode == 2 and "stdin is no terminal" in done.stderr
    for words in ("Configure IPs", "twinax setup --init", "twinax up MODEL", "twinax status", "twinax down"):
        assert words in done.stderr, done.stderr


@pytest.mark.parametrize("term, words", [("dumb", "cannot place its cursor"), ("no-such", "is not known here")])
def test_refused_terminals(menus, term, words):
    m = menus(env={"TERM": term})
    m.wait(words, "twinax up MODEL", "EXIT 2")


def test_usage():
    assert cli.run("ui", "--no-such").returncode == 2
    assert "takes no such word" in cli.run("ui", "word").stderr
    assert "wanted" in cli.run("ui", "--engine", "other").stderr


def test_the_guides_name(menus, place):
    """start-vllm-cluster, with .sh too, is the menu with vllm chosen."""
    program = place / "start-vllm-cluster.sh"
    program.symlink_to(cli.BINARY)
    m = menus(argv=[program])
    m.wait(MENU)
    m.go("2", to=r"\[vllm\]")


def test_users_catalogue(menus):
    m = menus()
    own = m.conf.parent / "catalogue.txt"
    own.write_text("me/mine | 1B | bf16=2G | open | native | mine\n-Qwen/Qwen3-0.6B\nbad line\n")
    m.wait(MENU)
    m.go("4", to=r"catalogue.txt:3: model .bad line.")
    screen = m.text()
    assert "Qwen/Qwen3-0.6B" not in screen and "Qwen/Qwen3-4B" in screen
    m.keys("End", "Up")
    m.wait("me/mine")


def test_installed_catalogue():
    """Every line of it is read, and has what a page shows."""
    path = cli.ROOT / "data" / "catalogue.txt"
    rows = [x.split("|") for x in path.read_text().splitlines() if x and not x.startswith("#")]
    assert len(rows) >= 10 and all(len(r) == 6 for r in rows)
    names = [r[0].strip() for r in rows]
    assert len(set(names)) == len(names)
    assert {"meta-llama/Meta-Llama-3.1-8B-Instruct", "google/gemma-2-27b-it"} <= set(names)


def test_installs(tmp_path):
    """The names of the guide are links beside the program, the catalogue lies in share."""
    build = cli.BINARY.parent
    if not (build / "build.ninja").exists():
        pytest.skip("no build folder beside the program")
    plan = subprocess.run(["meson", "introspect", "--install-plan", str(build)], capture_output=True, text=True, check=True).stdout
    assert "catalogue.txt" in plan and "share}/twinax" in plan.replace("datadir", "share"), plan[:500]
    assert pathlib.Path(cli.ROOT / "meson.build").read_text().count("start-vllm-cluster") == 1
