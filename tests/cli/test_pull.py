# SPDX-License-Identifier: Apache-2.0
"""`twinax pull` against a hub of our own over TLS: what it takes, what it refuses and how it says so,
and that nothing is lost or fetched twice when it breaks off."""

import contextlib
import fcntl
import importlib.util
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import fake_hub
import pytest
import twinax_cli as cli

NAME = "org/name"
BIG = 3_000_001
KIB = 64  # of one range
ROUNDS = 50


def noise(n, seed):
    return random.Random(seed).randbytes(n)


def model_files(seed=1):
    return {
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": noise(9000, seed),
        "model.safetensors": noise(BIG, seed + 1),
        "sub/chat template.jinja": b"{{ messages }}",
        "README.md": b"not needed",
        "original/consolidated.00.pth": noise(5000, seed + 2),
        "pytorch_model.bin": noise(5000, seed + 3),
        "empty.json": b"",
    }


NEEDED = ["config.json", "empty.json", "model.safetensors", "sub/chat template.jinja", "tokenizer.json"]


@pytest.fixture
def hub(folder):
    (folder / "hub").mkdir()
    with fake_hub.serving(folder / "hub") as h:
        h.repos[NAME] = fake_hub.Repo(model_files())
        yield h


@pytest.fixture
def home(folder):
    return folder / "home"


def pull(hub, home, *argv, name=NAME, token=None, **env):
    return cli.run("pull", name, "--range-kib", str(KIB), *argv, env=hub.env(home, token, **env))


def pulled(hub, home, *argv, **more):
    done = pull(hub, home, *argv, **more)
    assert done.returncode == 0, done.stderr
    return pathlib.Path(done.stdout.splitlines()[-1])


def refused(hub, home, *words, **more):
    done = pull(hub, home, **more)
    assert done.returncode == 1, done.stderr
    for word in words:
        assert word in done.stderr, f"{word!r} is not in: {done.stderr}"
    return done.stderr


def files_of(snapshot):
    return sorted(str(p.relative_to(snapshot)) for p in snapshot.rglob("*") if not p.is_dir())


def blobs_of(home):
    return home / "hub" / "models--org--name" / "blobs"


def check_whole(snapshot, files, names):
    assert files_of(snapshot) == sorted(names)
    for name in names:
        assert (snapshot / name).read_bytes() == files[name], name
        link = os.readlink(snapshot / name)
        assert link == "../" * (2 + name.count("/")) + "blobs/" + fake_hub.etag_of(files[name])


def test_takes_what_is_needed_in_the_cache_layout(hub, home):
    snapshot = pulled(hub, home)
    repo = hub.repos[NAME]
    check_whole(snapshot, model_files(), NEEDED)
    root = home / "hub" / "models--org--name"
    assert snapshot == root / "snapshots" / repo.refs["main"]
    assert (root / "refs" / "main").read_text() == repo.refs["main"]
    assert not [p for p in blobs_of(home).iterdir() if "twinax" in p.name]
    ranges = [h for s, _, _, h in hub.requests if s and "Range" in h]
    assert len(ranges) >= BIG // (KIB * 1024), "one large file comes in ranges"
    asked = [p for s, _, p, _ in hub.requests if not s and p.endswith("model.safetensors")]
    assert len(asked) <= 8, "the store's address serves later ranges too"


def test_what_is_here_is_not_fetched_again(hub, home):
    pulled(hub, home)
    before = hub.sent_bytes()
    pulled(hub, home)
    assert hub.sent_bytes() == before


def test_include_and_exclude(hub, home):
    snapshot = pulled(hub, home, "--include", "*.json", "--include", "original/", "--exclude", "empty*")
    assert files_of(snapshot) == ["config.json", "original/consolidated.00.pth", "tokenizer.json"]
    assert "none of its 8 files" in pull(hub, home, "--include", "*.nothing").stderr


def test_json_says_progress_and_what_came(hub, home):
    done = pull(hub, home, "--json")
    lines = [json.loads(x) for x in done.stdout.splitlines()]
    assert [x["event"] for x in lines[:-1]] == ["progress"] * (len(lines) - 1)
    assert lines[-1]["event"] == "done" and lines[-1]["files"] == len(NEEDED)
    assert lines[-1]["commit"] == hub.repos[NAME].refs["main"]
    assert lines[-1]["fetched_bytes"] == sum(len(model_files()[n]) for n in NEEDED)


def test_a_revision_that_changes(hub, home):
    old = hub.repos[NAME].refs["main"]
    first = pulled(hub, home)
    files = model_files() | {"config.json": b'{"model_type": "qwen2"}'}
    new = hub.repos[NAME].push(files)
    before = hub.sent_bytes()
    second = pulled(hub, home)
    assert second.name == new and first.name == old
    assert hub.sent_bytes() - before == len(files["config.json"]), "the weights are the same"
    check_whole(second, files, NEEDED)
    assert pulled(hub, home, name=f"{NAME}@{old}") == first
    hub.repos[NAME].push(model_files(), ref="refs/pr/1")
    assert pulled(hub, home, name=f"{NAME}@refs/pr/1") == first
    assert (home / "hub/models--org--name/refs/refs/pr/1").read_text() == old


# ---- who may ----


def test_refusals_are_told_apart(hub, home):
    hub.tokens = {"hf_member", "hf_other"}
    for name, gated, private in (("org/gated", True, False), ("org/private", False, True)):
        hub.repos[name] = fake_hub.Repo(model_files(), gated, private)
        hub.repos[name].members = {"hf_member"}
    gated = f"{hub.url}/org/gated"
    refused(hub, home, "is gated", "no token", gated, "HF_TOKEN", name="org/gated")
    refused(hub, home, "is gated", "accept its licence", gated, name="org/gated", token="hf_other")
    refused(hub, home, "HF_TOKEN is not valid", "/settings/tokens", name=NAME, token="hf_bad")
    refused(hub, home, "unknown, or private", "HF_TOKEN", name="org/none")
    refused(hub, home, "no such model", "not for this token", name="org/private", token="hf_other")
    refused(hub, home, "has no revision v9", name=f"{NAME}@v9")
    for name in ("org/gated", "org/private"):
        pulled(hub, home, name=name, token="hf_member")


def test_a_token_is_never_shown_nor_given_to_the_store(hub, home):
    hub.tokens = {"hf_secret"}
    home.mkdir()
    (home / "token").write_text("hf_secret\n")
    done = pull(hub, home, "--json")
    assert done.returncode == 0 and "hf_secret" not in done.stdout + done.stderr
    seen = {(s, h.get("Authorization")) for s, _, _, h in hub.requests}
    assert seen == {(False, "Bearer hf_secret"), (True, None)}


def test_an_unknown_certificate_is_refused(hub, home):
    e = refused(hub, home, "certificate is not trusted", "CURL_CA_BUNDLE",
                CURL_CA_BUNDLE="/etc/ssl/certs/ca-certificates.crt")
    assert hub.url in e and not hub.requests


def test_offline_fetches_nothing(hub, home):
    refused(hub, home, "HF_HUB_OFFLINE", HF_HUB_OFFLINE="1")
    assert not hub.requests


def test_a_disk_that_is_too_small_is_seen_first(hub, home):
    small = "/dev/shm" if os.path.ismount("/dev/shm") else None
    if small is None or os.statvfs(small).f_bavail * os.statvfs(small).f_frsize > 1 << 45:
        pytest.skip("no small file system here")
    room = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
    hub.repos[NAME].commits = {"a" * 40: {"model.safetensors": Vast(room + (1 << 30))}}
    hub.repos[NAME].refs = {"main": "a" * 40}
    cache = pathlib.Path(small) / f"test-hub-{os.getpid()}"
    try:
        refused(hub, home, "are still to come", "free", HF_HUB_CACHE=str(cache))
        assert not any(s for s, *_ in hub.requests), "not a byte was asked for"
    finally:
        subprocess.run(["rm", "-rf", cache], check=True)


class Vast(bytes):
    """Says to be long; is not."""

    def __new__(cls, n):
        self = super().__new__(cls, b"x" * fake_hub.LARGE)
        self.n = n
        return self

    def __len__(self):
        return self.n


# ---- a net that fails ----


def test_connections_that_break_off_go_on(hub, home):
    hub.cuts = [0.5, 0.3, 0.9, 0.1]
    check_whole(pulled(hub, home), model_files(), NEEDED)
    assert hub.sent_bytes() == sum(len(model_files()[n]) for n in NEEDED), "no byte twice"


def test_too_many_requests_are_waited_for(hub, home):
    hub.troubles = [(False, "/api/", 429, {"Retry-After": "1"}), (True, "/", 429, {"Retry-After": "1"}),
                    (True, "/", 503, {}), (False, "tokenizer", 500, {})]
    t0 = time.monotonic()
    check_whole(pulled(hub, home), model_files(), NEEDED)
    assert time.monotonic() - t0 >= 2 and not hub.troubles
    hub.troubles = [(False, "/api/", 429, {"Retry-After": "4000"})]
    refused(hub, home, "429", "4000 s")


def test_an_address_of_the_store_that_expires(hub, home):
    hub.troubles = [(True, "/", 403, {}) for _ in range(2)]
    check_whole(pulled(hub, home), model_files(), NEEDED)


def test_a_server_without_ranges(hub, home):
    hub.no_ranges = True
    hub.cuts = [0.5]
    check_whole(pulled(hub, home), model_files(), NEEDED)


def test_a_wrong_hash_is_fetched_once_more_then_refused(hub, home):
    weights = fake_hub.etag_of(model_files()["model.safetensors"])
    hub.wrong = {weights: 1}
    check_whole(pulled(hub, home), model_files(), NEEDED)
    hub.repos[NAME].push(model_files(7))
    weights = fake_hub.etag_of(model_files(7)["model.safetensors"])
    hub.wrong = {weights: 10**6}
    refused(hub, home, "model.safetensors", "hash", "wanted " + weights[:12])
    assert not (blobs_of(home) / weights).exists(), "what is wrong gets no name"
    hub.wrong = {}
    check_whole(pulled(hub, home), model_files(7), NEEDED)


def test_a_flipped_byte_is_found_and_only_that_file_fetched(hub, home):
    snapshot = pulled(hub, home)
    path = (snapshot / "tokenizer.json").resolve()
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    before = hub.sent_bytes()
    check_whole(pulled(hub, home, "--verify"), model_files(), NEEDED)
    assert hub.sent_bytes() - before == len(data)


def test_killed_at_random_moments_it_goes_on(hub, home):
    """No byte comes twice, but what was on its way when it was killed: at most one range for each
    connection."""
    seed = int(os.environ.get("TW_SEED", random.randrange(1 << 32)))
    print("TW_SEED", seed)
    rng = random.Random(seed)
    need = sum(len(model_files()[n]) for n in NEEDED)
    hub.bytes_s = 400_000
    kills = 0
    argv = ["pull", NAME, "--range-kib", str(KIB), "--connections", "4"]
    for _ in range(ROUNDS):
        with cli.running(*argv, env=hub.env(home)) as p:
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(rng.uniform(0.02, 0.25))
                break
            p.send_signal(signal.SIGKILL)
            p.wait()
            kills += 1
    hub.bytes_s = 0
    check_whole(pulled(hub, home), model_files(), NEEDED)
    print("killed", kills, "times;", hub.sent_bytes() - need, "bytes were sent twice")
    assert kills > 3
    assert hub.sent_bytes() - need <= kills * 4 * KIB * 1024
    assert hub.sent_bytes() < 2 * need, "it went on, it did not begin anew"


def test_ctrl_c_ends_it_and_says_so(hub, home):
    hub.bytes_s = 50_000
    with cli.running("pull", NAME, env=hub.env(home)) as p:
        until = time.monotonic() + 60
        while not hub.sent_bytes() and time.monotonic() < until:
            time.sleep(0.01)
        p.send_signal(signal.SIGINT)
        _, e = p.communicate(timeout=60)
    assert p.returncode == 130 and b"goes on" in e


def test_another_program_that_has_the_lock_is_waited_for(hub, home):
    pulled(hub, home)
    blob = (home / "hub/models--org--name/snapshots").rglob("tokenizer.json").__next__().resolve()
    data = blob.read_bytes()
    blob.unlink()
    lock = home / "hub/.locks/models--org--name" / f"{blob.name}.lock"
    before = hub.sent_bytes()
    with open(lock, "w") as f, cli.running("pull", NAME, "--json", env=hub.env(home)) as p:
        fcntl.flock(f, fcntl.LOCK_EX)
        line = {}
        while "waits" not in line:
            line = json.loads(p.stdout.readline() or b'{"waits": "(the end)"}')
        assert line["waits"] == "another program downloads it"
        blob.write_bytes(data)
        fcntl.flock(f, fcntl.LOCK_UN)
        assert p.wait(60) == 0
    assert hub.sent_bytes() == before


# ---- with others ----


def python(code, hub, home, **env):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=cli.LIMIT_S,
                          env=os.environ | hub.env(home) | env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


needs_client = pytest.mark.skipif(importlib.util.find_spec("huggingface_hub") is None,
                                  reason="huggingface_hub is not here (tests/requirements.txt)")


@needs_client
def test_huggingface_hub_reads_what_twinax_wrote(hub, home):
    snapshot = pulled(hub, home)
    offline = f'import huggingface_hub as h; print(h.snapshot_download("{NAME}", local_files_only=True))'
    assert python(offline, hub, home, HF_HUB_OFFLINE="1") == str(snapshot)
    before = hub.sent_bytes()
    code = f"""
import huggingface_hub as h
print(h.snapshot_download("{NAME}", allow_patterns={NEEDED!r}))
print(h.hf_hub_download("{NAME}", "model.safetensors"))
found = h.scan_cache_dir()
assert not found.warnings, found.warnings
print(sorted(f.file_name for r in found.repos for v in r.revisions for f in v.files))
"""
    lines = python(code, hub, home).splitlines()
    assert lines[:2] == [str(snapshot), str(snapshot / "model.safetensors")]
    assert lines[2] == str(sorted(os.path.basename(n) for n in NEEDED))
    assert hub.sent_bytes() == before, "nothing was fetched again"


@needs_client
def test_twinax_reads_what_huggingface_hub_wrote(hub, home):
    code = f'import huggingface_hub as h; print(h.snapshot_download("{NAME}", allow_patterns={NEEDED!r}))'
    snapshot = python(code, hub, home)
    before = hub.sent_bytes()
    assert str(pulled(hub, home)) == snapshot
    assert hub.sent_bytes() == before
    line = json.loads(cli.good("models", "--json", env=hub.env(home)).stdout)
    assert line["whole"] and line["path"] == snapshot and line["refs"] == "main"
    cli.good("models", "verify", NAME, env=hub.env(home))


# ---- run ----


def test_run_pulls_by_itself_then_finds_it(hub, home):
    hub.repos["org/demo"] = fake_hub.Repo(fake_hub.folder_files(cli.DEMO))
    want = cli.good("run", cli.DEMO, "-p", "Hello", "-n", "8", "--ids", "--temp", "0").stdout
    argv = ["run", "org/demo", "-p", "Hello", "-n", "8", "--ids", "--temp", "0"]
    first = cli.good(*argv, env=hub.env(home))
    assert first.stdout == want and "pulling it" in first.stderr
    n = len(hub.requests)
    assert cli.good(*argv, env=hub.env(home, HF_HUB_OFFLINE="1")).stdout == want
    assert len(hub.requests) == n
    none = cli.run("run", "org/other", "-p", "x", env=hub.env(home, HF_HUB_OFFLINE="1"))
    assert none.returncode == 1 and "HF_HUB_OFFLINE" in none.stderr
