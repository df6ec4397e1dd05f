"""Forests as ONNX models: what onnxruntime makes of them equals what we make of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from mlx_iforest import BlendedIsolationForest, MLXIsolationForest, __version__
from mlx_iforest.base import BaseIsolationForest
from mlx_iforest.convert import onnx as onnx_export
from mlx_iforest.convert.onnx import TOLERANCE
from mlx_iforest.convert.probes import probing_rows

Rows = np.ndarray[Any, Any]


def data(n_samples: int = 600, n_features: int = 4, seed: int = 0) -> Rows:
    """Two clusters, ties, missing values and a few far rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) + rng.integers(0, 2, n_samples)[:, None] * 5
    X[:, -1] = np.round(X[:, -1])
    X[:5] *= 20
    X[rng.random(X.shape) < 0.05] = np.nan
    return X.astype(np.float32)


def run(model: onnx.ModelProto, rows: Rows) -> tuple[Rows, Rows]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scores, labels = session.run(["scores", "labels"], {"X": rows})
    return scores, labels


def assert_equal(model: BaseIsolationForest, exported: onnx.ModelProto, rows: Rows) -> None:
    scores, labels = run(exported, rows)
    expected = model.score_samples(rows)
    assert scores.dtype == np.float32
    assert scores.shape == labels.shape == (len(rows),)
    assert_allclose(scores, expected, rtol=0, atol=TOLERANCE)
    apart = np.abs(expected - model.offset_) > TOLERANCE
    assert_array_equal(labels[apart], model.predict(rows)[apart])


CONSTANT = np.ones((60, 3), np.float32)

KINDS: dict[str, Callable[[], BaseIsolationForest]] = {
    "depth": lambda: MLXIsolationForest(random_state=0).fit(data()),
    "many trees": lambda: MLXIsolationForest(300, contamination=0.1, random_state=0).fit(data()),
    "density": lambda: MLXIsolationForest(300, scoring="density", max_samples=128, random_state=0).fit(data()),
    "blended": lambda: BlendedIsolationForest(contamination=0.1, random_state=0).fit(data()),
    "blended, few trees": lambda: BlendedIsolationForest(2, random_state=0).fit(data()),
    "deep trees": lambda: MLXIsolationForest(5, max_samples=1.0, random_state=0).fit(data(3000)),
    "some features": lambda: MLXIsolationForest(30, max_features=0.5, random_state=0).fit(data()),
    "one feature": lambda: MLXIsolationForest(30, random_state=0).fit(data(n_features=1)),
    "one tree": lambda: MLXIsolationForest(1, random_state=0).fit(data()),
    "one row a tree": lambda: MLXIsolationForest(3, max_samples=1, random_state=0).fit(data()),
    "two rows a tree": lambda: MLXIsolationForest(3, max_samples=2, random_state=0).fit(data()),
    "many alike": lambda: BlendedIsolationForest(30, random_state=0).fit(np.repeat(data()[:7], 80, axis=0)),
    "constant": lambda: MLXIsolationForest(3, random_state=0).fit(CONSTANT),
    "constant, density": lambda: MLXIsolationForest(3, scoring="density", random_state=0).fit(CONSTANT),
    "constant, blended": lambda: BlendedIsolationForest(12, random_state=0).fit(CONSTANT),
    "constant, oblique": lambda: MLXIsolationForest(3, extension_level=1, random_state=0).fit(CONSTANT),
    "quantised": lambda: MLXIsolationForest(30, scoring="density", random_state=0).fit(data()).quantize(),
    "pruned": lambda: BlendedIsolationForest(random_state=0).fit(data()).prune(0.01),
    "oblique": lambda: MLXIsolationForest(40, extension_level=1, random_state=0).fit(data()),
    "oblique, all features": lambda: MLXIsolationForest(20, extension_level=3, random_state=0).fit(data()),
    "oblique, density": lambda: MLXIsolationForest(20, extension_level=2, scoring="density", random_state=0).fit(
        data()
    ),
    "oblique, pruned": lambda: MLXIsolationForest(20, extension_level=2, random_state=0).fit(data()).prune(0.01),
}


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime_scores_as_we_do(kind: str) -> None:
    model = KINDS[kind]()
    exported = model.to_onnx()
    rows = np.vstack([data(n_features=model.n_features_in_), probing_rows(model.forest_, 1000, seed=1)])
    assert_equal(model, exported, rows)
    # A single row goes another way through onnxruntime.
    for row in rows[-5:]:
        assert_equal(model, exported, row[None])
    assert_equal(model, exported, np.full((1, model.n_features_in_), np.nan, np.float32))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shape=st.tuples(st.integers(2, 50), st.integers(1, 5)),
    scoring=st.sampled_from(["depth", "density", "blended"]),
    extension_level=st.integers(0, 3),
    made_smaller=st.sampled_from(["no", "quantised", "pruned"]),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e30]),
    gaps=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**31),
)
def test_any_forest_becomes_an_onnx_model(
    shape: tuple[int, int], scoring: str, extension_level: int, made_smaller: str, scale: float, gaps: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    X = np.where(rng.random(shape) < gaps, np.nan, rng.normal(size=shape) * scale).astype(np.float32)
    model: BaseIsolationForest = BlendedIsolationForest(12, random_state=seed)
    if scoring != "blended":
        model = MLXIsolationForest(6, scoring=scoring, extension_level=extension_level, random_state=seed)
    model.fit(X)
    if made_smaller == "pruned":
        model = model.prune(0.02)
    elif made_smaller == "quantised" and model.forest_.direction_weight is None:
        model = model.quantize(8)
    assert_equal(model, model.to_onnx(), np.vstack([X, probing_rows(model.forest_, 64, seed)]))


def test_a_tree_by_hand() -> None:
    """[0, 0, 0, 8] with one split: depth 1 for all, and the three alike have c(3) to go; c(4) is usual."""
    model = MLXIsolationForest(1, random_state=0).fit([[0.0], [0.0], [0.0], [8.0]])
    c3 = 2 * (np.log(2) + np.euler_gamma) - 4 / 3
    c4 = 2 * (np.log(3) + np.euler_gamma) - 6 / 4
    scores, labels = run(model.to_onnx(), np.array([[0], [8]], np.float32))
    assert scores == pytest.approx([-(2 ** -((1 + c3) / c4)), -(2 ** -(1 / c4))], abs=1e-6)
    assert labels.tolist() == [1, -1]


def test_a_row_that_scores_exactly_the_threshold_is_normal() -> None:
    model = MLXIsolationForest(3, max_samples=1, random_state=0).fit(data())
    scores, labels = run(model.to_onnx(), data()[:3])
    assert scores.tolist() == [-0.5] * 3
    assert labels.tolist() == [1] * 3


def test_old_runtimes_can_read_it_and_it_says_what_it_is() -> None:
    frame = pd.DataFrame(data(), columns=["cost", "weight", "days", "größe"])
    model = MLXIsolationForest(5, scoring="density", contamination=0.1, random_state=0).fit(frame)
    exported = model.to_onnx()
    onnx.checker.check_model(exported, full_check=True)
    assert {opset.domain: opset.version for opset in exported.opset_import} == {"": 9, "ai.onnx.ml": 1}
    assert exported.ir_version == 4
    assert (exported.producer_name, exported.producer_version) == ("mlx-iforest", __version__)
    facts = {entry.key: entry.value for entry in exported.metadata_props}
    assert json.loads(facts.pop("feature_names")) == list(frame)
    assert facts.pop("scoring") == "density"
    assert float(facts.pop("offset")) == pytest.approx(model.offset_, abs=TOLERANCE)
    assert facts == {}
    session = onnxruntime.InferenceSession(exported.SerializeToString())
    assert [(put.name, put.shape, put.type) for put in session.get_inputs()] == [("X", ["rows", 4], "tensor(float)")]
    assert [(put.name, put.shape, put.type) for put in session.get_outputs()] == [
        ("scores", ["rows"], "tensor(float)"),
        ("labels", ["rows"], "tensor(int64)"),
    ]


def test_a_file_holds_what_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "forest.onnx"
    path.write_bytes(b"an older one")
    model = MLXIsolationForest(5, random_state=0).fit(data())
    exported = model.to_onnx(path)
    assert onnx.load(str(path)) == exported
    assert [file.name for file in tmp_path.iterdir()] == ["forest.onnx"]
    assert model.to_onnx(str(path)).SerializeToString() == path.read_bytes()


def test_a_model_that_scores_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "forest.onnx"
    path.write_bytes(b"an older one")
    model = MLXIsolationForest(5, random_state=0).fit(data())
    right = onnx_export._ensemble(model._model)
    wrong = {**right, "nodes_missing_value_tracks_true": [0] * len(right["nodes_treeids"])}
    monkeypatch.setattr(onnx_export, "_ensemble", lambda model: wrong)
    with pytest.raises(ValueError, match=r"not exact.*scores differ by up to .*nothing was written"):
        model.to_onnx(path)
    assert path.read_bytes() == b"an older one"


def test_wrong_labels_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MLXIsolationForest(5, contamination=0.2, random_state=0).fit(data())
    monkeypatch.setattr(onnx.numpy_helper, "from_array", _shifted(onnx.numpy_helper.from_array))
    with pytest.raises(ValueError, match=r"and [1-9]\d* of 512 labels"):
        model.to_onnx()


def _shifted(from_array: Callable[..., Any]) -> Callable[..., Any]:
    """`from_array` with another threshold."""
    return lambda array, name: from_array(array - np.float32(0.05) if name == "offset" else array, name)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_library_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"to_onnx needs onnx.*{missing}.*pip install 'mlx-iforest\[onnx\]'"):
        MLXIsolationForest(3, random_state=0).fit(data()).to_onnx()


def test_where_nothing_can_be_written_the_error_says_so(tmp_path: Path) -> None:
    model = MLXIsolationForest(3, random_state=0).fit(data())
    with pytest.raises(OSError, match=r"cannot write .*forest\.onnx: not a directory; give a file"):
        model.to_onnx(Path(__file__) / "forest.onnx")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*folder: it is a folder; give a file"):
        model.to_onnx(tmp_path / "folder")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_what_is_too_large_or_unfitted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFittedError):
        BlendedIsolationForest().to_onnx()
    monkeypatch.setattr(onnx_export, "LARGEST", 10_000)
    with pytest.raises(ValueError, match=r"would take .* GB, and 2 GB is the most.*prune it"):
        MLXIsolationForest(30, random_state=0).fit(data()).to_onnx()


def test_exporting_changes_nothing_and_repeats_itself() -> None:
    model = BlendedIsolationForest(12, random_state=0).fit(data())
    scores = model.score_samples(data())
    assert model.to_onnx() == model.to_onnx()
    assert_array_equal(model.score_samples(data()), scores)
