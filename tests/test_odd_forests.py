"""No forest that is let in leads compiled code astray, and none is scored differently by different backends."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlx_iforest import Forest, InvalidForestError, MLXIsolationForest
from mlx_iforest.backends import BACKENDS, available_backends, get_backend
from mlx_iforest.backends.fixed_point import LARGEST, whole_numbers
from mlx_iforest.backends.numba.answers import AnsweredForest
from mlx_iforest.backends.numba.codes import CodedForest
from mlx_iforest.backends.numba.oblique_scoring import ObliqueBlocks
from mlx_iforest.backends.numba.walks import WalkedForest
from mlx_iforest.growth import GrowthPlan

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
PLAN = GrowthPlan(seed=1, first_tree=0, n_trees=3, n_samples=60, n_features=3, subsample_size=8, features_per_tree=3)


@pytest.mark.skipif(any(available_backends().values()), reason=f"a backend is missing: {available_backends()}")
def test_any_entry_changed_is_refused_or_makes_no_backend_differ() -> None:
    program = Path(__file__).with_name("odd_forests.py")
    done = subprocess.run(
        [sys.executable, program], cwd=program.parents[1], env={**os.environ, "PYTHONPATH": "."}, timeout=600,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = done.stdout.splitlines()[-1] if done.stdout else ""
    assert done.returncode == 0, f"after '{last}': {done.stderr}"
    counts = re.fullmatch(r"refused (\d+), scored (\d+)", last)
    assert counts, last
    assert min(map(int, counts.groups())) > 100


def forest(**parameters: int) -> Forest:
    model = MLXIsolationForest(3, max_samples=8, random_state=0, backend="numba", **parameters)
    return model.fit(X).forest_


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("name", BACKENDS)
def test_rows_of_another_width_or_type_never_reach_a_kernel(name: str, oblique: bool) -> None:
    if (why := available_backends()[name]) is not None:
        pytest.skip(why)
    if oblique and name == "sklearn":
        pytest.skip("scikit-learn has no oblique splits")
    trees, backend = forest(extension_level=int(oblique)), get_backend(name)
    values = trees.path_length[:, None]
    for rows in (X[:, :2], np.c_[X, X], X.astype(np.float64), X[0], X[None]):
        for part in (rows, rows[:3]):
            with pytest.raises(ValueError, match=r"expected float32 of shape \(n_rows, 3\)"):
                backend.leaf_means(trees, values, part)
        with pytest.raises(ValueError, match="expected float32 of shape"):
            backend.grow(rows, PLAN, n_threads=1)
    expected = backend.leaf_means(trees, values, X)
    assert backend.leaf_means(trees, values, np.asfortranarray(X)).tobytes() == expected.tobytes()
    for wrong in (values[:-1], values.astype(np.float64), values * np.float32(np.nan), values[:, 0]):
        with pytest.raises(ValueError, match=r"values are .*; expected finite float32"):
            backend.leaf_means(trees, wrong, X)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_samples": 61}, "X has 60 rows; the plan is for 61"),
        ({"subsample_size": 61}, "cannot be drawn without replacement"),
        ({"subsample_size": 0}, "a tree of a row"),
        ({"features_per_tree": 4}, r"features_per_tree is 4; expected a number in \[1, 3\]"),
        ({"row_table": np.full((3, 8), 60)}, r"row_table must hold numbers in \[0, 60\)"),
        ({"row_table": np.full((3, 8), -1)}, "row_table must hold"),
        ({"row_table": np.zeros((2, 8), np.int64)}, "row_table must hold"),
    ],
    ids=str,
)
def test_plans_that_ask_for_what_there_is_not_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_backend("numba").grow(X, replace(PLAN, **changes), n_threads=1)


@pytest.mark.parametrize("compiled", [CodedForest, AnsweredForest, WalkedForest, ObliqueBlocks])
def test_compiled_forests_take_nothing_else(
    compiled: type[CodedForest | AnsweredForest | WalkedForest | ObliqueBlocks],
) -> None:
    oblique = compiled is ObliqueBlocks
    trees = forest(extension_level=int(oblique))
    other: type[CodedForest] | type[ObliqueBlocks] = CodedForest if oblique else ObliqueBlocks
    _, numbers = whole_numbers(trees.path_length[:, None])
    blocks = compiled.of(trees, numbers)
    assert blocks is not None
    for total in (np.zeros((59, 1)), np.zeros((60, 2)), np.zeros((60, 1), np.float32)):
        with pytest.raises(ValueError, match=r"expected float64 of shape \(60, 1\)"):
            blocks.add_leaf_values(X, total)
    with pytest.raises(ValueError, match="expected float32 of shape"):
        blocks.add_leaf_values(X[:, :2], np.zeros((60, 1)))
    for wrong in (numbers[:-1], numbers.astype(np.int64), numbers * 0 + np.int32(LARGEST + 1)):
        with pytest.raises(ValueError, match="expected int32 of shape"):
            compiled.of(trees, wrong)
    with pytest.raises(ValueError, match="scores it"):
        other.of(trees, numbers)
    if not oblique:
        with pytest.raises(ValueError, match="a forest of oblique splits"):
            compiled.of(forest(extension_level=1), numbers)


def test_a_forest_put_into_a_model_by_hand_is_checked() -> None:
    model = MLXIsolationForest(3, random_state=0).fit(X)
    left = model.forest_.left.copy()
    left[model.forest_.feature < 0] = 0
    arrays = {**model.forest_.arrays(), "left": left}
    odd = Forest(3, **arrays)
    with pytest.raises(AttributeError, match="forest_ is what a fit found out"):
        model.forest_ = odd
    with pytest.raises(InvalidForestError, match="it is a leaf, so its 'left' must be -1"):
        model._model.with_forest(odd, model._model.function)
    # A pickle may hold anything.
    model._model.scored.forest = odd
    with pytest.raises(InvalidForestError, match="it is a leaf, so its 'left' must be -1"):
        pickle.loads(pickle.dumps(model))


def test_leaves_of_more_classes_than_16_bits_number_are_walked_to() -> None:
    """One tree of 2**17 leaves, all different, among many that are a leaf: on average the trees are small."""
    levels, alone = 17, 100
    n_nodes = 2 ** (levels + 1) - 1
    node = np.arange(n_nodes)
    is_split = node < n_nodes // 2
    feature = np.append(np.where(is_split, 0, -1), np.full(alone, -1)).astype(np.int32)
    size = n_nodes + alone
    direction = np.zeros((size, 2), np.int32)
    weight = np.where(feature[:, None] >= 0, np.float32([[1, 0]]), np.float32(0))
    depth = np.floor(np.log2(node + 1))
    middle = ((node + 1 - 2**depth) * 2 + 1) / 2 ** (depth + 1)
    trees = Forest(
        1, np.append(0, n_nodes + np.arange(alone + 1)).astype(np.int64), feature,
        np.append(np.where(is_split, middle, 0), np.zeros(alone)).astype(np.float32),
        np.append(np.where(is_split, 2 * node + 1, -1), np.full(alone, -1)).astype(np.int32),
        np.zeros(size, np.bool_),
        np.append(np.where(is_split, 0, node * 2.0**-8), np.zeros(alone)).astype(np.float32),
        np.ones(size, np.int32), direction_feature=direction, direction_weight=weight.astype(np.float32),
    )  # fmt: skip
    assert ObliqueBlocks.of(trees.validate(), whole_numbers(trees.path_length[:, None])[1]) is None
    rows = np.linspace(0.01, 0.99, 30, dtype=np.float32)[:, None]
    few = [get_backend("numba").leaf_means(trees, trees.path_length[:, None], row[None])[0, 0] for row in rows]
    assert get_backend("numba").leaf_means(trees, trees.path_length[:, None], rows)[:, 0].tolist() == few
    assert len(set(few)) == 30
