# SPDX-License-Identifier: Apache-2.0
"""The lints that read text only. Each is check(root, files) -> [Finding], files relative to root."""

import re

from source import Finding, code_of, functions_of

# ---- layers: who may include whom ----------------------------------------------------------------

LAYERS = {
    "base": "",
    "os": "base",
    "fmt": "base",
    "kern": "base",
    "link": "base os fmt",
    "coll": "base os fmt kern link",
    "model": "base os fmt kern",
    "engine": "base os kern coll model",
    "host": "base os fmt",
    "hub": "base os fmt",
    "cluster": "base os fmt host hub link",
    "vllm": "base os fmt host cluster",
    "serve": "base os fmt",
    "ui": "base os",
    "cmd": "*",
}
# Public headers of include/twinax; err.h and version.h are open to all.
PUBLIC = {
    "coll": "coll.h",
    "model": "",
    "engine": "coll.h engine.h",
    "serve": "*",
    "ui": "*",
    "cmd": "*",
}
OPEN_TO_ALL = {"err.h", "version.h"}
# fmt gets bytes and does no I/O; kern computes and neither allocates, locks nor prints.
SYSTEM_FORBIDDEN = {
    "fmt": {"fcntl.h", "unistd.h", "sys/mman.h", "sys/socket.h", "sys/stat.h", "dirent.h", "pthread.h"},
    "kern": {"stdlib.h", "stdio.h", "fcntl.h", "unistd.h", "pthread.h"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def include_error(path, quoted, name, files):
    """What is wrong with one #include of path, or None."""
    floor = path.split("/")[1]
    if not quoted:
        if name in SYSTEM_FORBIDDEN.get(floor, ()):
            return f"{floor} must not include <{name}>"
        return None
    target = name.split("/")[0]
    if path.startswith("include/"):
        return None if target == "twinax" else f'a public header includes only "twinax/…", not "{name}"'
    if target == "twinax":
        allowed = PUBLIC.get(floor, "")
        header = name.split("/", 1)[1]
        if allowed == "*" or header in OPEN_TO_ALL or header in allowed.split():
            return None
        return f'{floor} must not include "{name}"'
    if target not in LAYERS:
        beside = path.rsplit("/", 1)[0] + "/" + name
        if "/" not in name and beside in files:
            return None
        return f'"{name}" is in no floor of the house: write it as "floor/file.h"'
    if target == floor or LAYERS.get(floor) == "*" or target in LAYERS.get(floor, "").split():
        return None
    return f'{floor} must not include {target} ("{name}"); it may include: {LAYERS[floor] or "nothing"}'


def check_includes(root, files):
    found = []
    known = set(files)
    for path in files:
        if not path.endswith((".c", ".h")) or not path.startswith(("src/", "include/")):
            continue
        if path.startswith("src/") and path.split("/")[1] not in LAYERS:
            found.append(Finding(path, 1, "this folder has no line in LAYERS of tools/lint/rules.py"))
            continue
        text = (root / path).read_text()
        for m in INCLUDE.finditer(text):
            wrong = include_error(path, m.group(1) == '"', m.group(2), known)
            if wrong:
                found.append(Finding(path, text.count("\n", 0, m.start(1)) + 1, wrong))
    return found


# ---- budgets -------------------------------------------------------------------------------------

MAX_FUNCTION, MAX_FILE, MAX_HEADER, MAX_PARAMS, MAX_NESTING = 100, 1000, 300, 8, 4
EXEMPT = re.compile(r"/\* budget: (table|unrolled)\b[^\n]*\*/")


def check_budgets(root, files):
    """The hard limits of docs/STYLE; a marker on the line before a function lifts its length."""
    found = []
    for path in files:
        if not path.endswith((".c", ".h")):
            continue
        text = (root / path).read_text()
        lines = text.split("\n")
        limit = MAX_HEADER if path.endswith(".h") else MAX_FILE
        if len(lines) - 1 > limit and not any(EXEMPT.search(line) for line in lines[:5]):
            found.append(Finding(path, limit + 1, f"{len(lines) - 1} lines, at most {limit}"))
        for f in functions_of(text):
            exempt = EXEMPT.search("\n".join(lines[max(0, f.first_line - 2) : f.first_line]))
            for what, value, most in (
                ("lines", 0 if exempt else f.n_lines, MAX_FUNCTION),
                ("parameters", f.n_params, MAX_PARAMS),
                ("levels of nesting", 0 if exempt else f.nesting, MAX_NESTING),
            ):
                if value > most:
                    text_ = f"{f.name} has {value} {what}, at most {most}"
                    found.append(Finding(path, f.first_line, text_))
    return found


# ---- forbidden things ----------------------------------------------------------------------------


def call(*names):
    """A call of one of names, not of a member that is called so."""
    return re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")


HEAP = call(
    "malloc", "calloc", "realloc", "reallocarray", "free", "strdup", "strndup", "asprintf",
    "vasprintf", "aligned_alloc", "posix_memalign", "memalign", "getline", "realpath",
)  # fmt: skip
PRINT = call(
    "printf", "fprintf", "vprintf", "vfprintf", "dprintf", "vdprintf", "puts", "fputs", "putchar",
    "perror", "psignal", "syslog",
)  # fmt: skip
END = call("exit", "_exit", "_Exit", "quick_exit", "abort")
UNSAFE = call("strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "system", "popen", "alloca")
LONG = re.compile(r"(?<!long )\blong\b(?! (?:long|double)\b)")
SKIP = call("skip")
GOTO = re.compile(r"\bgoto\b")
NOTE = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\(\w)")
# Their people have homes too.
MADE_UP_MACHINES = ("tests/data/", "tests/lab_guide/")
HOME = re.compile(r"(?<![\w.$}~])/(home|root|Users)/\w")
CONFLICT = re.compile(r"(<{7}|>{7}) \S")
# /* budget: why */ on the same line or the one above lifts the rule for that line.
ALLOW = re.compile(r"/\* budget: *\w")

# pattern, where, which files own that thing, what to do instead
FORBIDDEN = [
    (HEAP, ("src/",), ("src/base/mem.c",), "only base/mem.h allocates"),
    (PRINT, ("src/",), ("src/cmd/", "src/serve/", "src/ui/", "src/base/log.c"),
     "libraries do not print: fill a tw_err"),
    (END, ("src/",), ("src/cmd/", "src/serve/", "src/ui/", "src/base/mem.c", "src/os/child.c"),
     "libraries do not end the process: return an error"),
    (UNSAFE, ("src/", "include/"), (), "use base/str.h, base/buf.h, os/child.h"),
    (LONG, ("src/", "include/"), (), "write int64_t, size_t, ptrdiff_t: long differs by machine"),
    (SKIP, ("tests/",), (), 'meson takes cmocka\'s "not ok # SKIP" for a failure: print "# skipped: why", return'),
    (GOTO, ("src/", "include/", "tests/", "bench/"), (), "clean up by scope (base/scope.h)"),
]  # fmt: skip


def check_forbidden(root, files):
    found = []
    for path in files:
        if not path.endswith((".c", ".h")):
            continue
        text = (root / path).read_text()
        lines, code = text.split("\n"), code_of(text).split("\n")
        for pattern, where, owners, why in FORBIDDEN:
            if not path.startswith(where) or (owners and path.startswith(owners)):
                continue
            for i, line in enumerate(code):
                m = None if line.lstrip().startswith("#") else pattern.search(line)
                if m and not ALLOW.search(lines[i] + (lines[i - 1] if i else "")):
                    found.append(Finding(path, i + 1, f"{m.group(0).rstrip('( ')}: {why}"))
    return found


TEXT_FILES = (".c", ".h", ".py", ".sh", ".build", ".md", ".yml", ".txt")


def check_text(root, files):
    """Notes without an owner, paths of somebody's home, forgotten conflicts, in any text."""
    found = []
    for path in files:
        if not path.endswith(TEXT_FILES) or path.startswith("tools/lint/"):
            continue
        for i, line in enumerate((root / path).read_text(errors="replace").split("\n")):
            note, home = NOTE.search(line), HOME.search(line)
            if CONFLICT.match(line):
                found.append(Finding(path, i + 1, "a merge's conflict marker"))
            if note and not path.endswith((".md", ".txt")):
                found.append(Finding(path, i + 1, f"{note.group(1)} without an owner: write {note.group(1)}(name)"))
            if home and not path.startswith(MADE_UP_MACHINES):
                found.append(Finding(path, i + 1, f"{home.group(0)}…: a path of one machine"))
    return found


# ---- first lines and scripts ---------------------------------------------------------------------

SPDX = "SPDX-License-Identifier: Apache-2.0"
NEED_SPDX = (".c", ".h", ".py", ".sh", "meson.build", "Makefile")


def check_spdx(root, files):
    found = []
    for path in files:
        if not path.endswith(NEED_SPDX):
            continue
        with (root / path).open() as f:
            first = f.readline() + f.readline()
        want = f"/* {SPDX} */" if path.endswith((".c", ".h")) else f"# {SPDX}"
        lines = [line for line in first.split("\n") if not line.startswith("#!")]
        if not lines or lines[0] != want:
            found.append(Finding(path, 1, f"the first line must be: {want}"))
    return found


def check_python(root, files):
    found = []
    for path in files:
        if path.endswith(".py"):
            try:
                compile((root / path).read_text(), path, "exec")
            except SyntaxError as e:
                found.append(Finding(path, e.lineno or 1, f"python: {e.msg}"))
    return found


TEXT_RULES = {
    "layers": check_includes,
    "budgets": check_budgets,
    "forbidden": check_forbidden,
    "text": check_text,
    "spdx": check_spdx,
    "python": check_python,
}
