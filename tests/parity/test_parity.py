# SPDX-License-Identifier: Apache-2.0
"""twinax ($TWINAX, else build/twinax) against the committed goldens of transformers."""

import os

import pytest

pytest.importorskip("numpy")
import golden  # noqa: E402

MODELS = golden.tiny_models()
# Who names a binary wants it tested: a wrong name is a failure then, not a skip.
needs_binary = pytest.mark.skipif(
    golden.missing_binary() is not None and "TWINAX" not in os.environ,
    reason=str(golden.missing_binary()),
)


def test_models_are_there():
    assert len(MODELS) >= 14


def test_the_binary_may_lie_below_a_folder_with_spaces(monkeypatch, tmp_path):
    program = tmp_path / "a b" / "twinax"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("TWINAX", str(program))
    assert golden.binary() == [str(program)] and golden.missing_binary() is None
    monkeypatch.setenv("TWINAX", "sh -c true")
    assert golden.binary() == ["sh", "-c", "true"]


@needs_binary
@pytest.mark.parametrize("kv", ["f32", "bf16"])
@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.name)
def test_parity(model, kv):
    errors = golden.check(model, kv)
    assert not errors, "; ".join(errors)
