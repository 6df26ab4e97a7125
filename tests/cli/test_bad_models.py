# SPDX-License-Identifier: Apache-2.0
"""Damaged and foreign models: one line that names the file, the tensor or key, what was found and
what was wanted; exit 1; the same with two ranks."""

import json
import math
import shutil
import struct

import pytest
import twinax_cli as cli

WHOLE = cli.TINY / "llama-plain"  # one file
SHARDS = cli.TINY / "llama-yarn"  # three files and an index
ST, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = "model-00002-of-00003.safetensors"
DOWN = "model.layers.1.mlp.down_proj.weight"


# ---- taking a model apart ------------------------------------------------------------------------


def load(path):
    """(header, data) of a safetensors file."""
    raw = path.read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + n]), bytearray(raw[8 + n :])


def store(path, header, data):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def edit_json(path, **keys):
    text = json.loads(path.read_text())
    for key, value in keys.items():
        if value is None:
            text.pop(key)
        else:
            text[key] = value
    path.write_text(json.dumps(text))


def cut(path, n=None):
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2 if n is None else n])


# ---- the damages: each changes a copy and returns what the line must say -------------------------


def truncated(m):
    cut(m / ST)
    return [ST, "cut short", "data bytes", str((m / ST).stat().st_size - len_of_head(m / ST))]


def len_of_head(path):
    return 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]


def truncated_in_header(m):
    cut(m / ST, 100)
    return [ST, "header of", "the file has 100 bytes"]


def truncated_to_nothing(m):
    cut(m / ST, 0)
    return [ST, "0 bytes"]


def truncated_to_seven(m):
    cut(m / ST, 7)
    return [ST, "7 bytes", "at least 8"]


def oversized_header(m):
    raw = (m / ST).read_bytes()
    (m / ST).write_bytes(struct.pack("<Q", 1 << 62) + raw[8:])
    return [ST, f"header of {1 << 62} bytes"]


def header_is_noise(m):
    raw = bytearray((m / ST).read_bytes())
    raw[8:40] = bytes(range(128, 160))
    (m / ST).write_bytes(raw)
    return [ST, "no valid JSON"]


def header_is_a_list(m):
    (m / ST).write_bytes(struct.pack("<Q", 2) + b"[]")
    return [ST, "must be a JSON object"]


def overlapping_offsets(m):
    header, data = load(m / ST)
    other = next(n for n, t in header.items() if t.get("shape") == header[DOWN]["shape"] and n != DOWN)
    header[DOWN]["data_offsets"] = header[other]["data_offsets"]
    store(m / ST, header, data)
    return [ST, "overlaps", DOWN]


def offsets_past_the_end(m):
    header, data = load(m / ST)
    a, b = header[DOWN]["data_offsets"]
    header[DOWN]["data_offsets"] = [a + (1 << 40), b + (1 << 40)]
    store(m / ST, header, data)
    return [ST, DOWN, str(b + (1 << 40)), str(len(data))]


def offsets_backwards(m):
    header, data = load(m / ST)
    header[DOWN]["data_offsets"].reverse()
    store(m / ST, header, data)
    return [ST, DOWN, "data_offsets"]


def trailing_bytes(m):
    with (m / ST).open("ab") as f:
        f.write(b"12345678")
    return [ST, "8 bytes after the last tensor"]


def wrong_shape(m):
    header, data = load(m / ST)
    rows, cols = header[DOWN]["shape"]
    header[DOWN]["shape"] = [cols, rows]
    store(m / ST, header, data)
    return [ST, DOWN, f"[{cols}, {rows}]", f"[{rows}, {cols}]", "config.json"]


def shape_that_overflows(m):
    header, data = load(m / ST)
    header[DOWN]["shape"] = [1 << 40, 1 << 40]
    store(m / ST, header, data)
    return [ST, DOWN]


def wrong_dtype(m):
    header, data = load(m / ST)
    header[DOWN]["dtype"] = "I16"
    store(m / ST, header, data)
    return [ST, DOWN, "I16", "BF16"]


def missing_tensor(m):
    header, data = load(m / ST)
    a, b = header.pop(DOWN)["data_offsets"]
    for t in header.values():
        if "data_offsets" in t and t["data_offsets"][0] >= b:
            t["data_offsets"] = [x - (b - a) for x in t["data_offsets"]]
    store(m / ST, header, data[:a] + data[b:])
    return [ST, DOWN, "is missing", "config.json"]


def foreign_tensor(m):
    header, data = load(m / ST)
    header["model.layers.9.mlp.down_proj.weight"] = header.pop(DOWN)
    store(m / ST, header, data)
    return [ST]


def no_weights(m):
    (m / ST).unlink()
    return ["no weights", ST, INDEX]


def index_names_itself(m):
    index = json.loads((m / INDEX).read_text())
    index["weight_map"][DOWN] = INDEX
    (m / INDEX).write_text(json.dumps(index))
    return [INDEX, DOWN]


def index_leaves_the_folder(m):
    index = json.loads((m / INDEX).read_text())
    index["weight_map"][DOWN] = "../" + SHARD
    (m / INDEX).write_text(json.dumps(index))
    return [INDEX, DOWN, "../"]


def index_without_map(m):
    edit_json(m / INDEX, weight_map=None)
    return [INDEX, "weight_map"]


def index_cut(m):
    cut(m / INDEX)
    return [INDEX, "no valid JSON", "line"]


def missing_shard(m):
    (m / SHARD).unlink()
    return [SHARD, "missing", INDEX]


def tensor_not_in_its_shard(m):
    index = json.loads((m / INDEX).read_text())
    index["weight_map"][DOWN] = "model-00001-of-00003.safetensors"
    (m / INDEX).write_text(json.dumps(index))
    return [DOWN, "model-00001-of-00003.safetensors"]


def config_cut(m):
    cut(m / "config.json")
    return ["config.json", "no valid JSON", "line"]


def config_missing(m):
    (m / "config.json").unlink()
    return ["config.json is missing"]


def config_without_heads(m):
    edit_json(m / "config.json", num_attention_heads=None)
    return ["config.json", "num_attention_heads", "missing"]


def config_with_text_for_a_number(m):
    edit_json(m / "config.json", hidden_size="sixty-four")
    return ["config.json", "hidden_size", "sixty-four"]


def config_with_zero(m):
    edit_json(m / "config.json", num_hidden_layers=0)
    return ["config.json", "num_hidden_layers", "0"]


def config_of_more_layers(m):
    edit_json(m / "config.json", num_hidden_layers=3)
    return [ST, "model.layers.2.", "missing", "config.json"]


def unknown_architecture(m):
    edit_json(m / "config.json", architectures=["MambaForCausalLM"], model_type="mamba")
    return ["config.json", "amba"]


def empty_folder(m):
    shutil.rmtree(m)
    m.mkdir()
    return ["config.json is missing"]


def no_folder(m):
    shutil.rmtree(m)
    return ["no such folder", str(m)]


def a_file(m):
    shutil.rmtree(m)
    m.write_text("hello")
    return ["is a file", str(m)]


ONE_FILE = [
    truncated, truncated_in_header, truncated_to_nothing, truncated_to_seven, oversized_header,
    header_is_noise, header_is_a_list, overlapping_offsets, offsets_past_the_end, offsets_backwards,
    trailing_bytes, wrong_shape, shape_that_overflows, wrong_dtype, missing_tensor, foreign_tensor,
    no_weights, config_cut, config_missing, config_without_heads, config_with_text_for_a_number,
    config_with_zero, config_of_more_layers, unknown_architecture, empty_folder, no_folder, a_file,
]  # fmt: skip
THREE_FILES = [
    index_names_itself, index_leaves_the_folder, index_without_map, index_cut, missing_shard,
    tensor_not_in_its_shard,
]  # fmt: skip


def check_refused(done, wanted):
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("twinax run: ")
    assert all(w in done.stderr for w in wanted), f"{wanted} are not all in: {done.stderr}"


@pytest.mark.parametrize(
    "whole, damage",
    [(WHOLE, d) for d in ONE_FILE] + [(SHARDS, d) for d in THREE_FILES],
    ids=[d.__name__ for d in ONE_FILE + THREE_FILES],
)
def test_damaged_model(whole, damage, folder):
    m = folder / "damaged"
    shutil.copytree(whole, m)
    wanted = damage(m)
    for argv in ([], ["--local", "--tp", "2"]):
        check_refused(cli.run("run", m, "--prompt-ids", "1,2,3", "-n", "2", *argv), wanted)


@pytest.mark.parametrize("whole", [WHOLE, SHARDS], ids=lambda p: p.name)
def test_the_copy_as_such_is_good(whole, folder):
    shutil.copytree(whole, folder / "copy")
    cli.good("run", folder / "copy", "--prompt-ids", "1,2,3", "-n", "2")


@pytest.mark.parametrize("bits", [0x7FC0, 0x7F80, 0xFF80], ids=["nan", "inf", "-inf"])
@pytest.mark.parametrize("where", ["first", "last"])
@pytest.mark.parametrize("tp", [1, 2])
def test_weight_that_is_not_finite(tp, where, bits, folder):
    """Whichever rank holds it, the line names the tensor and the place."""
    m = folder / "damaged"
    shutil.copytree(WHOLE, m)
    header, data = load(m / ST)
    assert header[DOWN]["dtype"] == "BF16"
    rows, cols = header[DOWN]["shape"]
    at = 0 if where == "first" else rows * cols - 1
    a = header[DOWN]["data_offsets"][0] + 2 * at
    data[a : a + 2] = struct.pack("<H", bits)
    store(m / ST, header, data)
    assert not math.isfinite(struct.unpack("<f", struct.pack("<I", bits << 16))[0])
    argv = ["--local", "--tp", tp] if tp > 1 else []
    done = cli.run("run", m, "--prompt-ids", "1,2,3", "-n", "2", *argv)
    wanted = [ST, DOWN, f"row {at // cols} column {at % cols}", f"0x{bits:x}"]
    assert done.returncode == 1 and done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert all(w in line for w in wanted), f"{wanted} are not all in: {done.stderr}"
    assert done.stderr.count("\n") <= tp, done.stderr  # the other rank may say it too


@pytest.mark.parametrize("how", ["cut", "missing", "noise", "empty", "list"])
def test_damaged_tokenizer(how, folder):
    m = folder / "damaged"
    shutil.copytree(cli.DEMO, m)
    path = m / "tokenizer.json"
    if how == "cut":
        cut(path)
    elif how == "missing":
        path.unlink()
    else:
        path.write_bytes({"noise": bytes(range(256)), "empty": b"", "list": b"[1]"}[how])
    for command in ("run", "tokenize"):
        done = cli.run(command, m, "-p", "hello")
        assert done.returncode == 1 and done.stdout == "", (command, done)
        assert done.stderr.startswith(f"twinax {command}: ") and done.stderr.count("\n") == 1, done
        assert "tokenizer.json" in done.stderr, done.stderr


def test_damaged_chat_template(folder):
    m = folder / "damaged"
    shutil.copytree(cli.DEMO, m)
    edit_json(m / "tokenizer_config.json", chat_template="{% for message in messages %}{{ x")
    done = cli.run("run", m, stdin="hello\n")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done
    assert "template" in done.stderr
    cli.good("run", m, "-p", "hello", "-n", "2")  # what needs no template still runs


def test_no_gguf_is_refused_by_name(folder):
    path = folder / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    check_refused(cli.run("run", path, "-p", "x"), ["model.gguf", "GGUF version 0, want 2 or 3"])
