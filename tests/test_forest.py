"""`Forest`: what growers complete, what outsiders may not get wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mlx_iforest import Forest, InvalidForestError
from mlx_iforest.scoring import average_path_length


def by_hand() -> Forest:
    """Two trees: a leaf of 3 samples; and a root that splits 5 into 1 and 4, of which 4 split into 2 and 2."""
    return Forest.from_growth(
        2,
        np.array([0, 1, 6], np.int64),
        np.array([-1, 0, -1, 1, -1, -1], np.int32),
        np.array([0, 0.5, 0, 1.5, 0, 0], np.float32),
        np.array([0, 1, 0, 0, 0, 0], np.bool_),
        np.array([3, 5, 1, 4, 2, 2], np.int32),
        np.array([0, 0.5, 0, 0.25, 0, 0], np.float32),
    )


def with_array(name: str, values: list[float]) -> Forest:
    forest = by_hand()
    return dataclasses.replace(forest, **{name: np.array(values, getattr(forest, name).dtype)})


def test_children_and_path_lengths_follow_from_the_splits():
    forest = by_hand().validate()
    assert forest.left.tolist() == [-1, 1, -1, 3, -1, -1]
    c = lambda n: float(average_path_length(n))  # noqa: E731
    assert forest.path_length == pytest.approx([c(3), 0, 1 + c(1), 0, 2 + c(2), 2 + c(2)])
    assert forest.tree_depths.tolist() == [0, 2]
    assert (forest.n_trees, forest.n_nodes, forest.max_depth, forest.subsample_size) == (2, 6, 2, 3)
    assert forest.nbytes == 3 * 8 + 6 * (4 + 4 + 4 + 1 + 4 + 4 + 4)


def test_slices_and_concatenation_are_inverse():
    forest = by_hand()
    parts = [forest.trees(0, 1).validate(), forest.trees(1, 2).validate()]
    assert Forest.concatenate(parts).equals(forest)
    assert not parts[0].equals(parts[1])


def test_arrays_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        by_hand().threshold[0] = 1


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("tree_start", [0, 0, 6], "at least one node"),
        ("tree_start", [1, 2, 6], "must begin at 0"),
        ("tree_start", [0], "must begin at 0"),
        ("tree_start", [0, 1, 7], "6 entries for 7 nodes"),
        ("feature", [-1, 0, -1, 2, -1, -1], r"must lie in \[-1, 2\)"),
        ("feature", [-2, 0, -1, 1, -1, -1], r"must lie in \[-1, 2\)"),
        ("left", [-1, 0, -1, 3, -1, -1], "node 1: its children must be later nodes"),
        ("left", [-1, 1, -1, 4, -1, -1], "node 3: its children must be later nodes"),
        ("left", [-1, 3, -1, 3, -1, -1], "exactly one parent"),
        ("left", [-1, 1, -1, 2, -1, -1], "node 3: its children must be later nodes"),
        ("threshold", [0, np.nan, 0, 1.5, 0, 0], "node 1: its threshold is not finite"),
        ("threshold", [0, 0, 0, np.inf, 0, 0], "node 3: its threshold is not finite"),
        ("path_length", [1, 0, 1, 0, np.nan, 3], "finite and not negative"),
        ("path_length", [1, 0, 1, 0, -3, 3], "finite and not negative"),
        ("n_samples", [3, 5, 0, 4, 2, 2], "at least 1"),
        ("log_density", [0, 0, 0, 0, np.inf, 0], "'log_density' must be finite"),
    ],
)
def test_faults_are_named(name, values, message):
    with pytest.raises(InvalidForestError, match=message):
        with_array(name, values).validate()


def test_wrong_dtypes_and_shapes_are_named():
    forest = by_hand()
    with pytest.raises(InvalidForestError, match="'threshold' is float64"):
        dataclasses.replace(forest, threshold=forest.threshold.astype(np.float64)).validate()
    with pytest.raises(InvalidForestError, match=r"expected int32 in 1 dimension\(s\)"):
        dataclasses.replace(forest, feature=forest.feature[:, None]).validate()
    with pytest.raises(InvalidForestError, match="'left' is missing"):
        dataclasses.replace(forest, left=None).validate()


def test_log_densities_by_hand():
    # The second tree: 1 of 5 samples in half the range; of the other 4 two in a quarter and two in three quarters.
    right = (4 / 5) / 0.5
    expected = [0, 0, np.log((1 / 5) / 0.5), 0, np.log(right * 0.5 / 0.25), np.log(right * 0.5 / 0.75)]
    assert by_hand().log_density == pytest.approx(expected)


def oblique(**changes: object) -> Forest:
    arrays = {
        "direction_feature": np.array([[0, 0], [0, 1], [0, 0], [1, 1], [0, 0], [0, 0]], np.int32),
        "direction_weight": np.array([[0, 0], [1, -2], [0, 0], [1, 0], [0, 0], [0, 0]], np.float32),
    }
    return dataclasses.replace(by_hand(), **{**arrays, **changes})


def test_oblique_forests_are_valid_and_their_faults_named():
    forest = oblique().validate()
    assert Forest.concatenate([forest.trees(0, 1), forest.trees(1, 2)]).equals(forest)
    with pytest.raises(ValueError, match="cannot be one forest"):
        Forest.concatenate([forest, by_hand()])
    with pytest.raises(InvalidForestError, match="go together"):
        oblique(direction_weight=None).validate()
    with pytest.raises(InvalidForestError, match=r"must lie in \[0, 2\)"):
        oblique(direction_feature=forest.direction_feature + 1).validate()
    with pytest.raises(InvalidForestError, match="'direction_weight' must be finite"):
        oblique(direction_weight=forest.direction_weight * np.float32(np.nan)).validate()
    with pytest.raises(InvalidForestError, match="one shape"):
        oblique(direction_weight=forest.direction_weight[:, :1]).validate()
    with pytest.raises(InvalidForestError, match="2 dimension"):
        oblique(direction_weight=forest.direction_weight[:, 0]).validate()
