"""Kernels on ARM: compiled for it with vectors of NEON, they give the bits that they give here.

Scoring has loops for processors without AVX-512, and its vectors lane by lane where ``MLX_IFOREST_EMULATE_VECTORS`` is
set; AVX-512 itself has no counterpart there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlx_iforest import MLXIsolationForest
from mlx_iforest.backends.fixed_point import whole_numbers
from mlx_iforest.backends.numba import answers, codes, oblique_scoring, vectors, walks
from mlx_iforest.explain import kernels, tables
from tests.arm import MISSING, OnArm

WAYS: dict[str, tuple[Any, str, Any]] = {
    "walks": (walks, "walk", walks.WalkedForest),
    "codes": (codes, "add_leaf_values", codes.CodedForest),
    "answers": (answers, "add_leaf_values", answers.AnsweredForest),
    "oblique": (oblique_scoring, "add_leaf_values", oblique_scoring.ObliqueBlocks),
    "Shapley values": (kernels, "add_shapley_values", {}),
    "against a background": (tables, "add_against", {"background": True}),
    "interactions": (tables, "add_interactions", {"interactions": True}),
}


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} missing")
@pytest.mark.parametrize("way", WAYS)
def test_the_same_bits_on_arm(way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    module, name, how = WAYS[way]
    if not isinstance(how, dict) and vectors.HAS_VECTORS_OF_16 and not vectors.EMULATED:
        pytest.skip("this processor takes AVX-512; set MLX_IFOREST_EMULATE_VECTORS=1")
    X = np.random.default_rng(0).normal(size=(700, 5)).astype(np.float32)
    X[::9, 2] = np.nan
    model = MLXIsolationForest(5, extension_level=2 * (way == "oblique"), random_state=0).fit(X)
    on_arm = OnArm(getattr(module, name), tmp_path)
    monkeypatch.setattr(module, name, on_arm)
    if isinstance(how, dict):
        given = {**how, "background": X[:3]} if "background" in how else how
        model.explain(X[:130], **given)
    else:
        forest = model.forest_
        scored = how.of(forest, whole_numbers(forest.path_length)[1][:, None])
        scored.add_leaf_values(X, np.zeros((700, 1)))
    assert on_arm.calls
