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
import struct
import subprocess
import sys
import time

import connect_proxy
import fake_hub
import pytest
import twinax_cli as cli

NAME = "org/name"
BIG = 3_000_001
KIB = 64  # of one range
ROUNDS = int(os.environ.get("TW_KILL_ROUNDS", "12"))


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


def test_the_beginning_of_a_commit(hub, home):
    commit = hub.repos[NAME].refs["main"]
    snapshot = pulled(hub, home, name=f"{NAME}@{commit[:8]}")
    assert snapshot.name == commit
    assert (home / f"hub/models--org--name/refs/{commit[:8]}").read_text() == commit
    assert not (home / "hub/models--org--name/refs/main").exists()
    if importlib.util.find_spec("huggingface_hub"):
        code = ("import huggingface_hub as h; "
                f'print(h.snapshot_download("{NAME}", revision="{commit[:8]}", local_files_only=True))')
        assert python(code, hub, home) == str(snapshot)


def test_a_revision_that_changes_while_it_is_fetched(hub, home):
    """All files are of the commit that was listed first."""
    old = hub.repos[NAME].refs["main"]
    hub.bytes_s = 300_000
    argv = ["pull", NAME, "--range-kib", str(KIB), "--json"]
    with cli.running(*argv, env=hub.env(home)) as p:
        until = time.monotonic() + 60
        while not hub.sent_bytes() and time.monotonic() < until:
            time.sleep(0.01)
        hub.repos[NAME].push(model_files(5))
        hub.bytes_s = 0
        out, e = p.communicate(timeout=60)
    assert p.returncode == 0, e
    last = json.loads(out.splitlines()[-1])
    assert last["commit"] == old
    check_whole(pathlib.Path(last["path"]), model_files(), NEEDED)


def test_many_small_files(hub, home):
    files = {f"part-{i:03}.json": noise(700 + i, i) for i in range(200)}
    hub.repos["org/many"] = fake_hub.Repo(files | {"model.safetensors": noise(9000, 1)})
    snapshot = pulled(hub, home, name="org/many")
    assert len(files_of(snapshot)) == 201
    for name, data in files.items():
        assert (snapshot / name).read_bytes() == data
    n = len(hub.requests)
    pulled(hub, home, name="org/many")
    assert len(hub.requests) == n + 1, "the list alone"


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


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_are_named_as_elsewhere(hub, home, folder, name):
    where = hub.ca
    if name == "SSL_CERT_DIR":
        done = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", hub.ca], capture_output=True,
                              text=True, check=True, timeout=60)
        where = folder / "certificates"
        where.mkdir()
        (where / f"{done.stdout.strip()}.0").write_bytes(hub.ca.read_bytes())
    none = {"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": "", "SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}
    pulled(hub, home, "--include", "config.json", **none | {name: str(where)})
    refused(hub, home, "certificate is not trusted", **none)


def test_a_proxy_carries_it_and_sees_no_token(hub, home):
    hub.tokens = {"hf_secret"}
    with connect_proxy.running() as proxy:
        through = {"NO_PROXY": "", "no_proxy": "", "HTTPS_PROXY": proxy.url}
        check_whole(pulled(hub, home, token="hf_secret", **through), model_files(), NEEDED)
        hosts = {hub.url.removeprefix("https://"), hub.store_url.removeprefix("https://")}
        assert {target for target, _ in proxy.asked} == hosts
        assert not [line for _, lines in proxy.asked for line in lines if "hf_secret" in line]
        n = len(proxy.asked)
        aside = through | {"NO_PROXY": "localhost,127.0.0.1", "no_proxy": "localhost,127.0.0.1"}
        pulled(hub, home / "2", token="hf_secret", **aside)
        assert len(proxy.asked) == n, "NO_PROXY"


def test_a_mirror_out_of_step_is_seen_before_a_byte_comes(hub, home):
    weights = fake_hub.etag_of(model_files()["model.safetensors"])
    hub.linked_etags = {weights: "f" * 64}
    refused(hub, home, "model.safetensors", "out of step", weights[:12], "ffffffffffff")
    assert not hub.sent_bytes(weights)


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


def test_all_connections_at_once_are_one_trouble(hub, home):
    """A router that restarts ends all eight: that is no eight tries."""
    hub.cuts = [0] * 8
    check_whole(pulled(hub, home), model_files(), NEEDED)


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
    assert not hub.troubles


def test_a_server_without_ranges(hub, home):
    hub.no_ranges = True
    hub.cuts = [0.5]
    check_whole(pulled(hub, home), model_files(), NEEDED)
    assert not hub.cuts


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


def counted(home):
    """What a broken-off pull says it has: {name of the blob: a 1 for each byte}."""
    have = {}
    for ranges in blobs_of(home).glob("*.twinax.ranges"):
        text = ranges.read_bytes()
        if len(text) < 24:
            continue  # killed while it was made
        _, size, step = struct.unpack_from("=8sQQ", text)
        have[ranges.name.split(".")[0]] = mine = bytearray(size)
        for i, (n,) in enumerate(struct.iter_unpack("=Q", text[24:])):
            mine[i * step : i * step + n] = b"\1" * n
    return have


def sent_since(hub, before):
    with hub.lock:
        return {what: pieces[before.get(what, 0) :] for what, pieces in hub.counts.items()}


def test_killed_at_random_moments_it_goes_on(hub, home):
    """What it counts is there, and does not come again; what it does not count is less than one range
    for each connection."""
    seed = int(os.environ.get("TW_SEED", random.randrange(1 << 32)))
    print("TW_SEED", seed)
    rng = random.Random(seed)
    files = {fake_hub.etag_of(d): d for d in model_files().values()}
    need = sum(len(model_files()[n]) for n in NEEDED)
    hub.bytes_s = 50_000 + 5_000_000 // (ROUNDS + 1)
    kills, worst, have = 0, 0, {}
    argv = ["pull", NAME, "--range-kib", str(KIB), "--connections", "4"]
    for _ in range(ROUNDS):
        with hub.lock:
            before = {what: len(pieces) for what, pieces in hub.counts.items()}
        with cli.running(*argv, env=hub.env(home)) as p:
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(rng.uniform(0.02, 0.25))
                break
            p.send_signal(signal.SIGKILL)
            p.wait()
            kills += 1
        now = counted(home) if blobs_of(home).exists() else {}
        lost = 0
        for what, pieces in sent_since(hub, before).items():
            done = have.get(what, b"")
            assert not any(any(done[at : at + n]) for at, n in pieces), "a counted byte came again"
            lost += sum(n - sum(now[what][at : at + n]) for at, n in pieces if what in now)
        for what, mine in now.items():
            part = (blobs_of(home) / f"{what}.twinax.incomplete").read_bytes()
            assert all(not mine[at] or part[at : at + 999] == files[what][at : at + 999]
                       for at in range(0, len(part), 999) if all(mine[at : at + 999])), "counted and not there"
        worst, have = max(worst, lost), now
    hub.bytes_s = 0
    check_whole(pulled(hub, home), model_files(), NEEDED)
    print("killed", kills, "times;", hub.sent_bytes() - need, "bytes were sent twice, at most", worst, "lost by one kill")
    assert kills > 3 and worst <= 4 * KIB * 1024
    cli.good("models", "verify", NAME, env=hub.env(home))


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


@needs_client
def test_patterns_are_read_as_hugging_face_reads_them(hub, home):
    seed = int(os.environ.get("TW_SEED", random.randrange(1 << 32)))
    print("TW_SEED", seed)
    rng = random.Random(seed)
    names = ["".join(rng.choices("ab-]!^[.\u00e9/", k=rng.randint(1, 7))) for _ in range(300)]
    good = sorted({n for n in names if all(p not in ("", ".", "..") for p in n.split("/"))})
    good = [n for n in good if not any(m.startswith(n + "/") for m in good)]
    hub.repos["org/odd"] = fake_hub.Repo({n: b"" for n in good})
    n_taken = 0
    for i in range(10):
        include, exclude = ([("".join(rng.choices("ab-]!^[.?**[]\\/\u00e9", k=rng.randint(1, 6))))
                             for _ in range(n)] for n in (4, 2))
        code = (f"from huggingface_hub.utils import filter_repo_objects as f; "
                f"print(list(f({good!r}, allow_patterns={include!r}, ignore_patterns={exclude!r})))")
        want = eval(python(code, hub, home))
        argv = [f"--include={x}" for x in include] + [f"--exclude={x}" for x in exclude]
        done = pull(hub, home / str(i), *argv, name="org/odd")
        got = files_of(pathlib.Path(done.stdout.strip())) if done.returncode == 0 else []
        assert got == sorted(want), (include, exclude, done.stderr)
        n_taken += len(got)
    assert n_taken > 0


@needs_client
def test_the_cache_is_where_hugging_face_has_it(hub, home):
    """Its own module of constants is asked, in many environments at once."""
    values = {"HF_HOME": ["~/hf", "/x/$USER/hf"], "HF_HUB_CACHE": ["/c/${HOME}/new"], "XDG_CACHE_HOME": ["/xdg"],
              "HUGGINGFACE_HUB_CACHE": ["~/old/"], "HF_HUB_OFFLINE": ["1", "0", "on"],
              "TRANSFORMERS_OFFLINE": ["yes"], "HF_ENDPOINT": ["https://mirror.example/"]}
    rng = random.Random(1)
    cases = [{k: rng.choice(v) for k, v in values.items() if rng.random() < 0.5} for _ in range(12)]
    cases += [{}, {k: v[0] for k, v in values.items()}]
    code = f"""
import importlib, os
for case in {cases!r}:
    for k in {list(values)!r}:
        os.environ.pop(k, None)
    os.environ |= case
    import huggingface_hub.constants as c
    importlib.reload(c)
    print(c.HF_HUB_CACHE.rstrip("/"), c.HF_HUB_OFFLINE)
"""
    base = {k: v for k, v in os.environ.items() if k not in values} | {"HOME": str(home), "USER": "me"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=cli.LIMIT_S,
                          env=base, check=True)
    wants = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    assert len(wants) == len(cases)
    for case, (cache, offline) in zip(cases, wants):
        said = subprocess.run([cli.BINARY, "models"], capture_output=True, text=True, timeout=cli.LIMIT_S,
                              env=base | case)
        assert f"no models in {cache}:" in said.stderr, case
        unreachable = {"HF_ENDPOINT": "http://127.0.0.1:9"}
        asks = subprocess.run([cli.BINARY, "run", "org/none", "-p", "x"], capture_output=True, text=True,
                              timeout=cli.LIMIT_S, env=base | case | unreachable) if offline == "True" else None
        assert asks is None or "HF_HUB_OFFLINE" in asks.stderr, case


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not here")
def test_transformers_loads_what_twinax_wrote(hub, home):
    hub.repos["org/demo"] = fake_hub.Repo(fake_hub.folder_files(cli.DEMO))
    pulled(hub, home, name="org/demo")
    n = len(hub.requests)
    code = """
import torch, transformers
m = transformers.AutoModelForCausalLM.from_pretrained("org/demo", dtype=torch.float32)
t = transformers.AutoTokenizer.from_pretrained("org/demo")
ids = t("Hello", return_tensors="pt").input_ids
out = m.generate(ids, max_new_tokens=8, do_sample=False)
print(",".join(str(int(i)) for i in out[0][ids.shape[1]:]))
"""
    want = cli.good("run", "org/demo", "-p", "Hello", "-n", "8", "--ids", "--temp", "0", "--ignore-eos",
                    env=hub.env(home, HF_HUB_OFFLINE="1")).stdout.strip()
    got = python(code, hub, home, HF_HUB_OFFLINE="1", TORCHINDUCTOR_CACHE_DIR=str(home / "torch"))
    assert got.split(",")[0] == want.split(",")[0], (got, want)
    assert len(hub.requests) == n


# ---- run ----


def test_run_pulls_by_itself_then_finds_it(hub, home):
    hub.repos["org/demo"] = fake_hub.Repo(fake_hub.folder_files(cli.DEMO))
    want = cli.good("run", cli.DEMO, "-p", "Hello", "-n", "8", "--ids", "--temp", "0").stdout
    argv = ["run", "org/demo", "-p", "Hello", "-n", "8", "--ids", "--temp", "0"]
    first = cli.good(*argv, env=hub.env(home))
    assert first.stdout == want and "pulling it" in first.stderr
    n = len(hub.requests)
    assert cli.good(*argv, env=hub.env(home, HF_HUB_OFFLINE="1")).stdout == want
    short = ["run", "org/demo@" + hub.repos["org/demo"].refs["main"][:7], *argv[2:]]
    assert cli.good(*short, env=hub.env(home, HF_HUB_OFFLINE="1")).stdout == want
    assert len(hub.requests) == n
    none = cli.run("run", "org/other", "-p", "x", env=hub.env(home, HF_HUB_OFFLINE="1"))
    assert none.returncode == 1 and "HF_HUB_OFFLINE" in none.stderr
