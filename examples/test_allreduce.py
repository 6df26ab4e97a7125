# SPDX-License-Identifier: Apache-2.0
"""The library as a stranger meets it: compiles allreduce.c against the uninstalled pkg-config file,
runs two processes over loopback, and looks at what the library exports.

usage: test_allreduce.py SOURCE LIBRARY PKG-CONFIG-FOLDER"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile


def run(*argv, **more):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **more).stdout


def exported(library):
    return {line.split()[-1].partition("@")[0] for line in run("nm", "-D", "--defined-only", library).splitlines()}


def compile_example(source, pkg_dir, out):
    env = os.environ | {"PKG_CONFIG_PATH": pkg_dir}
    flags = shlex.split(run("pkg-config", "--cflags", "--libs", "twinax", env=env))
    subprocess.run([os.environ.get("CC", "cc"), "-Wall", "-Wextra", "-Werror", source, "-o", out, *flags],
                   check=True)


def two_processes(program, library):
    env = os.environ | {"LD_LIBRARY_PATH": str(library.parent)}
    first = subprocess.Popen([program, "127.0.0.1"], stdout=subprocess.PIPE, text=True, env=env)
    try:
        first.stdout.readline()
        token, *command = first.stdout.readline().split()
        name, _, value = token.partition("=")
        assert name == "TWINAX_TOKEN" and re.fullmatch("[0-9a-f]{64}", value), token
        second = subprocess.run(command, capture_output=True, text=True, timeout=60,
                                env=env | {name: value})
        out = first.communicate(timeout=60)[0] + second.stdout
    finally:
        first.kill()
    assert first.returncode == 0 and second.returncode == 0, out + second.stderr
    for rank in (0, 1):
        assert f"rank {rank}: x[1000] = 3000" in out, out


def main():
    source, library, pkg_dir = (pathlib.Path(a).resolve() for a in sys.argv[1:])
    strangers = {s for s in exported(library) if not re.fullmatch("tw_(coll_[a-z0-9_]+|err_set|version)", s)}
    assert not strangers, f"exported without TW_API's promise: {strangers}"
    assert "tw_coll_all_reduce" in exported(library)
    assert len(source.read_text().splitlines()) < 60, "the example must stay short"
    with tempfile.TemporaryDirectory() as tmp:
        program = os.path.join(tmp, "allreduce")
        compile_example(str(source), str(pkg_dir), program)
        two_processes(program, library)


main()
