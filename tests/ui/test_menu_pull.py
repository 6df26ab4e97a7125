# SPDX-License-Identifier: Apache-2.0
"""A model that is not here: launched all the same, and a gated one that is refused. One machine, a hub
of our own."""

import fake_hub
import pytest
import twinax_cli as cli

MENU = "4  Launch serve"


@pytest.fixture
def hub(place):
    (place / "hub").mkdir()
    with fake_hub.serving(place / "hub") as h:
        h.repos["org/demo"] = fake_hub.Repo(fake_hub.folder_files(cli.DEMO))
        h.repos["org/gated"] = fake_hub.Repo(fake_hub.folder_files(cli.DEMO), gated=True)
        yield h


def start(menus, hub, place):
    m = menus(env=hub.env(place / "hf"))
    lines = "org/demo | 1M | bf16=7.5M | open | native |\norg/gated | 1M | bf16=7.5M | gated | native |\n"
    (m.conf.parent / "catalogue.txt").write_text(lines)
    m.wait(MENU)
    m.go("4", to="Qwen")
    m.wait("Qwen", without="looks what")
    return m


def test_launch_pulls_first(menus, hub, place):
    hub.bytes_s = 1_000_000  # seconds of progress
    m = start(menus, hub, place)
    try:
        launch(m)
    finally:
        cli.run("down", env=m.own)


def launch(m):
    m.keys("End", "Up", "Up")
    m.wait("is pulled first")
    m.go("Enter", to="LAUNCH SERVER")
    m.wait("not on this disk: it is pulled first, 7.5 MB", r"\$ twinax pull org/demo --json --local", r"\$ twinax up org/demo")
    m.keys("Down", "Down", "C-u", "0", "Down", "Enter")
    m.wait(r"[█▉▊▋▌▍▎▏░]{30} +\d+ %  .* of \d")
    m.wait("is up at http", "done after", " done\n")
    m.go("Enter", to="carried by")
    m.keys("x", "Enter")
    m.wait("stopped .*nothing is left", "done after")
    m.go("Escape", "Escape", to=MENU)
    m.go("4", to=r"org/demo +1M .*here")
    m.go("Escape", to=MENU)
    m.go("q", to="EXIT 0")


def test_gated(menus, hub, place):
    m = start(menus, hub, place)
    m.keys("End", "Up")
    m.wait("gated: accept its licence at https://huggingface.co/org/gated", "HF_TOKEN is not set")
    m.go("p", to="failed after")
    m.wait("twinax pull: org/gated.*")
    assert "gated" in m.text() or "licen" in m.text()
    m.go("Escape", to="model for the native engine")


def test_pull_is_stopped(menus, hub, place):
    """ctrl-C: what came stays, and the next one goes on with it."""
    hub.bytes_s = 1_000_000
    m = start(menus, hub, place)
    m.keys("Escape")
    m.wait(MENU)
    m.go("p", to="PULL")
    m.type("org/demo")
    m.keys("Enter", "Enter")
    m.wait(r" [1-9]\d? %")
    m.keys("C-c")
    m.wait("stopped after")
    hub.bytes_s = 0
    m.go("r", to="whole and verified")
    m.wait("done after")
    assert hub.sent_bytes() < 2 * 7_700_000
