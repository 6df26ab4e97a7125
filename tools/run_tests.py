# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a build folder: meson's, then pytest's. Last line: `N passed, N failed`.

Exit 0 only when something ran and nothing failed; a crash, a time-out and a test that cannot start
count as failures. Every check of a TAP program counts as one test.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
NEED_MORE_HARDWARE = {"lab", "vllm"}  # folders of tests/ with a make target of their own
PYTEST_SECONDS = 1500
TAP = re.compile(r"^(not )?ok\b[ \t]*\d*(.*)$", re.MULTILINE)
GOOD, SKIPPED = {"OK", "EXPECTEDFAIL"}, {"SKIP"}
SKIP_NOTE = re.compile(r"^# skipped: *(.*)$", re.MULTILINE)  # what our C tests print, then pass
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:second_deadlock_stack=1",
}


class Tally:
    def __init__(self):
        self.passed, self.failed, self.wrong = 0, 0, []
        self.skipped = collections.defaultdict(list)  # reason: names

    def fail(self, what, n=1):
        self.failed += n
        self.wrong.append(what)


def count_tap(tally, name, result, stdout):
    """Counts one meson test: its TAP lines, and one failure more where they do not explain it."""
    n_bad = 0
    for bad, rest in TAP.findall(stdout):
        if re.search(r"#\s*skip\b", rest, re.IGNORECASE):
            tally.skipped[rest.strip(" -")].append(name)
        elif bad:
            n_bad += 1
            tally.fail(f"{name}: {rest.strip(' -')}")
        else:
            tally.passed += 1
    notes = SKIP_NOTE.findall(stdout)
    tally.passed -= len(notes)
    for note in notes:
        tally.skipped[note].append(name)
    if result in SKIPPED and not TAP.search(stdout):
        tally.skipped["by itself"].append(name)
    elif result in GOOD | SKIPPED and not TAP.search(stdout):
        tally.passed += 1
    elif result not in GOOD | SKIPPED and n_bad == 0:
        tally.fail(f"{name}: {result.lower()}")


def has_tests(build):
    """Whether meson has any, and the message where the folder cannot be read."""
    out = subprocess.run(
        ["meson", "introspect", "--tests", str(build)], capture_output=True, text=True, check=True
    ).stdout
    return len(json.loads(out)) > 0


def run_meson(tally, build, extra):
    if not has_tests(build):
        print("no C tests are in this build (is cmocka missing?)", flush=True)
        return
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    command = ["meson", "test", "-C", str(build), "--no-rebuild", "--print-errorlogs", *extra]
    code = subprocess.run(command, env=SANITIZERS | os.environ, check=False).returncode
    before = tally.failed
    lines = log.read_text().splitlines() if log.exists() else []
    for line in lines:
        t = json.loads(line)
        count_tap(tally, t["name"], t["result"], t.get("stdout") or "")
    if not lines or (code != 0 and tally.failed == before):
        tally.fail(f"meson test: exit status {code}")


def count_junit(tally, report):
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            tally.fail(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in kinds:
            why = case.find("skipped").get("message")
            tally.skipped[why].append(f"{case.get('classname')}::{case.get('name')}")
        else:
            tally.passed += 1


def run_pytest(tally, build, folders):
    python = subprocess.run(
        [str(ROOT / "tools" / "venv.sh")], stdout=subprocess.PIPE, text=True, check=False
    )
    if python.returncode != 0:
        tally.fail("pytest: its environment could not be made (tools/venv.sh)")
        return
    report = build / "meson-logs" / "pytest.xml"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    command = [python.stdout.strip(), "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider",
               "--timeout=180"]
    command += [f"--junitxml={report}", f"--rootdir={ROOT}", *folders]
    env = os.environ | {"TWINAX": str(build / "twinax"), "PYTHONDONTWRITEBYTECODE": "1"}
    child = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True)
    try:
        code = child.wait(PYTEST_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        code = f"ended after {PYTEST_SECONDS} s"
    before = tally.failed
    if report.exists():
        count_junit(tally, report)
    if code not in (0, 5) and tally.failed == before:
        tally.fail(f"pytest: exit status {code}")


def python_tests():
    """Folders of tests/ that hold tests for pytest."""
    found = {p.relative_to(ROOT).parts[1] for p in ROOT.glob("tests/*/**/test_*.py")}
    return [f"tests/{name}" for name in sorted(found - NEED_MORE_HARDWARE)]


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--build", type=pathlib.Path, default="build")
    ap.add_argument("--python", nargs="*", metavar="DIR", help="pytest too, on these folders")
    ap.add_argument("--no-meson", action="store_true")
    ap.add_argument("--meson-arg", action="append", default=[], metavar="ARG")
    args = ap.parse_args()
    tally, build = Tally(), (ROOT / args.build).resolve()
    if not args.no_meson:
        run_meson(tally, build, args.meson_arg)
    if args.python is not None:
        if not (build / "twinax").exists():
            tally.fail(f"{args.build}/twinax is missing: what needs it was skipped")
        folders = args.python or python_tests()
        if folders:
            run_pytest(tally, build, folders)
    for what in tally.wrong:
        print(f"FAILED {what}")
    for why, names in tally.skipped.items():
        print(f"skipped {len(names)}, {names[0]}{' …' if names[1:] else ''}: {why}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
