# SPDX-License-Identifier: Apache-2.0
"""A rank dies, hangs or is told to stop in the middle of decoding: every process goes, in time, and
the message names who was lost.

The limits are promises of the program, not of a busy test machine: each must hold in one of three
tries, and every try must end."""

import contextlib
import os
import re
import select
import signal
import subprocess
import time

import pytest
import twinax_cli as cli

N_TRIES = 3
SLOW = {"TW_CPU": "ref"}  # some milliseconds a token: the middle lasts for seconds
LINKS = ["tcp", "shm", "netns"]


@contextlib.contextmanager
def decoding(tp=2, link="shm"):
    """A run that has shown its first tokens and would go on: (process, pids of ranks 1..)."""
    if link == "netns" and cli.no_netns():
        pytest.skip(cli.no_netns())
    argv = ["--local", "--tp", tp] if tp > 1 else []
    argv += ["--netns"] if link == "netns" else ["--transport", link]
    argv += ["--threads", "1", "--prompt-ids", "1,2,3", "-n", "2000", "--ignore-eos", "--ids"]
    with cli.running("run", cli.DEMO, *argv, env=SLOW) as p:
        seen = b""
        while seen.count(b",") < 3:
            more = os.read(p.stdout.fileno(), 4096)
            assert more, f"ended before the first tokens: {p.stderr.read().decode()}"
            seen += more
        ranks = cli.children(p.pid)
        assert len(ranks) == tp - 1
        yield p, ranks


def end_of(p):
    """(exit status, seconds from now, stderr)"""
    t0 = time.monotonic()
    try:
        _, e = p.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        pytest.fail("rank 0 did not end in 60 s")
    return p.returncode, time.monotonic() - t0, e.decode()


def ask(p, a):
    """One question to a chat: its golden answer comes, and the line ends, while stdin stays open."""
    p.stdin.write(a["q"].encode() + b"\n")
    p.stdin.flush()
    got, until = b"", time.monotonic() + 60
    while not got.endswith(b"\n"):
        left = max(0, until - time.monotonic())
        assert select.select([p.stdout], [], [], left)[0], f"no end of line after {got}"
        more = os.read(p.stdout.fileno(), 4096)
        assert more, p.stderr.read().decode()
        got += more
    assert got.decode() == a["a"] + "\n"


def in_time(attempt, limit_s):
    """attempt() -> seconds; at least one of N_TRIES within the limit."""
    took = []
    while len(took) < N_TRIES and not (took and took[-1] <= limit_s):
        took.append(attempt())
    assert took[-1] <= limit_s, f"took {took} s, promised are {limit_s}"
    print(f"ended after {took[-1]:.2f} s")


@pytest.mark.parametrize("link", LINKS)
def test_rank_1_killed(link):
    def attempt():
        with decoding(link=link) as (p, ranks):
            os.kill(ranks[0], signal.SIGKILL)
            code, took, e = end_of(p)
            assert code == 1 and "rank 1" in e, (code, e)
            assert not any(map(cli.alive, ranks))
            return took

    in_time(attempt, 2)


def test_one_of_four_killed():
    """The others go too, and the lost one is named, not a neighbour that noticed it first."""

    def attempt():
        with decoding(tp=4) as (p, ranks):
            os.kill(ranks[2], signal.SIGKILL)
            code, took, e = end_of(p)
            last = e.splitlines()[-1]
            assert code == 1 and "rank 3" in last and "rank 1" not in last, (code, e)
            assert not any(map(cli.alive, ranks))
            return took

    in_time(attempt, 2)


@pytest.mark.parametrize("link", LINKS)
def test_rank_1_hangs(link):
    """Stopped, it beats no more: 1.5 s of silence is death, and the stopped process is ended
    at once, not after the grace of one that may end by itself."""

    def attempt():
        with decoding(link=link) as (p, ranks):
            os.kill(ranks[0], signal.SIGSTOP)
            code, took, e = end_of(p)
            assert code == 1 and "rank 1" in e, (code, e)
            assert not any(map(cli.alive, ranks))
            return took

    in_time(attempt, 2)


def test_rank_1_hangs_while_we_are_late():
    """Rank 0 did not run for a second itself: rank 1 gets no fresh 1.5 s for that."""
    late_s = 1.0

    def attempt():
        with decoding(link="tcp") as (p, ranks):
            os.kill(ranks[0], signal.SIGSTOP)
            p.send_signal(signal.SIGSTOP)
            time.sleep(late_s)
            p.send_signal(signal.SIGCONT)
            code, took, e = end_of(p)
            assert code == 1 and "rank 1" in e and "itself ran" in e, (code, e)
            return late_s + took

    in_time(attempt, 2)


def test_all_were_late():
    """A machine that paused (a virtual one, a laptop's ctrl-Z): nobody takes the others for dead."""
    with decoding(link="tcp") as (p, ranks):
        for sig in signal.SIGSTOP, signal.SIGCONT:
            for pid in [p.pid, *ranks]:
                os.kill(pid, sig)
            time.sleep(3 if sig == signal.SIGSTOP else 0)
        seen, until = b"", time.monotonic() + 60
        while seen.count(b",") < 50 and time.monotonic() < until:
            more = os.read(p.stdout.fileno(), 4096)
            assert more, p.stderr.read().decode()
            seen += more


@pytest.mark.parametrize("tp, link", [(2, "tcp"), (2, "shm"), (2, "netns"), (4, "shm")])
def test_rank_0_killed(tp, link):
    def attempt():
        with decoding(tp, link) as (p, ranks):
            p.kill()
            p.wait()
            return cli.gone_after(ranks)

    in_time(attempt, 2)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
@pytest.mark.parametrize("tp, link", [(1, "shm"), (2, "tcp"), (2, "netns"), (4, "shm")])
def test_asked_to_stop(tp, link, sig):
    """Ctrl-C goes to the whole process group, SIGTERM to rank 0: it ends well, and says nothing of
    lost ranks."""

    def attempt():
        with decoding(tp, link) as (p, ranks):
            if sig == signal.SIGINT:
                os.killpg(p.pid, sig)
            else:
                p.send_signal(sig)
            code, took, e = end_of(p)
            assert code == 130 and "interrupted" in e, (code, e)
            assert not re.search("lost|dead|died|silen|closed|gone|kill", e), e
            assert not any(map(cli.alive, ranks))
            return took

    in_time(attempt, 2)


@pytest.mark.parametrize("how", ["sigint", "end of input"])
@pytest.mark.parametrize("tp", [1, 2])
def test_chat_ends(tp, how):
    """While it waits for a line."""
    with cli.running("run", cli.DEMO, "--temp", "0", "--local", "--tp", tp) as p:
        ask(p, cli.answers()[0])
        ranks = cli.children(p.pid)
        assert len(ranks) == tp - 1
        if how == "sigint":
            os.killpg(p.pid, signal.SIGINT)
            p.wait(60)
        code, _, e = end_of(p)
        assert code == 0 and not any(map(cli.alive, ranks)), e


def test_rank_without_rank_0():
    """`twinax rank` is no command for people: it says so and ends."""
    done = cli.run("rank")
    assert done.returncode == 1 and "started by rank 0" in done.stderr
    done = cli.run("rank", stdin='{"rank": 1}\n')
    assert done.returncode == 1 and "part on stdin" in done.stderr
    done = cli.run("rank", "1")
    assert done.returncode == 2 and "takes no arguments" in done.stderr


def test_idle_chat_hears_of_a_lost_rank():
    """No request is under way when rank 1 goes: the next one says so instead of hanging."""
    with cli.running("run", cli.DEMO, "--temp", "0", "--local", "--tp", "2") as p:
        ask(p, cli.answers()[0])
        (rank,) = cli.children(p.pid)
        os.kill(rank, signal.SIGKILL)
        assert cli.gone_after([rank]) < 30
        p.stdin.write(cli.answers()[1]["q"].encode() + b"\n")
        p.stdin.flush()
        code, _, e = end_of(p)
        assert code == 1 and "rank 1" in e, (code, e)
