# SPDX-License-Identifier: Apache-2.0
"""Versions of the nodes are compared before anything is started there; a Ray without a token's door
listens on a cable of its own alone. Stand-ins for ray, vllm and the Python beside them."""

import json

import pytest
import two_hosts
from test_vllm import notes, serve, venv, words  # noqa: F401
from test_vllm_ray import home, ray  # noqa: F401
from two_hosts import A, LAN, ROCE
from two_hosts_fixture import made, nothing_is_left  # noqa: F401

USUAL = {"python": "3.12.4", "ray": "2.60.0", "vllm": "0.32.0", "torch": "2.9.0+rocm7.0", "hip": "7.0.1", "rccl": "1.0.70001"}
PYTHON = """#!/bin/sh
case $(ip -4 -o addr show roce0) in *{head}/*) n=a;; *) n=b;; esac
cat "{folder}/versions-$n"
"""


@pytest.fixture(scope="module")
def hosts():
    yield from made(make=two_hosts.Apart)


@pytest.fixture
def versions(venv):  # noqa: F811
    """versions(what B has otherwise than A)"""
    python = venv / "bin" / "python3"
    python.write_text(PYTHON.format(head=ROCE[A], folder=venv))
    python.chmod(0o755)

    def write(both=None, **b):
        for name, more in ("a", {}), ("b", b):
            said = USUAL | (both or {}) | more
            (venv / f"versions-{name}").write_text(f"a warning\ntwinax-versions {json.dumps(said)}\n")

    write()
    return write


@pytest.mark.parametrize("b, says", [
    ({"ray": "2.59.0"}, "node-b: Ray 2.59.0, wanted 2.60.0 as on node-a"),
    ({"python": "3.13.1"}, "node-b: Python 3.13.1, wanted 3.12.4 as on node-a"),
    ({"vllm": "0.31.1"}, "node-b: vLLM 0.31.1, wanted 0.32.0 as on node-a"),
    ({"torch": "2.9.0+rocm6.4"}, "node-b: torch 2.9.0+rocm6.4, wanted 2.9.0+rocm7.0 as on node-a"),
])  # fmt: skip
def test_a_difference_that_breaks(serve, versions, venv, b, says):  # noqa: F811
    versions(**b)
    err = serve().wait()
    assert says in err.splitlines()[-1] and "--any-versions" in err, err
    assert notes(venv) == []


def test_consent(serve, versions):  # noqa: F811
    versions(ray="2.59.0", python="3.12.9")
    s = serve("--any-versions")
    s.ready()
    err = s.end()
    assert s.p.returncode == 0 and "node-b: Ray 2.59.0, wanted 2.60.0" in err, err


def test_they_are_shown(ray, versions):  # noqa: F811
    versions(hip="7.0.2")
    assert ray.up().returncode == 0
    out = ray.run("status").out.splitlines()
    at = next(i for i, line in enumerate(out) if line.startswith("NODE         PYTHON"))
    assert out[at].split() == ["NODE", "PYTHON", "RAY", "VLLM", "TORCH", "HIP", "RCCL"]
    assert out[at + 1].split() == ["node-a", *USUAL.values()]
    assert out[at + 2].split() == ["node-b", *(USUAL | {"hip": "7.0.2"}).values()]
    said = ray.status()[1]["ray"]["serve"]["versions"]
    assert said == [USUAL | {"node": "node-a"}, USUAL | {"node": "node-b", "hip": "7.0.2"}]


def test_a_node_that_does_not_say(serve, venv):  # noqa: F811
    """The stand-ins have no Python beside them: it starts, and says that it does not know."""
    python = venv / "bin" / "python3"
    python.write_text("#!/bin/sh\necho 'no such library'\nexit 1\n")
    python.chmod(0o755)
    s = serve()
    s.ready()
    err = s.end()
    assert "node-b: versions not known: no such library" in err, err


def test_old_ray_wants_a_cable_of_its_own(hosts, serve, versions, venv):  # noqa: F811
    versions({"ray": "2.51.0"})
    s = serve()
    s.ready()  # roce0 is a /30
    assert "Ray 2.51.0 asks nobody for a token" in s.end()
    for p in (venv / "notes").iterdir():
        p.unlink()
    p = hosts.run(A, *words(venv, "--nodes", f"node-a={LAN[0]},node-b={LAN[1]}"))
    assert p.returncode == 1 and "Ray 2.51.0 asks nobody for a token" in p.err.splitlines()[-1], p.err
    assert "lan0" in p.err and notes(venv) == []
