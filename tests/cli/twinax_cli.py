# SPDX-License-Identifier: Apache-2.0
"""Runs the twinax binary for tests, and looks for what a run may leave behind."""

import contextlib
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "tiny"
DEMO = ROOT / "models" / "demo"
BINARY = pathlib.Path(os.environ.get("TWINAX") or ROOT / "build" / "twinax").resolve()
MARK = "TWINAX_TEST_MARK"  # in the environment of all that a test starts: how strays are found
LIMIT_S = 120  # of anything that must end by itself; far above what it takes


def missing_binary():
    """Why nothing can be run, or None."""
    if os.access(BINARY, os.X_OK):
        return None
    return f"no twinax binary at {BINARY}: build it, or name one in TWINAX"


# ---- running -------------------------------------------------------------------------------------


def run(*argv, stdin=None, env=None, timeout=LIMIT_S):
    """`twinax argv...` to its end: a CompletedProcess with text, line ends as they are."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    done = subprocess.run(
        [str(BINARY), *map(str, argv)],
        input=stdin or b"",
        capture_output=True,
        timeout=timeout,
        env=os.environ | (env or {}),
    )
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def good(*argv, **more):
    """The same, which must exit with 0."""
    done = run(*argv, **more)
    assert done.returncode == 0, f"exit {done.returncode}: twinax {argv}\n{done.stderr}"
    return done


def ids_of(text):
    """The ids of a line that `run --ids` or `tokenize` printed."""
    assert re.fullmatch(r"(\d+(,\d+)*)?\n", text), f"not one line of ids: {text[:200]!r}"
    return [int(i) for i in re.findall(r"\d+", text)]


def comma(ids):
    return ",".join(map(str, ids))


@contextlib.contextmanager
def running(*argv, env=None):
    """`twinax argv...` in a process group of its own; killed at the end if it still is there."""
    p = subprocess.Popen(
        [str(BINARY), *map(str, argv)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | (env or {}),
        start_new_session=True,
    )
    try:
        yield p
    finally:
        if p.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
        p.wait()
        for f in (p.stdin, p.stdout, p.stderr):
            f.close()


@functools.cache
def answers():
    """The demo model's golden answers."""
    lines = (ROOT / "tests" / "data" / "demo_answers.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@functools.cache
def tables():
    """Names of the kernel tables that run here, as the program itself lists them."""
    e = run("run", DEMO, "--prompt-ids", "1", "-n", "1", env={"TW_CPU": "none"}).stderr
    found = re.search(r"there are: ([a-z0-9 ]+)\n", e)
    assert found, f"an unknown TW_CPU must be answered with those there are: {e}"
    return found.group(1).split()


@functools.cache
def no_netns():
    """Why rank 1 cannot have a network namespace of its own, or None."""
    try:
        probe = subprocess.run(["unshare", "-n", "true"], capture_output=True, text=True, timeout=20)
        ip = subprocess.run(["ip", "-V"], capture_output=True, text=True, timeout=20)
    except OSError as why:
        return f"network namespaces: {why}"
    if probe.returncode != 0:
        return f"network namespaces: {probe.stderr.strip()} (root is wanted)"
    return None if ip.returncode == 0 else "network namespaces: ip (iproute2) does not work"


# ---- what is there -------------------------------------------------------------------------------


def children(pid):
    """Child processes in the order they were started: rank r of a run is entry r - 1."""
    with contextlib.suppress(OSError):
        return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pid):
    """Whether a process is there and no zombie."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone_after(pids, limit_s=30.0):
    """Seconds until none of pids is alive; infinity when the limit passes first."""
    t0 = time.monotonic()
    while any(alive(p) for p in pids):
        if time.monotonic() - t0 > limit_s:
            return float("inf")
        time.sleep(0.005)
    return time.monotonic() - t0


def marked():
    """Processes with our mark, other than this one: {pid: command line}."""
    want = f"{MARK}={os.environ[MARK]}".encode()
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(path.name) != os.getpid() and want in (path / "environ").read_bytes().split(b"\0"):
                found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def interfaces():
    """Network interfaces that twinax made and whose maker (named by its pid) is no more."""
    found = set()
    for path in pathlib.Path("/sys/class/net").glob("twx*"):
        pid = re.fullmatch(r"twx(\d+)(?:-\d+)?[ab]", path.name)
        if pid is None or not alive(int(pid.group(1))):
            found.add(path.name)
    return found


def shared_memory():
    return {p.name for p in pathlib.Path("/dev/shm").glob("*") if re.match("tw|memfd", p.name)}
