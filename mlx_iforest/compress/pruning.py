"""Pruning: a smaller model whose scores stay within a proven bound of the old ones."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.compress.collapsing import Collapsed, collapse
from mlx_iforest.forest import Forest
from mlx_iforest.scoring import Spread

if TYPE_CHECKING:
    from mlx_iforest.base import BaseIsolationForest, Matrix

__all__ = ["Part", "PruningReport", "ScoreParts", "prune"]

CHOOSING_ROWS = 2000
"""Validation rows, at most half of them, by which trees are chosen. All of them verify the choice: those that chose
know too well what they chose."""

TIMED_ROWS = 100_000
"""Validation rows that are scored for the rates."""

REPEATS = 3
"""Of each timing; the median counts."""

Model = TypeVar("Model", bound="BaseIsolationForest")


@dataclass(frozen=True)
class Part:
    """Trees whose leaf values are averaged together, and the columns that are made of the averages.

    Parameters
    ----------
    first, stop : int
        The trees.
    weights : dict of name to ndarray of float64, shape (n_columns,)
        Of each of the forest's leaf values, its weight in each column.
    offset : ndarray of float64, shape (n_columns,)
    """

    first: int
    stop: int
    weights: dict[str, NDArray[np.float64]]
    offset: NDArray[np.float64]

    @property
    def used(self) -> list[str]:
        """The leaf values that count for something."""
        return [name for name, weights in self.weights.items() if weights.any()]

    @classmethod
    def of(
        cls, first: int, stop: int, names: Sequence[str], columns: Sequence[Sequence[tuple[str, Spread | None]]]
    ) -> Part:
        """Columns that are each the mean of some leaf values, standardised where a spread is given.

        Parameters
        ----------
        names : sequence of str
            All leaf values that the forest has.
        """
        weights = {name: np.zeros(len(columns)) for name in names}
        offset = np.zeros(len(columns))
        for column, terms in enumerate(columns):
            for name, spread in terms:
                median, deviation = (0.0, 1.0) if spread is None else (spread.median, spread.deviation)
                weights[name][column] += 1 / (deviation * len(terms))
                offset[column] -= median / (deviation * len(terms))
        return cls(first, stop, weights, offset)


@dataclass(frozen=True)
class ScoreParts:
    """How a model makes scores of its trees' leaf values.

    Parameters
    ----------
    parts : sequence of Part
    combine : callable
        From all parts' columns, shape (n_samples, n_columns), to one number a row. It never falls where a column rises,
        and moves no further than the column that moves most.
    score : callable
        From that number to the score. It never falls, and is the less steep the further away from `steepest`.
    steepest : float
        May be infinite.
    gradient : callable
        From the columns to the derivative of the score by each, of the same shape.
    """

    parts: Sequence[Part]
    combine: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    steepest: float
    gradient: Callable[[NDArray[np.float64]], NDArray[np.float64]]

    def scores(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.score(self.combine(columns))

    def largest_change(self, low: float, high: float, step: float) -> float:
        """The most that a score changes between two numbers in [low, high] that are `step` apart or closer."""
        step = min(step, high - low)
        start = float(np.clip(self.steepest - step / 2, low, high - step))
        before, after = self.score(np.array([start, start + step]))
        return float(after - before)

    def largest_step(self, low: float, high: float, change: float) -> float:
        """How far numbers in [low, high] may move without changing any score by more than `change`."""
        if self.largest_change(low, high, high - low) <= change:
            return math.inf
        if change == 0:
            return 0.0
        fits, too_far = 0.0, high - low
        while fits < (middle := (fits + too_far) / 2) < too_far:
            fits, too_far = (middle, too_far) if self.largest_change(low, high, middle) <= change else (fits, middle)
        # A hair less, so that no rounding of a sum over the trees brings the bound above the tolerance.
        return fits * (1 - 1e-9)


@dataclass(frozen=True)
class PruningReport:
    """What pruning took away, and what it may have changed.

    Attributes
    ----------
    tolerance : float
        The change of a score that was allowed.
    nodes_before, nodes_after, trees_before, trees_after, bytes_before, bytes_after : int
        Bytes are those of the forest as it is stored.
    bound : float
        Proven: no row's score changed by more, whatever the row, apart from float32 rounding (below 1e-6). At most
        `tolerance` unless trees were removed.
    rows : int
        Validation rows; 0 where none were given, and then all that follows is None.
    largest_change : float or None
        Largest change of a score among the validation rows. At most `tolerance`, and at most `bound`.
    rows_per_second_before, rows_per_second_after : float or None
        Measured on at most `TIMED_ROWS` validation rows.
    """

    tolerance: float
    nodes_before: int
    nodes_after: int
    trees_before: int
    trees_after: int
    bytes_before: int
    bytes_after: int
    bound: float
    rows: int = 0
    largest_change: float | None = None
    rows_per_second_before: float | None = None
    rows_per_second_after: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """All figures, for a report."""
        return asdict(self)

    def __str__(self) -> str:
        counts = (
            (self.nodes_before, self.nodes_after, "nodes"),
            (self.trees_before, self.trees_after, "trees"),
            (self.bytes_before, self.bytes_after, "bytes"),
        )
        size = ", ".join(f"{before:,} -> {after:,} {what}" for before, after, what in counts)
        lines = [f"{size}.", f"No score of any row changes by more than {self.bound:.2g} (proven)."]
        if self.largest_change is not None:
            lines.append(f"The largest change on the {self.rows:,} rows given is {self.largest_change:.2g}.")
        if self.bound > self.tolerance:
            lines.append(f"Only what these rows show keeps changes within {self.tolerance:g}: trees were removed.")
        if self.rows_per_second_before and self.rows_per_second_after:
            ratio = self.rows_per_second_after / self.rows_per_second_before
            lines.append(f"{self.rows_per_second_after:,.0f} rows a second, {ratio:.2f} times as many as before.")
        return " ".join(lines)


def prune(model: Model, tolerance: float, X: Matrix | None) -> tuple[Model, PruningReport]:
    """`BaseIsolationForest.prune` of valid rows.

    Nodes go first. The number that a row's score is made of is a mean over trees, or a soft minimum of such means,
    which moves no further than the mean that moves most. So where the leaf values of tree t move by at most d(t), the
    number moves by at most sum(d) / n_trees in each part, and the score by what the score function makes of such a step
    at its steepest point within reach. `collapse` shares the sum that is left by the tolerance out among the trees.
    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be a number in [0, 1), the most that a score may change; got {tolerance!r}")
    tolerance = float(tolerance)
    how = model._score_parts()
    whole = [collapse(model.forest_.trees(part.first, part.stop), part.weights, 0.0) for part in how.parts]
    low, high = _reach(how, whole)
    step = how.largest_step(low, high, tolerance)
    collapsed = [
        collapse(model.forest_.trees(part.first, part.stop), part.weights, step * (part.stop - part.first))
        for part in how.parts
    ]
    kept = [np.ones(part.forest.n_trees, np.bool_) for part in collapsed]
    pruned = _with_kept(model, collapsed, kept)
    measured: dict[str, Any] = {}
    if X is not None:
        before = model._score_rows(X)
        kept, pruned = _fewer_trees(model, how, collapsed, X, before, tolerance)
        measured["rows"] = X.shape[0]
        measured["largest_change"] = float(np.max(np.abs(pruned._score_rows(X) - before), initial=0.0))
        measured["rows_per_second_before"], measured["rows_per_second_after"] = _rates([model, pruned], X)
    return pruned, PruningReport(
        tolerance=tolerance,
        nodes_before=model.forest_.n_nodes,
        nodes_after=pruned.forest_.n_nodes,
        trees_before=model.forest_.n_trees,
        trees_after=pruned.forest_.n_trees,
        bytes_before=model.model_bytes(),
        bytes_after=pruned.model_bytes(),
        bound=_bound(how, collapsed, kept),
        **measured,
    )


def _with_kept(model: Model, collapsed: Sequence[Collapsed], kept: Sequence[NDArray[np.bool_]]) -> Model:
    """The model with the trees that are kept of each part."""
    parts = []
    for part, keeps in zip(collapsed, kept, strict=True):
        trees = [part.forest.trees(tree, tree + 1) for tree in np.flatnonzero(keeps).tolist()]
        parts.append(part.forest if keeps.all() else Forest.concatenate(trees))
    return model._with_parts(parts)


def _tree_extremes(
    part: Collapsed, high: NDArray[np.float64], low: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each tree, the largest of `high` and the smallest of `low` among its leaves; shape (n_trees, n_columns)."""
    starts, inner = part.forest.tree_start[:-1], (part.forest.feature >= 0)[:, None]
    largest = np.maximum.reduceat(np.where(inner, -np.inf, high), starts)
    return largest, np.minimum.reduceat(np.where(inner, np.inf, low), starts)


def _reach(how: ScoreParts, collapsed: Sequence[Collapsed]) -> tuple[float, float]:
    """Ends of the range of the number that scores are made of, over all rows, before trees collapsed."""
    lows, highs = [], []
    for part, trees in zip(how.parts, collapsed, strict=True):
        largest, smallest = _tree_extremes(trees, trees.highest, trees.lowest)
        lows.append(part.offset + smallest.mean(axis=0))
        highs.append(part.offset + largest.mean(axis=0))
    low, high = how.combine(np.stack([np.concatenate(lows), np.concatenate(highs)]))
    return float(low), float(high)


def _bound(how: ScoreParts, collapsed: Sequence[Collapsed], kept: Sequence[NDArray[np.bool_]]) -> float:
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
    model: Model,
    how: ScoreParts,
    collapsed: Sequence[Collapsed],
    X: Matrix,
    before: NDArray[np.float64],
    tolerance: float,
) -> tuple[list[NDArray[np.bool_]], Model]:
    """Which trees to keep, and the model of them: as few as some rows suggest and all rows confirm."""
    order = _redundant_trees(model, how, collapsed, X, tolerance)

    def without(n_removed: int) -> tuple[list[NDArray[np.bool_]], Model]:
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
        if np.max(np.abs(pruned._score_rows(X) - before), initial=0.0) <= tolerance:
            fits, best = n_removed, (kept, pruned)
        else:
            too_many = n_removed
        n_removed = (fits + too_many) // 2
    return best


def _redundant_trees(
    model: BaseIsolationForest, how: ScoreParts, collapsed: Sequence[Collapsed], X: Matrix, tolerance: float
) -> list[tuple[int, int]]:
    """Part and number of the trees that can go, one after the other, while scores of some rows stay near enough.

    Each time the tree goes without which the largest change is smallest, changes of scores taken to be proportional to
    those of the means; then the change is worked out in full.
    """
    rows = X[:: max(2, -(-X.shape[0] // CHOOSING_ROWS))]
    tables = []
    for part, trees in zip(how.parts, collapsed, strict=True):
        weight = np.stack([part.weights[name] for name in part.weights])
        leaves = np.stack([getattr(trees.forest, name) for name in part.weights], axis=1)
        single = [
            model._leaf_means(trees.forest.trees(t, t + 1), leaves[slice(*trees.forest.tree_start[t : t + 2])], rows)
            for t in range(trees.forest.n_trees)
        ]
        tables.append(np.stack(single) @ weight + part.offset)
    before = model._score_rows(rows)
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


def _slopes(how: ScoreParts, means: Sequence[NDArray[np.float64]], step: float = 1e-4) -> list[NDArray[np.float64]]:
    """By how much each row's score rises with each column of each part."""
    columns = np.concatenate(means, axis=1)
    shifts = np.eye(columns.shape[1]) * step
    slopes = [(how.scores(columns + shift) - how.scores(columns - shift)) / (2 * step) for shift in shifts]
    return np.split(np.stack(slopes, axis=1), np.cumsum([mean.shape[1] for mean in means])[:-1], axis=1)


def _rates(models: Sequence[BaseIsolationForest], X: Matrix) -> list[float]:
    """Rows a second of each model, which take turns."""
    rows = X[:TIMED_ROWS]
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(REPEATS + 1):
        for model, taken in zip(models, seconds, strict=True):
            began = time.perf_counter()
            model._score_rows(rows)
            taken.append(time.perf_counter() - began)
    # The first round pays for what is made once.
    return [rows.shape[0] / statistics.median(taken[1:]) for taken in seconds]
