"""Forests that ask every question of every row: for wide rows, whose values are too many to rank them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.fixed_point import LARGEST
from mlx_iforest.backends.numba import coded_scoring as coded
from mlx_iforest.backends.numba import coding_kernels as kernels
from mlx_iforest.backends.numba.answering_kernels import (
    FEATURE,
    FIRST,
    LANES,
    LAST,
    LEFT,
    MIDDLE,
    QUESTION,
    RIGHT,
    WRITE,
    add_leaf_values,
)
from mlx_iforest.backends.numba.codes import check_blocks, check_total, class_tables, leaf_classes, own_work
from mlx_iforest.forest import Forest
from mlx_iforest.kernel_input import check_numbers, check_rows

__all__ = ["AnsweredForest"]

LARGEST_GROUP = 8192
"""Operations of the trees of a group: the answers of a block, 32 bytes a question, stay in the second-level cache."""

LARGEST_FIELD = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class AnsweredForest:
    """A forest, and values of its leaves, compiled for answering its questions block by block.

    Equal questions are one. Classes of leaves, and trees as lists of operations, are those of `codes.CodedForest`.

    Parameters
    ----------
    n_features : int
    asked_start : ndarray of int64, shape (n_groups + 1,)
        Where each group's features begin in `asked`.
    asked : ndarray of int64, shape (n_asked, 4)
        The features that a group asks for, increasing, and where each one's questions begin and end among the group's.
    question_start : ndarray of int64, shape (n_groups + 1,)
    thresholds : ndarray of float32, shape (n_questions,)
    group_start : ndarray of int64, shape (n_groups + 1,)
        Where each group's trees begin.
    tree_operations : ndarray of int64, shape (n_trees + 1,)
        Where each tree's operations begin.
    operations : ndarray of uint16, shape (4 * n_operations,)
        Of each the question among its group's, and three places in the work table, in units of `LANES` entries.
    tree_result : ndarray of int64, shape (n_trees,)
        Where in the work table a tree leaves its result.
    tables : ndarray of int32, shape (n_values, n_trees, width)
        The values of each class.
    work : ndarray of uint8 or uint16
        The work table with its classes filled in, to be copied by every thread.
    first_work_row : int
        Where its rows begin.
    """

    n_features: int
    asked_start: NDArray[np.int64]
    asked: NDArray[np.int64]
    question_start: NDArray[np.int64]
    thresholds: NDArray[np.float32]
    group_start: NDArray[np.int64]
    tree_operations: NDArray[np.int64]
    operations: NDArray[np.uint16]
    tree_result: NDArray[np.int64]
    tables: NDArray[np.int32]
    work: NDArray[np.uint8] | NDArray[np.uint16]
    first_work_row: int

    def __post_init__(self) -> None:
        groups = len(self.group_start) - 1
        for starts, end, least in (
            (self.asked_start, len(self.asked), 1),
            (self.question_start, len(self.thresholds), 1),
            (self.group_start, len(self.tree_result), 1),
        ):
            assert len(starts) == groups + 1, "groups are not numbered alike"
            assert starts[0] == 0, "a group begins too late"
            assert starts[-1] == end, "a group ends elsewhere"
            assert np.all(np.diff(starts) >= least), "a group has nothing"
        sizes = np.diff(self.question_start)
        asked = self.asked
        assert np.all((asked[:, FEATURE] >= 0) & (asked[:, FEATURE] < self.n_features)), "no such feature is there"
        assert np.all(asked[:, FIRST] >= 0), "a feature's questions begin too early"
        assert np.all((asked[:, FIRST] <= asked[:, MIDDLE]) & (asked[:, MIDDLE] <= asked[:, LAST])), "no such questions"
        assert np.all(asked[:, LAST] <= np.repeat(sizes, np.diff(self.asked_start))), "an answer would have no place"
        fields = self.operations.reshape(-1, 4).astype(np.int64)
        of_group = np.diff(self.tree_operations[self.group_start])
        assert np.all(fields[:, QUESTION] < np.repeat(sizes, of_group)), "an operation would read an answer of none"
        wide = np.zeros((len(fields), 8), np.int64)
        for mine, theirs, step in (
            (LEFT, coded.LEFT, coded.LEFT_STEP), (RIGHT, coded.RIGHT, coded.RIGHT_STEP), (WRITE, coded.WRITE, None),
        ):  # fmt: skip
            wide[:, theirs] = fields[:, mine] * LANES
            if step is not None:
                wide[:, step] = np.where(wide[:, theirs] < self.first_work_row, 0, LANES)
        written = np.append(wide[:, coded.WRITE], self.tree_result)
        assert np.all(written >= self.first_work_row), "a result would lie among the classes"
        check_blocks(wide, self.tree_operations, self.tree_result, self.tables, self.work, 0, LANES)

    @classmethod
    def of(cls, forest: Forest, values: NDArray[np.int32]) -> AnsweredForest | None:
        """Compile a forest of splits on single features; `values`, shape (n_nodes, n_values), as for `CodedForest`.

        None where 16 bits are too few for a tree's splits or classes.
        """
        if forest.direction_feature is not None:
            raise ValueError("a forest of oblique splits compares no single features; ObliqueBlocks scores it")
        forest.ensure_valid()
        check_numbers(forest, values, LARGEST)
        feature, leaf_class, class_values = leaf_classes(forest, values)
        n_classes = class_values.shape[1]
        if n_classes > LARGEST_FIELD:
            return None
        tree_operations, wide, nodes, tree_result, work = kernels.compile_trees(
            forest.tree_start, feature, forest.left, leaf_class, 0, LANES, n_classes
        )
        sizes = np.diff(tree_operations)
        if len(work) > LANES * LARGEST_FIELD or sizes.max() > LARGEST_FIELD:
            return None
        group_of_tree = _groups(sizes)
        group_start = _starts(group_of_tree)
        question, told = _questions(
            np.repeat(group_of_tree, sizes), np.maximum(feature[nodes], 0), forest.threshold[nodes],
            forest.missing_left[nodes],
        )  # fmt: skip
        operations = np.empty((len(nodes), 4), np.uint16)
        operations[:, QUESTION] = question
        for mine, theirs in ((LEFT, coded.LEFT), (RIGHT, coded.RIGHT), (WRITE, coded.WRITE)):
            operations[:, mine] = wide[:, theirs] // LANES
        return cls(
            forest.n_features, *told, group_start, tree_operations, operations.reshape(-1), tree_result,
            class_tables(class_values), work.astype(np.uint8 if n_classes <= 256 else np.uint16), n_classes * LANES,
        )  # fmt: skip

    def add_leaf_values(self, X: NDArray[np.float32], total: NDArray[np.float64]) -> None:
        """Add the values of every row's leaf in every tree to `total`, float64 of shape (n_samples, n_values)."""
        X = check_rows(X, self.n_features)
        check_total(total, (len(X), len(self.tables)))
        add_leaf_values(
            X, self.asked_start, self.asked, self.question_start, self.thresholds, self.group_start,
            self.tree_operations, self.operations, self.tree_result, self.tables, own_work(self.work),
            self.first_work_row, total,
        )  # fmt: skip


def _groups(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of each tree's group; a group is full with `LARGEST_GROUP` operations, or with one larger tree."""
    groups, group, room = [], -1, 0
    for size in sizes.tolist():
        if size > room:
            group, room = group + 1, max(LARGEST_GROUP, size)
        groups.append(group)
        room -= size
    return np.array(groups, np.int64)


def _starts(numbers: NDArray[Any]) -> NDArray[np.int64]:
    """Where each of the numbers 0, 1, and so on begins among increasing ones, and the end."""
    return np.searchsorted(numbers, np.arange(int(numbers[-1]) + 2)).astype(np.int64)


def _questions(
    group: NDArray[np.int64],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    missing_left: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """The different questions of each group, and which of its group's each operation asks.

    Returns
    -------
    question : ndarray of int64, shape (n_operations,)
    asked_start, asked, question_start, thresholds : ndarray
        As in `AnsweredForest`.
    """
    order = np.lexsort((threshold, missing_left, feature, group))
    group, feature = group[order], feature[order]
    threshold, missing_left = threshold[order], missing_left[order]
    is_next = np.ones(len(order), np.bool_)
    is_next[1:] = (np.diff(group) != 0) | (np.diff(feature) != 0) | (threshold[1:] != threshold[:-1])
    is_next[1:] |= missing_left[1:] != missing_left[:-1]
    number = np.cumsum(is_next) - 1
    of_question = np.flatnonzero(is_next)
    question_start = _starts(group[of_question])
    question = np.empty(len(order), np.int64)
    question[order] = number - question_start[group]
    group, feature, missing_left = group[of_question], feature[of_question], missing_left[of_question]
    is_first = np.ones(len(group), np.bool_)
    is_first[1:] = (np.diff(group) != 0) | (np.diff(feature) != 0)
    first = np.flatnonzero(is_first)
    last = np.append(first[1:], len(group))
    before = question_start[group[first]]
    asked = np.empty((len(first), 4), np.int64)
    asked[:, FEATURE] = feature[first]
    asked[:, FIRST], asked[:, LAST] = first - before, last - before
    asked[:, MIDDLE] = asked[:, FIRST] + np.add.reduceat(~missing_left, first, dtype=np.int64)
    return question, (_starts(group[first]), asked, question_start, threshold[of_question])
