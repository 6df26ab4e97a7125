# SPDX-License-Identifier: Apache-2.0
"""`twinax hold`: whichever process is killed, nothing of what it held is left within 2 s."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import uuid

import pytest
import twinax_cli as cli

# Grandchildren in sessions of their own, one whose parent has gone, one that minds no SIGTERM.
TREE = """
setsid sleep 1000 &
(setsid sh -c 'trap "" TERM; sleep 1000 & wait; sleep 1000' &)
echo ready
wait
"""
TREE_SIZE = 4
GONE_S = 2.0
TIME_SCALE = float(os.environ.get("TW_TIME_SCALE", "1"))


def marked(mark):
    """{pid: command line} of this machine's processes that have the mark in their environment."""
    found = {}
    for p in pathlib.Path("/proc").iterdir():
        if not p.name.isdigit():
            continue
        try:
            if mark.encode() in (p / "environ").read_bytes():
                state = (p / "stat").read_text().rsplit(")", 1)[1].split()[0]
                if state not in "ZX":
                    found[int(p.name)] = (p / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


class Held:
    def __init__(self, program, words, **part):
        self.mark = f"TWINAX_TEST_HELD={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.dir = pathlib.Path(f"/tmp/twinax-test-{value[:12]}")
        self.p = subprocess.Popen([program, "hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True, start_new_session=True)  # fmt: skip
        part = {"argv": words, "env": {name: value, "WHERE": "@DIR@"}, "dir": str(self.dir), **part}
        self.p.stdin.write(json.dumps(part) + "\n")
        self.p.stdin.flush()

    def gone(self):
        """Seconds until nothing is left."""
        began = time.monotonic()
        while (left := marked(self.mark)) or self.dir.exists():
            assert time.monotonic() - began < 10 * GONE_S, left or self.dir
            time.sleep(0.01)
        return time.monotonic() - began

    def close(self):
        self.p.stdin.close()  # what a failed test left
        for pid in marked(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.p.kill()
        self.p.wait()
        self.p.stdout.close()


@pytest.fixture
def held():
    all_held = []

    def make(*args, program=cli.BINARY, **part):
        all_held.append(Held(program, *args, **part))
        return all_held[-1]

    yield make
    for h in all_held:
        h.close()


def tree(held, **more):
    h = held(["sh", "-c", TREE], files={"token": "s3cret"}, **more)
    assert h.p.stdout.readline() == "ready\n"
    until = time.monotonic() + 10
    while len(marked(h.mark)) < TREE_SIZE:
        assert time.monotonic() < until, marked(h.mark)
        time.sleep(0.01)
    assert (h.dir / "token").read_text() == "s3cret"
    assert (h.dir / "token").stat().st_mode & 0o777 == 0o600
    assert h.dir.stat().st_mode & 0o777 == 0o700
    return h


def holders(h):
    """guard, holder"""
    for p in pathlib.Path("/proc").iterdir():
        try:
            if p.name.isdigit() and (p / "stat").read_text().rsplit(")", 1)[1].split()[1] == str(h.p.pid):
                return h.p.pid, int(p.name)
        except OSError:
            continue
    raise AssertionError("the guard has no holder")


@pytest.mark.parametrize("who", ["lifeline", "guard", "holder", "term", "both", "terms"])
@pytest.mark.parametrize("program", ["twinax", "twinax-node"])
def test_nothing_is_left(held, who, program):
    node = pathlib.Path(cli.BINARY).with_name(program)
    h = tree(held, program=str(node))
    guard, holder = holders(h)
    if who == "lifeline":
        h.p.stdin.close()
    if who in ("guard", "both"):
        os.kill(guard, signal.SIGKILL)
    if who == "holder":
        os.kill(holder, signal.SIGKILL)
    if who in ("term", "terms"):
        os.kill(guard, signal.SIGTERM)
    if who == "terms":  # as a holder outside its container, or systemd, sends it to all
        os.kill(holder, signal.SIGTERM)
    if who == "both":
        h.p.stdin.close()
    assert h.gone() < GONE_S * TIME_SCALE


# One that it keeps open, one that it has mapped and was renamed; in sessions of their own.
SHARED = """
import mmap, os, sys, time
folder, name = "/dev/shm", sys.argv[1]
kept = open(f"{folder}/{name}-open", "wb")
with open(f"{folder}/{name}-first", "w+b") as f:
    f.truncate(4096)
    mapped = mmap.mmap(f.fileno(), 4096)
os.rename(f"{folder}/{name}-first", f"{folder}/{name}-mapped")
with open(f"{folder}/{name}-strange", "r+b") as f:
    f.write(b"ours, for a moment")
if os.fork() == 0:
    os.setsid()
else:
    print("ready", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("who", ["lifeline", "guard", "holder", "program"])
def test_shared_memory_goes_with_it(held, who):
    name = f"twinax-test-{uuid.uuid4().hex[:12]}"
    ours = [pathlib.Path(f"/dev/shm/{name}-{kind}") for kind in ("open", "mapped")]
    strange = pathlib.Path(f"/dev/shm/{name}-strange")
    strange.write_bytes(b"another program's")
    try:
        h = held(["python3", "-c", SHARED, name])
        assert h.p.stdout.readline() == "ready\n"
        beside = pathlib.Path(f"/dev/shm/{name}-beside")
        beside.write_bytes(b"made meanwhile by another program")
        assert all(p.exists() for p in ours)
        time.sleep(0.2)  # the holder looks a moment after a file was made, and then not again
        guard, holder = holders(h)
        program = next(pid for pid, words in marked(h.mark).items() if "python3" in words)
        if who == "lifeline":
            h.p.stdin.close()
        else:
            os.kill({"guard": guard, "holder": holder, "program": program}[who], signal.SIGKILL)
        assert h.gone() < GONE_S * TIME_SCALE
        h.p.wait(10)
        assert not any(p.exists() for p in ours)
        assert strange.exists() and beside.exists()
    finally:
        for kind in "open", "first", "mapped", "strange", "beside":
            pathlib.Path(f"/dev/shm/{name}-{kind}").unlink(missing_ok=True)


# Listens as Ray and torch do, from a thread of a grandchild: IPv6 and IPv4, on all addresses.
LISTENS = """
import os, socket, sys, threading, time
def listen():
    global all_
    all_ = [socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True),
            socket.create_server(("", 0)), socket.create_server(("", int(sys.argv[1])))]
    print(*(s.getsockname()[1] for s in all_), flush=True)
if os.fork() == 0:
    os.setsid()
    threading.Thread(target=listen).start()
time.sleep(1000)
"""


def reaches(ip, port):
    try:
        socket.create_connection((ip, port), timeout=0.5).close()
        return True
    except OSError:
        return False


def own_address():
    """One of this machine's that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        return s.getsockname()[0]


def test_a_door_before_its_sockets(held):
    """From here all pass, by any of its addresses; strangers are tried in test_vllm.py."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        open_port = free.getsockname()[1]
    h = held(["python3", "-c", LISTENS, str(open_port)],
             door={"peers": ["192.0.2.7", "2001:db8::7"], "open": open_port})  # fmt: skip
    ports = [int(word) for word in h.p.stdout.readline().split()]
    assert len(ports) == 3 and ports[2] == open_port
    for port in ports:
        assert reaches("127.0.0.1", port) and reaches(own_address(), port)
    assert reaches("::1", ports[0])
    h.p.stdin.close()
    assert h.gone() < GONE_S * TIME_SCALE


def test_a_door_that_cannot_be_is_told(held):
    """A kernel that lets nobody look into the program (ptrace_scope 3); here an address that nobody can read."""
    binds = ("import ctypes, socket, time; s = socket.socket(); c = ctypes.CDLL(None); c.bind(s.fileno(), "
             "ctypes.c_void_p(1), 16); print('bound', flush=True); time.sleep(1000)")  # fmt: skip
    h = held(["python3", "-c", binds], door={"peers": ["192.0.2.7"]})
    said = [h.p.stdout.readline(), h.p.stdout.readline()]
    assert any("no door: its address is not to be read" in line for line in said), said
    h.p.stdin.close()
    assert h.gone() < GONE_S * TIME_SCALE


def test_a_door_wants_addresses(held):
    h = held(["true"], door={"peers": ["box2"]})
    assert h.p.wait(10) == 1


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_to_the_whole_group(held, sig):
    """A terminal that closes, a service manager: guard and holder get it at once."""
    h = tree(held)
    os.killpg(h.p.pid, sig)
    assert h.gone() < GONE_S * TIME_SCALE


def test_its_end_is_its_programs(held):
    h = held(["sh", "-c", "echo $WHERE; exit 7"])
    assert h.p.stdout.read() == f"{h.dir}\n"
    assert h.p.wait(10) == 7
    assert not h.dir.exists()


def test_a_program_that_is_not_there(held):
    h = held(["/nowhere/ray", "start"])
    assert h.p.wait(10) == 127


def test_one_holder_in_another(held):
    """As in a container: the outer one's program is the inner one, which is told by its stdin."""
    h = held([str(cli.BINARY), "hold"], stdin={"argv": ["sh", "-c", "echo ready; sleep 1000 & wait"]})
    assert h.p.stdout.readline() == "ready\n"
    assert any("sleep 1000" in c for c in marked(h.mark).values())
    h.p.stdin.close()
    assert h.gone() < GONE_S * TIME_SCALE


def test_a_killed_middle_ends_the_inner_one(held):
    """kill -9 of `podman exec` leaves what it started: the inner holder's lifeline ends with it."""
    inner = {"argv": ["sh", "-c", "echo ready; sleep 1000; true"]}
    h = held(["sh", "-c", f"{cli.BINARY} hold; true"], stdin=inner)
    assert h.p.stdout.readline() == "ready\n"
    shell = next(pid for pid, c in marked(h.mark).items() if c.startswith(f"sh -c {cli.BINARY}"))
    os.kill(shell, signal.SIGKILL)
    assert h.gone() < GONE_S * TIME_SCALE


@pytest.mark.parametrize("part, says", [
    ("nonsense", "the part on stdin"),
    ('{"argv":[]}', "argv"),
    ('{"argv":["true",3]}', "argv"),
    ('{"argv":["true"],"dir":"/etc"}', "dir is no /tmp/twinax-NAME"),
    ('{"argv":["true"],"dir":"/tmp/twinax-../etc"}', "dir is no /tmp/twinax-NAME"),
    ('{"argv":["true"],"files":{"a":"b"}}', "files without a dir"),
    ('{"argv":["true"],"before":[]}', "before is no list of 1 to 16 words"),
    ('{"argv":["true"],"before":["false"]}', "false"),
    ('{"argv":["true"],"env":{"A=B":"c"}}', "env.A=B"),
    ("", "no part on stdin"),
])  # fmt: skip
def test_a_part_that_is_none(part, says):
    p = subprocess.run([str(cli.BINARY), "hold"], input=part + ("\n" if part else ""), text=True,
                       capture_output=True, timeout=20)  # fmt: skip
    assert p.returncode == 1
    assert says in p.stderr


def test_a_file_cannot_leave_its_folder(held):
    h = held(["true"], files={"../evil": "x"})
    assert h.p.wait(10) == 1
    assert h.gone() < GONE_S * TIME_SCALE


def test_anothers_folder_stays(held, tmp_path):
    theirs = pathlib.Path(f"/tmp/twinax-test-{uuid.uuid4().hex[:12]}")
    theirs.mkdir()
    try:
        h = held(["true"], dir=str(theirs))
        assert h.p.wait(10) == 1
        assert theirs.is_dir()
    finally:
        theirs.rmdir()


@pytest.mark.parametrize("erase", [True, False])
def test_what_vllm_compiled_is_erased(held, tmp_path, erase):
    made = tmp_path / "vllm" / "torch_compile_cache" / "0123" / "rank_0"
    made.mkdir(parents=True)
    (made / "graph").write_text("x")
    (tmp_path / "vllm" / "other").write_text("stays")
    h = held(["true"], env={"XDG_CACHE_HOME": str(tmp_path)}, erase=erase)
    assert h.p.wait(10) == 0
    assert made.exists() != erase
    assert (tmp_path / "vllm" / "other").read_text() == "stays"
