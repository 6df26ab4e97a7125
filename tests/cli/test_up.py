# SPDX-License-Identifier: Apache-2.0
"""up, status, logs, down: the service in the background, on one machine and on two with sshd."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import termios
import time

import pytest
import twinax_cli as cli
import two_hosts
from two_hosts import A, B, ROCE
from two_hosts_fixture import hosts  # noqa: F401

KEY = "sk-not-for-others"
LOCAL = ["--local", "--tp", "2", "--port", "0", "--threads", "1"]
NODES = ["--nodes", f"head={ROCE[A]},node-b={ROCE[B]}", "--agent-path", str(cli.BINARY), "--port", "0",
         "--threads", "1"]  # fmt: skip
WAIT_S = 30


class Service:
    """twinax with folders of its own, on this machine or in a namespace."""

    def __init__(self, folder, hosts=None):
        self.folder, self.hosts = folder, hosts
        self.runtime, self.state = folder / "run", folder / "state" / "twinax"
        self.runtime.mkdir(mode=0o700)
        self.env = {
            "XDG_RUNTIME_DIR": str(self.runtime), "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"), "HOME": str(folder),
        }  # fmt: skip

    def command(self, argv):
        argv = [str(cli.BINARY), *map(str, argv)]
        return self.hosts.ns(A, *argv) if self.hosts else argv

    def do(self, *argv, env=None, **more):
        path = self.hosts.path() if self.hosts else {}
        return subprocess.run(self.command(argv), capture_output=True, text=True, timeout=cli.LIMIT_S, check=False,
                              stdin=subprocess.DEVNULL, env=os.environ | self.env | path | (env or {}), **more)  # fmt: skip

    def good(self, *argv, **more):
        done = self.do(*argv, **more)
        assert done.returncode == 0, f"exit {done.returncode}: twinax {argv}\n{done.stdout}{done.stderr}"
        return done

    def up(self, *argv, **more):
        return json.loads(self.good("up", cli.DEMO, *argv, "--json", **more).stdout)

    def status(self):
        done = self.do("status", "--json")
        return json.loads(done.stdout) | {"exit": done.returncode}

    def log(self):
        return (self.state / "service.log").read_text()

    def processes(self):
        """All of the run that is there: by its mark."""
        mark = f"XDG_STATE_HOME={self.folder}/state".encode()
        found = {}
        for p in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (p / "environ").read_bytes().split(b"\0") and cli.alive(int(p.name)):
                    found[int(p.name)] = (p / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def files(self):
        return [p for top in (self.state, self.runtime / "twinax") for p in top.iterdir()]


def wait_until(what, limit_s=WAIT_S):
    until = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)


@pytest.fixture
def service(folder):
    s = Service(folder)
    try:
        yield s
    finally:
        s.do("down")
    assert not s.processes()


@pytest.fixture
def far(folder, hosts):
    s = Service(folder, hosts)
    try:
        yield s
    finally:
        s.do("down")
    assert hosts.quiet_after() < 10, f"left: {hosts.processes(A)} {hosts.processes(B)}"


# ---- one machine ---------------------------------------------------------------------------------


def test_up_status_down(service):
    up = service.up(*LOCAL)
    s = service.status()
    assert s["exit"] == 0 and s["state"] == "ready" and s["url"] == up["url"] and s["pid"] == up["pid"]
    assert [r["rank"] for r in s["serve"]["ranks"]] == [0, 1]
    assert all(r["rss_bytes"] > 1 << 20 for r in s["serve"]["ranks"])
    assert s["serve"]["ranks"][1]["link"]["transport"] == "shm"
    text = service.good("status").stdout
    assert re.search(r"^demo is served at http://127\.0\.0\.1:\d+, up \d+ s", text), text
    assert "RANK" in text and "shm memfd" in text
    # A second one is refused, and says which there is.
    done = service.do("up", cli.DEMO, *LOCAL)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done
    for word in ("demo runs already", f"pid {up['pid']}", up["url"], "since 2", "twinax down"):
        assert word in done.stderr, done.stderr
    pids = service.processes()
    assert len(pids) == 3, pids  # keeper, serve, rank 1
    down = service.good("down")
    assert down.stdout == "stopped demo; nothing is left on any node\n"
    assert not any(map(cli.alive, pids)) and not service.processes()
    assert service.status() == {"schema": 1, "state": "none", "exit": 1}
    assert service.good("down").stdout == "nothing runs\n"


def test_nobody_else_reads_it(service):
    """0600 files in 0700 folders, no key in any of them, nor in a command line, nor for long in an
    environment that is not serve's."""
    service.up(*LOCAL, "--api-key", KEY, "--host", "127.0.0.1")
    for p in service.files():
        assert stat.S_IMODE(p.stat().st_mode) == 0o600, p
        assert p.is_socket() or KEY not in p.read_text(), p
    for p in service.state, service.runtime / "twinax":
        assert stat.S_IMODE(p.stat().st_mode) == 0o700
    pids = service.processes()
    for pid, line in pids.items():
        assert KEY not in line
        if " serve " not in line:
            assert KEY.encode() not in pathlib.Path(f"/proc/{pid}/environ").read_bytes(), line
    assert KEY not in service.good("status").stdout + json.dumps(service.status())
    assert KEY not in service.good("logs").stdout
    keeper = service.status()["keeper"]
    limits = pathlib.Path(f"/proc/{keeper}/limits").read_text()
    assert re.search(r"Max core file size\s+1\s", limits), "a core file would hold the key"


def test_killed_serve(service):
    first = service.up(*LOCAL)
    pids = service.processes()
    os.kill(first["pid"], signal.SIGKILL)
    assert cli.gone_after(pids, WAIT_S) < WAIT_S, "the rank and the keeper follow"
    s = service.status()
    assert s["exit"] == 1 and s["state"] == "ended" and "signal 9" in s["end"], s
    text = service.do("status")
    assert text.returncode == 1 and "nothing runs: demo ended at" in text.stdout
    assert "serve ended: killed by signal 9" in service.good("logs").stdout
    second = service.up(*LOCAL)
    assert second["pid"] != first["pid"] and service.status()["exit"] == 0
    assert service.good("down").stdout.startswith("stopped demo")
    assert "was not running" not in service.log()


def test_up_while_the_old_one_goes(service):
    """A keeper writes how serve ended before it lets go of the lock: on a busy machine much earlier."""
    service.up(*LOCAL)
    os.kill(service.status()["pid"], signal.SIGKILL)
    wait_until(lambda: service.status()["state"] == "ended" and not service.processes())
    with open(service.state / "service.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        p = subprocess.Popen(service.command(["up", cli.DEMO, *LOCAL]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env=os.environ | service.env)  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            p.wait(1.5)  # its keeper waits meanwhile
    _, e = p.communicate(timeout=cli.LIMIT_S)
    assert p.returncode == 0, e
    assert service.status()["exit"] == 0


def test_numbers_of_another_boot(service):
    """After a restart of the machine the record's pid is somebody else's, and may have his start time."""
    service.up(*LOCAL)
    service.good("down")
    with subprocess.Popen(["sleep", "100"]) as other:
        try:
            start = int(pathlib.Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[19])
            who = {"pid": other.pid, "start": start}
            record = {"schema": 1, "run": "0" * 32, "host": os.uname().nodename, "boot": "another", "phase": "ready",
                      "keeper": who, "serve": who, "model": "m"}  # fmt: skip
            (service.state / "service.json").write_text(json.dumps(record))
            assert service.status()["state"] == "crashed"
            assert "was not running any more" in service.good("down").stdout
            assert other.poll() is None
        finally:
            other.kill()


def test_killed_keeper(service):
    up = service.up(*LOCAL)
    pids = service.processes()
    os.kill(up["keeper"], signal.SIGKILL)
    assert cli.gone_after(pids, WAIT_S) < WAIT_S
    s = service.status()
    assert s["exit"] == 1 and s["state"] == "crashed", s
    assert "went without a word" in service.do("status").stdout
    done = service.good("up", cli.DEMO, *LOCAL)
    assert "went without a word: cleaning up" in done.stderr, done.stderr
    keeper = service.status()["keeper"]
    os.kill(keeper, signal.SIGKILL)
    assert cli.gone_after([keeper], WAIT_S) < WAIT_S
    done = service.good("down")
    assert done.stdout == "was not running any more: demo; nothing is left on any node\n"
    assert service.status()["state"] == "none"


def test_stopped_serve_is_killed(service):
    """Who does not hear SIGTERM is insisted upon; status does not wait for it."""
    up = service.up(*LOCAL)
    os.kill(up["pid"], signal.SIGSTOP)
    t0 = time.monotonic()
    s = service.status()
    assert s["exit"] == 0 and "serve" not in s and time.monotonic() - t0 < 10
    assert "says nothing" in service.do("status").stdout
    pids = service.processes()
    assert service.do("down").returncode == 0
    assert not any(map(cli.alive, pids))


def test_bad_model(service, folder):
    done = service.do("up", folder / "none", *LOCAL)
    assert done.returncode == 1 and "no such folder" in done.stderr.splitlines()[-1], done.stderr
    assert "the last lines of" in done.stderr
    assert not service.processes() and service.status()["state"] == "ended"


@pytest.mark.parametrize("argv, words", [
    (["--no-such"], "unknown option"), (["--tp", "3"], "wanted 1, 2, 4 or 8"),
    (["--wait", "x"], "--wait x"), (["--tp", "4"], "no nodes are configured"), (["more"], "only one MODEL"),
])  # fmt: skip
def test_usage(service, argv, words):
    done = service.do("up", cli.DEMO, *argv, cwd=service.folder)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    for command in "down", "status", "logs":
        assert service.do(command, "--no-such").returncode == 2
        assert service.do(command, "word").returncode == 2


def test_no_model(service):
    """Which of the two places may say it, by its path."""
    done = service.do("up", cwd=service.folder)
    assert done.returncode == 2 and "or [serve] model in twinax.conf (there is none yet)" in done.stderr, done
    conf = service.folder / "twinax.conf"
    conf.write_text("[serve]\nctx = 256\n")
    done = service.do("up", cwd=service.folder)
    assert done.returncode == 2 and "[serve] model in " in done.stderr and "twinax.conf" in done.stderr, done
    done = service.do("up", "--local", cwd=service.folder)
    assert done.returncode == 2 and "twinax.conf is not read" in done.stderr, done
    for command in "up", "serve":
        assert "[serve] model" in service.good(command, "--help").stdout or command == "serve"


def test_shortened_options(service):
    """getopt lets names be shortened: up's own still leave the line that keep and serve get."""
    up = service.good("up", cli.DEMO, *LOCAL, "--js", "--wai", "60", "--api-k", KEY)
    assert json.loads(up.stdout)["ranks"] == 2
    for line in service.processes().values():
        assert KEY not in line and "--wai" not in line and "--js" not in line


def test_two_at_a_time(service):
    """Both may find nothing there: one serves, the other says which one does."""
    both = [subprocess.Popen(service.command(["up", cli.DEMO, *LOCAL, "--json"]), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=os.environ | service.env) for _ in range(2)]  # fmt: skip
    ends = [(*p.communicate(timeout=cli.LIMIT_S), p.returncode) for p in both]
    (good,), (other,) = ([e for e in ends if e[2] == code] for code in (0, 1))
    assert "runs already" in other[1].splitlines()[-1], ends
    assert service.status()["pid"] == json.loads(good[0])["pid"]


def take_terminal():
    """As a login does. Whoever runs the tests under nohup has SIGHUP ignored, and so would we."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_closed_terminal(service):
    """Started from a terminal that is then closed: SIGHUP reaches nothing of it."""
    leader, follower = pty.openpty()
    argv = service.command(["up", cli.DEMO, *LOCAL])
    shell = subprocess.Popen(
        ["sh", "-c", '"$@" && echo is-up && sleep 100', "sh", *argv], stdin=follower, stdout=follower, stderr=follower,
        env=os.environ | service.env, start_new_session=True,
        preexec_fn=take_terminal)  # fmt: skip
    os.close(follower)
    seen = b""
    while b"is-up" not in seen:
        seen += os.read(leader, 4096)
    os.close(leader)  # the terminal is gone: the kernel sends SIGHUP to its session
    assert shell.wait(WAIT_S) != 0
    s = service.status()
    assert s["exit"] == 0 and s["state"] == "ready"
    for pid in service.processes():
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert fields[4] == "0", "no terminal of its own"
        assert os.getsid(pid) == s["keeper"]
    assert service.good("down").returncode == 0


def test_interrupted_start(service):
    slow = service.folder / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 100\n")
    slow.chmod(0o755)
    p = subprocess.Popen(service.command(["up", cli.DEMO, "--nodes", "local,local", "--agent-path", slow,
                                          "--port", "0"]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, env=os.environ | service.env)  # fmt: skip
    wait_until(lambda: any(" serve " in line for line in service.processes().values()))
    p.send_signal(signal.SIGINT)
    _, e = p.communicate(timeout=WAIT_S)
    assert p.returncode == 130 and "interrupted while starting" in e, e
    assert not service.processes()


def test_logs(service):
    done = service.do("logs")
    assert done.returncode == 1 and "there is no log yet" in done.stderr
    service.up(*LOCAL)
    p = subprocess.Popen(service.command(["logs", "-f", "-n", "1"]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         text=True, env=os.environ | service.env)  # fmt: skip
    first = p.stdout.readline()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ r0 listening on http://", first), first
    service.good("down")
    line = ""
    while "serve ended: asked to stop" not in line:
        line = p.stdout.readline()
        assert line, "the stream ended"
    p.send_signal(signal.SIGINT)
    assert p.wait(WAIT_S) == 0
    p.stdout.close()
    lines = [json.loads(x) for x in service.good("logs", "--json").stdout.splitlines()]
    assert {x["rank"] for x in lines} >= {0} and all({"time", "node", "rank", "text"} <= set(x) for x in lines)
    assert len(service.good("logs", "-n", "2").stdout.splitlines()) == 2


def test_log_of_weeks(service):
    """A full log makes room, for the keeper's own stdout too, and what was in it is still shown."""
    old = "2020-01-01T00:00:00.000Z box1 r0 " + "x" * 990 + "\n"
    service.state.mkdir(parents=True)
    log = service.state / "service.log"
    log.write_text(old * (8 * 1024 * 1024 // len(old)))
    up = service.up(*LOCAL)
    assert (service.state / "service.log.1").stat().st_size > 8_000_000 and log.stat().st_size < 1_000_000
    for fd in "1", "2":
        assert os.readlink(f"/proc/{up['keeper']}/fd/{fd}") == str(log)
    everything = service.good("logs", "-n", "1000000").stdout
    assert everything.startswith(old) and "listening on" in everything
    assert service.good("logs", "--since", "1h").stdout == "".join(everything.rpartition(old)[2])


def test_logs_of_some(service):
    """--since, --rank, --node, with -n and --json."""
    service.state.mkdir(parents=True)
    moments = ["2026-11-22T10:00:00.000", "2026-11-22T11:30:00.000", "2026-11-22T12:00:00.500", "2026-11-23T00:00:00.000"]
    lines = [f"{t}Z {n} r{r} line {i}\n" for i, (t, n, r) in enumerate(zip(moments, ["a", "b", "a", "b"], [0, 1, 0, 1]))]
    (service.state / "service.log").write_text("".join(lines))
    show = lambda *argv: service.good("logs", *argv, env={"TZ": "UTC-2"}).stdout  # noqa: E731
    assert show() == "".join(lines) and show("-n", "0") == ""
    assert show("--since", "2026-11-22 12:00Z") == show("--since", "2026-11-22 14:00") == "".join(lines[2:])
    assert show("--since", "2026-11-22T11:30:00Z", "-n", "1") == lines[3]
    assert show("--rank", "1") == show("--node", "b") == lines[1] + lines[3]
    assert show("--rank", "1", "-n", "1") == lines[3] and show("--node", "c") == ""
    assert show("--since", "2026-11-23") == lines[3]  # of this machine's time
    assert [json.loads(x)["text"] for x in show("--rank", "0", "--json").splitlines()] == ["line 0", "line 2"]
    for bad in "yesterday", "5", "5y", "2026-13-01", "12:00":
        done = service.do("logs", "--since", bad)
        assert done.returncode == 2 and "wanted 30s, 15m" in done.stderr, done
    assert service.do("logs", "--since", "99999d").returncode == 0


def test_conf_says_what(service):
    """[serve] of twinax.conf: `up` alone starts it; the command line wins over the file."""
    conf = service.folder / "config" / "twinax" / "twinax.conf"
    conf.parent.mkdir(parents=True, mode=0o755)
    key = service.folder / "key"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    conf.write_text(f"[serve]\nmodel = {cli.DEMO}\nctx = 256\nmax_seqs = 3\nport = 1\nthreads = 1\napi_key_file = {key}\n")
    conf.chmod(0o600)
    service.good("up", "--port", "0", cwd=service.folder)
    s = service.status()
    assert s["serve"]["ctx"] == 256 and s["serve"]["requests"]["at_once"] == 3 and s["model"] == str(cli.DEMO)
    code = get(service, s["url"] + "/v1/models")
    assert code == "401", code
    assert KEY not in json.dumps(s) + service.log()


def get(service, url):
    text = ("import sys, urllib.request as u, urllib.error as e\n"
            "try: print(u.urlopen(sys.argv[1], timeout=60).status)\n"
            "except e.HTTPError as x: print(x.code)")  # fmt: skip
    argv = [sys.executable, "-c", text, url]
    argv = service.hosts.ns(A, *argv) if service.hosts else argv
    return subprocess.run(argv, capture_output=True, text=True, timeout=cli.LIMIT_S, check=True).stdout.strip()


def test_foreign_folder(service):
    """A runtime folder that is a link to elsewhere, or open to others, is not trusted as it is."""
    elsewhere = service.folder / "elsewhere"
    elsewhere.mkdir()
    (service.runtime / "twinax").symlink_to(elsewhere)
    done = service.do("up", cli.DEMO, *LOCAL)
    assert done.returncode == 1 and "is no folder" in done.stderr, done.stderr
    (service.runtime / "twinax").unlink()
    (service.runtime / "twinax").mkdir(mode=0o777)
    (service.runtime / "twinax").chmod(0o777)
    assert service.do("status").returncode == 1
    assert stat.S_IMODE((service.runtime / "twinax").stat().st_mode) == 0o700


# ---- systemd, by programs of its names that note what they are asked ------------------------------

FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >> "$FAKE_LOG"
case "$*" in
*"enable --now"*) setsid env -u TWINAX_API_KEY sh -c "$(sed -n 's/^ExecStart=//p' "$XDG_CONFIG_HOME/systemd/user/twinax.service")" </dev/null >/dev/null 2>&1 & ;;
*"disable --now"*|*" stop "*) kill -TERM "$(sed -n 's/.*"keeper": *{"pid": *\\([0-9]*\\).*/\\1/p;/"keeper"/,/}/s/ *"pid": *\\([0-9]*\\).*/\\1/p' "$XDG_STATE_HOME/twinax/service.json" | head -1)" ;;
esac
exit 0
"""


@pytest.fixture
def systemd(service):
    tools = service.folder / "bin"
    tools.mkdir()
    for name in "systemctl", "loginctl":
        (tools / name).write_text(FAKE)
        (tools / name).chmod(0o755)
    (service.runtime / "systemd").mkdir()
    (service.runtime / "systemd" / "private").touch()
    service.env |= {"PATH": f"{tools}:{os.environ['PATH']}", "FAKE_LOG": str(service.folder / "asked"), "TWINAX_HOW": "unit"}
    return service


def test_install(systemd):
    done = systemd.do("up", cli.DEMO, *LOCAL, "--install", "--api-key", KEY)
    assert done.returncode == 0, done.stderr
    unit = systemd.folder / "config/systemd/user/twinax.service"
    env_file = systemd.folder / "config/twinax/serve.env"
    text = unit.read_text()
    assert KEY not in text and "WantedBy=default.target" in text and f"EnvironmentFile=-{env_file}" in text
    assert KEY in env_file.read_text() and stat.S_IMODE(env_file.stat().st_mode) == 0o600
    for line in "loginctl enable-linger", "systemctl --user daemon-reload", "systemctl --user enable --now twinax.service":
        assert line in done.stderr and line in (systemd.folder / "asked").read_text(), line
    assert systemd.status()["state"] == "ready"
    # It ended, and systemd is about to start it again: no second one beside it.
    os.kill(systemd.status()["pid"], signal.SIGKILL)
    wait_until(lambda: systemd.status()["state"] == "ended" and not systemd.processes())
    beside = systemd.do("up", cli.DEMO, *LOCAL, env={"TWINAX_HOW": ""})
    assert beside.returncode == 1 and "the user unit of an `up --install` is there" in beside.stderr, beside
    if shutil.which("systemd-analyze"):
        said = subprocess.run(["systemd-analyze", "--user", "verify", unit], capture_output=True, text=True, timeout=60,
                              env=os.environ | {"XDG_RUNTIME_DIR": str(systemd.runtime)}, check=False)  # fmt: skip
        assert said.returncode == 0 and not said.stderr, said.stderr
    done = systemd.good("down")
    asked = (systemd.folder / "asked").read_text().splitlines()
    assert asked[-3:] == ["systemctl --user disable --now twinax.service", "systemctl --user daemon-reload",
                          "loginctl disable-linger"], asked  # fmt: skip
    assert not unit.exists() and not env_file.exists() and not systemd.processes()
    assert not (systemd.folder / "config/systemd").exists()  # it was made for the unit


def test_install_without_systemd(service):
    done = service.do("up", cli.DEMO, *LOCAL, "--install")
    assert done.returncode == 1 and "no systemd user manager" in done.stderr, done.stderr
    assert not service.processes()


# ---- two machines --------------------------------------------------------------------------------

ASK = """
import sys, openai
c = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", timeout=60)
r = c.chat.completions.create(model="demo", temperature=0, messages=[{"role": "user", "content": sys.argv[2]}])
print(r.choices[0].message.content, end="")
"""


def test_two_machines(far, hosts):
    pytest.importorskip("openai")
    a = cli.answers()[0]
    up = far.up(*NODES)
    assert up["ranks"] == 2
    assert hosts.do(A, sys.executable, "-c", ASK, up["url"], a["q"]).stdout == a["a"]
    s = far.status()
    v, ranks = s["serve"]["speed"], s["serve"]["ranks"]
    assert v["generated_tok_s"] > 0 and v["generated_tokens"] > 0 and v["generated_tok_s_since_start"] > 0
    assert [r["node"] for r in ranks] == ["head", "node-b"]
    assert all(r["rss_bytes"] > 1 << 20 and r["pid"] > 0 for r in ranks)
    link = ranks[1]["link"]
    assert link["device"] == "roce0" and link["local"].startswith(ROCE[A]) and link["peer"].startswith(ROCE[B])
    assert link["tx_bytes"] > 0 and link["rx_bytes"] > 0
    assert ranks[1]["pid"] in hosts.processes(B) and ranks[1]["age_s"] < 30
    text = far.good("status").stdout
    assert re.search(r"^node-b +1 .*roce0", text, re.MULTILINE), text
    log = far.good("logs").stdout
    assert re.search(r"Z \S+ r0 listening on", log)
    assert "@status" not in log
    down = far.good("down")
    assert down.stdout == "stopped demo; nothing is left on any node\n", down
    assert not hosts.processes(A) and hosts.quiet_after() < 10


def test_worker_killed(far, hosts):
    far.up(*NODES)
    rank = far.status()["serve"]["ranks"][1]["pid"]
    os.kill(rank, signal.SIGKILL)
    wait_until(lambda: far.status()["state"] == "ended")
    s = far.status()
    assert s["exit"] == 1 and "node-b" in s["end"], s
    done = far.do("up", cli.DEMO, *NODES)
    assert done.returncode == 0, done.stderr
    assert far.good("down").returncode == 0


def test_head_killed_with_all_its_own(far, hosts):
    """Keeper, serve and ssh at once: what is left on the node ends by its lifeline; `down` proves it."""
    up = far.up(*NODES)
    for pid in (up["keeper"], up["pid"]):
        os.kill(pid, signal.SIGKILL)
    done = far.good("down")
    assert "nothing is left on any node" in done.stdout
    assert not [x for x in hosts.processes(B).values() if "rank" in x]


def test_rank_that_stays_is_ended(far, hosts):
    """A rank that its lifeline does not end (stopped, so it cannot hear) is found and killed."""
    far.up(*NODES)
    rank = far.status()["serve"]["ranks"][1]["pid"]
    os.kill(rank, signal.SIGSTOP)
    done = far.do("down", "--json")
    assert done.returncode == 0, done
    v = json.loads(done.stdout)
    assert v["left"] == 0 and v["nodes_not_asked"] == 0
    assert not cli.alive(rank)


def test_dead_node_does_not_block(far, hosts):
    """The cable is pulled: status answers at once, serve ends, down names the node it cannot ask."""
    far.up(*NODES)
    wires = ["lan0", "roce0"]
    session = set(hosts.processes(B))
    try:
        for wire in wires:
            hosts.do(B, "ip", "link", "set", wire, "down")
        t0 = time.monotonic()
        far.status()
        assert time.monotonic() - t0 < 10
        wait_until(lambda: far.status()["state"] == "ended")
        done = far.do("down")
        assert done.returncode == 0 and "node-b" in done.stderr and "1 node could not be asked" in done.stdout, done
    finally:
        for pid in session & set(hosts.processes(B)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for wire in wires:
            hosts.do(B, "ip", "link", "set", wire, "up")
        hosts.do(B, "ip", "route", "replace", "default", "via", two_hosts.LAN[A], check=False)
        hosts.do(B, "ip", "addr", "add", f"{two_hosts.LAN6[B]}/64", "dev", "lan0", "nodad", check=False)
