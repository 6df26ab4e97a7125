# SPDX-License-Identifier: Apache-2.0
"""Reads C just well enough for the lints: text without comments and strings, functions, nesting."""

import dataclasses
import re

BLANKED = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.DOTALL | re.VERBOSE
)
TOKEN = re.compile(r"[A-Za-z_]\w*|[0-9][\w.]*|[{}()\[\];,:?]|->|[^\s\w]")
CONTROL = {"if", "for", "while", "switch"}
NOT_A_NAME = CONTROL | {"return", "sizeof", "do", "else", "__attribute__", "TW_CLEANUP"}


@dataclasses.dataclass(frozen=True)
class Finding:
    path: str
    line: int
    text: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.text}"


@dataclasses.dataclass(frozen=True)
class Token:
    text: str
    line: int


@dataclasses.dataclass(frozen=True)
class Function:
    name: str
    first_line: int
    last_line: int
    n_params: int
    nesting: int

    @property
    def n_lines(self):
        return self.last_line - self.first_line + 1


def blank(match):
    """As many lines and columns, of nothing."""
    text = match.group(0)
    if text[0] in "\"'":
        return text[0] + " " * (len(text) - 2) + text[0]
    return re.sub(r"[^\n]", " ", text)


def code_of(text):
    """text without comments and without what stands in strings, every line where it was."""
    return BLANKED.sub(blank, text)


def without_directives(code):
    """code without preprocessor lines, without C++ parts, and of #if … #else only the first."""
    out, hidden, continued = [], [], False
    for line in code.split("\n"):
        word = None if continued else re.match(r"\s*#\s*(\w+)(.*)", line)
        if word:
            kind, rest = word.groups()
            if kind in ("if", "ifdef", "ifndef"):
                hidden.append(kind == "ifdef" and "__cplusplus" in rest)
            elif kind in ("else", "elif") and hidden:
                hidden[-1] = True
            elif kind == "endif" and hidden:
                hidden.pop()
        out.append("" if word or continued or any(hidden) else line)
        continued = bool(word or continued) and line.rstrip().endswith("\\")
    return "\n".join(out)


def tokens_of(code):
    tokens, line, at = [], 1, 0
    for m in TOKEN.finditer(code):
        line += code.count("\n", at, m.start())
        at = m.start()
        tokens.append(Token(m.group(0), line))
    return tokens


def match_forward(tokens, i):
    """Index of the bracket that closes the one at i (or the last token)."""
    depth = 0
    for j in range(i, len(tokens)):
        if tokens[j].text in "({[":
            depth += 1
        elif tokens[j].text in ")}]":
            depth -= 1
            if depth == 0:
                return j
    return len(tokens) - 1


class Nesting:
    """Deepest control structure of the tokens of a body, by recursive descent on statements."""

    def __init__(self, tokens):
        self.t, self.deepest = tokens, 0

    def text(self, i):
        return self.t[i].text if i < len(self.t) else ""

    def block(self, i, depth):
        """i at the brace; returns the index after its partner."""
        i += 1
        while i < len(self.t) and self.text(i) != "}":
            i = self.statement(i, depth)
        return i + 1

    def controlled(self, i, depth):
        self.deepest = max(self.deepest, depth + 1)
        return self.statement(i, depth + 1)

    def statement(self, i, depth):
        word = self.text(i)
        if word == "{":
            return self.block(i, depth)
        if word == "do":
            i = self.controlled(i + 1, depth)
            return match_forward(self.t, i + 1) + 2
        if word in CONTROL:
            i = self.controlled(match_forward(self.t, i + 1) + 1, depth)
            return self.otherwise(i, depth) if word == "if" else i
        if re.match(r"[A-Za-z_]", word) and self.text(i + 1) == "(":
            end = match_forward(self.t, i + 1)
            if self.text(end + 1) == "{":  # a macro that loops
                return self.controlled(end + 1, depth)
        return self.expression(i)

    def otherwise(self, i, depth):
        if self.text(i) != "else":
            return i
        if self.text(i + 1) == "if":  # else if is no deeper
            return self.statement(i + 1, depth)
        return self.controlled(i + 1, depth)

    def expression(self, i):
        """To behind the semicolon, or a label's colon."""
        n_open_questions = 0
        while i < len(self.t):
            word = self.text(i)
            if word in ("(", "{", "["):
                i = match_forward(self.t, i)
            elif word == "?":
                n_open_questions += 1
            elif word == ":" and n_open_questions:
                n_open_questions -= 1
            elif word in (";", ":"):
                return i + 1
            elif word == "}":
                return i
            i += 1
        return i


def nesting_of(body):
    n = Nesting(body)
    n.block(0, 0)
    return n.deepest


def count_params(tokens):
    """tokens: from the opening to the closing parenthesis."""
    depth, n = 0, 1
    for t in tokens:
        depth += (t.text in "([{") - (t.text in ")]}")
        n += t.text == "," and depth == 1
    inside = [t.text for t in tokens[1:-1]]
    return 0 if inside in ([], ["void"]) else n


def function_head(head):
    """(name token, index of its parenthesis) where the tokens before a brace declare a function.

    A name may be made by a macro: TW_FN(matmul)(...) is matmul.
    """
    if any(t.text == "=" for t in head):
        return None
    i = 0
    while i + 1 < len(head):
        if head[i + 1].text == "(" and re.match(r"[A-Za-z_]", head[i].text):
            end = match_forward(head, i + 1)
            if head[i].text not in NOT_A_NAME:
                made = end + 1 < len(head) and head[end + 1].text == "("
                return (head[i + 2], end + 1) if made else (head[i], i + 1)
            i = end
        i += 1
    return None


def functions_of(text):
    """All function definitions of a C file."""
    tokens = tokens_of(without_directives(code_of(text)))
    found, head_at, i = [], 0, 0
    while i < len(tokens):
        word = tokens[i].text
        if word == "{":
            end = match_forward(tokens, i)
            head = tokens[head_at:i]
            got = function_head(head)
            if got:
                name, at = got
                params = head[at : match_forward(head, at) + 1]
                body = tokens[i : end + 1]
                found.append(
                    Function(
                        name.text,
                        head[0].line,
                        tokens[end].line,
                        count_params(params),
                        nesting_of(body),
                    )
                )
                head_at = end + 1
            i = end
        elif word == "(":
            i = match_forward(tokens, i)
        elif word == ";":
            head_at = i + 1
        i += 1
    return found
