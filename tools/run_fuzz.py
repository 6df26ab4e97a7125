# SPDX-License-Identifier: Apache-2.0
"""Builds and runs every libFuzzer target for some seconds. Last line: `N passed, N failed`.

New inputs go to BUILD/corpus/NAME, crashes to BUILD/crashes; the committed corpus is only read.
"""

import argparse
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def fuzz(program, build, seconds):
    name = program.name.removeprefix("fuzz_")
    grown = build / "corpus" / name
    crashes = build / "crashes"
    for folder in (grown, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    seeds = ROOT / "tests" / "fuzz" / "corpus" / name
    command = [str(program), f"-max_total_time={seconds}", f"-artifact_prefix={crashes}/{name}-"]
    command += ["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]
    command += [str(grown)] + ([str(seeds)] if seeds.is_dir() else [])
    print(f"fuzz {name}: {seconds} s", flush=True)
    env = {"UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"} | os.environ
    try:
        return subprocess.run(command, env=env, timeout=seconds + 120, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"fuzz {name}: did not end by itself")
        return False


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--build", type=pathlib.Path, default="build-fuzz")
    ap.add_argument("--seconds", type=int, default=20)
    args = ap.parse_args()
    build = (ROOT / args.build).resolve()
    names = sorted(p.stem for p in (ROOT / "tests" / "fuzz").glob("fuzz_*.c"))
    programs = [build / "tests" / name for name in names]
    # Only these: the C tests need no fuzzer.
    command = ["ninja", "-C", str(build), *(f"tests/{name}" for name in names)]
    if subprocess.run(command, check=False).returncode != 0:
        print("FAILED the build\n0 passed, 1 failed")
        return 1
    failed = [p.name for p in programs if not fuzz(p, build, args.seconds)]
    for name in failed:
        print(f"FAILED {name}: input in {build.name}/crashes")
    print(f"{len(programs) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not programs else 0


if __name__ == "__main__":
    sys.exit(main())
