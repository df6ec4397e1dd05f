"""Coded and answered forests against the plain reference: the same leaves, the same sums."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from mlx_iforest import Forest, MLXIsolationForest
from mlx_iforest.backends import get_backend
from mlx_iforest.backends.numba import answers, vectors
from mlx_iforest.backends.numba import backend as numba_cpu
from mlx_iforest.backends.numba.answers import AnsweredForest
from mlx_iforest.backends.numba.coded_scoring import BLOCK, FLUSH
from mlx_iforest.backends.numba.codes import CodedForest, Grid
from mlx_iforest.backends.numba.walks import WalkedForest
from mlx_iforest.backends.reference import ReferenceBackend, leaf
from mlx_iforest.backends.scored_trees import merge_equal_leaves
from mlx_iforest.growth import GrowthPlan


def forest_of(X: np.ndarray, seed: int = 0, **changes: int) -> Forest:
    plan = {"n_trees": 6, "subsample_size": min(128, len(X)), "features_per_tree": X.shape[1], **changes}
    return get_backend("numba").grow(
        X, GrowthPlan(seed, 0, n_samples=len(X), n_features=X.shape[1], **plan), n_threads=1
    )


def coded(forest: Forest, *values: np.ndarray) -> CodedForest | None:
    return CodedForest.of(forest, numba_cpu._Scorer(forest, np.stack(values, axis=1)).numbers)


def coded_means(forest: Forest, X: np.ndarray) -> np.ndarray:
    """Means of path length and density, through blocks of either kind and by walks, however many the rows are."""
    scorer = numba_cpu._Scorer(forest, np.stack([forest.path_length, forest.log_density], axis=1))
    totals = np.zeros((3, len(X), 2))
    for total, kind in zip(totals, (CodedForest, AnsweredForest, WalkedForest), strict=True):
        kind.of(forest, scorer.numbers).add_leaf_values(X, total)
    assert (totals == totals[0]).all()
    return totals[0] * (scorer.unit / forest.n_trees)


def plain_means(forest: Forest, X: np.ndarray) -> np.ndarray:
    """The same by the reference's walk; the values are rounded to the same unit, so that sums are exact."""
    values = np.stack([forest.path_length, forest.log_density], axis=1).astype(np.float64)
    unit = numba_cpu._Scorer(forest, values.astype(np.float32)).unit
    rounded = np.rint(values / unit)
    assert np.abs(rounded * unit - values).max() <= unit / 2
    leaves = np.array([[leaf(forest, tree, x) for tree in range(forest.n_trees)] for x in X])
    return rounded[leaves].sum(axis=1) * (unit / forest.n_trees)


VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 2.0, float("nan"), 3.4e38, -3.4e38]),
    st.floats(width=32, allow_nan=True, allow_infinity=False),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_data_give_the_sums_of_the_reference(data):
    n_features = data.draw(st.integers(1, 4))
    row = st.lists(VALUES, min_size=n_features, max_size=n_features)
    X = np.array(data.draw(st.lists(row, min_size=1, max_size=30)), np.float32)
    forest = forest_of(X, seed=data.draw(st.integers(0, 2**63)))
    rows = np.array(data.draw(st.lists(row, min_size=1, max_size=20)), np.float32)
    on_thresholds = np.resize(forest.threshold[forest.feature >= 0], (1, n_features)).astype(np.float32)
    for Z in (X, rows, on_thresholds if forest.max_depth else X):
        assert np.array_equal(coded_means(forest, Z), plain_means(forest, Z))


@pytest.mark.parametrize("n_samples", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_any_number_of_rows(n_samples):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 3)).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    forest = forest_of(rng.normal(size=(300, 3)).astype(np.float32))
    assert np.array_equal(coded_means(forest, X), plain_means(forest, X))


KINDS = {
    "several groups of trees": (lambda rng: rng.normal(size=(2000, 4)), {"n_trees": 60, "subsample_size": 256}),
    "a group for each few trees": (lambda rng: rng.normal(size=(2000, 1)), {"n_trees": 20, "subsample_size": 256}),
    "more than 256 leaves": (lambda rng: rng.uniform(size=(1500, 5)), {"n_trees": 3, "subsample_size": 1500}),
    "most thresholds in one cell": (lambda rng: rng.lognormal(0, 4, size=(2000, 3)), {"n_trees": 20}),
    "hardly a float32 between values": (lambda rng: 1e9 + rng.normal(size=(500, 2)), {}),
    "no splits": (lambda rng: np.zeros((10, 3)), {}),
}


@pytest.mark.parametrize(("distribution", "changes"), KINDS.values(), ids=KINDS)
def test_forests_of_every_kind(distribution, changes):
    rng = np.random.default_rng(0)
    X = distribution(rng).astype(np.float32)
    forest = forest_of(X, **changes)
    Z = np.concatenate([X[:70], 2 * X[:20]])
    Z[::7, 0] = np.nan
    assert np.array_equal(coded_means(forest, Z), plain_means(forest, Z))


def test_the_kinds_are_what_they_are_called():
    rng = np.random.default_rng(0)
    made = {}
    for kind, (distribution, changes) in KINDS.items():
        forest = forest_of(distribution(rng).astype(np.float32), **changes)
        made[kind] = coded(forest, forest.path_length, forest.log_density)
    assert made["several groups of trees"].group_of_tree[-1] > 0
    assert made["a group for each few trees"].group_of_tree[-1] > 5
    assert made["more than 256 leaves"].recode.dtype == np.uint16
    assert made["most thresholds in one cell"].grid.steps.max() > 5
    assert made["no splits"].recode.shape[2] == 3


def answered(forest: Forest) -> AnsweredForest:
    found = AnsweredForest.of(forest, numba_cpu._Scorer(forest, forest.log_density[:, None]).numbers)
    assert found is not None
    return found


@pytest.mark.parametrize("n_features", [1, 15, 16, 17, 40])
def test_few_of_the_features_are_asked_for(n_features):
    """Tiles of which no, one or several features count, whole and cut off, in several groups."""
    rng = np.random.default_rng(n_features)
    X = rng.normal(size=(700, n_features)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 3:n_features:5] = 1.0
    X[:, 18:33] = 2.0
    forest = forest_of(X, n_trees=7, subsample_size=32)
    assert len(answered(forest).asked) <= max(1, n_features - len(range(3, n_features, 5)))
    assert np.array_equal(coded_means(forest, X), plain_means(forest, X))


def test_groups_of_trees_answer_one_after_the_other(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 20)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    forest = forest_of(X, n_trees=9)
    monkeypatch.setattr(answers, "LARGEST_GROUP", 70)
    groups = answered(forest).group_start
    assert len(groups) > 3
    assert np.diff(groups).max() > 1 or len(groups) == 10
    assert np.array_equal(coded_means(forest, X), plain_means(forest, X))


def test_equal_questions_are_put_once():
    X = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    model = MLXIsolationForest(50, max_samples=64, random_state=0, scoring="density", backend="numba").fit(X)
    whole, few = answered(model.forest_), answered(model.quantize(8).forest_)
    assert len(whole.thresholds) == len(whole.operations) // 4
    assert len(few.thresholds) < len(few.operations) // 4
    assert len(few.thresholds) <= 2 * 255 * 3


def test_a_feature_with_more_thresholds_than_16_bits_count_is_not_ranked():
    X = np.random.default_rng(0).uniform(size=(2000, 1)).astype(np.float32)
    forest = forest_of(X, n_trees=300, subsample_size=1000)
    assert coded(forest, forest.path_length) is None
    scorer = numba_cpu._Scorer(forest, forest.path_length[:, None])
    assert isinstance(scorer._blocks, AnsweredForest)
    totals = np.zeros((2, 300, 1))
    for total, blocks in zip(totals, (scorer._blocks, scorer._walked), strict=True):
        blocks.add_leaf_values(X[:300], total)
    assert np.array_equal(*totals)


def test_few_rows_and_large_trees_are_walked():
    X = np.random.default_rng(0).uniform(size=(4000, 2)).astype(np.float32)
    small, large = forest_of(X), forest_of(X, n_trees=1, subsample_size=4000)
    values = [forest.path_length[:, None] for forest in (small, large)]
    few, many = (numba_cpu._Scorer(forest, value) for forest, value in zip((small, large), values, strict=True))
    assert few._walks(small, 2)
    assert not few._walks(small, 300)
    levels = int(large.tree_depths.sum())
    assert many._walks(large, 4000) == (numba_cpu.FULL_BLOCK * levels < numba_cpu.NODE_COST * large.n_nodes)


def test_features_and_children_too_many_for_one_word_are_walked_to_without_it():
    X = np.random.default_rng(0).uniform(size=(3000, 1)).astype(np.float32)
    forest = forest_of(X, n_trees=2, subsample_size=3000)
    arrays = forest.arrays()
    feature = np.where(forest.feature == 0, (1 << 22) - 1, forest.feature).astype(np.int32)
    wide = Forest(1 << 22, **{**arrays, "feature": feature})
    values = wide.path_length[:, None]
    assert numba_cpu._Scorer(wide, values)._walked is None
    rows = np.zeros((2, 1 << 22), np.float32)
    rows[:, -1] = X[:2, 0]
    found = get_backend("numba").leaf_means(wide, values, rows)
    assert np.array_equal(found, get_backend("numba").leaf_means(forest, values, X[:2]))


def test_wide_forests_are_answered_and_narrow_ones_ranked():
    rng = np.random.default_rng(0)
    kinds = {}
    for n_features, n_trees in ((1, 40), (64, 40)):
        X = rng.normal(size=(2000, n_features)).astype(np.float32)
        forest = forest_of(X, n_trees=n_trees, subsample_size=256)
        kinds[n_features] = type(numba_cpu._Scorer(forest, forest.path_length[:, None])._blocks)
    assert kinds == {1: CodedForest, 64: AnsweredForest}


def test_a_split_between_equal_leaves_is_left_out():
    X = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    forest = forest_of(X)
    n_splits = np.count_nonzero(forest.feature >= 0)
    assert len(coded(forest, forest.log_density).operations) == n_splits
    assert len(coded(forest, forest.path_length).operations) < n_splits
    assert len(coded(forest, np.zeros_like(forest.path_length)).operations) == forest.n_trees


@pytest.mark.parametrize("features", [1, 7, 16, 65])
def test_every_width_of_class_table(features):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, features)).astype(np.float32)
    widths = set()
    for subsample_size in (4, 60, 90, 128, 160, 200, 256, 400):
        forest = forest_of(X, subsample_size=subsample_size)
        widths.add(coded(forest, forest.path_length, forest.log_density).tables.shape[2])
        assert np.array_equal(coded_means(forest, X[:99]), plain_means(forest, X[:99]))
    assert {32, 64, 128} <= widths


def test_values_of_more_trees_than_fit_32_bits():
    X = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    forest = forest_of(X, n_trees=3 * FLUSH + 1, subsample_size=16)
    values = np.full_like(forest.path_length, 2.0**24 - 1)
    means = get_backend("numba").leaf_means(forest, values[:, None], X)
    assert means == pytest.approx(np.full((300, 1), 2.0**24 - 1), rel=1e-12)


@pytest.mark.parametrize(
    ("machine", "features", "looked_up"),
    [("x86_64", "+avx2,+avx512f", 16), ("x86_64", "+avx,+avx2", 32), ("x86_64", "+avx", 0), ("arm64", "", 16)],
)
def test_the_processor_says_what_form_is_compiled(monkeypatch, machine, features, looked_up):
    codegen = SimpleNamespace(magic_tuple=lambda: ("", "", features))
    context = SimpleNamespace(codegen=lambda: codegen)
    monkeypatch.setattr("numba.core.registry.cpu_target", SimpleNamespace(target_context=context))
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.delenv("MLX_IFOREST_EMULATE_VECTORS", raising=False)
    found = runpy.run_path(vectors.__file__)
    assert found["LOOKED_UP"] == looked_up
    assert found["HAS_VECTORS_OF_16"] == ("512" in features)
    assert (found["PACKED"] > 1) == found["ARM"] == (machine == "arm64")


@pytest.mark.slow
@pytest.mark.skipif(not vectors.HAS_VECTORS_OF_16, reason="compiles for half a minute; left to processors with AVX-512")
def test_a_processor_without_wide_vectors_gives_the_same_forest_and_scores(tmp_path):
    """Numba compiles for the plainest processor of this kind in a process of its own."""
    X = np.random.default_rng(0).normal(size=(700, 20)).astype(np.float32)
    X[::9, 2] = np.nan
    program = (
        "import sys, numpy as np; from mlx_iforest import MLXIsolationForest;"
        "from mlx_iforest.backends.numba import vectors;"
        "assert not vectors.HAS_VECTORS_OF_16;"
        "X = np.load(sys.argv[1]); model = MLXIsolationForest(30, random_state=0, backend='numba').fit(X);"
        "np.savez(sys.argv[2], scores=model.score_samples(X), **model.forest_.arrays())"
    )
    given, found = tmp_path / "X.npy", tmp_path / "found.npz"
    np.save(given, X)
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    environment.pop("MLX_IFOREST_EMULATE_VECTORS", None)
    subprocess.run([sys.executable, "-c", program, str(given), str(found)], check=True, env=environment)
    model = MLXIsolationForest(30, random_state=0, backend="numba").fit(X)
    with np.load(found) as arrays:
        assert np.array_equal(arrays["scores"], model.score_samples(X))
        for name, array in model.forest_.arrays().items():
            assert np.array_equal(arrays[name], array), name


def test_ranks_count_the_thresholds_below():
    X = np.random.default_rng(0).lognormal(0, 2, size=(500, 2)).astype(np.float32)
    forest = forest_of(X, n_trees=30)
    grid = Grid.of(forest.feature, forest.threshold, forest.n_features)
    for feature in range(2):
        distinct = np.unique(forest.threshold[forest.feature == feature])
        assert np.array_equal(grid.thresholds[feature, : len(distinct)], distinct)
        assert np.isinf(grid.thresholds[feature, len(distinct) :]).all()


def test_a_feature_with_too_many_thresholds_is_walked():
    X = np.random.default_rng(0).uniform(size=(200_000, 1)).astype(np.float32)
    forest = forest_of(X, n_trees=2, subsample_size=len(X))
    assert coded(forest, forest.path_length) is None
    means = get_backend("numba").leaf_means(forest, forest.path_length[:, None], X[:200])
    expected = ReferenceBackend().leaf_means(forest, forest.path_length[:, None], X[:200])
    assert means == pytest.approx(expected, rel=1e-6)


def test_a_row_scores_the_same_alone_and_in_a_crowd():
    X = np.random.default_rng(0).normal(size=(5000, 6))
    X[::9, 2] = np.nan
    model = MLXIsolationForest(n_estimators=50, random_state=0, backend="numba").fit(X)
    crowd = model.score_samples(X)
    alone = np.concatenate([model.score_samples(X[i : i + 1]) for i in range(0, 5000, 50)])
    assert np.array_equal(alone, crowd[::50])
    for n_jobs, batch_size in [(1, "auto"), (3, 100), (2, 1000)]:
        model.set_params(n_jobs=n_jobs, batch_size=batch_size)
        assert np.array_equal(model.score_samples(X), crowd)


def test_equal_leaves_are_merged_from_the_bottom_up() -> None:
    # Two trees: ((1, 1), 1) is one leaf, and (2, (3, 3)) one split.
    trees = Forest.from_growth(
        1, np.array([0, 5, 10]), np.array([0, 0, -1, -1, -1, 0, -1, 0, -1, -1], np.int32),
        np.array([3, 2, 0, 0, 0, 3, 0, 4, 0, 0], np.float32), np.zeros(10, np.bool_),
        np.array([3, 2, 1, 1, 1, 3, 1, 2, 1, 1], np.int32),
    )  # fmt: skip
    values = np.array([0, 0, 1, 1, 1, 0, 2, 0, 3, 3], np.int64)
    feature, merged = merge_equal_leaves(trees, values)
    assert feature.tolist() == [-1, -1, -1, -1, -1, 0, -1, -1, -1, -1]
    assert merged[[0, 6, 7]].tolist() == [1, 2, 3]
    both = np.stack([values, np.arange(10)], axis=1)
    assert merge_equal_leaves(trees, both)[0].tolist() == trees.feature.tolist()
    assert values[0] == both[0, 0] == 0


def test_wide_rows_score_the_same_however_they_come():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2500, 90)).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    model = MLXIsolationForest(20, random_state=0, backend="numba").fit(X)
    expected = model.score_samples(X)
    assert isinstance(numba_cpu._Scorer(model.forest_, model.forest_.path_length[:, None])._blocks, AnsweredForest)
    apart = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    for given_X in (X.astype(np.float64), np.asfortranarray(X), apart, X[::-1][::-1]):
        assert np.array_equal(model.score_samples(given_X), expected)
    for n_jobs, batch_size in ((2, "auto"), (2, 100), (1, 129)):
        model.set_params(n_jobs=n_jobs, batch_size=batch_size)
        assert np.array_equal(model.score_samples(X), expected)
    for n_rows in (1, 2, 5, 15, 16, 17, 40, 100):
        assert np.array_equal(model.score_samples(X[:n_rows]), expected[:n_rows])
    there = np.where(rng.random(X.shape) < 0.1, np.nan_to_num(X), 0)
    assert np.array_equal(model.score_samples(csr_matrix(there)), model.score_samples(there))
