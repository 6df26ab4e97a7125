# SPDX-License-Identifier: Apache-2.0
"""A .gguf file as MODEL: by its path, in a folder, in a repository with others, for another rank."""

import json
import subprocess

import fake_hub
import gguf_world as world
import pytest
import twinax_cli as cli

ASK = ["-p", "Hello", "-n", "8", "--ids", "--temp", "0"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One model as Q8_0, as Q4_0, and as it is, split."""
    at = tmp_path_factory.mktemp("files")
    world.make_gguf.write(cli.DEMO, at / "demo-Q8_0.gguf", "Q8_0")
    world.make_gguf.write(cli.DEMO, at / "demo-Q4_0.gguf", "Q4_0")
    world.make_gguf.write(cli.DEMO, at / "demo.gguf", split=20)
    return fake_hub.folder_files(at)


@pytest.fixture
def hub(folder, files):
    (folder / "hub").mkdir()
    with fake_hub.serving(folder / "hub") as h:
        h.repos["org/many"] = fake_hub.Repo(files | {"README.md": b"x"})
        one = {n: b for n, b in files.items() if n == "demo-Q8_0.gguf"}
        h.repos["org/one"] = fake_hub.Repo(one | {"config.json": b"{}"})
        yield h


def test_one_of_many_in_a_repository(hub, folder):
    home, want = folder / "home", cli.good("run", cli.DEMO, *ASK).stdout
    done = cli.run("run", "org/many", *ASK, env=hub.env(home))
    assert done.returncode == 1 and "ORG/NAME/FILE.gguf" in done.stderr
    split = "org/many/demo-00001-of-00003.gguf"
    assert cli.good("run", split, *ASK, env=hub.env(home)).stdout == want
    n = len(hub.requests)
    assert cli.good("run", split, *ASK, env=hub.env(home, HF_HUB_OFFLINE="1")).stdout == want
    assert len(hub.requests) == n
    got = cli.good("pull", "org/many/demo-Q8_0.gguf", env=hub.env(home)).stdout.strip()
    by_path = cli.good("run", got + "/demo-Q8_0.gguf", *ASK).stdout
    by_name = ("run", "org/many/demo-Q8_0.gguf", *ASK)
    assert cli.good(*by_name, env=hub.env(home, HF_HUB_OFFLINE="1")).stdout == by_path
    listed = json.loads(cli.good("models", "--json", env=hub.env(home)).stdout)
    assert "org/many" in json.dumps(listed)
    none = cli.run("run", "org/many/demo-Q4_0.gguf", *ASK, env=hub.env(home, HF_HUB_OFFLINE="1"))
    assert none.returncode == 1 and "HF_HUB_OFFLINE" in none.stderr
    gone = cli.run("run", "org/many/other.gguf", *ASK, env=hub.env(home))
    assert gone.returncode == 1 and "other.gguf" in gone.stderr


def test_the_only_one_of_a_folder(hub, folder, files):
    home = folder / "home"
    one = cli.good("run", "org/one", *ASK, env=hub.env(home)).stdout
    at = folder / "here"
    at.mkdir()
    for name in ("demo-Q8_0.gguf", "demo-Q4_0.gguf"):
        (at / name).write_bytes(files[name])
    done = cli.run("run", at, *ASK)
    assert done.returncode == 1 and f"name one, such as {at}/demo-Q4_0.gguf" in done.stderr
    (at / "demo-Q4_0.gguf").unlink()
    assert cli.good("run", at, *ASK).stdout == one


def part_of(path, id_, tmp):
    return {
        "rank": 1, "n_ranks": 2, "address": "127.0.0.1", "port": 1, "token": "0" * 64,
        "transport": 1, "model": str(path), "model_id": id_, "verify": False,
        "engine": {"threads": 1, "ctx": 64, "max_seqs": 1, "chunk": 8, "kv": 0, "n_local": 1,
                   "arith": 0, "i_local": 0},
    }  # fmt: skip


def test_another_rank_finds_it_by_its_id(folder, files):
    """Under another name beside the path, or in the cache; said in the log."""
    at = folder / "models"
    at.mkdir()
    (at / "renamed.gguf").write_bytes(files["demo-Q4_0.gguf"])
    (at / "other.gguf").write_bytes(files["demo-Q8_0.gguf"])
    id_ = json.loads(cli.good("plan", at / "renamed.gguf", "--json", "--tp", "1").stdout)["id"]
    part = json.dumps(part_of(at / "demo-Q4_0.gguf", id_, folder)) + "\n"
    done = subprocess.run(
        [cli.BINARY, "rank"], input=part, capture_output=True, text=True, timeout=cli.LIMIT_S
    )
    assert f"the one with its id is {at}/renamed.gguf" in done.stderr
    part = json.dumps(part_of(at / "demo-Q4_0.gguf", "f" * 64, folder)) + "\n"
    done = subprocess.run(
        [cli.BINARY, "rank"], input=part, capture_output=True, text=True, timeout=cli.LIMIT_S
    )
    assert "none has its id" in done.stderr
