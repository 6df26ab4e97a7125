# SPDX-License-Identifier: Apache-2.0
"""All lints of the tree. Last line: `N passed, N failed`; exit 0 when none failed.

usage: lint.py [--quick] [--gcc-build DIR] [NAME...]
--quick: no builds; DIR: a build by gcc with -Dwerror=true that serves as the one made here;
NAME: only these (see the output's names)
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True  # before our own modules: the tree stays clean
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rules  # noqa: E402
import selftest  # noqa: E402
from source import Finding  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
COMPILERS = ("gcc", "clang")
BASE_FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-Iinclude", "-Isrc", "-Wall", "-Wextra", "-Werror"]
# Headers that only make sense for one machine, and with its flags.
AVX512_FLAGS = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"]
AVX2_FLAGS = ["-mavx2", "-mfma", "-mf16c"]
FOLDER_FLAGS = {
    "src/kern/wide/": ("x86_64", AVX2_FLAGS),
    "src/kern/x86/avx512.h": ("x86_64", AVX2_FLAGS + AVX512_FLAGS),
    "src/kern/x86/quant_avx512.h": ("x86_64", AVX2_FLAGS + AVX512_FLAGS),
    "src/kern/x86/": ("x86_64", AVX2_FLAGS),
    "src/kern/arm/": ("aarch64", []),
}
# clang names tests, and others that need a library of their own, are compiled with its flags.
SYMBOL = re.compile(r"^(?:[0-9a-f]* )?([TDBRGSVWCiu]) (\S+)$")
# What compilers and sanitizers add.
SYMBOL_OF_TOOLS = re.compile(r"^(__asan|__ubsan|__tsan|__odr|__sanitizer|__start_|__stop_|_GLOBAL_)")
SKIP = "skipped: "


def tracked_files(root):
    out = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [f for f in out.split("\0") if f and (root / f).is_file()]


def run(command, root, **more):
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, **more)


def in_parallel(jobs):
    """jobs: callables that give lists; all lists as one."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return [x for part in pool.map(lambda job: job(), jobs) for x in part]


# ---- each header alone ---------------------------------------------------------------------------


def header_flags(path):
    """Flags for one header, or None where this machine cannot compile it."""
    for folder, (machine, flags) in FOLDER_FLAGS.items():
        if path.startswith(folder):
            return flags if os.uname().machine == machine else None
    return []


def compile_header(root, compiler, path, extra):
    command = [compiler, *BASE_FLAGS, *extra, "-Wno-unused-function", "-fsyntax-only", "-x", "c"]
    # Included by a file with nothing else in it: a header on its own is no main file.
    done = run([*command, "-I.", "-"], root, input=f'#include "{path}"\nextern int tw_lint;\n')
    if done.returncode == 0:
        return []
    first = next((x for x in done.stderr.split("\n") if "error" in x), done.stderr.strip()[:200])
    return [Finding(path, 1, f"does not stand alone ({compiler}): {first}")]


def check_headers(root, files):
    compilers = [c for c in COMPILERS if shutil.which(c)]
    headers = [f for f in files if f.endswith(".h") and f.startswith(("include/", "src/"))]
    jobs = [
        lambda c=c, h=h: compile_header(root, c, h, header_flags(h))
        for c in compilers
        for h in headers
        if header_flags(h) is not None
    ]
    return in_parallel(jobs)


# ---- symbols -------------------------------------------------------------------------------------


def archive_symbols(archive):
    """(object, symbol) of everything global that archive defines."""
    out = subprocess.run(
        ["nm", "-g", "--defined-only", str(archive)], capture_output=True, text=True, check=True
    ).stdout
    member = archive.name
    for line in out.split("\n"):
        m = SYMBOL.match(line)
        if line.endswith(":"):
            member = line[:-1]
        elif m and not SYMBOL_OF_TOOLS.match(m.group(2)):
            yield member, m.group(2)


def check_symbols(root, files, build=None):
    """Every global symbol of our libraries starts with tw_."""
    del files
    build = build or next((b for b in (root / "build-lint-gcc", root / "build") if b.exists()), None)
    archives = sorted(build.glob("**/lib*.a")) if build else []
    if not archives:
        return SKIP + "no library is built"
    return [
        Finding(a.name, 1, f"{member} exports {symbol}: give it the prefix tw_ or make it static")
        for a in archives
        for member, symbol in archive_symbols(a)
        if not symbol.startswith("tw_")
    ]


# ---- programs of others --------------------------------------------------------------------------


def clang_format():
    """The name of a clang-format of at least 14, or None."""
    for name in ("clang-format-14", "clang-format"):
        if shutil.which(name):
            out = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout
            m = re.search(r"version (\d+)", out)
            if m and int(m.group(1)) >= 14:
                return name
    return None


def check_format(root, files):
    name = clang_format()
    if name is None:
        return SKIP + "clang-format 14 or newer is not here"
    sources = [f for f in files if f.endswith((".c", ".h"))]
    done = run([name, "--dry-run", "-Werror", *sources], root) if sources else None
    found = []
    for line in done.stderr.split("\n") if done else []:
        m = re.match(r"(.*?):(\d+):\d+: error: ", line)
        if m and not any(f.path == m.group(1) for f in found):
            found.append(Finding(m.group(1), int(m.group(2)), f"run {name} -i {m.group(1)}"))
    if done and done.returncode != 0 and not found:
        found.append(Finding(".clang-format", 1, done.stderr.strip()[:200]))
    return found


def is_shell(root, path):
    if path.endswith(".sh"):
        return True
    if "." in pathlib.PurePath(path).name:
        return False
    with (root / path).open("rb") as f:
        return re.match(rb"#!.*\b(ba)?sh\b", f.readline()) is not None


def check_shell(root, files):
    found = []
    scripts = [f for f in files if is_shell(root, f)]
    for path in scripts:
        done = run(["bash", "-n", path], root)
        if done.returncode != 0:
            m = re.search(r"line (\d+): (.*)", done.stderr)
            line, text = (int(m.group(1)), m.group(2)) if m else (1, done.stderr.strip()[:200])
            found.append(Finding(path, line, f"bash: {text}"))
    if scripts and shutil.which("shellcheck"):
        done = run(["shellcheck", "-f", "json", *scripts], root)
        for x in json.loads(done.stdout or "[]"):
            found.append(Finding(x["file"], x["line"], f"shellcheck SC{x['code']}: {x['message']}"))
    return found


# ---- builds --------------------------------------------------------------------------------------


def is_strict(folder):
    """Whether a build treats warnings as errors, and has the tests."""
    if not folder.is_dir():
        return False
    done = run(["meson", "introspect", "--buildoptions", str(folder)], folder)
    options = {x["name"]: x["value"] for x in json.loads(done.stdout)} if done.returncode == 0 else {}
    return options.get("werror") is True and options.get("tests") is True


def check_build(compiler, root, folder=None):
    """A build of its own with -Werror, or one that was made so; tests included."""
    if not shutil.which(compiler):
        return SKIP + f"{compiler} is not here"
    if folder is not None and not is_strict(folder):
        return [Finding("meson.build", 1, f"{folder} is no build with -Dwerror=true and tests")]
    folder = folder or root / f"build-lint-{compiler}"
    if not (folder / "build.ninja").exists():
        setup = ["meson", "setup", str(folder), "-Dwerror=true"]
        done = run(setup, root, env=os.environ | {"CC": compiler})
        if done.returncode != 0:
            return [Finding("meson.build", 1, f"{shlex.join(setup)}: {done.stdout.strip()[-400:]}")]
    done = run(["ninja", "-C", str(folder)], root)
    found = []
    for line in done.stdout.split("\n"):
        m = re.match(r"(?:\.\./)*([^\s:]+):(\d+):\d+: (?:fatal )?error: (.*)", line)
        if m:
            found.append(Finding(m.group(1), int(m.group(2)), f"{compiler}: {m.group(3)}"))
    if done.returncode != 0 and not found:
        found.append(Finding("meson.build", 1, f"{compiler}: {done.stdout.strip()[-400:]}"))
    return found


QUICK = rules.TEXT_RULES | {"headers": check_headers, "format": check_format, "shell": check_shell}
SLOW = {
    "build-gcc": lambda root, files: check_build("gcc", root),
    "build-clang": lambda root, files: check_build("clang", root),
    "symbols": check_symbols,
}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--gcc-build", type=pathlib.Path, metavar="DIR")
    ap.add_argument("names", nargs="*")
    args = ap.parse_args()
    checks = {"selftest": lambda root, files: selftest.check(QUICK, check_symbols)} | QUICK
    checks |= {} if args.quick else SLOW
    if args.gcc_build and not args.quick:
        gcc, folder = "build-gcc", args.gcc_build.resolve()
        checks[gcc] = lambda root, files: check_build("gcc", root, folder)
        checks["symbols"] = lambda root, files: check_symbols(root, files, folder)
    unknown = set(args.names) - set(checks)
    if unknown:
        ap.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(checks)}")
    files, passed, failed = tracked_files(ROOT), 0, 0
    for name in args.names or checks:
        found = checks[name](ROOT, files)
        if isinstance(found, str):
            print(f"-- {name}: {found}", flush=True)
            continue
        for f in found:
            print(f)
        print(f"{'not ok' if found else 'ok'} {name}", flush=True)
        passed, failed = passed + (not found), failed + bool(found)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
