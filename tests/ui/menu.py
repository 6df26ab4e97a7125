# SPDX-License-Identifier: Apache-2.0
"""A menu in a tmux of its own: keys go in, screens come out, and are compared with goldens.

TW_UI_GOLDENS=write writes the goldens anew (tests/ui/goldens): look at the difference before it is committed."""

import os
import pathlib
import re
import shlex
import socket
import subprocess
import time

import twinax_cli as cli

WRITE = "TW_UI_GOLDENS"
GOLDENS = pathlib.Path(__file__).parent / "goldens"
LIMIT_S = 60
TURNS = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
DEMO_LINE = "{folder}/demo | 1M | bf16=7.5M | open | native vllm | the small model of twinax's source\n"


class Menu:
    """argv: instead of `twinax ui`; ns: words before it ("ip netns exec NAME")."""

    def __init__(self, folder, name, argv=None, ns=(), cols=80, rows=24, env=None, path=None):
        self.folder, self.name = folder, name
        self.home = folder / name
        self.home.mkdir(exist_ok=True)
        (self.home / "run").mkdir(exist_ok=True, mode=0o700)
        self.conf = self.home / "config" / "twinax" / "twinax.conf"
        self.conf.parent.mkdir(parents=True, exist_ok=True)
        (self.conf.parent / "catalogue.txt").write_text(DEMO_LINE.format(folder=folder))
        self.own = {
            "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_RUNTIME_DIR": str(self.home / "run"), "XDG_CACHE_HOME": str(self.home / "cache"),
            "LC_ALL": "C.UTF-8", "PATH": path or os.environ["PATH"], "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        self.env = {k: v for k, v in os.environ.items() if k not in ("TMUX", "NO_COLOR", "HF_TOKEN", "HF_HOME", "TERM")}
        words = [*ns, "env", *(f"{k}={v}" for k, v in (self.own | (env or {})).items()),
                 *(argv or [folder / "twinax", "ui"])]  # fmt: skip
        line = shlex.join(map(str, words))
        self.tmux("-u", "-f", "/dev/null", "new-session", "-d", "-x", cols, "-y", rows,
                  f"{line}; echo EXIT $?; exec cat")  # fmt: skip

    def tmux(self, *argv, check=True):
        done = subprocess.run(["tmux", "-S", self.folder / f"{self.name}.tmux", *map(str, argv)], env=self.env | {"TERM": "xterm"},
                              cwd=self.home, capture_output=True, text=True, timeout=LIMIT_S, check=False)  # fmt: skip
        assert not check or done.returncode == 0, f"tmux {argv}: {done.stderr}"
        return done.stdout

    def end(self):
        family, todo = [], [int(x) for x in self.tmux("list-panes", "-F", "#{pane_pid}", check=False).split()]
        while todo:
            family.append(todo.pop())
            todo += cli.children(family[-1])
        self.tmux("kill-server", check=False)
        assert cli.gone_after(family) < 30, "the menu, or what it ran, is still there"

    # ---- in ----

    def keys(self, *keys):
        """Names as tmux has them ("Enter", "C-c", "Up"), or characters."""
        self.tmux("send-keys", *keys)

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def resize(self, cols, rows):
        self.tmux("resize-window", "-x", cols, "-y", rows)

    # ---- out ----

    def text(self, *more):
        return self.tmux("capture-pane", "-p", *more)

    def wait(self, *patterns, limit_s=LIMIT_S, without=None):
        """Until all patterns are on the screen; the screen then."""
        until = time.monotonic() + limit_s
        while True:
            screen = self.text()
            if all(re.search(p, screen) for p in patterns) and not (without and re.search(without, screen)):
                return screen
            assert time.monotonic() < until, f"{patterns} did not come{' or ' + without + ' did not go' if without else ''}:\n{screen}"
            time.sleep(0.03)

    def go(self, *keys, to):
        self.keys(*keys)
        return self.wait(to)

    def pid(self):
        """Of the menu itself, below tmux's shell."""
        shell = int(self.tmux("list-panes", "-F", "#{pane_pid}").split()[0])
        for pid in [shell, *cli.children(shell)]:
            if os.path.realpath(f"/proc/{pid}/exe") == str(cli.BINARY):
                return pid
        raise AssertionError("no menu runs")

    # ---- goldens ----

    def golden(self, name, *patterns, without=None):
        """The screen, once all patterns are on it, is as it was."""
        pathlib.Path(GOLDENS).mkdir(exist_ok=True)
        file = GOLDENS / f"{name}.txt"
        want = file.read_text() if file.exists() else ""
        until = time.monotonic() + 5
        got = self.plain(self.wait(*patterns, without=without))
        while got != want and time.monotonic() < until and not os.environ.get(WRITE):
            time.sleep(0.05)  # a number may be on its way
            got = self.plain(self.text())
        if os.environ.get(WRITE):
            time.sleep(0.5)
            file.write_text(self.plain(self.text()))
            return
        assert got == want, f"{file.name} is another ({WRITE}=write writes it anew):\n{got}"

    def plain(self, screen):
        lines = screen.rstrip("\n").split("\n")
        for i in range(len(lines) - 1, 0, -1):  # where a command line breaks is a matter of its words' length
            if lines[i].startswith("   ") and re.match(r" \$ |   \S", lines[i - 1]) and self.is_command(lines, i):
                lines[i - 1] += " " + lines[i].strip()
                lines[i] = ""
        return "".join(self.plain_line(line) + "\n" for line in lines)

    @staticmethod
    def is_command(lines, i):
        """Whether row i goes on with a command line that began above it."""
        while i > 0 and lines[i].startswith("   "):
            i -= 1
        return lines[i].startswith(" $ twinax")

    def plain_line(self, line):
        """Without what is another on each machine and at each time; columns of such a line move."""
        new = line
        for pattern, to in (
            (re.escape(str(self.folder)), "/tmp/FOLDER"),
            (r"\bpid \d+", "pid N"),
            (r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:PORT"),
            (r"\b\d+ min \d+ s\b|\b\d+ s\b", "N s"),
            (r"\d+(\.\d+)? [KMG]iB", "N MiB"),
            (r"\d+\.\d tok/s", "N tok/s"),
            (r"\d+\.\d while working", "N while working"),
            (r"\b\d+ tokens so far", "N tokens so far"),
            (r"\b\d+ checks ok(, \d+ (warn|FAIL))*", "N checks ok"),
            (rf"\b{re.escape(socket.gethostname().split('.')[0])}\b", "HOST"),
            (rf"[{TURNS}]", "*"),
            (r"\d+ °C [█▉▊▋▌▍▎▏░]+", "-"),  # a machine without a sensor
            (r"\b\d+ B (out|in)\b", r"N MiB \1"),
            (r"[█▉▊▋▌▍▎▏░]{4,}", "BAR"),
            (r"[▁▂▃▄▅▆▇█]+", ""),
            (r"up to \d+, about N tok/s", "up to N, about N tok/s"),
            (r"(fits( x\d)?|wants x\d|too big)( +|$)", "FITS "),
        ):  # fmt: skip
            new = re.sub(pattern, to, new)
        return line if new == line else re.sub(r"  +", "  ", new).rstrip()
