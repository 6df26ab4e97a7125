# SPDX-License-Identifier: Apache-2.0
"""twinax ($TWINAX, else build/twinax) against the committed goldens of transformers."""

import pytest

pytest.importorskip("numpy")
import golden  # noqa: E402

MODELS = golden.tiny_models()
needs_binary = pytest.mark.skipif(
    golden.missing_binary() is not None, reason=str(golden.missing_binary())
)


def test_models_are_there():
    assert len(MODELS) >= 12


@needs_binary
@pytest.mark.parametrize("kv", ["f32", "bf16"])
@pytest.mark.parametrize("model", MODELS, ids=lambda p: p.name)
def test_parity(model, kv):
    errors = golden.check(model, kv)
    assert not errors, "; ".join(errors)
