# SPDX-License-Identifier: Apache-2.0
"""The pair of machines that tests share, and what runs in them."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import image  # noqa: E402
import machines  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TWINAX") or ROOT / "build" / "twinax").resolve().parent


class Shared:
    """One pair for many tests, started again where a test left it dead."""

    def __init__(self):
        self.lab = None

    def get(self):
        if self.lab is not None and not self.lab.is_on():
            self.close()
        if self.lab is None:
            self.lab = machines.Lab(capture=True)
        return self.lab

    def close(self):
        if self.lab is not None:
            self.lab.close()
        self.lab = None


@pytest.fixture(scope="session")
def lab_image():
    """Skips where the lab cannot be had: no network for the first download, another system."""
    try:
        return image.get()
    except image.Unavailable as why:
        pytest.skip(str(why))


@pytest.fixture(scope="session")
def shared(lab_image):
    s = Shared()
    yield s
    s.close()


@pytest.fixture
def pair(shared):
    """Two machines with rxe0 on eth0, MTU 4500, a clean wire that is captured."""
    lab = shared.get()
    yield lab
    if lab.is_on():
        tidy = "tc qdisc del dev eth0 root 2>/dev/null; ip link set eth0 mtu 4500"
        for m in lab.machines:
            if m.run(tidy).status != 0:
                shared.close()
                break


def program(name):
    path = BUILD / name
    if not os.access(path, os.X_OK):
        pytest.skip(f"{path} is missing: build it")
    return str(path)


@pytest.fixture
def two_hosts():
    return program("tests/lab/two_hosts")
