# SPDX-License-Identifier: Apache-2.0
"""The fixtures of tests/cli (a folder, nothing left behind), and menus in tmux."""

import importlib.util
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

CLI = pathlib.Path(__file__).resolve().parents[1] / "cli"
sys.path.insert(0, str(CLI))


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


leaves_nothing = load(CLI / "conftest.py", "cli_conftest").leaves_nothing

import menu  # noqa: E402
import twinax_cli as cli  # noqa: E402


def pytest_collection_modifyitems(items):
    why = cli.missing_binary() or (None if shutil.which("tmux") else "tmux is not here (tmux)")
    here = pathlib.Path(__file__).parent
    for item in items:
        if why and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def place():
    """A folder whose name is as long everywhere: screens show it."""
    with tempfile.TemporaryDirectory(prefix="twui-", dir="/tmp") as tmp:
        folder = pathlib.Path(tmp)
        (folder / "twinax").symlink_to(cli.BINARY)
        (folder / "demo").symlink_to(cli.DEMO)
        yield folder


@pytest.fixture
def menus(place):
    """menus(name, ...) starts one; all of them are ended."""
    started = []

    def start(name="one", **more):
        m = menu.Menu(place, name, **more)
        started.append(m)
        return m

    try:
        yield start
    finally:
        for m in started:
            m.end()


def pytest_report_header():
    return f"goldens of screens are written anew: {menu.WRITE}" if os.environ.get(menu.WRITE) else None
