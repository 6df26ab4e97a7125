# SPDX-License-Identifier: Apache-2.0
"""`twinax models`: what the cache holds, whole or not; verify finds a flipped byte; rm removes what no
other revision has."""

import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import time

import fake_hub
import pytest
import twinax_cli as cli

FILES = {
    "config.json": b"{}",
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    ).encode(),
    "model-1.safetensors": b"1" * 5000,
    "model-2.safetensors": b"2" * 6000,
}


@pytest.fixture
def hub(folder):
    (folder / "hub").mkdir()
    with fake_hub.serving(folder / "hub") as h:
        h.repos["org/name"] = fake_hub.Repo(FILES)
        yield h


@pytest.fixture
def home(folder):
    return folder / "home"


def models(hub, home, *argv):
    done = cli.run("models", *argv, env=hub.env(home))
    lines = [json.loads(x) for x in done.stdout.splitlines()] if "--json" in argv else None
    return done, lines


def pull(hub, home, *argv):
    return cli.good("pull", *argv, env=hub.env(home)).stdout.strip()


def test_an_empty_cache(hub, home):
    done, lines = models(hub, home, "--json")
    assert done.returncode == 0 and lines == [] and "twinax pull" in done.stderr


def test_whole_and_not_whole(hub, home):
    path = pull(hub, home, "org/name")
    _, lines = models(hub, home, "--json")
    assert [(m["model"], m["whole"], m["files"], m["path"]) for m in lines] == [("org/name", True, 4, path)]
    assert lines[0]["bytes"] == sum(map(len, FILES.values()))
    blob = home / "hub/models--org--name/blobs" / fake_hub.etag_of(FILES["model-2.safetensors"])
    blob.unlink()
    _, lines = models(hub, home, "--json")
    assert not lines[0]["whole"] and lines[0]["missing"] == 1
    assert "model-2.safetensors" in models(hub, home)[0].stdout
    before = hub.sent_bytes()
    pull(hub, home, "org/name")
    assert hub.sent_bytes() - before == len(FILES["model-2.safetensors"])


def test_a_shard_that_another_tool_did_not_bring(hub, home):
    """Without our record the model's own index tells."""
    pull(hub, home, "org/name", "--exclude", "model-2*")
    for record in (home / "hub/models--org--name/.twinax").iterdir():
        record.unlink()
    _, lines = models(hub, home, "--json")
    assert not lines[0]["whole"] and "model-2.safetensors" in lines[0]["why"]


def test_verify_finds_one_flipped_byte(hub, home):
    pull(hub, home, "org/name")
    done, _ = models(hub, home, "verify")
    assert done.returncode == 0 and "good: 4 files" in done.stdout
    for name in ("config.json", "model-1.safetensors"):
        blob = home / "hub/models--org--name/blobs" / fake_hub.etag_of(FILES[name])
        good = blob.read_bytes()
        blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        done, lines = models(hub, home, "verify", "org/name", "--json")
        assert done.returncode == 1 and "pull --verify org/name" in done.stderr
        assert [x["file"] for x in lines if x.get("state") == "bad"] == [name]
        assert blob.exists(), "verify changes nothing"
        before = hub.sent_bytes()
        pull(hub, home, "org/name", "--verify")
        assert hub.sent_bytes() - before == len(good)
        assert models(hub, home, "verify", "org/name")[0].returncode == 0


def test_what_was_hashed_is_known_until_it_changes(hub, home):
    pull(hub, home, "org/name")
    assert models(hub, home, "--json")[1][0]["verified"], "the pull hashed it"
    assert "whole, verified" in models(hub, home)[0].stdout
    _, lines = models(hub, home, "verify", "--quick", "--json")
    assert lines[-1]["good"] and lines[-1]["unread"] == 4
    _, lines = models(hub, home, "verify", "--json")
    assert lines[-1]["good"] and lines[-1]["unread"] == 0, "verify reads every byte"
    blob = home / "hub/models--org--name/blobs" / fake_hub.etag_of(FILES["model-1.safetensors"])
    data, st = blob.read_bytes(), blob.stat()
    blob.write_bytes(data[:-1] + b"?")
    os.utime(blob, ns=(st.st_atime_ns, st.st_mtime_ns))  # its ctime tells all the same
    assert not models(hub, home, "--json")[1][0]["verified"]
    done, lines = models(hub, home, "verify", "--quick", "--json")
    assert done.returncode == 1 and lines[0]["file"] == "model-1.safetensors" and lines[-1]["unread"] == 3
    pull(hub, home, "org/name", "--verify")
    assert models(hub, home, "--json")[1][0]["verified"]


def test_damage_that_was_seen_is_shown(hub, home):
    pull(hub, home, "org/name")
    blob = home / "hub/models--org--name/blobs" / fake_hub.etag_of(FILES["model-1.safetensors"])
    blob.write_bytes(b"?" + blob.read_bytes()[1:])
    until = time.monotonic() + 60
    while time.monotonic() < until:  # at first the file's clock could not tell another change
        models(hub, home, "verify")
        if models(hub, home, "--json")[1][0]["bad"]:
            break
        time.sleep(0.2)
    assert "damaged: model-1.safetensors" in models(hub, home)[0].stdout


def test_a_path_is_hashed_too(hub, home, folder):
    path = pull(hub, home, "org/name")
    copy = folder / "copy"
    copy.mkdir()
    for name, data in FILES.items():
        (copy / name).write_bytes(data)
    (copy / "notes.txt").write_text("no weights")
    ids = {models(hub, home, "verify", p, "--json")[1][0]["content"] for p in (path, copy)}
    assert len(ids) == 1, "the same weights, wherever they came from"
    (copy / "model-1.safetensors").write_bytes(b"x" * 5000)
    assert models(hub, home, "verify", copy, "--json")[1][0]["content"] not in ids
    one = models(hub, home, "verify", copy / "model-2.safetensors")[0].stdout.split()[0]
    assert one == hashlib.sha256(FILES["model-2.safetensors"]).hexdigest()
    assert models(hub, home, "verify", "./nothing")[0].returncode == 1


def test_rm_keeps_what_another_revision_has(hub, home):
    first = pull(hub, home, "org/name")
    hub.repos["org/name"].push(FILES | {"model-1.safetensors": b"3" * 5000})
    second = pull(hub, home, "org/name")
    old, new = first.rsplit("/", 1)[1], second.rsplit("/", 1)[1]
    done, _ = models(hub, home, "rm", "org/name")
    assert done.returncode == 1 and "--yes" in done.stderr and first in done.stderr
    done, lines = models(hub, home, "rm", f"org/name@{old[:10]}", "--yes", "--json")
    assert done.returncode == 0 and lines[0]["freed_bytes"] == 5000
    _, lines = models(hub, home, "--json")
    assert [(m["commit"], m["whole"]) for m in lines] == [(new, True)]
    assert models(hub, home, "verify")[0].returncode == 0
    done, _ = models(hub, home, "rm", "org/name", "--yes")
    assert done.returncode == 0 and not (home / "hub/models--org--name").exists()
    assert models(hub, home, "rm", "org/name", "--yes")[0].returncode == 1


@pytest.mark.parametrize("nodes", [[], ["--nodes", "local,local"]])
def test_ctrl_c_at_the_question(hub, home, nodes):
    pull(hub, home, "org/name")
    more = ["--agent-path", cli.BINARY] if nodes else []
    master, slave = pty.openpty()
    p = subprocess.Popen([cli.BINARY, "models", "rm", "org/name", *nodes, *more], stdin=slave, stdout=slave,
                         stderr=slave, env=os.environ | hub.env(home))  # fmt: skip
    os.close(slave)
    text = b""
    while b"[y/N]" not in text:
        text += os.read(master, 4096)
    p.send_signal(signal.SIGINT)
    try:
        assert p.wait(20) != 0
    finally:
        p.kill()
        os.close(master)
    assert list(home.rglob("snapshots/*"))


@pytest.mark.parametrize("env", [{"HF_HUB_CACHE": "CACHE"}, {"HUGGINGFACE_HUB_CACHE": "CACHE"}, {"HF_HOME": "HOME"},
                                 {"XDG_CACHE_HOME": "XDG"}], ids=lambda e: next(iter(e)))
def test_a_rank_finds_a_model_by_its_id(folder, env):
    """Another path on another machine: the cache is looked through, wherever it is."""
    cache = folder / "xdg" / "huggingface" / "hub"
    snapshot = cache / "models--org--name" / "snapshots" / ("a" * 40)
    shutil.copytree(cli.TINY / "llama-plain", snapshot)
    model = json.loads(cli.good("plan", snapshot, "--local", "--tp", "1", "--json").stdout)["id"]
    where = {"CACHE": cache, "HOME": folder / "xdg" / "huggingface", "XDG": folder / "xdg"}
    names = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"]
    env = {k: "" for k in names} | {k: str(where[v]) for k, v in env.items()} | {"HOME": str(folder)}
    part = {"rank": 1, "n_ranks": 2, "address": "127.0.0.1", "port": 1, "token": "00" * 32, "transport": 0,
            "model": str(folder / "nowhere" / "m"), "model_id": model, "verify": False,
            "engine": {"threads": 1, "ctx": 0, "max_seqs": 0, "chunk": 0, "kv": 0, "n_local": 1, "i_local": 0,
                       "arith": 0}}
    for id_, want in ((model, f"the one with its id is {snapshot}"), ("0" * 64, str(cache)[-50:])):
        with cli.running("rank", env=env) as p:
            p.stdin.write(json.dumps(part | {"model_id": id_}).encode() + b"\n")
            p.stdin.flush()
            assert want in p.stderr.readline().decode()


def test_usage(hub, home):
    for argv in (["what"], ["rm"], ["rm", "no-slash"], ["verify", "a/b", "c/d"]):
        assert models(hub, home, *argv)[0].returncode == 2, argv
