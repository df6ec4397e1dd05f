"""`Forest`: what growers complete, what outsiders may not get wrong."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from mlx_iforest import Forest, InvalidForestError
from mlx_iforest.forest import MOST_LEVELS
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
        ("left", [3, 1, -1, 3, -1, -1], "node 0: it is a leaf, so its 'left' must be -1"),
        ("left", [-1, 1, 2**31 - 2, 3, -1, -1], "node 2: it is a leaf"),
        ("left", [-1, 1, -1, -1, -1, -1], "node 3: its children must be later nodes"),
        ("threshold", [0, 0.5, 0, 1.5, 2, 0], "node 4: it is a leaf, so its threshold must be 0"),
        ("threshold", [0, 0.5, np.nan, 1.5, 0, 0], "node 2: its threshold is not finite"),
        ("path_length", [1, 0, 1, 0, np.nan, 3], r"must be finite and lie in \[0, 4160\]"),
        ("path_length", [1, 0, 1, 0, -3, 3], r"must be finite and lie in \[0, 4160\]"),
        ("path_length", [1, 0, 1, 0, 1e30, 3], r"must be finite and lie in \[0, 4160\]"),
        ("path_length", [1, 0, 1, 2, 3, 3], "node 3: it is a split, so its 'path_length' must be 0"),
        ("n_samples", [3, 5, 0, 4, 2, 2], "at least 1"),
        ("log_density", [0, 0, 0, 0, np.inf, 0], "'log_density' must be finite"),
        ("log_density", [0, 0, 0, 0, -1000, 0], r"lie in \[-710, 710\]"),
        ("log_density", [0, 1, 0, 0, 0, 0], "node 1: it is a split, so its 'log_density' must be 0"),
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
    with pytest.raises(InvalidForestError, match="a MaskedArray of float32"):
        dataclasses.replace(forest, threshold=np.ma.array(forest.threshold)).validate()
    two_for_true = forest.missing_left.view(np.uint8) * np.uint8(2)
    with pytest.raises(InvalidForestError, match="'missing_left' must hold bytes 0 and 1"):
        dataclasses.replace(forest, missing_left=two_for_true.view(np.bool_)).validate()
    for n_features in (0, -1, 2.0, 2**40, None):
        with pytest.raises(InvalidForestError, match="'n_features' must be a whole number in"):
            dataclasses.replace(forest, n_features=n_features).validate()


def chain(n_splits: int) -> Forest:
    """One tree whose right children split on and on."""
    n_nodes, node = 2 * n_splits + 1, np.arange(2 * n_splits + 1)
    is_split = (node % 2 == 0) & (node < n_nodes - 1)
    return Forest(
        1,
        np.array([0, n_nodes], np.int64),
        np.where(is_split, 0, -1).astype(np.int32),
        np.zeros(n_nodes, np.float32),
        np.where(is_split, node + 1, -1).astype(np.int32),
        np.zeros(n_nodes, np.bool_),
        np.where(is_split, 0, 1).astype(np.float32),
        np.ones(n_nodes, np.int32),
    )


def test_a_tree_has_no_more_levels_than_a_kernel_has_room_for():
    assert chain(MOST_LEVELS).validate().max_depth == MOST_LEVELS
    for n_splits in (MOST_LEVELS + 1, 1_000_000):
        with pytest.raises(InvalidForestError, match=f"more than {MOST_LEVELS} levels"):
            chain(n_splits).validate()


def test_forests_that_do_not_go_together_are_named():
    forest = by_hand()
    with pytest.raises(ValueError, match="forests of 2 and 3 features cannot be one forest"):
        Forest.concatenate([forest, dataclasses.replace(forest, n_features=3)])
    with pytest.raises(ValueError, match="at least one"):
        Forest.concatenate([])
    wide = {name: np.repeat(oblique().arrays()[name], 2, axis=1) for name in ("direction_feature", "direction_weight")}
    with pytest.raises(ValueError, match="different numbers of features"):
        Forest.concatenate([oblique(), oblique(**wide)])
    for start, stop in ((-1, 1), (0, 3), (1, 1), (2, 1)):
        with pytest.raises(IndexError, match="none of the 2 trees"):
            forest.trees(start, stop)


def test_what_was_found_valid_is_no_part_of_it():
    forest = by_hand().validate()
    assert set(pickle.loads(pickle.dumps(forest)).__dict__) == {field.name for field in dataclasses.fields(Forest)}
    worse = dataclasses.replace(forest, left=np.full(6, 7, np.int32))
    with pytest.raises(InvalidForestError):
        worse.ensure_valid()
    with pytest.raises(InvalidForestError):
        _ = worse.max_depth


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
    at_a_leaf = forest.direction_feature.copy()
    at_a_leaf[0, 1] = 2
    with pytest.raises(InvalidForestError, match=r"must lie in \[0, 2\)"):
        oblique(direction_feature=at_a_leaf).validate()
    with pytest.raises(InvalidForestError, match="node 3: its 'feature' must be that of its direction"):
        oblique(direction_feature=np.zeros_like(forest.direction_feature)).validate()
    with pytest.raises(InvalidForestError, match="'direction_weight' must be finite"):
        oblique(direction_weight=forest.direction_weight * np.float32(np.nan)).validate()
    with pytest.raises(InvalidForestError, match="one shape"):
        oblique(direction_weight=forest.direction_weight[:, :1]).validate()
    with pytest.raises(InvalidForestError, match="2 dimension"):
        oblique(direction_weight=forest.direction_weight[:, 0]).validate()


def test_what_is_no_array_is_named():
    with pytest.raises(InvalidForestError, match="'tree_start' must be a numpy array, found a list"):
        Forest(
            3,
            tree_start=[0, 1],
            **dict.fromkeys(
                ("feature", "threshold", "left", "missing_left", "path_length", "n_samples"), np.zeros(1, np.int32)
            ),
        )
