"""The MLX backend in plain array operations: all trees level by level, a batch of trees and a batch of rows at a
time."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import LEAF, Forest
from mlx_iforest.growth import ATTEMPTS, GrowthPlan
from mlx_iforest.randomness import threefry2x32
from mlx_iforest.scoring import average_path_length

__all__ = ["MLXBackend"]

BATCH_VALUES = 1 << 22
"""Values of one intermediate array, 16 MB of float32: a batch is as many trees, or trees times rows, as fit."""

TREE_BATCH = 32
"""Trees that a batch of rows walks at once."""


class MLXBackend:
    """Grows and scores on MLX's default device."""

    name = "mlx"

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int) -> Forest:
        count = max(1, BATCH_VALUES // (plan.subsample_size * plan.features_per_tree))
        parts = [plan.slice(i, min(count, plan.n_trees - i)) for i in range(0, plan.n_trees, count)]
        return Forest.concatenate([_grow(X, part) for part in parts])

    def path_lengths(
        self, forest: Forest, X: NDArray[np.float32], *, n_threads: int, batch_size: int | None
    ) -> NDArray[np.float64]:
        rows = batch_size or max(1, BATCH_VALUES // min(TREE_BATCH, forest.n_trees))
        arrays = _to_device(forest)
        total = np.empty(len(X))
        for start in range(0, len(X), rows):
            part = mx.array(X[start : start + rows])
            sums = mx.zeros(len(part), mx.float32)
            for first in range(0, forest.n_trees, TREE_BATCH):
                last = min(first + TREE_BATCH, forest.n_trees)
                sums = sums + _walk(arrays, part, first, last, int(forest.tree_depths[first:last].max()))
                mx.eval(sums)
            total[start : start + rows] = np.asarray(sums)
        return total / forest.n_trees + _average(forest)

    def peak_memory(self) -> int | None:
        return int(mx.get_peak_memory())

    def describe(self) -> dict[str, Any]:
        info = mx.device_info() if has_gpu() else {}
        return {"mlx": _version(), "device": str(mx.default_device()), **{str(k): v for k, v in info.items()}}


def _version() -> str:
    return str(getattr(mx, "__version__", "unknown"))


def has_gpu() -> bool:
    """Whether MLX has a GPU here: Metal on Apple silicon, CUDA on NVIDIA."""
    return bool(mx.is_available(mx.gpu))


def _average(forest: Forest) -> np.float32:
    """What to sum path lengths against: float32 sums of differences lose far less than those of the lengths."""
    return np.float32(average_path_length(forest.subsample_size))


def _to_device(forest: Forest) -> dict[str, mx.array]:
    """The forest's arrays on the device; children as indices over all nodes, a leaf being its own child."""
    node = np.arange(forest.n_nodes)
    root = np.repeat(forest.tree_start[:-1], np.diff(forest.tree_start))
    left = np.where(forest.feature >= 0, root + forest.left, node)
    return {
        "root": mx.array(forest.tree_start[:-1].astype(np.int32)),
        "feature": mx.array(np.maximum(forest.feature, 0)),
        "is_split": mx.array(forest.feature >= 0),
        "threshold": mx.array(forest.threshold),
        "left": mx.array(left.astype(np.int32)),
        "missing_left": mx.array(forest.missing_left),
        "surplus": mx.array(forest.path_length - _average(forest)),
    }


def _walk(forest: dict[str, mx.array], X: mx.array, first: int, last: int, depth: int) -> mx.array:
    """Sum over trees [first, last) of what each row's path length is above the average: float32, shape (n_rows,)."""
    n_rows, n_features = X.shape
    values = X.reshape(-1)
    row = mx.arange(n_rows)[None, :] * n_features
    node = mx.broadcast_to(forest["root"][first:last, None], (last - first, n_rows))
    for _ in range(depth):
        x = mx.take(values, row + mx.take(forest["feature"], node))
        goes_left = (x <= mx.take(forest["threshold"], node)) | (mx.isnan(x) & mx.take(forest["missing_left"], node))
        goes_right = mx.logical_not(goes_left) & mx.take(forest["is_split"], node)
        node = mx.take(forest["left"], node) + goes_right.astype(mx.int32)
    return mx.take(forest["surplus"], node).sum(axis=0)


def _grow(X: NDArray[np.float32], plan: GrowthPlan) -> Forest:
    """Grow all trees of a plan at once, level by level.

    What concerns each sample is done by MLX; the few numbers of each node are kept in NumPy. `slot` says in which node
    of the level a sample lies; samples whose node became a leaf lie in one slot too many, which nobody reads.
    """
    n_trees, size = plan.n_trees, plan.subsample_size
    features = plan.features()
    rows = plan.rows()
    sample = mx.array(np.ascontiguousarray(X[rows[:, :, None], features[:, None, :]]).reshape(n_trees * size, -1))
    keys = plan.split_keys()
    slot = mx.array(np.repeat(np.arange(n_trees, dtype=np.int32), size))
    node_tree = np.arange(n_trees)
    node_heap = np.ones(n_trees, np.int64)
    levels: list[tuple[NDArray[Any], ...]] = []
    for depth in range(plan.max_depth + 1):
        n_nodes = len(node_tree)
        count = np.array(mx.zeros(n_nodes + 1, mx.int32).at[slot].add(1))[:-1]
        splittable = (count > 1) & (depth < plan.max_depth)
        column, low, high, word = _choose(sample, slot, splittable, keys[node_tree], node_heap)
        is_split = column >= 0
        threshold = np.where(is_split, _thresholds(low, high, word), np.float32(0))
        if is_split.any():
            goes_left, missing_left = _part(sample, slot, column, threshold, (word & 1).astype(np.bool_), count)
        else:
            goes_left, missing_left = None, np.zeros(n_nodes, np.bool_)
        feature = np.where(is_split, features[node_tree, np.maximum(column, 0)], LEAF)
        levels.append((node_tree, feature, threshold, missing_left & is_split, count))
        if goes_left is None:
            break
        n_split = int(is_split.sum())
        child = np.full(n_nodes + 1, 2 * n_split, np.int32)
        child[:-1][is_split] = 2 * np.arange(n_split, dtype=np.int32)
        start = mx.take(mx.array(child), slot)
        slot = mx.where(start < 2 * n_split, start + mx.logical_not(goes_left).astype(mx.int32), start)
        node_tree = np.repeat(node_tree[is_split], 2)
        node_heap = (2 * node_heap[is_split][:, None] + np.arange(2)).reshape(-1)
    node_tree, feature, threshold, missing_left, count = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    # Levels one after the other, sorted by tree and stable, are each tree's nodes breadth-first.
    order = np.argsort(node_tree, kind="stable")
    return Forest.from_growth(
        plan.n_features,
        np.searchsorted(node_tree[order], np.arange(n_trees + 1)).astype(np.int64),
        feature[order].astype(np.int32),
        threshold[order].astype(np.float32),
        missing_left[order],
        count[order].astype(np.int32),
    )


def _choose(
    sample: mx.array, slot: mx.array, splittable: NDArray[np.bool_], keys: NDArray[np.uint32], heap: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """For each node of the level: the column to split, or -1; its range; and the draw that decides the rest."""
    n_nodes, n_columns = len(splittable), sample.shape[1]
    column = np.full(n_nodes, -1)
    low = np.zeros(n_nodes, np.float32)
    high = np.zeros(n_nodes, np.float32)
    word = np.zeros(n_nodes, np.uint32)

    def settle(nodes: NDArray[np.bool_], candidate: NDArray[np.int64], draw: NDArray[np.uint32]) -> None:
        """Give the candidate column to those of the nodes in which it is not constant."""
        lows, highs = _ranges(sample, slot, candidate)
        good = nodes & (lows < highs)
        column[good], low[good], high[good], word[good] = candidate[good], lows[good], highs[good], draw[good]

    for attempt in range(ATTEMPTS):
        open_nodes = splittable & (column < 0)
        if not open_nodes.any():
            return column, low, high, word
        word0, word1 = _draws(keys, heap, attempt)
        settle(open_nodes, _bounded(word0, n_columns), word1)
    open_nodes = splittable & (column < 0)
    if open_nodes.any():
        ranges = [_ranges(sample, slot, np.full(n_nodes, j)) for j in range(n_columns)]
        splits = np.stack([lows < highs for lows, highs in ranges])
        word0, word1 = _draws(keys, heap, ATTEMPTS)
        target = _bounded(word0, splits.sum(axis=0))
        settle(open_nodes, np.argmax(np.cumsum(splits, axis=0) > target, axis=0), word1)
    return column, low, high, word


def _draws(
    keys: NDArray[np.uint32], heap: NDArray[np.int64], attempt: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    key0, key1 = mx.array(keys[:, 0]), mx.array(keys[:, 1])
    words = threefry2x32(key0, key1, mx.array(heap.astype(np.uint32)), mx.full(len(heap), attempt, mx.uint32))
    return np.array(words[0]), np.array(words[1])


def _bounded(word: NDArray[np.uint32], bound: Any) -> NDArray[np.int64]:
    return ((word.astype(np.uint64) * np.asarray(bound).astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


def _ranges(
    sample: mx.array, slot: mx.array, column: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Smallest and largest value present in each node's column; an empty range has low > high."""
    x, missing = _values(sample, slot, column)
    n_nodes = len(column)
    lows = mx.full(n_nodes + 1, float("inf"), mx.float32).at[slot].minimum(mx.where(missing, float("inf"), x))
    highs = mx.full(n_nodes + 1, float("-inf"), mx.float32).at[slot].maximum(mx.where(missing, float("-inf"), x))
    return np.array(lows)[:-1], np.array(highs)[:-1]


def _values(sample: mx.array, slot: mx.array, column: NDArray[np.int64]) -> tuple[mx.array, mx.array]:
    """Each sample's value in the column of its node, and whether it is missing."""
    per_node = mx.array(np.append(np.maximum(column, 0), 0).astype(np.int32))
    x = mx.take_along_axis(sample, mx.take(per_node, slot)[:, None], axis=1)[:, 0]
    return x, mx.isnan(x)


def _thresholds(low: NDArray[np.float32], high: NDArray[np.float32], word: NDArray[np.uint32]) -> NDArray[np.float32]:
    """`reference.draw_threshold` in MLX; operations are not compiled, so no multiplication and addition fuse."""
    lows, highs = mx.array(low), mx.array(high)
    u = (mx.array(word) >> 8).astype(mx.float32) * (2.0**-24)
    threshold = 2.0 * (lows * 0.5 + u * (highs * 0.5 - lows * 0.5))
    threshold = mx.where((threshold < lows) | (threshold >= highs), lows, threshold)
    return np.array(threshold + 0.0)


def _part(
    sample: mx.array,
    slot: mx.array,
    column: NDArray[np.int64],
    threshold: NDArray[np.float32],
    to_left: NDArray[np.bool_],
    count: NDArray[np.int32],
) -> tuple[mx.array, NDArray[np.bool_]]:
    """Which samples go left; and for each node where missing values go."""
    n_nodes = len(column)
    x, missing = _values(sample, slot, column)
    threshold_of, to_left_of = mx.array(np.append(threshold, np.float32(0))), mx.array(np.append(to_left, False))
    goes_left = (x <= mx.take(threshold_of, slot)) | (missing & mx.take(to_left_of, slot))
    zeros = mx.zeros(n_nodes + 1, mx.int32)
    n_left = np.array(zeros.at[slot].add(goes_left.astype(mx.int32)))[:-1]
    n_missing = np.array(zeros.at[slot].add(missing.astype(mx.int32)))[:-1]
    return goes_left, np.where(n_missing > 0, to_left, 2 * n_left >= count)
