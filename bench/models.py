# SPDX-License-Identifier: Apache-2.0
"""Models of random weights for benchmarks, made once in the user's cache: a folder in Hugging Face
layout, and GGUF files of the very same weights (quantised by llama-quantize of tools/peers.sh)."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "twinax" / "models"
TYPES = {"BF16": None, "Q8_0": "Q8_0", "Q4_0": "Q4_0", "Q4_K": "Q4_K_M"}  # as llama-quantize calls them


def say(text):
    print(text, file=sys.stderr, flush=True)


def venv(requirements):
    found = subprocess.run([ROOT / "tools" / "venv.sh", ROOT / "tools" / requirements], stdout=subprocess.PIPE, text=True,
                           check=True)  # fmt: skip
    return found.stdout.strip()


def peers():
    """The folder of llama.cpp's programs, or None."""
    done = subprocess.run([ROOT / "tools" / "peers.sh"], stdout=subprocess.PIPE, text=True, check=False)
    return pathlib.Path(done.stdout.strip()) if done.returncode == 0 else None


def folder(shape):
    f = CACHE / shape
    if not (f / "model.safetensors").exists():
        say(f"making {shape} in the cache ...")
        subprocess.run([venv("requirements-peers.txt"), ROOT / "tools" / "make_model.py", "--shape", shape, f], check=True)
    return f


def gguf(shape, kind):
    """The file of this type, one of TYPES."""
    f = CACHE / f"{shape}-{kind}.gguf"
    if f.exists():
        return f
    if TYPES[kind] is None:
        say(f"writing {f.name} ...")
        subprocess.run([venv("requirements-peers.txt"), ROOT / "bench" / "gguf_of.py", folder(shape), f], check=True)
        return f
    programs, source, part = peers(), gguf(shape, "BF16"), f.with_name(f"{f.name}.{os.getpid()}.part")
    if programs is None:
        raise SystemExit(f"{f.name}: wants llama-quantize, and tools/peers.sh could not build it")
    say(f"writing {f.name} ...")
    with open(CACHE / "quantize.log", "wb") as log:
        subprocess.run([programs / "llama-quantize", source, part, TYPES[kind]], check=True, stdout=log, stderr=log)
    os.replace(part, f)
    return f


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit("usage: bench/models.py SHAPE TYPE...    prints the files; TYPE: folder, " + ", ".join(TYPES))
    for what in sys.argv[2:]:
        print(folder(sys.argv[1]) if what == "folder" else gguf(sys.argv[1], what))
