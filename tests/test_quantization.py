"""Quantisation: few distinct thresholds and leaf values, and arrays that come back from few bytes bit for bit."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from benchmarks import quantization as benchmark
from mlx_iforest import BlendedIsolationForest, Forest, MLXIsolationForest
from mlx_iforest.compress.quantization import Levels, PackedForest, _snap, most_thresholds, quantize_forest
from mlx_iforest.forest import LEAF_VALUES

MODELS = {
    "depth": lambda: MLXIsolationForest(random_state=0),
    "density": lambda: MLXIsolationForest(scoring="density", random_state=0),
    "blended": lambda: BlendedIsolationForest(60, random_state=0),
}


def table(n: int = 1500, seed: int = 0) -> np.ndarray:
    """A bulk, a heavy tail, few distinct values, and missing values."""
    rng = np.random.default_rng(seed)
    X = np.c_[rng.normal(size=n), rng.lognormal(0, 1.5, n), rng.integers(0, 5, n)].astype(np.float32)
    X[rng.random(n) < 0.1, 1] = np.nan
    return X


X = table()


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]().fit(X)


def distinct(forest: Forest) -> tuple[int, ...]:
    """The most distinct thresholds of a feature, and the distinct values of leaves."""
    thresholds = max(len(np.unique(forest.threshold[forest.feature == k])) for k in range(forest.n_features))
    leaves = forest.feature < 0
    return thresholds, *(len(np.unique(a[leaves])) for name, a in forest.arrays().items() if name in LEAF_VALUES)


def test_eight_bits_number_all_thresholds_and_leaf_values(model):
    assert distinct(model.forest_)[0] > 500
    forest = quantize_forest(model.forest_, 8).validate()
    thresholds, *leaves = distinct(forest)
    assert thresholds <= 253 == most_thresholds(8)
    assert max(leaves) <= 256
    for name in ("tree_start", "feature", "left", "missing_left", "n_samples"):
        assert np.array_equal(getattr(forest, name), getattr(model.forest_, name))


def test_few_values_stay_as_they_are(model):
    assert quantize_forest(model.forest_, 16).equals(model.forest_)


def test_quantising_twice_changes_nothing(model):
    once = model.quantize()
    for bits in (8, 16):
        again = once.quantize(bits)
        assert again.forest_.equals(once.forest_)
        assert again.quantized_bits_ == 8


def test_levels_by_hand():
    values = np.array([10, 0, 1, 11, 2, 10], np.float32)
    # Twice the weight of 10 puts that level nearer to it; 0, 1 and 2 meet in the middle.
    assert _snap(values, np.array([1.0, 1, 1, 1, 1, 1]), 2) == pytest.approx([31 / 3, 1, 1, 31 / 3, 1, 31 / 3])
    assert _snap(values, np.array([3.0, 1, 1, 1, 1, 3]), 2)[0] == pytest.approx(71 / 7)
    assert np.array_equal(_snap(values, np.ones(6), 5), values)


def test_a_node_of_many_samples_keeps_its_threshold():
    rng = np.random.default_rng(0)
    values = rng.random(2000).astype(np.float32)
    weight = np.ones(2000)
    weight[7] = 1e12
    assert _snap(values, weight, 100)[7] == pytest.approx(values[7], abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=60),
    st.integers(1, 20),
    st.data(),
)
def test_levels_stay_among_the_values_and_in_their_order(values, most, data):
    weight = data.draw(st.lists(st.integers(1, 2**31 - 1), min_size=len(values), max_size=len(values)))
    values = np.array(values, np.float32)
    snapped = _snap(values, np.array(weight, float) ** 2, most)
    assert snapped.dtype == np.float32
    assert len(np.unique(snapped)) <= most
    assert values.min() <= snapped.min()
    assert snapped.max() <= values.max()
    assert (np.diff(snapped[np.argsort(values, kind="stable")]) >= 0).all()
    assert np.array_equal(_snap(snapped, np.ones(len(values)), most), snapped)


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    """Any trees, in breadth-first order or not, with any values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_features = draw(st.sampled_from([1, 3, 254, 300, 70_000]))
    sizes = draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
    trees = [_tree(rng, splits, breadth_first=draw(st.booleans())) for splits in sizes]
    left = np.concatenate(trees).astype(np.int32)
    is_split = left >= 0
    values = rng.choice(rng.normal(size=draw(st.sampled_from([1, 4, 400]))), (4, len(left))).astype(np.float32)
    feature = np.where(is_split, rng.integers(0, n_features, len(left)), -1).astype(np.int32)
    forest = Forest(
        n_features,
        np.cumsum([0] + [len(tree) for tree in trees], dtype=np.int64),
        feature,
        np.where(is_split, values[0], 0).astype(np.float32),
        left,
        is_split & (values[1] > 0),
        np.where(is_split, 0, np.abs(values[2])).astype(np.float32),
        rng.integers(1, draw(st.sampled_from([2, 300, 2**31 - 1])), len(left)).astype(np.int32),
        draw(st.sampled_from([None, np.where(is_split, 0, values[3]).astype(np.float32)])),
    )
    return forest.validate()


def _tree(rng: np.random.Generator, splits: int, *, breadth_first: bool) -> list[int]:
    """Left children of a random tree."""
    left, open_nodes = [-1], [0]
    for _ in range(splits):
        node = open_nodes.pop(0 if breadth_first else int(rng.integers(len(open_nodes))))
        left[node] = len(left)
        open_nodes += [len(left), len(left) + 1]
        left += [-1, -1]
    return left


@settings(max_examples=30, deadline=None)
@given(forests())
def test_every_forest_comes_back_bit_for_bit(forest):
    assert PackedForest.of(forest).unpack().equals(forest)
    assert PackedForest.of(forest.trees(0, 1)).unpack().equals(forest.trees(0, 1))
    for bits in (8, 16):
        quantized = quantize_forest(forest, bits).validate()
        assert PackedForest.of(quantized).unpack().equals(quantized)


def test_what_follows_is_not_stored(model):
    packed = PackedForest.of(quantize_forest(model.forest_, 8))
    assert packed.others == {}
    assert packed.feature.dtype == packed.threshold.codes.dtype == np.uint8
    assert len(packed.feature) + len(packed.leaf_samples) == model.forest_.n_nodes
    # Depth and samples tell the path lengths, as long as those were not too many and no guards end paths.
    guarded = isinstance(model, BlendedIsolationForest)
    assert (guarded or distinct(model.forest_)[1] > 256) == ("path_length" in packed.leaf_values)


def test_a_minus_zero_is_a_zero_and_other_oddities_are_kept():
    forest = MODELS["depth"]().fit(X).forest_
    odd = dataclasses.replace(
        forest, threshold=np.where(forest.feature == 2, -0.0, forest.threshold).astype(np.float32)
    )
    assert PackedForest.of(odd).unpack().equals(odd)
    assert not np.signbit(quantize_forest(odd, 8).threshold[odd.feature == 2]).any()
    odd = dataclasses.replace(forest, n_samples=forest.n_samples + (forest.feature >= 0).astype(np.int32))
    assert set(PackedForest.of(odd).others) == {"n_samples"}
    assert PackedForest.of(odd).unpack().equals(odd)


def test_codes_are_only_kept_where_they_save():
    alike = Levels.of(np.repeat(np.float32([1, 2]), 50), np.zeros(100, np.int64), 1)
    assert (alike.nbytes, alike.codes.dtype) == (2 * 4 + 1 + 100, np.uint8)
    different = Levels.of(np.arange(100, dtype=np.float32), np.zeros(100, np.int64), 1)
    assert (different.nbytes, different.codes) == (400, None)
    assert alike.decode(np.zeros(100, np.int64)).tolist() == [1.0] * 50 + [2.0] * 50


def test_a_quantised_model_is_a_new_small_one_that_scores_nearly_alike(model):
    before, forest = model.score_samples(X), model.forest_
    small = model.quantize()
    after = small.score_samples(X)
    assert model.forest_ is forest
    assert model.quantized_bits_ is None
    assert small.quantized_bits_ == 8
    assert small.offset_ == model.offset_
    assert small.model_bytes() <= model.model_bytes() / 4
    assert model.model_bytes() == forest.nbytes
    # A guard moves outwards: single rows beyond it stay.
    assert 0 < np.abs(after - before).max() < (0.2 if isinstance(model, BlendedIsolationForest) else 0.1)
    assert np.abs(after - before).mean() < 0.05 * before.std()
    assert np.corrcoef(before, after)[0, 1] > 0.99
    assert np.array_equal(model.quantize(16).score_samples(X), before)


def test_backends_agree_on_it(model, backend):
    small = model.quantize()
    expected = small.score_samples(X[:200])
    elsewhere = small._model.resources._replace(backend=dataclasses.replace(small.backend_, name=backend))
    small._model = small._model._replace(resources=elsewhere)
    assert small.score_samples(X[:200]) == pytest.approx(expected, abs=1e-6)


def test_it_is_stored_as_codes_and_comes_back(model):
    small = model.quantize()
    written = pickle.dumps(small)
    assert len(written) < len(pickle.dumps(model)) / 4
    for again in (pickle.loads(written), copy.deepcopy(small)):
        assert again.forest_.equals(small.forest_)
        assert again.quantized_bits_ == 8
        assert again.model_bytes() == small.model_bytes()
        assert np.array_equal(again.score_samples(X), small.score_samples(X))
    plain = pickle.loads(pickle.dumps(model))
    assert np.array_equal(plain.score_samples(X), model.score_samples(X))


def test_values_that_scores_do_not_use_are_left_out():
    small = MODELS["depth"]().fit(X).quantize()
    assert small.forest_.log_density is None
    assert MODELS["density"]().fit(X).quantize().forest_.log_density is not None


def test_a_fit_makes_it_plain_again():
    small = MLXIsolationForest(20, random_state=0, warm_start=True).fit(X).quantize()
    assert not hasattr(clone(small), "forest_")
    small.set_params(n_estimators=25)
    assert small.fit(X).quantized_bits_ is None
    assert small.forest_.n_trees == 25


def test_trees_that_are_one_leaf():
    model = MLXIsolationForest(5, random_state=0).fit(np.ones((10, 2), np.float32))
    small = pickle.loads(pickle.dumps(model.quantize()))
    assert np.array_equal(small.score_samples(np.ones((3, 2))), model.score_samples(np.ones((3, 2))))


@pytest.mark.parametrize("bits", [1, 4, 32, 8.0, True, "8", None])
def test_other_bits_are_refused(bits):
    with pytest.raises(ValueError, match=r"bits=.* cannot be quantised to; give 8 or 16"):
        MLXIsolationForest(2, random_state=0).fit(X[:20]).quantize(bits)


def test_oblique_splits_are_refused():
    model = MLXIsolationForest(2, extension_level=1, random_state=0).fit(X[:50])
    with pytest.raises(ValueError, match=r"oblique splits .* cannot be quantised: each split measures rows along"):
        model.quantize()
    assert model.model_bytes() == model.forest_.nbytes


def test_there_must_be_a_forest():
    for method in ("quantize", "model_bytes"):
        with pytest.raises(NotFittedError):
            getattr(MLXIsolationForest(), method)()


@pytest.mark.slow
def test_the_benchmark_measures_what_it_says(tmp_path):
    labels = np.repeat([0, 1], [90, 10])
    np.savez(tmp_path / "1_tiny.npz", X=table(100) + 3 * labels[:, None], y=labels)
    benchmark.main(["--quick", "--repeats", "1", "--adbench", str(tmp_path), "--output", str(tmp_path)])
    measured = json.loads((tmp_path / "results" / "quantization.json").read_text("utf-8"))["measurements"]
    assert {"exact", "16 bits", "8 bits"} <= set(measured["2000 x 4"]["seconds"])
    assert {entry["set"] for entry in measured["adbench"]} == {"tiny"}
    assert {entry["model"] for entry in measured["profiles"]} == {"depth", "density", "blended", "recipe"}
    for entry in measured["adbench"] + measured["profiles"]:
        assert 0 < entry["share of the bytes"] < 0.25
        most = 0.5 if entry["model"] == "blended" else 0.1
        assert entry["mean change"] <= entry["largest change"] < (most if entry["bits"] == 8 else 1e-12)
    assert "### Each set: AUROC, and its change by 8 bits" in (tmp_path / "RESULTS.md").read_text("utf-8")
