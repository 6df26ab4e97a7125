# SPDX-License-Identifier: Apache-2.0
"""The one-time token and the API key: in no command line, environment, log or file of any process on
either machine; who holds them leaves no core dump."""

import contextlib
import os
import pathlib
import re
import resource
import signal
import subprocess
import time

import pytest
import twinax_cli as cli
from two_hosts import A, B, ROCE
from two_hosts_fixture import hosts  # noqa: F401

KEY = "geheim-0123456789-geheim"
TOKEN = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")  # 256 bits in hex
SERVE = ["serve", cli.DEMO, "--nodes", f"head={ROCE[A]},node-b={ROCE[B]}", "--agent-path", cli.BINARY,
         "--port", "0", "--threads", "1"]  # fmt: skip
OURS = r"twinax |/exe rank|(^|/)ssh "


@contextlib.contextmanager
def serving(h, argv, env, log):
    with open(log, "wb") as out:
        p = subprocess.Popen(h.ns(A, cli.BINARY, *SERVE, *argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=out, env=os.environ | h.path() | env, start_new_session=True)  # fmt: skip
    try:
        line = p.stdout.readline()
        assert b"http://" in line, (line, pathlib.Path(log).read_text())
        yield p, line
    finally:
        if p.poll() is None:
            p.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(p.pid, signal.SIGKILL)
        p.wait()
        p.stdout.close()


def look(pid):
    """What every process shows of itself: {file: bytes}."""
    found = {}
    for name in "cmdline", "environ":
        with contextlib.suppress(OSError):
            found[name] = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
    return found


WAYS = {"option": (["--api-key", KEY], {}), "environment": ([], {"TWINAX_API_KEY": KEY})}


@pytest.mark.parametrize("way", list(WAYS))
def test_nothing_shows_them(hosts, folder, way):
    argv, env = WAYS[way]
    log = folder / "log"
    with serving(hosts, argv, env, log) as (p, line):
        ours = {pid: s for host in (A, B) for pid, s in hosts.processes(host).items() if re.search(OURS, s)}
        assert len([s for s in ours.values() if "sshd" not in s]) >= 4, ours
        me = os.getpid()
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            pid = int(entry.name)
            for name, text in look(pid).items() if pid != me else ():
                assert KEY.encode() not in text, (pid, name, ours.get(pid, "another's"))
                assert pid not in ours or not TOKEN.search(text), (pid, name, ours[pid])
        for pid, words in ours.items():
            if re.search(r"twinax (serve|agent)|/exe rank", words):
                limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
                assert re.search(r"Max core file size\s+0\s+0\s", limits), (words, limits)
        said = line
    said += log.read_bytes()
    for path in pathlib.Path(os.environ["TMPDIR"]).rglob("*"):
        said += path.read_bytes() if path.is_file() else b""
    assert KEY.encode() not in said and not TOKEN.search(said), said


def allow_cores():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)


def dumps_core(folder, argv, is_ready):
    """Whether the kernel wrote an image of argv's memory when it crashed, wherever it puts them."""
    p = subprocess.Popen([str(a) for a in argv], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, preexec_fn=allow_cores)  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not is_ready(p):
            assert time.monotonic() < until
            time.sleep(0.01)
        p.send_signal(signal.SIGSEGV)
        status = os.waitpid(p.pid, 0)[1]
        p.returncode = -signal.SIGSEGV  # it is waited for
        assert os.WTERMSIG(status) == signal.SIGSEGV
        return os.WCOREDUMP(status)
    finally:
        if p.poll() is None:
            p.kill()
            p.wait()
        p.stdin.close()
        p.stdout.close()


def test_no_core_dump(folder):
    """Of a rank that has heard nothing yet, and of a server."""
    if not dumps_core(folder, ["sleep", "100"], lambda p: True):
        pytest.skip("this system writes no core dumps at all")
    guarded = re.compile(r"Max core file size\s+0\s+0\s")
    assert not dumps_core(folder, [cli.BINARY, "rank"],
                          lambda p: guarded.search(pathlib.Path(f"/proc/{p.pid}/limits").read_text()))  # fmt: skip
    serve = [cli.BINARY, "serve", cli.DEMO, "--port", "0", "--threads", "1", "--local", "--tp", "2"]
    assert not dumps_core(folder, serve, lambda p: b"http://" in p.stdout.readline())
