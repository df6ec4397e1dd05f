"""Shapley values beside the package shap: equal to its own, in its plots, and without it."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from benchmarks import explain as benchmark
from mlx_iforest import Explanation, MLXIsolationForest


def table(n_rows: int, n_features: int, *, missing: bool = False) -> pd.DataFrame:
    """Some rows far out, one column of few values and, where asked for, missing ones; columns a, b, c and so on."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features)).astype(np.float32)
    X[::40] *= 5
    X[:, -1] = np.round(X[:, -1])
    if missing:
        X[rng.random(X.shape) < 0.05] = np.nan
    return pd.DataFrame(X, columns=[chr(97 + k) if k < 26 else f"column {k}" for k in range(n_features)])


@pytest.fixture
def explanation() -> Explanation:
    frame = table(700, 5)
    return MLXIsolationForest(20, random_state=0).fit(frame).explain(frame)


@pytest.mark.parametrize(
    ("n_features", "parameters", "missing"),
    [
        (2, {}, False),
        (8, {}, False),
        (64, {}, False),
        (8, {"max_features": 0.4}, False),
        (4, {"max_samples": 1000}, True),
    ],
)
def test_equal_to_shap(n_features: int, parameters: dict[str, float], missing: bool) -> None:
    shap = pytest.importorskip("shap")
    X = table(3000, n_features, missing=missing).to_numpy()
    model = MLXIsolationForest(20, random_state=0, **parameters).fit(X)
    theirs = shap.TreeExplainer(model.to_sklearn())
    explanation = model.explain(X[:100])
    assert np.abs(explanation.values - theirs.shap_values(X[:100])).max() < 1e-5
    assert explanation.base_values[0] == pytest.approx(float(np.squeeze(theirs.expected_value)), abs=1e-5)


def test_it_goes_into_shaps_plots(explanation: Explanation) -> None:
    shap = pytest.importorskip("shap")
    matplotlib.use("Agg")
    assert isinstance(explanation, Explanation)
    assert isinstance(explanation, shap.Explanation)
    assert explanation.shape == (700, 5)
    ways = [
        lambda: shap.plots.waterfall(explanation[0], show=False),
        lambda: shap.plots.beeswarm(explanation, show=False),
        lambda: shap.plots.bar(explanation, show=False),
        lambda: shap.plots.scatter(explanation[:, "b"], show=False),
    ]
    for draw in ways:
        draw()
        shown = [text.get_text() for axes in plt.gcf().axes for text in (*axes.get_yticklabels(), axes.xaxis.label)]
        assert any("b" in text for text in shown)
        plt.close("all")


def test_shap_is_not_needed(explanation: Explanation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    assert explanation.__class__ is Explanation
    assert len(explanation) == 700
    assert explanation[1].values.tolist() == explanation[[1]].values[0].tolist() == explanation.values[1].tolist()
    with pytest.raises(ImportError, match="pip install shap"):
        explanation.to_shap()
    monkeypatch.delitem(sys.modules, "shap")
    with pytest.raises(AttributeError, match="'shape'"):
        _ = explanation.shape


def test_explanations_pickle(explanation: Explanation) -> None:
    pytest.importorskip("shap")
    again = pickle.loads(pickle.dumps(explanation))
    assert type(again) is Explanation
    assert np.array_equal(again.values, explanation.values)
    assert again.feature_names == explanation.feature_names == ["a", "b", "c", "d", "e"]


@pytest.mark.slow
def test_the_benchmark_compares_equals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("shap")
    monkeypatch.setattr(benchmark, "SHORTEST", 0.0)
    benchmark.main(["--quick", "--jobs", "2", "--output", str(tmp_path)])
    (figures,) = json.loads((tmp_path / "results" / "explain.json").read_text("utf-8"))["measurements"]
    assert figures["difference"] < 1e-5
    assert min(figures["rows a second"].values()) > 0
    assert "times shap" in (tmp_path / "RESULTS.md").read_text("utf-8")
    monkeypatch.setattr(benchmark, "AGREEMENT", 0.0)
    with pytest.raises(RuntimeError, match="differ from theirs"):
        benchmark.main(["--quick", "--output", str(tmp_path)])
