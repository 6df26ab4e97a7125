# SPDX-License-Identifier: Apache-2.0
"""Output that nobody takes is a failure; input that cannot be read, or does not end, is told."""

import os
import re
import signal
import subprocess

import pytest
import twinax_cli as cli

SLOW = {"TW_CPU": "ref"}
WRITERS = {
    "run": ["run", cli.DEMO, "-p", "Hello", "-n", "4"],
    "run --ids": ["run", cli.DEMO, "-p", "Hello", "-n", "4", "--ids"],
    "run of two ranks": ["run", cli.DEMO, "-p", "Hello", "-n", "4", "--local", "--tp", "2"],
    "chat": ["run", cli.DEMO, "-n", "4"],
    "tokenize": ["tokenize", cli.DEMO, "-p", "Hello"],
    "detokenize": ["detokenize", cli.DEMO, "-p", "1,2,3"],
    "bench": ["bench", cli.DEMO, "-p", "4", "-n", "4", "--json"],
}


@pytest.mark.parametrize("name", WRITERS)
def test_full_disk(name):
    with open("/dev/full", "w") as full:
        done = subprocess.run([cli.BINARY, *WRITERS[name]], input=b"Hello\n", stdout=full,
                              stderr=subprocess.PIPE, timeout=cli.LIMIT_S)  # fmt: skip
    e = done.stderr.decode()
    assert done.returncode == 1 and "stdout: cannot write" in e, (done, e)
    assert "speed:" not in e


def test_reader_has_gone():
    """It does not go on to its 2000th token for nobody."""
    argv = ["--prompt-ids", "1,2,3", "-n", "2000", "--ignore-eos", "--ids"]
    with cli.running("run", cli.DEMO, *argv, env=SLOW) as p:
        assert p.stdout.read(4)
        p.stdout.close()
        e = p.stderr.read().decode()
        assert p.wait(60) == 1 and "stdout: who read it has gone" in e and "speed:" not in e, e


@pytest.mark.parametrize("more", [[], ["--ids"]])
def test_text_ends_before_the_speed_begins(more):
    """Both into one pipe, as `2>&1 | tee` does it."""
    argv = [cli.BINARY, "run", cli.DEMO, "-p", "Hello", "-n", "4", *more]
    out = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=cli.LIMIT_S)
    assert re.search(r"^speed: ", out.stdout, re.MULTILINE), out.stdout


@pytest.mark.parametrize("command", ["tokenize", "detokenize"])
def test_input_that_does_not_end(command):
    with cli.running(command, cli.DEMO) as p:
        p.stdin.write(b"1,2")
        p.stdin.flush()
        wait_for_read(p)
        p.send_signal(signal.SIGINT)
        assert p.wait(60) == 130
        assert p.stdout.read() == b"" and b"interrupted" in p.stderr.read()


def wait_for_read(p):
    """Until it has taken what was written: then its handlers are there."""
    import array
    import fcntl
    import termios
    import time

    left = array.array("i", [1])
    for _ in range(6000):
        fcntl.ioctl(p.stdin, termios.FIONREAD, left)
        if left[0] == 0:
            return
        time.sleep(0.01)
    pytest.fail("it does not read its stdin")


def test_input_that_cannot_be_read():
    fd = os.open("/", os.O_RDONLY)
    try:
        done = subprocess.run([cli.BINARY, "tokenize", cli.DEMO], stdin=fd, capture_output=True,
                              text=True, timeout=cli.LIMIT_S)  # fmt: skip
    finally:
        os.close(fd)
    assert done.returncode == 1 and done.stdout == "" and "stdin: cannot read: Is a directory" in done.stderr


def test_line_that_is_too_long_for_a_chat():
    """Its rest is no second question."""
    done = cli.run("run", cli.DEMO, "-n", "2", stdin="x" * 70000 + "\n")
    assert done.returncode == 1 and done.stdout == "" and "longer than 65535 bytes" in done.stderr, done


def test_chat_on_a_terminal_ends_its_line():
    """After ctrl-D at the prompt, so that the shell's begins on the left."""
    master, slave = os.openpty()
    try:
        p = subprocess.Popen([cli.BINARY, "run", cli.DEMO], stdin=slave, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE)  # fmt: skip
        assert p.stderr.read(2) == b"> "
        os.write(master, b"\x04")
        assert p.communicate(timeout=60)[1] == b"\n" and p.returncode == 0
    finally:
        os.close(master)
        os.close(slave)


def test_question_too_long_at_a_terminal():
    """It is told, and the chat goes on."""
    master, slave = os.openpty()
    try:
        p = subprocess.Popen([cli.BINARY, "run", cli.DEMO, "--ctx", "64", "--temp", "0", "-n", "4"], stdin=slave,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        os.write(master, b"word, " * 50 + b"\nHello\n\x04")
        out, e = p.communicate(timeout=60)
    finally:
        os.close(master)
        os.close(slave)
    assert p.returncode == 0 and b"--ctx" in e and len(out) > 2 and out.count(b"\n") == 1, (p.returncode, out, e)


@pytest.mark.parametrize("tp", [1, 2])
def test_bench_interrupted(tp):
    """In the middle of a test: no figure is made of what was not measured."""
    argv = ["bench", cli.DEMO, "-p", "4", "-n", "2000", "--json", "--local", "--tp", tp]
    with cli.running(*argv, env=SLOW) as p:
        assert b'"pp4"' in p.stdout.readline()
        p.send_signal(signal.SIGINT)
        out, e = p.communicate(timeout=60)
        assert p.returncode == 130 and out == b"" and b"interrupted" in e, (p.returncode, out, e)


def test_bench_kern_interrupted():
    with cli.running("bench", "kern", "--json") as p:
        assert b'"peak"' in p.stdout.readline()
        p.send_signal(signal.SIGINT)
        _, e = p.communicate(timeout=60)
        assert p.returncode == 130 and b"interrupted" in e
