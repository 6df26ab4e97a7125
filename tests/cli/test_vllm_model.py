# SPDX-License-Identifier: Apache-2.0
"""`--engine vllm`: its model is found, pulled once and shared, or copied, before vLLM starts; the nodes
have caches of their own, so folders differ. Stand-ins for ray and vllm."""

import json
import os
import pathlib
import shutil

import fake_hub
import pytest
import two_hosts
import twinax_cli as cli
from pull_nodes_net import Cluster, Net
from two_hosts_fixture import made, nothing_is_left  # noqa: F401

FAKE = pathlib.Path(__file__).with_name("fake_vllm.py")


@pytest.fixture(scope="module")
def hosts():
    yield from made(make=two_hosts.Apart)


@pytest.fixture(scope="module")
def net(hosts):
    n = Net(hosts)
    yield n
    n.remove()


@pytest.fixture
def folder(hosts):
    made = hosts.folder / f"vllm{len(list(hosts.folder.glob('vllm*')))}"
    made.mkdir()
    return made


@pytest.fixture
def hub(net, folder):
    (folder / "hub").mkdir()
    with net.serving(folder / "hub") as h:
        yield h


@pytest.fixture
def cluster(hosts, hub, folder):
    c = Cluster(hosts, hub, folder)
    for host in hosts.all:
        c.extra[host] = {"FAKE_VLLM_NOTES": str(folder / f"notes{host}")}
        (folder / f"notes{host}").mkdir()
    c.extra[0]["FAKE_VLLM_PEER"] = two_hosts.ROCE[1]
    (folder / "venv" / "bin").mkdir(parents=True)
    for name in "ray", "vllm":
        shutil.copy(FAKE, folder / "venv" / "bin" / name)
        (folder / "venv" / "bin" / name).chmod(0o755)
    return c


def start(cluster, model, *more):
    nodes = cluster.argv()[2:]
    return cluster.start(command=["serve", model, *nodes, "--engine", "vllm", "--venv", cluster.folder / "venv",
                                  "--wire", "ethernet", "--port", "8124", "--no-auth", *more])  # fmt: skip


def served(cluster, model, *more):
    """What `vllm serve` and `ray start` were told, on each machine; what was said on stderr."""
    p = start(cluster, model, *more)
    try:
        line = p.stdout.readline()
        assert line.startswith("listening on http://"), line + p.stderr.read()
    finally:
        p.send_signal(two_hosts.signal.SIGINT)
        _, err = p.communicate(timeout=cli.LIMIT_S)
    found = [[json.loads(f.read_text()) for f in (cluster.folder / f"notes{h}").iterdir()] for h in (0, 1)]
    return found, err


def model_of(notes):
    return next(n["model"] for n in notes if n["what"] == "vllm")


def test_a_name_is_pulled_once_and_each_uses_its_own_folder(cluster, hub):
    hub.repos["org/demo"] = fake_hub.Repo(fake_hub.folder_files(cli.DEMO))
    cluster.hidden = cluster.homes[0]
    notes, err = served(cluster, "org/demo", "--executor", "ray")
    assert "pulling it" in err
    vllm = next(n for n in notes[0] if n["what"] == "vllm")
    # Ray's workers on the second machine take the first one's word for it: the same link there.
    word = vllm["words"][1]
    assert word.startswith("/tmp/twinax-") and word.endswith("-ray/model")
    assert vllm["model"] == str(cluster.snapshot(0, "org/demo"))
    ray = next(n for n in notes[1] if n["what"] == "ray")
    assert ray["model"] == str(cluster.snapshot(1, "org/demo"))
    assert "--served-model-name org/demo" in " ".join(vllm["words"])
    once = hub.sent_bytes()
    for f in *(cluster.folder / "notes0").iterdir(), *(cluster.folder / "notes1").iterdir():
        f.unlink()
    notes, err = served(cluster, "org/demo", "--executor", "mp")
    assert hub.sent_bytes() == once and "pulling it" not in err
    assert [model_of(n) for n in notes] == [str(cluster.snapshot(h, "org/demo")) for h in (0, 1)]


@pytest.mark.parametrize("family", ["ours", "unknown"])
def test_a_folder_is_copied_on_consent(cluster, hub, folder, family):
    """Of a family that the native engine does not know too."""
    here = folder / "here" / "My model"
    shutil.copytree(cli.DEMO, here)
    if family == "unknown":
        config = json.loads((here / "config.json").read_text())
        config |= {"architectures": ["StrangeForCausalLM"], "model_type": "strange"}
        (here / "config.json").write_text(json.dumps(config))
        (here / "training_args.bin").write_bytes(b"of who trained it: never copied")
    cluster.hidden = here.parent
    p = start(cluster, here)
    _, err = p.communicate(timeout=cli.LIMIT_S)
    assert p.returncode == 1 and "--copy" in err.splitlines()[-1] and "node-b" in err.splitlines()[-1], err
    assert not cluster.homes[1].exists(), "never silently"
    notes, err = served(cluster, here, "--copy", "--executor", "mp")
    assert "giving it to node-b" in err and model_of(notes[0]) == str(here)
    assert model_of(notes[1]).startswith(str(cluster.homes[1]))
    assert os.path.basename(here) in " ".join(notes[0][0]["words"])


def test_a_folder_that_is_not_there(cluster):
    p = start(cluster, cluster.folder / "nothing")
    _, err = p.communicate(timeout=cli.LIMIT_S)
    assert p.returncode == 1 and "no such folder" in err.splitlines()[-1], err
