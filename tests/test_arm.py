"""Kernels on ARM: in the forms for NEON that the package takes there, they give the bits that they give here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlx_iforest import MLXIsolationForest
from mlx_iforest.backends.fixed_point import whole_numbers
from mlx_iforest.backends.numba import answers, codes, oblique_scoring, walks
from mlx_iforest.explain import kernels, tables
from tests.arm import MISSING, OnArm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} missing"),
]

SCORING: dict[str, tuple[Any, str, Any]] = {
    "walks": (walks, "walk", walks.WalkedForest),
    "codes": (codes, "add_leaf_values", codes.CodedForest),
    "answers": (answers, "add_leaf_values", answers.AnsweredForest),
    "oblique": (oblique_scoring, "add_leaf_values", oblique_scoring.ObliqueBlocks),
}

EXPLAINING: dict[str, tuple[Any, str, Any]] = {
    "Shapley values": (kernels, "add_shapley_values", {}),
    "against a background": (tables, "add_against", {"background": True}),
    "interactions": (tables, "add_interactions", {"interactions": True}),
}


@pytest.mark.parametrize("way", SCORING)
def test_scores_have_the_same_bits_on_arm(way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    module, name, kind = SCORING[way]
    on_arm = OnArm(getattr(module, name), tmp_path)
    monkeypatch.setattr(module, name, on_arm)
    rng = np.random.default_rng(0)
    widths = set()
    # Up to 32, 64, 128 and more classes of leaves; blocks of 256 rows and lines of 64, whole and not.
    for samples, n_features in ((8, 2), (80, 17), (150, 5), (400, 33)):
        X = rng.choice([-1e38, -0.0, 0.0, 1.0, 3e38], size=(600, n_features)).astype(np.float32)
        X[:, 1:] = rng.normal(size=(600, n_features - 1))
        X[rng.random(X.shape) < 0.05] = np.nan
        plan = {"max_samples": samples, "extension_level": int(way == "oblique"), "random_state": 0}
        forest = MLXIsolationForest(4, **plan).fit(X).forest_
        scored = kind.of(forest, whole_numbers(forest.log_density)[1][:, None])
        widths.add(getattr(scored, "tables", np.zeros((1, 1, 1))).shape[2])
        X[rng.random(X.shape) < 0.02] = np.inf * rng.choice([-1, 1])
        for rows in (1, 63, 64, 130, 256, 600):
            scored.add_leaf_values(X[:rows], np.zeros((rows, 1)))
    assert on_arm.calls == 24
    assert way == "walks" or {32, 64, 128} < widths
    code = "".join(file.read_text() for file in tmp_path.glob("*.ll"))
    assert ("llvm.aarch64.neon.tbl" in code) == (way != "walks")


@pytest.mark.parametrize("way", EXPLAINING)
def test_explanations_have_the_same_bits_on_arm(way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    module, name, how = EXPLAINING[way]
    X = np.random.default_rng(0).normal(size=(700, 5)).astype(np.float32)
    X[::9, 2] = np.nan
    model = MLXIsolationForest(5, random_state=0).fit(X)
    on_arm = OnArm(getattr(module, name), tmp_path)
    monkeypatch.setattr(module, name, on_arm)
    given = {**how, "background": X[:3]} if "background" in how else how
    model.explain(X[:130], **given)
    assert on_arm.calls
