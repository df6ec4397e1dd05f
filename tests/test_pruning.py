"""Pruning: what goes, and that no row's score moves further than the report says."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmarks import pruning as benchmark
from mlx_iforest import BlendedIsolationForest, Forest, MLXIsolationForest
from mlx_iforest.backends import available_backends, get_backend
from mlx_iforest.backends.reference import ReferenceBackend
from mlx_iforest.compress.collapsing import collapse
from mlx_iforest.forest import LEAF_VALUES
from mlx_iforest.scoring import average_path_length, depth_score, soft_minimum
from mlx_iforest.state import from_state, to_state

SLACK = 1e-6
KINDS = {
    "depth": lambda: MLXIsolationForest(15, random_state=0),
    "density": lambda: MLXIsolationForest(15, scoring="density", random_state=0),
    "oblique": lambda: MLXIsolationForest(15, extension_level=1, random_state=0),
    "oblique density": lambda: MLXIsolationForest(15, extension_level=1, scoring="density", random_state=0),
    "deep": lambda: MLXIsolationForest(8, max_samples=1.0, random_state=0),
    "one row": lambda: MLXIsolationForest(3, max_samples=1, random_state=0),
    "quantised": lambda: MLXIsolationForest(15, scoring="density", random_state=0),
    "blended": lambda: BlendedIsolationForest(25, random_state=0),
}


def data(n_samples: int = 400, seed: int = 0) -> np.ndarray:
    """Clusters, ties, missing values and a few far rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 3)) + rng.integers(0, 2, n_samples)[:, None] * 4
    X[:, 1] = np.round(X[:, 1])
    X[:5] *= 10
    X[rng.random(X.shape) < 0.03] = np.nan
    return X.astype(np.float32)


@pytest.fixture(scope="module")
def models() -> dict[str, MLXIsolationForest | BlendedIsolationForest]:
    fitted = {kind: make().fit(data()) for kind, make in KINDS.items()}
    return {**fitted, "quantised": fitted["quantised"].quantize(8)}


def adversarial_rows(forest: Forest, n_rows: int, seed: int) -> np.ndarray:
    """Values on the forest's thresholds, just above them, huge, missing and plain."""
    rng = np.random.default_rng(seed)
    split = forest.feature >= 0
    rows = rng.normal(size=(n_rows, forest.n_features)).astype(np.float32) * 5
    for feature in range(forest.n_features):
        cuts = np.append(forest.threshold[split & (forest.feature == feature)], np.float32(0))
        chosen = rng.choice(cuts, n_rows)
        ways = [rows[:, feature], chosen, np.nextafter(chosen, np.float32(np.inf)), np.full(n_rows, np.nan)]
        ways += [np.full(n_rows, value) for value in (3e38, -3e38)]
        rows[:, feature] = np.choose(rng.integers(0, len(ways), n_rows), ways)
    return rows.astype(np.float32)


def grid(forest: Forest) -> np.ndarray:
    """One row for every cell that the thresholds cut space into, missing values included: all there is to reach."""
    per_feature = []
    for feature in range(forest.n_features):
        cuts = np.unique(forest.threshold[forest.feature == feature])
        beyond = np.nextafter(cuts[-1:], np.float32(np.inf)) if len(cuts) else np.zeros(1, np.float32)
        per_feature.append(np.concatenate([cuts, beyond, [np.float32(np.nan)]]))
    return np.array(list(product(*per_feature)), np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tolerance", [0, 1e-4, 1e-3, 1e-2, 0.1, 0.999])
def test_no_score_moves_further_than_the_bound(models, kind, tolerance):
    model = models[kind]
    pruned = model.prune(tolerance)
    report = pruned.pruning_
    rows = np.concatenate([adversarial_rows(model.forest_, 1500, seed=1), data(seed=2)])
    change = np.abs(pruned.score_samples(rows) - model.score_samples(rows)).max()
    assert change <= report.bound + SLACK
    assert report.bound <= tolerance
    assert pruned.forest_.validate().n_nodes == report.nodes_after <= report.nodes_before == model.forest_.n_nodes
    assert report.bytes_after <= report.bytes_before or kind == "quantised"  # what is left out no longer follows
    assert report.trees_after == report.trees_before
    assert (report.rows, report.largest_change, report.rows_per_second_after) == (0, None, None)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    trees=st.integers(1, 6),
    samples=st.integers(1, 24),
    scoring=st.sampled_from(["depth", "density"]),
    level=st.integers(0, 1),
    tolerance=st.one_of(st.just(0.0), st.floats(1e-8, 0.5)),
)
def test_any_forest_any_row(seed, trees, samples, scoring, level, tolerance):
    X = data(24, seed)
    model = MLXIsolationForest(
        trees, max_samples=samples, scoring=scoring, extension_level=level, random_state=seed % 1000
    ).fit(X)
    pruned = model.prune(tolerance)
    report = pruned.pruning_
    rows = adversarial_rows(model.forest_, 100, seed)
    assert report.bound <= tolerance
    assert np.abs(pruned.score_samples(rows) - model.score_samples(rows)).max() <= report.bound + SLACK
    again = pruned.prune(tolerance)
    second = again.pruning_
    assert np.abs(again.score_samples(rows) - pruned.score_samples(rows)).max() <= second.bound + SLACK
    thinner = model.prune(tolerance, X)
    third = thinner.pruning_
    assert third.largest_change <= tolerance + SLACK
    assert np.abs(thinner.score_samples(rows) - model.score_samples(rows)).max() <= third.bound + SLACK


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), tolerance=st.floats(0.001, 0.2))
def test_every_cell_of_a_tiny_forest_keeps_the_bound(seed, tolerance):
    """All that any row can meet, cell by cell: the true largest change, not a sampled one."""
    X = np.random.default_rng(seed).normal(size=(40, 2)).astype(np.float32)
    for trees in (1, 3):
        model = MLXIsolationForest(trees, max_samples=12, random_state=seed).fit(X)
        pruned = model.prune(tolerance)
        report = pruned.pruning_
        rows = grid(model.forest_)
        change = np.abs(pruned.score_samples(rows) - model.score_samples(rows)).max()
        assert change <= report.bound + SLACK


def one_split(low: int = 1, high: int = 8) -> Forest:
    """A tree of one split: path lengths 1 + c(low) and 1 + c(high)."""
    return Forest.from_growth(
        1,
        np.array([0, 3], np.int64),
        np.array([0, -1, -1], np.int32),
        np.array([0.5, 0, 0], np.float32),
        np.array([True, False, False]),
        np.array([low + high, low, high], np.int32),
        np.array([0.5, 0, 0], np.float32),
    )


def with_forest(forest: Forest, **parameters: object) -> MLXIsolationForest:
    """A fitted model with another forest in place of its own."""
    X = np.arange(forest.subsample_size * forest.n_features, dtype=np.float32).reshape(-1, forest.n_features)
    model = MLXIsolationForest(forest.n_trees, random_state=0, **parameters).fit(X)
    return model._snapshot(_model=model._model.with_forest(forest, model._model.function))


def test_the_bound_of_one_split_by_hand_is_attained():
    """Path lengths 1 and 1 + c(8) may both become their middle, which moves the score of short paths most."""
    forest = one_split()
    model = with_forest(forest)
    far, near = 1.0, float(np.float32(1 + average_path_length(8)))
    middle = (far + near) / 2
    most = float(np.diff(depth_score(np.array([far, middle]), 9))[0])
    kept = model.prune(most * 0.999)
    assert kept.forest_.equals(forest)
    pruned = model.prune(most * 1.001)
    report = pruned.pruning_
    assert pruned.forest_.n_nodes == 1
    assert pruned.forest_.path_length == pytest.approx([middle], rel=1e-3)
    rows = np.array([[0.0], [1.0]], np.float32)
    assert np.abs(pruned.score_samples(rows) - model.score_samples(rows)).max() == pytest.approx(report.bound, rel=1e-6)
    assert report.bound == pytest.approx(most, rel=2e-3)


def test_a_leaf_takes_the_mean_of_its_samples_where_the_deviation_allows():
    weights = {"path_length": np.ones(1), "log_density": np.zeros(1)}
    forest = one_split()
    near = 1 + float(average_path_length(8))
    # A tree pays for its most costly collapse, here half the range: the mean, at 8/9 of it, is too far from one end.
    alone = collapse(forest, weights, 0.75 * (near - 1))
    assert alone.forest.path_length == pytest.approx([(1 + near) / 2])
    assert alone.forest.n_samples.tolist() == [9]
    assert (alone.lowest.tolist(), alone.highest[0, 0]) == ([[1.0]], pytest.approx(near))
    # Beside a costlier one, the same subtree may have its mean.
    both = Forest.from_growth(
        1,
        np.array([0, 7], np.int64),
        np.array([0, 0, 0, -1, -1, -1, -1], np.int32),
        np.array([5, 2, 8, 0, 0, 0, 0], np.float32),
        np.zeros(7, np.bool_),
        np.array([29, 9, 20, 1, 8, 10, 10], np.int32),
    )
    both = replace(both, path_length=np.array([0, 0, 0, 1, 5, 20, 30], np.float32))
    found = collapse(both, {"path_length": np.ones(1)}, 6).forest.validate()
    assert found.n_samples.tolist() == [29, 9, 20]
    assert found.path_length == pytest.approx([0, 41 / 9, 25])


def test_equal_leaves_become_one_at_no_cost():
    forest = one_split(1, 1)
    pruned = with_forest(forest).prune(0)
    report = pruned.pruning_
    assert pruned.forest_.n_nodes == 1
    assert pruned.forest_.path_length.tolist() == [1.0]
    assert report.bound == 0
    by_density = with_forest(one_split(1, 3), scoring="density").prune(0)
    assert by_density.forest_.n_nodes == 3


def repeated_question(second: float, missing_above: bool, missing_below: bool) -> Forest:
    """``x <= 1`` asked; on its left ``x <= second``, with leaves of 1 and 5 samples; on its right 9 samples."""
    return Forest.from_growth(
        1,
        np.array([0, 5], np.int64),
        np.array([0, 0, -1, -1, -1], np.int32),
        np.array([1, second, 0, 0, 0], np.float32),
        np.array([missing_above, missing_below, False, False, False]),
        np.array([15, 6, 9, 1, 5], np.int32),
    )


@pytest.mark.parametrize(
    ("second", "missing_above", "missing_below", "leaves"),
    [
        (0.5, False, False, [9, 1, 5]),  # both sides are within reach
        (1.0, False, False, [1, 9]),  # nothing is <= 1 and > 1
        (2.0, False, True, [1, 9]),
        (1.0, True, True, [1, 9]),  # missing values come, and go left too
        (1.0, True, False, [9, 1, 5]),  # missing values alone reach the right leaf
    ],
)
def test_branches_that_no_row_can_reach_go(second, missing_above, missing_below, leaves):
    forest = repeated_question(second, missing_above, missing_below)
    pruned = with_forest(forest).prune(0)
    report = pruned.pruning_
    found = pruned.forest_.validate()
    assert found.n_samples[found.feature < 0].tolist() == leaves
    assert report.bound == 0
    rows = np.array([[0], [0.5], [1], [1.5], [2], [3], [np.nan]], np.float32)
    assert pruned.score_samples(rows).tolist() == with_forest(forest).score_samples(rows).tolist()


def test_a_root_whose_question_is_settled_further_up_is_not_touched_in_oblique_forests(models):
    forest = models["oblique"].forest_
    pruned = models["oblique"].prune(0)
    assert pruned.forest_.direction_weight is not None
    assert 0 < pruned.forest_.n_nodes < forest.n_nodes


def test_the_original_stays_and_the_pruned_model_is_a_model(models):
    for kind, model in models.items():
        before = pickle.dumps(model)
        pruned = model.prune(0.01, data(seed=3))
        assert pickle.dumps(model) == before, kind
        assert type(pruned) is type(model)
        assert pruned.offset_ == model.offset_
        assert pruned.pruned_
        assert not model.pruned_
        assert model.pruning_ is None
        # What is made of it keeps the report, a fit starts anew, and a file says that it was pruned.
        if "oblique" not in kind:
            assert pruned.quantize(8).pruning_ is pruned.pruning_
        loaded = from_state(*to_state(pruned))
        assert (loaded.pruned_, loaded.pruning_) == (True, None)
        rows = data(seed=4)
        copied = pickle.loads(pickle.dumps(pruned))
        assert copied.score_samples(rows).tolist() == pruned.score_samples(rows).tolist()
        assert set(pruned.predict(rows)) <= {1, -1}


@pytest.mark.parametrize("kind", ["depth", "density", "blended", "oblique"])
def test_backends_agree_on_a_pruned_forest(models, kind):
    pruned = models[kind].prune(0.05, data(seed=3))
    forest, rows = pruned.forest_, adversarial_rows(models[kind].forest_, 100, seed=5)
    values = np.stack([forest.arrays()[name] for name in sorted(LEAF_VALUES.keys() & forest.arrays().keys())], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):  # weighted sums of huge values
        expected = ReferenceBackend().leaf_means(forest, values, rows)
    for name, missing in available_backends().items():
        if missing is None and not (name == "sklearn" and forest.direction_weight is not None):
            found = get_backend(name).leaf_means(forest, values, rows)
            assert found == pytest.approx(expected, abs=1e-5), name


@pytest.mark.parametrize("kind", ["depth", "density", "blended", "oblique", "one row", "quantised"])
def test_validation_rows_say_which_trees_go(models, kind):
    model, rows = models[kind], data(seed=6)
    tolerance = 0.1
    pruned = model.prune(tolerance, rows)
    report = pruned.pruning_
    change = np.abs(pruned.score_samples(rows) - model.score_samples(rows)).max()
    assert report.largest_change == pytest.approx(change, abs=1e-12)
    assert report.largest_change <= min(tolerance, report.bound) + SLACK
    assert 1 <= report.trees_after == pruned.forest_.n_trees < report.trees_before
    assert report.rows == len(rows)
    anywhere = adversarial_rows(model.forest_, 1500, seed=7)
    assert np.abs(pruned.score_samples(anywhere) - model.score_samples(anywhere)).max() <= report.bound + SLACK
    assert report.rows_per_second_before > 0
    assert report.rows_per_second_after > 0


def test_a_duplicate_of_a_tree_is_redundant_and_the_bound_says_what_rows_do_not_show():
    """Three equal trees are one tree, but only because rows say so: the bound knows of no tree what the others say."""
    forest = Forest.concatenate([one_split()] * 3)
    rows = np.array([[0.0], [1.0]], np.float32)
    model = with_forest(forest)
    pruned = model.prune(1e-9, rows)
    report = pruned.pruning_
    assert pruned.forest_.equals(one_split())
    assert pruned.score_samples(rows) == pytest.approx(model.score_samples(rows), abs=1e-12)
    assert report.largest_change == pytest.approx(0, abs=1e-12)
    assert report.bound > report.tolerance
    assert "trees were removed" in str(report)


def test_blended_members_keep_a_tree_each():
    model = BlendedIsolationForest(12, random_state=0).fit(data())
    pruned = model.prune(0.9, data(seed=8))
    report = pruned.pruning_
    assert [part.stop - part.first for part in pruned._model.function.parts] == [1, 1, 1]
    assert report.trees_after == 3
    tiny = BlendedIsolationForest(2, random_state=0).fit(data())
    few = tiny.prune(0.9, data())
    assert few._model.function.parts[-1].stop == few.forest_.n_trees


def test_pruned_models_quantise_and_prune_again(models):
    pruned = models["density"].prune(0.05)
    small = pruned.quantize(8)
    again = small.prune(0)
    report = again.pruning_
    rows = data(seed=9)
    assert again.quantized_bits_ == 8
    assert report.bytes_before == small.model_bytes() < models["density"].quantize(8).model_bytes()
    assert np.abs(again.score_samples(rows) - small.score_samples(rows)).max() <= SLACK


def test_a_pruned_forest_grows_no_further(models):
    pruned = models["depth"].prune(0.01)
    pruned.set_params(warm_start=True, n_estimators=20)
    with pytest.raises(ValueError, match="a pruned forest cannot grow further"):
        pruned.fit(data())
    anew = pruned.set_params(warm_start=False).fit(data())
    assert not anew.pruned_
    assert anew.pruning_ is None
    assert anew.forest_.n_trees == 20


@pytest.mark.parametrize("tolerance", [-0.1, 1, np.nan, np.inf, "a little", None, True])
def test_bad_tolerances_are_refused(models, tolerance):
    with pytest.raises(ValueError, match=r"tolerance must be a number in \[0, 1\)"):
        models["depth"].prune(tolerance)


def test_bad_rows_are_refused(models):
    with pytest.raises(ValueError, match="features"):
        models["depth"].prune(0.01, np.zeros((3, 7)))


def test_the_report_reads_well(models):
    report = models["depth"].prune(0.02, data(seed=3)).pruning_
    calm = replace(report, rows_per_second_before=100.0, rows_per_second_after=150.0)
    assert "150 rows a second, 1.50 times as many as before." in str(calm)
    assert f"{report.nodes_before:,} -> {report.nodes_after:,} nodes" in str(report)
    assert report.to_dict()["bound"] == report.bound


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999),
    step=st.floats(1e-6, 3),
    low=st.floats(-5, 5),
    width=st.floats(0.01, 8),
)
def test_the_largest_change_is_the_largest(models, seed, step, low, width):
    """Against a fine grid of starting points, for a concave score and for one that is steepest inside."""
    assume(step <= width)
    for kind in ("depth", "density", "blended"):
        how = models[kind]._model.function
        found = how.largest_change(low, low + width, step)
        starts = np.linspace(low, low + width - step, 500)
        changes = how.link.score(starts + step) - how.link.score(starts)
        assert changes.max() <= found + 1e-12
        assert found <= changes.max() + 1e-3
        fitting = how.largest_step(low, low + width, found)
        assert how.largest_change(low, low + width, min(fitting, width)) <= found


def test_a_soft_minimum_moves_no_further_than_the_view_that_moves_most():
    rng = np.random.default_rng(0)
    views, weights = rng.normal(size=(500, 4)) * 3, rng.random(4) + 0.1
    shift = rng.normal(size=(500, 4))
    moved = np.abs(soft_minimum(views + shift, weights) - soft_minimum(views, weights))
    assert np.all(moved <= np.abs(shift).max(axis=1) + 1e-12)
    assert soft_minimum(views + 0.5, weights) == pytest.approx(soft_minimum(views, weights) + 0.5)


def test_parts_make_the_scores(models):
    """Weights and offsets of the parts give the very scores, so that what is bounded is what is scored."""
    rows = data(seed=3)
    for kind, model in models.items():
        how = model._model.function
        columns = []
        for part in how.parts:
            trees = model.forest_.trees(part.first, part.stop)
            values = np.stack([getattr(trees, name) for name in part.weights], axis=1)
            means = ReferenceBackend().leaf_means(trees, values, rows)
            columns.append(means @ np.stack(list(part.weights.values())) + part.offset)
        assert how.scores(np.concatenate(columns, axis=1)) == pytest.approx(model.score_samples(rows), abs=1e-6), kind


@pytest.mark.parametrize(("scoring", "other"), [("depth", "density"), ("density", "depth")])
def test_pruning_goes_by_the_scoring_of_the_fit(scoring, other):
    """Setting the parameter on a fitted model changes neither its scores nor what pruning makes of it."""
    model = MLXIsolationForest(30, scoring=scoring, random_state=1).fit(data())
    pruned = model.prune(0.01, data(seed=2))
    report = pruned.pruning_
    again = model.set_params(scoring=other).prune(0.01, data(seed=2))
    assert (again.pruning_.bound, again.pruning_.largest_change) == (report.bound, report.largest_change)
    np.testing.assert_array_equal(again.score_samples(data(seed=3)), pruned.score_samples(data(seed=3)))


@pytest.mark.slow
def test_the_benchmark_measures_every_way(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "SHORTEST", 0.0)
    benchmark.main(["--quick", "--repeats", "1", "--only", "density", "--output", str(tmp_path)])
    saved = json.loads((tmp_path / "results" / "pruning.json").read_text("utf-8"))
    speed, detection = saved["tables"]
    ways = 2 * len(benchmark.TOLERANCES)
    assert len(speed["rows"]) == len(detection["rows"]) == ways
    for found in saved["measurements"]["detection"].values():
        assert len(found) == ways
        for outcome in found:
            assert outcome["change"] <= outcome["bound"] + SLACK
            assert outcome["with_rows"] or outcome["bound"] <= outcome["tolerance"]
