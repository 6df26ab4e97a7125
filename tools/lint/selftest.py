# SPDX-License-Identifier: Apache-2.0
"""Proves that each lint can fail: tiny bad files, and where the lint must point; and good files
that look bad and must pass."""

import pathlib
import shutil
import subprocess
import tempfile

from source import Finding

C = "/* SPDX-License-Identifier: Apache-2.0 */\n"
SH = "# SPDX-License-Identifier: Apache-2.0\n"
LONG_BODY = "static int f(void)\n{\n" + "    g();\n" * 97 + "    return 0;\n}\n"
DEEP = "int f(int x)\n{\n    while (x)\n        for (;;)\n            if (x)\n                do {\n"
DEEP += "                    switch (x) {\n                    }\n                } while (0);\n}\n"

# rule, path, text, line that must be named (None: nothing may be found)
CASES = [
    ("layers", "src/base/a.c", C + '#include "os/file.h"\n', 2),
    ("layers", "src/os/a.c", C + '\n#include "fmt/json.h"\n', 3),
    ("layers", "src/engine/a.c", C + '#include "link/link.h"\n', 2),
    ("layers", "src/serve/a.c", C + '#include "engine/engine.h"\n', 2),
    ("layers", "src/model/a.c", C + '#include "twinax/engine.h"\n', 2),
    ("layers", "src/fmt/a.c", C + "#include <fcntl.h>\n", 2),
    ("layers", "src/kern/a.c", C + "#include <stdlib.h>\n", 2),
    ("layers", "src/attic/a.c", C, 1),
    ("layers", "include/twinax/a.h", C + '#include "base/buf.h"\n', 2),
    ("layers", "src/os/a.c", C + '#include "other.h"\n', 2),
    ("layers", "src/engine/a.c", C + '#include "coll/a.h"\n#include "twinax/coll.h"\n', None),
    ("layers", "src/cmd/a.c", C + '#include "engine/rank.h"\n#include <fcntl.h>\n', None),
    ("budgets", "src/os/a.c", C + LONG_BODY, 2),
    ("budgets", "src/os/a.c", C + "/* budget: table */\n" + LONG_BODY, None),
    ("budgets", "src/os/a.c", C + LONG_BODY.replace("    g();\n", "", 1), None),
    ("budgets", "src/os/a.c", C + "\n" * 1000, 1001),
    ("budgets", "src/os/a.h", C + "\n" * 300, 301),
    ("budgets", "src/os/a.c", C + "int f(int a, int b, int c, int d, int e, int g, int h,\n"
     "      int i, int j)\n{\n}\n", 2),
    ("budgets", "src/os/a.c", C + "void TW_FN(f)(int a, int b, int c, int d, int e, int g, int h,\n"
     "      int (*i)(int, int))\n{\n}\n", None),
    ("budgets", "src/os/a.c", C + DEEP, 2),
    ("budgets", "src/os/a.c", C + "int f(int x)\n{\n    if (x)\n        ;\n    else if (x)\n        ;\n"
     "    else if (x)\n        ;\n    else if (x)\n        ;\n    else if (x) {\n        x = x ? 1 : 2;\n"
     '    }\n    g("{{{{{", (struct a){{{{{0}}}}}); /* {{{ */\n}\n', None),
    ("forbidden", "src/os/a.c", C + "\nvoid *p = malloc(3);\n", 3),
    ("forbidden", "src/os/a.c", C + "void f(void)\n{\n    free (p);\n}\n", 4),
    ("forbidden", "src/os/a.c", C + "void f(void)\n{\n    x->free(p);\n    tw_mem_free(p);\n"
     '    g("malloc(1)"); /* malloc(1) */\n}\n', None),
    ("forbidden", "src/base/mem.c", C + "void *p = malloc(3);\n", None),
    ("forbidden", "src/coll/a.c", C + 'int x = fprintf(stderr, "");\n', 2),
    ("forbidden", "src/coll/a.c", C + 'int x = snprintf(b, 3, "");\n', None),
    ("forbidden", "src/cmd/a.c", C + 'int x = fprintf(stderr, "");\n', None),
    ("forbidden", "src/engine/a.c", C + "int x = abort();\n", 2),
    ("forbidden", "src/engine/a.c", C + "unsigned long x;\n", 2),
    ("forbidden", "src/engine/a.c", C + "unsigned long long x;\nlong long y;\nlong double z;\n", None),
    ("forbidden", "src/engine/a.c", C + "/* budget: the kernel's own type */\nlong x;\n", None),
    ("forbidden", "src/engine/a.c", C + "/* budget: */\nlong x;\n", 3),
    ("forbidden", "src/engine/a.c", C + "char *x = alloca(3);\n", 2),
    ("forbidden", "tests/a.c", C + "void f(void)\n{\n    goto out;\n}\n", 4),
    ("forbidden", "tests/a.c", C + "void f(void)\n{\n    skip();\n}\n", 4),
    ("text", "src/os/a.c", C + "/* TO" "DO: later */\n", 2),
    ("text", "src/os/a.c", C + "/* TO" "DO(anna): later */\n", None),
    ("text", "docs/a.md", "x\nsee /ho" "me/anna/notes\n", 2),
    ("text", "docs/a.md", "x\nsee $HOME/notes and ~/home/notes\n", None),
    ("text", "tests/data/a.txt", "/home/me/.ssh\n", None),
    ("text", "src/os/a.c", C + "<" * 7 + " HEAD\n", 2),
    ("spdx", "src/os/a.c", "\n" + C, 1),
    ("spdx", "tools/a.sh", "#!/bin/sh\n\n" + SH, 1),
    ("spdx", "tools/a.sh", "#!/bin/sh\n" + SH, None),
    ("python", "tools/a.py", SH + "def f(:\n", 2),
    ("headers", "src/os/a.h", C + "size_t tw_x(void);\n", 1),
    ("headers", "src/os/a.h", C + "#include <stddef.h>\nsize_t tw_x(void);\n", None),
    ("format", "src/os/a.c", C + "int  tw_x;\n", 2),
    ("format", "src/os/a.c", C + "int tw_x;\n", None),
    ("shell", "tools/a.sh", "#!/usr/bin/env bash\n" + SH + "if true; then\n", 4),
    ("shell", "tools/a", "#!/usr/bin/env bash\n" + SH + "if true; then\n", 4),
]  # fmt: skip


def run_case(check, path, text, root):
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    config = pathlib.Path(__file__).resolve().parent.parent.parent / ".clang-format"
    shutil.copy(config, root)
    return check(root, [path])


def judge(i, case, found):
    """What is wrong with the answer of a lint, or None. A lint that skips itself is not judged."""
    rule, path, _, line = case
    if isinstance(found, str):
        return None
    where = [(f.path, f.line) for f in found]
    if line is None and not where:
        return None
    # bash names the end of the file in its own way; the path is enough there
    if line is not None and (rule == "shell" and where or where[:1] == [(path, line)]):
        return None
    want = f"{path}:{line}" if line else "nothing"
    return f"case {i} of {rule} wants {want}, got {[str(f) for f in found] or 'nothing'}"


def check_symbols_rule(check_symbols, root):
    """A library with a symbol without our prefix must be named; a clean one not."""
    wrong = []
    for name, n_want in (("tw_x", 0), ("other_x", 1)):
        source, library = root / "a.c", root / "liba.a"
        library.unlink(missing_ok=True)
        source.write_text(f"int {name}(void);\nint {name}(void)\n{{\n    return 0;\n}}\nstatic int s;\n"
                          "int *tw_s(void);\nint *tw_s(void)\n{\n    return &s;\n}\n")  # fmt: skip
        subprocess.run(["cc", "-c", "a.c", "-o", "a.o"], cwd=root, check=True)
        subprocess.run(["ar", "rc", "liba.a", "a.o"], cwd=root, check=True)
        found = check_symbols(root, [], root)
        if len(found) != n_want:
            wrong.append(f"symbols: {name} wants {n_want} findings, got {[str(f) for f in found]}")
    return wrong


def check(rules, check_symbols):
    wrong = []
    for i, case in enumerate(CASES):
        with tempfile.TemporaryDirectory(prefix="twinax-lint-") as tmp:
            found = run_case(rules[case[0]], case[1], case[2], pathlib.Path(tmp))
            wrong.append(judge(i, case, found))
    with tempfile.TemporaryDirectory(prefix="twinax-lint-") as tmp:
        wrong += check_symbols_rule(check_symbols, pathlib.Path(tmp))
    untested = set(rules) - {case[0] for case in CASES}
    wrong += [f"no case for {name}" for name in sorted(untested)]
    return [Finding("tools/lint/selftest.py", 1, w) for w in wrong if w]
