# SPDX-License-Identifier: Apache-2.0
"""A real `twinax serve` on this machine.

TWINAX: the program (default build/twinax); TWINAX_MODEL: the model (default models/demo)."""
import os
import pathlib
import queue
import re
import signal
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_S = 120
STOP_S = 60  # ends what hangs


def program():
    path = pathlib.Path(os.environ.get("TWINAX", ROOT / "build/twinax"))
    if not path.exists():
        pytest.skip(f"no program at {path}: build it, or set TWINAX")
    return path


def model():
    path = pathlib.Path(os.environ.get("TWINAX_MODEL", ROOT / "models/demo"))
    if not path.exists():
        pytest.skip(f"no model at {path}: make it, or set TWINAX_MODEL")
    return path


def children_of(pid):
    """All processes below pid, as long as they live."""
    by_parent = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        child = int(text.split(" ", 1)[0])
        parent = int(text.rsplit(")", 1)[1].split()[1])
        by_parent.setdefault(parent, []).append(child)
    found, todo = [], [pid]
    while todo:
        for child in by_parent.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Server:
    """Starts, waits for the line that says where it listens, stops by SIGINT."""

    def __init__(self, *extra, env=None):
        self.command = [str(program()), "serve", str(model()), "--local", "--tp", "2",
                        "--port", "0", *extra]
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, **(env or {})})
        self.errors = []
        lines = queue.Queue()
        self.readers = [
            threading.Thread(target=lambda: [lines.put(x) for x in self.process.stdout] +
                             [lines.put(None)], daemon=True),
            threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)]
        for reader in self.readers:
            reader.start()
        try:
            self.url = self._wait_for_url(lines)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _wait_for_url(self, lines):
        end = time.monotonic() + START_S
        while True:
            try:
                line = lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no \"listening on\" within {START_S} s: {''.join(self.errors)}")
            if line is None:
                self.process.wait(STOP_S)
                pytest.fail(f"{' '.join(self.command)}: ended with {self.process.returncode}: "
                            f"{''.join(self.errors)}")
            found = re.match(r"listening on (http://\S+:\d+)\s*$", line)
            if found:
                return found.group(1)

    def stop(self):
        family = children_of(self.process.pid)
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"still there {STOP_S} s after SIGINT: {''.join(self.errors)}")
        assert code == 0, "".join(self.errors)
        # Rank 0 ends its ranks before itself: nobody is left to go by himself.
        assert [p for p in family if is_alive(p)] == []
