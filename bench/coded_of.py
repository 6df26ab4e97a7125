# SPDX-License-Identifier: Apache-2.0
"""A model in the shape of another whose matrices are coded: FP8 (e4m3) with scales by block or by row, or
GPTQ's 4 bits. Its numbers are random: for benchmarks, whose result is time."""

import argparse
import json
import pathlib
import shutil

import numpy as np

BLOCK, GROUP = 128, 128
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CONFIGS = {
    "fp8-blocks": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [BLOCK, BLOCK]},
    "fp8-rows": {"quant_method": "compressed-tensors", "format": "float-quantized"},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False},
}


def headers(folder):
    """[(file, offset of its data, name, entry)] of all tensors."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as f:
            n = int.from_bytes(f.read(8), "little")
            head = json.loads(f.read(n))
        for name, entry in head.items():
            if name != "__metadata__":
                yield path, 8 + n, name, entry


def random_bytes(rng, n, fp8):
    raw = rng.integers(0, 256, 1 << 22, np.uint8)
    if fp8:
        raw[(raw & 127) > 80] &= 0x8F  # no NaN, small ones as trained weights are
    return np.resize(raw, n + 64)[rng.integers(0, 64) :][:n]


def coded(rng, kind, shape):
    """[(tail, dtype, shape, bytes)]"""
    n, k = shape
    scale = 0.05 / np.sqrt(k)
    if kind == "gptq":
        zeros = np.full((-(-k // GROUP), n // 8), 0x77777777, np.uint32)
        scales = np.full((-(-k // GROUP), n), scale, np.float16)
        yield ".qweight", "I32", [k // 8, n], random_bytes(rng, n * k // 2, False).tobytes()
        yield ".qzeros", "I32", list(zeros.shape), zeros.tobytes()
        yield ".scales", "F16", list(scales.shape), scales.tobytes()
        return
    by_rows = kind == "fp8-rows"
    of = (n, 1) if by_rows else (-(-n // BLOCK), -(-k // BLOCK))
    yield ".weight", "F8_E4M3", list(shape), random_bytes(rng, n * k, True).tobytes()
    yield ".weight_scale" + "_inv" * (not by_rows), "F32", list(of), np.full(of, scale, np.float32).tobytes()


def parts(source, kind):
    """[(name, dtype, shape, bytes)]"""
    rng = np.random.default_rng(1)
    for path, at, name, entry in headers(source):
        if any(m in name for m in MATRICES) and name.endswith(".weight"):
            for tail, *rest in coded(rng, kind, entry["shape"]):
                yield name.removesuffix(".weight") + tail, *rest
            continue
        begin, end = entry["data_offsets"]
        with path.open("rb") as f:
            f.seek(at + begin)
            yield name, entry["dtype"], entry["shape"], f.read(end - begin)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("source", type=pathlib.Path, help="folder of safetensors")
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--kind", choices=CONFIGS, default="fp8-blocks")
    o = p.parse_args()
    o.out.mkdir(parents=True)
    for path in o.source.iterdir():
        if path.suffix in (".json", ".jinja") and "index" not in path.name:
            shutil.copy(path, o.out)
    config = json.loads((o.source / "config.json").read_text())
    config["quantization_config"] = CONFIGS[o.kind]
    (o.out / "config.json").write_text(json.dumps(config, indent=2))
    head, at = {}, 0
    with (o.out / "data").open("wb") as data:
        for name, dtype, shape, raw in parts(o.source, o.kind):
            head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
            at += data.write(raw)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 64)
    with (o.out / "model.safetensors").open("wb") as f, (o.out / "data").open("rb") as data:
        f.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(data, f, 1 << 24)
    (o.out / "data").unlink()


if __name__ == "__main__":
    main()
