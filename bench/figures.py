#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws bench/results/*.jsonl as SVG into docs/figures/, and writes the tables of docs/PERFORMANCE.md
between its markers. Python alone; the same results give the same bytes.

usage: bench/figures.py [--check]     --check: exit 1 when something drawn is not what would be drawn
"""

import html
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS, FIGURES, PAGE = ROOT / "bench" / "results", ROOT / "docs" / "figures", ROOT / "docs" / "PERFORMANCE.md"
INK, PALE, GOOD, SHORT, OURS, THEIRS = "#222222", "#bbbbbb", "#2a7f62", "#c4572e", "#2a5f9e", "#b0b0b0"
ROW = 22


def load(name):
    path = RESULTS / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


class Drawing:
    def __init__(self, width, height, title):
        self.size, self.parts = (width, height), []
        self.text(10, 20, title, size=14, weight="bold")

    def rect(self, x, y, w, h, color):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w, 0):.1f}" height="{h:.1f}" fill="{color}"/>')

    def line(self, x1, y1, x2, y2, color=INK, dash=""):
        dash = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"{dash}/>')

    def text(self, x, y, text, size=11, anchor="start", color=INK, weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}" '
                          f'font-weight="{weight}">{html.escape(text)}</text>')  # fmt: skip

    def svg(self):
        w, h = self.size
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" font-family="sans-serif">'
        return "\n".join([head, f'<rect width="{w}" height="{h}" fill="#ffffff"/>', *self.parts, "</svg>"]) + "\n"


def number(v):
    return f"{v:.2f}" if abs(v) < 10 else f"{v:.1f}"


def draw_bars(rows):
    """How far each measured value is from what is wanted: the line is what is wanted."""
    rows = [r for r in rows if r["value"] is not None and r["wanted"]]
    left, scale, top = 470, 220, 40
    d = Drawing(left + 2 * scale + 130, top + ROW * len(rows) + 30, "Measured against what is wanted (right of the line: better)")
    for i, r in enumerate(rows):
        y = top + ROW * i
        ratio = r["wanted"] / r["value"] if r["at_most"] else r["value"] / r["wanted"]
        d.text(left - 8, y + 14, r["name"], anchor="end")
        d.rect(left, y + 3, scale * min(ratio, 2), ROW - 7, GOOD if r["held"] else SHORT)
        sign = "<=" if r["at_most"] else ">="
        d.text(left + scale * min(ratio, 2) + 5, y + 14, f"{number(r['value'])} ({sign} {r['wanted']:g})")
    d.line(left + scale, top - 4, left + scale, top + ROW * len(rows) + 4, dash="4 3")
    return d.svg()


def pairs_of(bars, others):
    """Rows of both programs: of bench/peers.py, and of bench/bars.py where that has measured what the
    other has not."""
    found = {(r["weights"], r["threads"], r["test"]): r for r in others if r["model"].startswith("llama")}
    for r in bars:
        m = re.match(r"(decode|prefill 512) (\S+), (\d) thread", r["name"])
        if m and "theirs_tok_s" in r:
            test = "tg32" if m[1] == "decode" else "pp512"
            row = {"model": "llama-3.2-1b", "weights": m[2], "threads": int(m[3]), "test": test,
                   "ours_tok_s": r["ours_tok_s"], "theirs_tok_s": r["theirs_tok_s"], "ratio": r["ratio"]}  # fmt: skip
            found.setdefault((m[2], int(m[3]), test), row)
    return list(found.values())


def draw_pairs(rows, test, title):
    """tok/s of ours and llama.cpp's, by type and threads."""
    rows = [r for r in rows if r["test"] == test and r.get("theirs_tok_s") and r["model"].startswith("llama")]
    left, width, top = 130, 420, 56
    d = Drawing(left + width + 170, top + 2 * ROW * len(rows) + 14, title)
    d.rect(left, 30, 10, 10, OURS)
    d.text(left + 14, 39, "twinax")
    d.rect(left + 80, 30, 10, 10, THEIRS)
    d.text(left + 94, 39, "llama.cpp, same weights, in turns")
    most = max((max(r["ours_tok_s"], r["theirs_tok_s"]) for r in rows), default=1)
    for i, r in enumerate(rows):
        y = top + 2 * ROW * i
        d.text(left - 8, y + 22, f"{r['weights']}, {r['threads']} thread{'s' if r['threads'] != 1 else ''}", anchor="end")
        for k, (key, color) in enumerate((("ours_tok_s", OURS), ("theirs_tok_s", THEIRS))):
            d.rect(left, y + 2 + 18 * k, width * r[key] / most, 15, color)
            more = f"  ({r['ratio']:.2f} x)" if k == 0 else ""
            d.text(left + width * r[key] / most + 5, y + 14 + 18 * k, number(r[key]) + more)
    return d.svg()


def draw_split(rows):
    """What two boxes of one core keep of one box of two."""
    rows = [r for r in rows if "ours_kept" in r]
    bars = [(f"{who}, {r['test'].replace(' split', '')}", r[f"{key}_kept"], r[f"{key}_tok_s"], color)
            for r in rows for who, key, color in (("twinax", "ours", OURS), (r.get("peer", ""), "theirs", THEIRS))
            if f"{key}_kept" in r]  # fmt: skip
    left, width, top = 190, 380, 40
    d = Drawing(left + width + 190, top + ROW * len(bars) + 30, "Llama-1B BF16 over two boxes of one core each, of one box of two")
    for i, (name, kept, tok_s, color) in enumerate(bars):
        y = top + ROW * i
        d.text(left - 8, y + 14, name, anchor="end")
        d.rect(left, y + 3, width * min(kept, 1.2), ROW - 7, color)
        d.text(left + width * min(kept, 1.2) + 5, y + 14, f"{kept:.2f}  ({number(tok_s)} tok/s)")
    d.line(left + width, top - 4, left + width, top + ROW * len(bars) + 4, dash="4 3")
    return d.svg()


# ---- tables --------------------------------------------------------------------------------------


def told(key):
    names = {"ours_tok_s": "tok/s", "theirs_tok_s": "llama.cpp", "ratio": "ratio", "limit": "limit (GB/s or GFLOP/s)"}
    return names.get(key, key.replace("tok_s", "tok/s").replace("_", " "))


def bars_table(rows):
    out = ["| what | wanted | measured | beside it |", "|---|---|---|---|"]
    for r in rows:
        wanted = "-" if r["wanted"] is None else f"{'<=' if r['at_most'] else '>='} {r['wanted']:g}"
        if r["value"] is None:
            value = "not measured" + (f": {r['why']}" if r.get("why") else "")
        else:
            value = number(r["value"]) if r["value"] >= 10 else f"{r['value']:.3f}"
            value = value if r["held"] is not False else f"**{value}** (short)"
        known = {"name", "value", "wanted", "at_most", "held", "git", "cpu", "cpus", "kernel", "when", "why"}
        beside = ", ".join(f"{told(k)} {number(v) if isinstance(v, float) else v}" for k, v in r.items() if k not in known)
        out.append(f"| {r['name']} | {wanted} | {value} | {beside} |")
    return out


def peers_table(rows):
    out = ["| model | weights | threads | test | twinax tok/s | peer | its tok/s | ratio |", "|---|---|---|---|---|---|---|---|"]
    for r in rows:
        theirs = number(r["theirs_tok_s"]) if "theirs_tok_s" in r else "-"
        ratio = f"{r['ratio']:.2f}" if "ratio" in r else "-"
        out.append(f"| {r['model']} | {r['weights']} | {r['threads']} | {r['test']} | {number(r['ours_tok_s'])} | "
                   f"{r.get('peer', '-')} | {theirs} | {ratio} |")  # fmt: skip
    return out


def machine_lines(rows):
    found = sorted({(r["cpu"], r["cpus"], r["kernel"]) for r in rows})
    commits = ", ".join(sorted({r["git"] for r in rows}))
    whens = sorted({r["when"] for r in rows})
    return [f"{cpu}, {n} cores, Linux {kernel}." for cpu, n, kernel in found] + (
        [f"Measured {whens[0]} to {whens[-1]} UTC, at {commits}."] if rows else ["Nothing is measured yet."])  # fmt: skip


def put(text, name, lines):
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, rest = text.split(begin)
    _, tail = rest.split(end)
    return head + begin + "\n" + "\n".join(lines) + "\n" + end + tail


def pages():
    """{path: what it should hold}"""
    bars, others = load("bars.jsonl"), load("peers.jsonl")
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in ("machine", machine_lines(bars)), ("bars", bars_table(bars)), ("peers", peers_table(others)):
        text = put(text, name, lines)
    return {FIGURES / "bars.svg": draw_bars(bars),
            FIGURES / "decode.svg": draw_pairs(pairs_of(bars, others), "tg32", "Decode, Llama-1B shape, tok/s"),
            FIGURES / "prefill.svg": draw_pairs(pairs_of(bars, others), "pp512", "Prefill of 512 tokens, Llama-1B shape, tok/s"),
            FIGURES / "split.svg": draw_split(others), PAGE: text}  # fmt: skip


def draw_all():
    FIGURES.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


def main():
    if sys.argv[1:] == ["--check"]:
        stale = [p for p, text in pages().items() if not p.exists() or p.read_text(encoding="utf-8") != text]
        for p in stale:
            print(f"{p.relative_to(ROOT)} is not drawn from bench/results: run bench/figures.py", file=sys.stderr)
        return 1 if stale else 0
    draw_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
