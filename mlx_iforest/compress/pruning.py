"""Pruning: a smaller model whose scores stay within a proven bound of the old ones."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.compress.collapsing import Collapsed, collapse
from mlx_iforest.compress.quantization import stored_bytes
from mlx_iforest.forest import LEAF_VALUES, Forest
from mlx_iforest.model import FittedModel
from mlx_iforest.performance import PruningReport
from mlx_iforest.score_function import Part, ScoreFunction

__all__ = ["prune"]

Matrix = Any
"""Valid rows: a float32 array in C order, or a float32 CSR matrix."""

CHOOSING_ROWS = 2000
"""Validation rows, at most half of them, by which trees are chosen. All of them verify the choice: those that chose
know too well what they chose."""

TIMED_ROWS = 100_000
"""Validation rows that are scored for the rates."""

REPEATS = 3
"""Of each timing; the median counts."""


def prune(model: FittedModel, tolerance: float, X: Matrix | None) -> FittedModel:
    """`BaseIsolationForest.prune` of valid rows.

    Nodes go first. The number that a row's score is made of is a mean over trees, or a soft minimum of such means,
    which moves no further than the mean that moves most. So where the leaf values of tree t move by at most d(t), the
    number moves by at most sum(d) / n_trees in each part, and the score by what the score function makes of such a step
    at its steepest point within reach. `collapse` shares the sum that is left by the tolerance out among the trees.
    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be a number in [0, 1), the most that a score may change; got {tolerance!r}")
    tolerance = float(tolerance)
    how = model.function
    whole = [_collapsed(model.forest, part, 0.0) for part in how.parts]
    low, high = _reach(how, whole)
    step = how.largest_step(low, high, tolerance)
    collapsed = [_collapsed(model.forest, part, step) for part in how.parts]
    kept = [np.ones(part.forest.n_trees, np.bool_) for part in collapsed]
    pruned = _with_kept(model, collapsed, kept)
    measured: dict[str, Any] = {}
    if X is not None:
        before = model.score(X)
        kept, pruned = _fewer_trees(model, how, collapsed, X, before, tolerance)
        measured["rows"] = X.shape[0]
        measured["largest_change"] = float(np.max(np.abs(pruned.score(X) - before), initial=0.0))
        measured["rows_per_second_before"], measured["rows_per_second_after"] = _rates([model, pruned], X)
    report = PruningReport(
        tolerance=tolerance,
        nodes_before=model.forest.n_nodes,
        nodes_after=pruned.forest.n_nodes,
        trees_before=model.forest.n_trees,
        trees_after=pruned.forest.n_trees,
        bytes_before=stored_bytes(model.forest, model.quantized_bits),
        bytes_after=stored_bytes(pruned.forest, model.quantized_bits),
        bound=_bound(how, collapsed, kept),
        **measured,
    )
    return pruned._replace(pruned=True, pruning=report)


def _weights(forest: Forest, part: Part) -> dict[str, NDArray[np.float64]]:
    """Of all of the forest's leaf values, those that count for nothing too."""
    unused = np.zeros(len(part.views))
    return {name: part.weights.get(name, unused) for name in LEAF_VALUES if name in forest.arrays()}


def _collapsed(forest: Forest, part: Part, step: float) -> Collapsed:
    return collapse(forest.trees(part.first, part.stop), _weights(forest, part), step * (part.stop - part.first))


def _with_kept(model: FittedModel, collapsed: Sequence[Collapsed], kept: Sequence[NDArray[np.bool_]]) -> FittedModel:
    """The model with the trees that are kept of each part."""
    parts = []
    for part, keeps in zip(collapsed, kept, strict=True):
        trees = [part.forest.trees(tree, tree + 1) for tree in np.flatnonzero(keeps).tolist()]
        parts.append(part.forest if keeps.all() else Forest.concatenate(trees))
    return model.with_forest(Forest.concatenate(parts), model.function.with_sizes([part.n_trees for part in parts]))


def _tree_extremes(
    part: Collapsed, high: NDArray[np.float64], low: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each tree, the largest of `high` and the smallest of `low` among its leaves; shape (n_trees, n_columns)."""
    starts, inner = part.forest.tree_start[:-1], (part.forest.feature >= 0)[:, None]
    largest = np.maximum.reduceat(np.where(inner, -np.inf, high), starts)
    return largest, np.minimum.reduceat(np.where(inner, np.inf, low), starts)


def _reach(how: ScoreFunction, collapsed: Sequence[Collapsed]) -> tuple[float, float]:
    """Ends of the range of the number that scores are made of, over all rows, before trees collapsed."""
    lows, highs = [], []
    for part, trees in zip(how.parts, collapsed, strict=True):
        largest, smallest = _tree_extremes(trees, trees.highest, trees.lowest)
        lows.append(part.offset + smallest.mean(axis=0))
        highs.append(part.offset + largest.mean(axis=0))
    low, high = how.combine(np.stack([np.concatenate(lows), np.concatenate(highs)]))
    return float(low), float(high)


def _bound(how: ScoreFunction, collapsed: Sequence[Collapsed], kept: Sequence[NDArray[np.bool_]]) -> float:
    """The most that any row's score changed.

    The mean of `n` trees' old values v and of `k` kept trees' new values w differ by the sum over kept trees of
    w / k - v / n, less the sum over the others of v / n; each term is largest at some leaf of its tree.
    """
    ends: list[list[NDArray[np.float64]]] = [[], []]
    step = 0.0
    for part, trees, keeps in zip(how.parts, collapsed, kept, strict=True):
        n, k = len(keeps), int(keeps.sum())
        new = np.where(np.repeat(keeps, np.diff(trees.forest.tree_start))[:, None], trees.values / k, 0.0)
        up, down = _tree_extremes(trees, new - trees.lowest / n, new - trees.highest / n)
        step = max(step, float(up.sum(axis=0).max()), float(-down.sum(axis=0).min()))
        highest, lowest = _tree_extremes(trees, trees.highest, trees.lowest)
        new_highest, new_lowest = (extreme.sum(axis=0) for extreme in _tree_extremes(trees, new, new))
        ends[0].append(part.offset + np.minimum(lowest.mean(axis=0), new_lowest))
        ends[1].append(part.offset + np.maximum(highest.mean(axis=0), new_highest))
    low, high = how.combine(np.stack([np.concatenate(end) for end in ends]))
    return how.largest_change(float(low), float(high), step)


def _fewer_trees(
    model: FittedModel,
    how: ScoreFunction,
    collapsed: Sequence[Collapsed],
    X: Matrix,
    before: NDArray[np.float64],
    tolerance: float,
) -> tuple[list[NDArray[np.bool_]], FittedModel]:
    """Which trees to keep, and the model of them: as few as some rows suggest and all rows confirm."""
    order = _redundant_trees(model, how, collapsed, X, tolerance)

    def without(n_removed: int) -> tuple[list[NDArray[np.bool_]], FittedModel]:
        kept = [np.ones(part.forest.n_trees, np.bool_) for part in collapsed]
        for place, tree in order[:n_removed]:
            kept[place][tree] = False
        return kept, _with_kept(model, collapsed, kept)

    # With no tree removed the bound is proven; halving finds a number that all rows confirm.
    fits, too_many = 0, len(order) + 1
    best = without(0)
    n_removed = len(order)
    while fits < n_removed < too_many:
        kept, pruned = without(n_removed)
        if np.max(np.abs(pruned.score(X) - before), initial=0.0) <= tolerance:
            fits, best = n_removed, (kept, pruned)
        else:
            too_many = n_removed
        n_removed = (fits + too_many) // 2
    return best


def _redundant_trees(
    model: FittedModel, how: ScoreFunction, collapsed: Sequence[Collapsed], X: Matrix, tolerance: float
) -> list[tuple[int, int]]:
    """Part and number of the trees that can go, one after the other, while scores of some rows stay near enough.

    Each time the tree goes without which the largest change is smallest, changes of scores taken to be proportional to
    those of the means; then the change is worked out in full.
    """
    rows = X[:: max(2, -(-X.shape[0] // CHOOSING_ROWS))]
    tables = []
    for part, trees in zip(how.parts, collapsed, strict=True):
        weights = _weights(trees.forest, part)
        weight = np.stack(list(weights.values()))
        leaves = np.stack([getattr(trees.forest, name) for name in weights], axis=1)
        single = [
            model.resources.leaf_means(
                trees.forest.trees(t, t + 1), leaves[slice(*trees.forest.tree_start[t : t + 2])], rows
            )
            for t in range(trees.forest.n_trees)
        ]
        tables.append(np.stack(single) @ weight + part.offset)
    before = model.score(rows)
    means = [table.mean(axis=0) for table in tables]
    slopes = _slopes(how, means)
    change = how.scores(np.concatenate(means, axis=1)) - before
    kept = [list(range(len(table))) for table in tables]
    order: list[tuple[int, int]] = []
    while True:
        best = (math.inf, 0, 0)
        for place, (table, trees_left) in enumerate(zip(tables, kept, strict=True)):
            if len(trees_left) > 1:
                moved = (means[place] - table[trees_left]) / (len(trees_left) - 1)
                worst = np.abs(change + (moved * slopes[place]).sum(axis=2)).max(axis=1)
                tree = int(worst.argmin())
                best = min(best, (float(worst[tree]), place, trees_left[tree]))
        _, place, tree = best
        if math.isinf(best[0]):
            return order
        kept[place].remove(tree)
        means[place] = tables[place][kept[place]].mean(axis=0)
        change = how.scores(np.concatenate(means, axis=1)) - before
        if np.abs(change).max() > tolerance:
            return order
        order.append((place, tree))


def _slopes(how: ScoreFunction, means: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """By how much each row's score rises with each column of each part."""
    columns, step = np.concatenate(means, axis=1), 1e-4
    shifts = np.eye(columns.shape[1]) * step
    slopes = [(how.scores(columns + shift) - how.scores(columns - shift)) / (2 * step) for shift in shifts]
    return np.split(np.stack(slopes, axis=1), np.cumsum([mean.shape[1] for mean in means])[:-1], axis=1)


def _rates(models: Sequence[FittedModel], X: Matrix) -> list[float]:
    """Rows a second of each model, which take turns."""
    rows = X[:TIMED_ROWS]
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(REPEATS + 1):
        for model, taken in zip(models, seconds, strict=True):
            began = time.perf_counter()
            model.score(rows)
            taken.append(time.perf_counter() - began)
    # The first round pays for what is made once.
    return [rows.shape[0] / statistics.median(taken[1:]) for taken in seconds]
