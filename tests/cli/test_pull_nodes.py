# SPDX-License-Identifier: Apache-2.0
"""`twinax pull` on two machines: each fetches a half and gets the other one from its peer, over a shaped
net and a real sshd; what fails is named, what breaks off goes on, no byte comes twice."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import fake_hub
import gguf_world
import pytest
import two_hosts
import twinax_cli as cli
from pull_nodes_net import NAME, Cluster, Net, shape_link
from two_hosts_fixture import hosts, nothing_is_left  # noqa: F401

BIG = 8_000_003
KIB = 128
RANGE = ["--range-kib", str(KIB)]
KILLS = int(os.environ.get("TW_PULL_KILLS", 6))


def noise(n, seed):
    return random.Random(seed).randbytes(n)


def model_files(seed=1, big=BIG):
    return {
        "config.json": b'{"model_type": "llama"}',
        "empty.json": b"",
        "model.safetensors": noise(big, seed + 1),
        "tokenizer.json": noise(300_000, seed),
    }


@pytest.fixture(scope="module")
def net(hosts):  # noqa: F811
    n = Net(hosts)
    yield n
    n.remove()


@pytest.fixture
def hub(net, folder):
    (folder / "hub").mkdir()
    with net.serving(folder / "hub") as h:
        h.repos[NAME] = fake_hub.Repo(model_files())
        yield h
    for host in two_hosts.A, two_hosts.B:
        net.shape(host, 0)
        net.cut(host, False)


@pytest.fixture
def cluster(hosts, hub, folder):  # noqa: F811
    shape_link(hosts, 0)
    return Cluster(hosts, hub, folder)


def total(hub, name=NAME):
    return sum(len(d) for d in hub.repos[name].commits[hub.repos[name].refs["main"]].values())


def result(p):
    """The last object of --json."""
    return json.loads(p.out.splitlines()[-1])


def test_each_fetches_a_half(cluster, hub):
    done = result(cluster.pulled("--json", *RANGE))
    assert done["event"] == "done" and [n["node"] for n in done["nodes"]] == ["box1", "node-b"]
    for host in 0, 1:
        cluster.check(host, model_files())
        node = done["nodes"][host]
        assert node["net_bytes"] + node["peer_bytes"] == total(hub)
        assert 0.3 * total(hub) < node["net_bytes"] < 0.7 * total(hub), "about a half each"
    assert hub.sent_bytes() == total(hub), "no byte twice"
    n = len(hub.requests)
    again = result(cluster.pulled("--json", *RANGE))
    assert again["fetched_bytes"] == 0 and len(hub.requests) == n + 1, "only the list is asked for"


def test_one_that_has_it_gives_it(cluster, hub):
    assert cli.run("pull", "--help").returncode == 0
    p = cluster.hosts.run(1, "pull", NAME, "--local", binary=cluster.agent())
    assert p.returncode == 0, p.err
    before = hub.sent_bytes()
    done = result(cluster.pulled("--json", *RANGE))
    assert hub.sent_bytes() == before, "nothing from the net"
    assert done["nodes"][0]["peer_bytes"] == total(hub)
    cluster.check(0, model_files())


def test_from_net(cluster, hub):
    done = result(cluster.pulled("--json", "--from-net", *RANGE))
    assert [n["peer_bytes"] for n in done["nodes"]] == [0, 0]
    assert hub.sent_bytes() == 2 * total(hub)
    for host in 0, 1:
        cluster.check(host, model_files())


def test_a_damaged_block_is_refused_and_comes_again(cluster, hub):
    cluster.extra[1]["TW_PULL_FAULT"] = "flip"
    done = result(cluster.pulled("--json", *RANGE))
    assert done["nodes"][0]["damaged_blocks"] == 1
    assert hub.sent_bytes() == total(hub), "and not from the net"
    for host in 0, 1:
        cluster.check(host, model_files())


def test_all_connections_at_once_are_one_trouble(cluster, hub):
    hub.cuts = [0] * 16
    cluster.pulled(*RANGE)
    for host in 0, 1:
        cluster.check(host, model_files())


def test_one_without_a_net_gets_it_from_the_other(cluster, hub, net):
    net.cut(1)
    p = cluster.run("--json", *RANGE)
    assert p.returncode == 0, p.err
    assert result(p)["nodes"][0]["net_bytes"] == total(hub)
    cluster.check(1, model_files())


def test_a_slow_net_is_relieved(cluster, hub, net):
    net.shape(1, 1)
    p = cluster.run("--json", *RANGE)
    assert p.returncode == 0, p.err
    done = result(p)
    assert done["nodes"][0]["net_bytes"] > 0.7 * total(hub), "most of it by the one with the faster net"
    for host in 0, 1:
        cluster.check(host, model_files())


def test_a_disk_that_is_too_small_is_seen_first(cluster, hub):
    cluster.small = cluster.homes[1]
    p = cluster.run(*RANGE)
    assert p.returncode == 1 and "node-b: " in p.err and "free" in p.err, p.err
    assert not any(s for s, *_ in hub.requests), "not a byte was asked for"


LONG = pytest.mark.skipif("TW_PULL_LONG" not in os.environ, reason="takes 10 s: set TW_PULL_LONG")


@LONG
def test_without_a_net_here_another_one_asks_the_hub(cluster, hub, net):
    net.cut(0)
    p = cluster.run("--json", *RANGE)
    assert p.returncode == 0 and "node-b: asks the hub instead" in p.err, p.err
    assert result(p)["nodes"][0]["net_bytes"] == 0
    for host in 0, 1:
        cluster.check(host, model_files())


def test_offline_a_cache_says_what_it_has(cluster, hub):
    p = cluster.hosts.run(1, "pull", NAME, "--local", binary=cluster.agent())
    assert p.returncode == 0, p.err
    n = len(hub.requests)
    cluster.extra[0]["HF_HUB_OFFLINE"] = "1"
    p = cluster.run("--json", *RANGE)
    assert p.returncode == 0 and "node-b: has it" in p.err, p.err
    cluster.check(0, model_files())
    assert len(hub.requests) == n, "nobody asked the hub"


def test_a_dead_node_is_named_and_the_other_goes_on(cluster, hub):
    argv = cluster.argv(*RANGE)
    argv[argv.index("--nodes") + 1] = f"box1={two_hosts.ROCE[0]},down={two_hosts.ROCE[1]}"
    p = cluster.run(command=argv)
    assert p.returncode == 1 and "down: " in p.err
    cluster.check(0, model_files())


def test_a_token_goes_to_the_hub_alone(cluster, hub):
    hub.tokens = {"hf_secret"}
    hub.repos[NAME].gated, hub.repos[NAME].members = True, {"hf_secret"}
    p = cluster.run(*RANGE)
    assert p.returncode == 1 and "is gated" in p.err and "no token" in p.err
    cluster.extra[0]["HF_TOKEN"] = "hf_secret"
    hub.bytes_s = 3_000_000
    p = cluster.start(*RANGE)
    until = time.monotonic() + 30
    while hub.sent_bytes() < total(hub) / 4 and time.monotonic() < until:
        time.sleep(0.01)
    seen = [line for h in (0, 1) for line in cluster.hosts.processes(h).values()]
    out, err = p.communicate(timeout=cli.LIMIT_S)
    assert p.returncode == 0, err
    assert "hf_secret" not in "".join([*seen, out, err])
    assert {(s, h.get("Authorization")) for s, _, _, h in hub.requests if h.get("Authorization")} <= {
        (False, "Bearer hf_secret")
    }


def wait_for(condition, limit_s=60):
    until = time.monotonic() + limit_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)


def test_ctrl_c_ends_it_everywhere_and_it_goes_on(cluster, hub):
    hub.bytes_s = 200_000
    p = cluster.start(*RANGE)
    wait_for(lambda: hub.sent_bytes() > total(hub) / 5)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 130 and "goes on" in err
    assert cluster.hosts.quiet_after(20) < 20
    hub.bytes_s = 0
    cluster.pulled(*RANGE)
    for host in 0, 1:
        cluster.check(host, model_files())
    assert hub.sent_bytes() < 1.5 * total(hub)


def agents(cluster, host):
    return [pid for pid, line in cluster.hosts.processes(host).items() if line.endswith(" agent ")]


def test_killed_at_random_moments_it_goes_on(cluster, hub):
    """On either machine: the agent there, or the head. Nothing comes twice but what was on its way, at
    most one range a connection."""
    seed = int(os.environ.get("TW_SEED", random.randrange(1 << 32)))
    print("TW_SEED", seed)
    rng = random.Random(seed)
    hub.bytes_s = max(30_000, 1_800_000 // KILLS)  # it must not be whole before the last one
    kills = 0
    for i in range(KILLS):
        p = cluster.start(*RANGE, "--connections", "4")
        before = hub.sent_bytes()
        wait_for(lambda: hub.sent_bytes() > before or p.poll() is not None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            p.wait(rng.uniform(0, 0.6))
        victims = [[p.pid], agents(cluster, 0), agents(cluster, 1)][i % 3]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                kills += p.poll() is None
        if i % 3 != 0 and p.poll() is None:
            os.kill(p.pid, signal.SIGKILL)
        p.communicate(timeout=60)
        assert cluster.hosts.quiet_after(20) < 20
    hub.bytes_s = 0
    cluster.pulled(*RANGE, "--connections", "4")
    for host in 0, 1:
        cluster.check(host, model_files())
    print("killed", kills, "times;", hub.sent_bytes() - total(hub), "bytes were sent twice")
    assert kills >= 0.8 * KILLS
    assert hub.sent_bytes() - total(hub) <= kills * 8 * KIB * 1024
    assert hub.sent_bytes() < 2 * total(hub)


def test_a_killed_agent_is_named_and_its_share_taken_over(cluster, hub):
    hub.bytes_s = 400_000
    p = cluster.start(*RANGE)
    wait_for(lambda: hub.sent_bytes() > total(hub) / 5)
    os.kill(agents(cluster, 1)[0], signal.SIGKILL)
    hub.bytes_s = 0
    _, err = p.communicate(timeout=cli.LIMIT_S)
    assert p.returncode == 1 and "node-b: " in err
    cluster.check(0, model_files())


@LONG
def test_a_machine_that_is_switched_off_is_named_and_its_share_taken_over(cluster, hub):
    hub.bytes_s = 200_000
    p = cluster.start(*RANGE)
    wait_for(lambda: hub.sent_bytes() > total(hub) / 5)
    for link in "lan0", "roce0", "net0":
        cluster.hosts.do(1, "ip", "link", "set", link, "down")
    t0 = time.monotonic()
    _, err = p.communicate(timeout=cli.LIMIT_S)
    print(f"{time.monotonic() - t0:.1f} s")
    for link in "lan0", "roce0", "net0":
        cluster.hosts.do(1, "ip", "link", "set", link, "up")
    cluster.hosts.do(1, "ip", "route", "replace", "default", "via", two_hosts.LAN[0])
    assert p.returncode == 1 and "node-b: " in err
    cluster.check(0, model_files())


def test_a_wrong_hash_is_fetched_again_then_refused(cluster, hub):
    weights = fake_hub.etag_of(model_files()["model.safetensors"])
    hub.wrong = {weights: 1}
    cluster.pulled(*RANGE)
    for host in 0, 1:
        cluster.check(host, model_files())


# ---- run, and models that no hub has ----


def answer(cluster, model, *more):
    argv = cluster.argv()
    argv = ["run", model, *argv[2:], "-p", "Hello", "-n", "8", "--ids", "--temp", "0", *more]
    p = cluster.run(command=argv)
    assert p.returncode == 0, p.err
    return p


def test_run_pulls_on_all_nodes_then_gives_what_one_lacks(cluster, hub):
    hub.repos["org/demo"] = fake_hub.Repo(fake_hub.folder_files(cli.DEMO))
    want = cli.good("run", cli.DEMO, "-p", "Hello", "-n", "8", "--ids", "--temp", "0").stdout
    p = answer(cluster, "org/demo")
    assert p.out == want and "pulling it" in p.err
    once = hub.sent_bytes()
    assert once <= total(hub, "org/demo"), "once, not once a node"
    assert (cluster.snapshot(1, "org/demo") / "config.json").exists()
    subprocess.run(["rm", "-rf", cluster.homes[1]], check=True)
    cluster.hidden = cluster.homes[0]
    p = answer(cluster, "org/demo")
    assert p.out == want and "giving it to node-b" in p.err
    assert hub.sent_bytes() == once, "not from the net"
    assert (cluster.snapshot(1, "org/demo") / "config.json").exists(), "by the same name"
    assert "giving" not in answer(cluster, "org/demo").err


def test_a_folder_is_copied_on_consent(cluster, hub, folder):
    here = folder / "here" / "My model"
    shutil.copytree(cli.DEMO, here)
    cluster.hidden = here.parent
    nodes = cluster.argv()[2:]
    p = cluster.run(command=["run", here, *nodes, "-p", "Hello", "-n", "8", "--ids", "--temp", "0"])
    assert p.returncode == 1 and "--copy" in p.err and "node-b" in p.err
    assert not cluster.homes[1].exists(), "never silently"
    p = cluster.run(command=["pull", here, *nodes, "--copy"])
    assert p.returncode == 0 and "giving it to node-b" in p.err, p.err
    want = cli.good("run", cli.DEMO, "-p", "Hello", "-n", "8", "--ids", "--temp", "0").stdout
    assert answer(cluster, here).out == want
    p = cluster.run(command=["pull", here, *nodes])
    assert p.returncode == 0 and "node-b: has it" in p.err
    assert not hub.requests


def test_a_gguf_file_is_copied_with_its_parts_alone(cluster, hub, folder):
    here = folder / "here"
    here.mkdir()
    gguf_world.make_gguf.write(cli.DEMO, here / "demo.gguf", split=20)
    parts = sorted(p.name for p in here.iterdir())
    (here / "other.gguf").write_bytes(noise(1000, 5))
    cluster.hidden = here
    p = cluster.run(command=["pull", here / parts[0], *cluster.argv()[2:], "--copy"])
    assert p.returncode == 0 and "giving it to node-b" in p.err, p.err
    files = [p for p in cluster.homes[1].rglob("*.gguf") if p.is_symlink()]
    assert sorted(p.name for p in files) == parts
    want = cli.good("run", cli.DEMO, "-p", "Hello", "-n", "8", "--ids", "--temp", "0").stdout
    assert answer(cluster, here / parts[0]).out == want
    assert not hub.requests


def test_models_over_all_nodes(cluster, hub):
    nodes = cluster.argv()[2:]
    cluster.pulled(*RANGE)
    lines = [json.loads(x) for x in cluster.run(command=["models", *nodes, "--json"]).out.splitlines()]
    assert [(x["node"], x["model"], x["whole"]) for x in lines] == [("box1", NAME, True), ("node-b", NAME, True)]
    assert lines[0]["commit"] == lines[1]["commit"] and lines[0]["bytes"] == total(hub)
    p = cluster.run(command=["models", "verify", *nodes])
    assert p.returncode == 0 and "node-b: org/name: good: 4 files" in p.out, p.err
    path = (cluster.snapshot(1) / "tokenizer.json").resolve()
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    p = cluster.run(command=["models", "verify", NAME, *nodes])
    assert p.returncode == 1 and "node-b: org/name: tokenizer.json: bad" in p.out and "box1: org/name: good" in p.out
    before = hub.sent_bytes()
    cluster.pulled("--verify", *RANGE)
    assert hub.sent_bytes() == before, "from the peer"
    cluster.check(1, model_files())
    p = cluster.run(command=["models", "rm", NAME, *nodes])
    assert p.returncode == 1 and "--yes" in p.err
    p = cluster.run(command=["models", "rm", NAME, "--yes", *nodes])
    assert p.returncode == 0 and "freed" in p.out
    assert not [b for h in cluster.homes for b in h.rglob("blobs/*")]


def drop(*homes):
    subprocess.run(["rm", "-rf", *homes], check=True)


def seconds(cluster, *argv):
    t0 = time.monotonic()
    cluster.pulled(*argv)
    return time.monotonic() - t0


TRIES = 3  # what else this machine does only makes one slower


def test_a_split_download_takes_less_than_two_whole_ones(cluster, hub, net):
    """Each machine's net carries 20 Mbit/s, the link between them 1 Gbit/s."""
    hub.repos[NAME] = fake_hub.Repo(model_files(big=25_000_000))
    files = model_files(big=25_000_000)
    for host in 0, 1:
        net.shape(host, 20)
    shape_link(cluster.hosts, 1000)
    both = seconds(cluster, "--from-net")
    for _ in range(TRIES):
        drop(*cluster.homes)
        split = seconds(cluster)
        print(f"all from the net {both:.2f} s, split {split:.2f} s: {split / both:.3f}")
        for host in 0, 1:
            cluster.check(host, files)
        if split <= 0.6 * both:
            return
    pytest.fail(f"{split / both:.3f} of the time")


def test_the_exchange_fills_the_link(cluster, hub):
    """What one node has goes to the other at 0.8 of the link's speed or more, verified."""
    mbit = 100
    hub.repos[NAME] = fake_hub.Repo(model_files(big=30_000_000))
    p = cluster.hosts.run(1, "pull", NAME, "--local", binary=cluster.agent())
    assert p.returncode == 0, p.err
    shape_link(cluster.hosts, mbit)
    before = hub.sent_bytes()
    for _ in range(TRIES):
        drop(cluster.homes[0])
        done = result(cluster.pulled("--json"))
        assert hub.sent_bytes() == before and done["nodes"][0]["peer_bytes"] == total(hub)
        share = total(hub) * 8 / done["seconds"] / (mbit * 1e6)
        print(f"{total(hub) / 1e6:.0f} MB in {done['seconds']:.2f} s: {share:.3f} of the link")
        if share >= 0.8:
            return
    pytest.fail(f"{share:.3f} of the link")
