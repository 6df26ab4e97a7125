# SPDX-License-Identifier: Apache-2.0
"""Each test gets a temporary folder, and must leave nothing: no process, no shared memory, no
network interface, no file."""

import os
import pathlib
import tempfile
import time
import uuid

import pytest
import twinax_cli as cli

os.environ.setdefault(cli.MARK, uuid.uuid4().hex)
SETTLE_S = 15  # the kernel takes a network namespace down in the background


def pytest_collection_modifyitems(items):
    why = cli.missing_binary()
    here = pathlib.Path(__file__).parent
    for item in items:
        if why and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=why))


def left_behind(before_shm, before_nets):
    found = [f"process {pid}: {line}" for pid, line in cli.marked().items()]
    found += [f"/dev/shm/{name}" for name in sorted(cli.shared_memory() - before_shm)]
    return found + [f"interface {name}" for name in sorted(cli.interfaces() - before_nets)]


@pytest.fixture(autouse=True)
def leaves_nothing(monkeypatch):
    """Every test's own check: what was not there before is gone within SETTLE_S."""
    before = cli.shared_memory(), cli.interfaces()
    with tempfile.TemporaryDirectory(prefix="twinax-cli-tmp-") as tmp:
        monkeypatch.setenv("TMPDIR", tmp)
        yield
        until = time.monotonic() + SETTLE_S
        while left_behind(*before) and time.monotonic() < until:
            time.sleep(0.02)
        found = left_behind(*before) + sorted(os.listdir(tmp))
    assert not found, f"left behind: {found}"


@pytest.fixture
def folder():
    """An empty folder, gone after the test."""
    with tempfile.TemporaryDirectory(prefix="twinax-cli-", dir=tempfile.gettempdir()) as tmp:
        yield pathlib.Path(tmp)
