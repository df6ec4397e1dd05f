"""The MLX backend in plain array operations: all trees level by level, a batch of trees and a batch of rows at a
time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.base import device_errors
from mlx_iforest.backends.fixed_point import whole_numbers
from mlx_iforest.backends.mlx import growth as mlx_growth
from mlx_iforest.backends.mlx.launch import LOCK
from mlx_iforest.backends.mlx.scoring import batch_rows, kernel_scorer
from mlx_iforest.backends.mlx.simd import has_simd
from mlx_iforest.forest import LARGEST_INT32, LEAF, Forest
from mlx_iforest.growth import ATTEMPTS, TINY, GrowthPlan
from mlx_iforest.kernel_input import check_rows, check_values
from mlx_iforest.randomness import bounded, threefry2x32

__all__ = ["MLXBackend"]

BATCH_VALUES = 1 << 22
"""Values of one intermediate array, 16 MB of float32: a batch is as many trees, or trees times rows, as fit."""

TREE_BATCH = 32
"""Trees that a batch of rows walks at once."""


class MLXBackend:
    """Grows and scores on MLX's default device."""

    name = "mlx"

    def piece_rows(self, n_rows: int, n_features: int, n_threads: int) -> int | None:
        return batch_rows(n_rows, n_features, n_threads) if uses_gpu() else None

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int) -> Forest:
        if uses_gpu() and mlx_growth.is_grown_by_kernel(plan):
            X = plan.check_rows(X)
            return mlx_growth.grow(X, plan, n_threads=n_threads)
        return self.grow_by_operations(X, plan)

    def grow_by_operations(self, X: NDArray[np.float32], plan: GrowthPlan) -> Forest:
        """`grow` without kernels, on any device of MLX."""
        X = plan.check_rows(X)
        count = max(1, BATCH_VALUES // (plan.subsample_size * plan.features_per_tree))
        parts = [plan.slice(i, min(count, plan.n_trees - i)) for i in range(0, plan.n_trees, count)]
        with device_errors(f"growing {plan.n_trees} trees"):
            return Forest.concatenate([_grow(X, part) for part in parts])

    def leaf_means(self, forest: Forest, values: NDArray[np.float32], X: NDArray[np.float32]) -> NDArray[np.float64]:
        scorer = kernel_scorer(forest, values) if uses_gpu() else None
        if scorer is not None:
            return scorer.means(np.ascontiguousarray(X))
        with LOCK, device_errors(f"scoring {len(X)} rows"):
            return self.means_by_operations(forest, values, X)

    def means_by_operations(
        self, forest: Forest, values: NDArray[np.float32], X: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """`leaf_means` without kernels, on any device of MLX; those of the CPU, bit for bit.

        Values are whole numbers (see `fixed_point`), below 2**24: those of a batch of trees add up within 32 bits.
        """
        forest.ensure_valid()
        check_values(forest, values)
        X = check_rows(X, forest.n_features)
        # A row's values are found by 32 bits.
        rows = max(1, min(BATCH_VALUES // min(TREE_BATCH, forest.n_trees), LARGEST_INT32 // forest.n_features))
        unit, numbers = whole_numbers(values)
        arrays = _to_device(forest, numbers)
        total = np.zeros((len(X), values.shape[1]))
        for start in range(0, len(X), rows):
            part = mx.array(X[start : start + rows])
            for first in range(0, forest.n_trees, TREE_BATCH):
                last = min(first + TREE_BATCH, forest.n_trees)
                sums = _walk(arrays, part, first, last, int(forest.tree_depths[first:last].max()))
                total[start : start + rows] += np.asarray(sums)
        total *= unit / forest.n_trees
        return total

    def peak_memory(self) -> int | None:
        return int(mx.get_peak_memory())

    def describe(self) -> dict[str, Any]:
        about: dict[str, Any] = {"mlx": _version(), "device": str(mx.default_device())}
        if has_gpu():
            about |= {str(name): value for name, value in mx.device_info().items()}
        if uses_gpu():
            about["simd_operations"] = has_simd()
        return about


def _version() -> str:
    return str(getattr(mx, "__version__", "unknown"))


def uses_gpu() -> bool:
    """Whether the GPU does the work: it is there, and not turned down by `mx.set_default_device`."""
    return bool(mx.default_device().type == mx.gpu)


def has_gpu() -> bool:
    """Whether MLX has a GPU here: Metal on Apple silicon, CUDA on NVIDIA."""
    return bool(mx.is_available(mx.gpu))


def _to_device(forest: Forest, values: NDArray[np.int32]) -> dict[str, mx.array]:
    """The forest's arrays on the device; children as indices over all nodes, a leaf being its own child."""
    node = np.arange(forest.n_nodes)
    root = np.repeat(forest.tree_start[:-1], np.diff(forest.tree_start))
    left = np.where(forest.feature >= 0, root + forest.left, node)
    arrays = {
        "root": mx.array(forest.tree_start[:-1].astype(np.int32)),
        "feature": mx.array(np.maximum(forest.feature, 0)),
        "is_split": mx.array(forest.feature >= 0),
        "threshold": mx.array(forest.threshold),
        "left": mx.array(left.astype(np.int32)),
        "missing_left": mx.array(forest.missing_left),
        "value": mx.array(values),
    }
    if forest.direction_feature is not None and forest.direction_weight is not None:
        arrays["direction_feature"] = mx.array(forest.direction_feature)
        arrays["direction_weight"] = mx.array(forest.direction_weight)
    return arrays


def _walk(forest: dict[str, mx.array], X: mx.array, first: int, last: int, depth: int) -> mx.array:
    """Sums over trees [first, last) of the values of each row's leaf: int32, shape (n_rows, n_values)."""
    n_rows, n_features = X.shape
    flat = X.reshape(-1)
    row = mx.arange(n_rows)[None, :] * n_features
    node = mx.broadcast_to(forest["root"][first:last, None], (last - first, n_rows))
    for _ in range(depth):
        if "direction_feature" in forest:
            x = mx.zeros(node.shape, mx.float32)
            for k in range(forest["direction_feature"].shape[1]):
                feature = mx.take(forest["direction_feature"][:, k], node)
                x = x + mx.take(flat, row + feature) * mx.take(forest["direction_weight"][:, k], node)
        else:
            x = mx.take(flat, row + mx.take(forest["feature"], node))
        goes_left = (x <= mx.take(forest["threshold"], node)) | (mx.isnan(x) & mx.take(forest["missing_left"], node))
        goes_right = mx.logical_not(goes_left) & mx.take(forest["is_split"], node)
        node = mx.take(forest["left"], node) + goes_right.astype(mx.int32)
    return mx.take(forest["value"], node, axis=0).sum(axis=0)


@dataclass
class _Splits:
    """What the nodes of a level draw; columns are -1 where nothing can be split, a plain split has one weight, 1."""

    columns: NDArray[np.int64]
    weights: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    word: NDArray[np.uint32]

    @classmethod
    def none(cls, n_nodes: int, width: int) -> _Splits:
        return cls(
            np.full((n_nodes, width), -1),
            np.zeros((n_nodes, width), np.float32),
            np.zeros(n_nodes, np.float32),
            np.zeros(n_nodes, np.float32),
            np.zeros(n_nodes, np.uint32),
        )

    def __setitem__(self, nodes: NDArray[np.bool_], other: _Splits) -> None:
        for name in ("columns", "weights", "low", "high", "word"):
            getattr(self, name)[nodes] = getattr(other, name)[nodes]

    @property
    def found(self) -> NDArray[np.bool_]:
        return self.columns[:, 0] >= 0


class _Level:
    """All trees' nodes of one depth, with the samples that lie in them.

    What concerns each sample is done by MLX; the few numbers of each node are kept in NumPy. `slot` says in which node
    of the level a sample lies; samples whose node became a leaf lie in one slot too many, which nobody reads.
    """

    def __init__(
        self,
        sample: mx.array,
        slot: mx.array,
        tree: NDArray[np.int64],
        heap: NDArray[np.int64],
        keys: NDArray[np.uint32],
    ) -> None:
        self.sample, self.slot, self.tree, self.heap = sample, slot, tree, heap
        self.keys = keys[tree]
        self.n_nodes, self.n_columns = len(tree), sample.shape[1]
        self.count = self._per_node(mx.ones(slot.shape, mx.int32))

    def _per_node(self, counted: mx.array) -> NDArray[np.int32]:
        return np.array(mx.zeros(self.n_nodes + 1, mx.int32).at[self.slot].add(counted))[:-1]

    def draws(self, attempt: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        key0, key1 = mx.array(self.keys[:, 0]), mx.array(self.keys[:, 1])
        node, number = mx.array(self.heap.astype(np.uint32)), mx.full(self.n_nodes, attempt, mx.uint32)
        word0, word1 = threefry2x32(key0, key1, node, number)
        return np.array(word0), np.array(word1)

    def values(self, columns: NDArray[np.int64], weights: NDArray[np.float32]) -> mx.array:
        """Each sample's value along the direction of its node; a single weight is 1 and not multiplied with."""
        plain = columns.shape[1] == 1
        total = mx.zeros(self.slot.shape, mx.float32)
        for k in range(columns.shape[1]):
            column = mx.array(np.append(np.maximum(columns[:, k], 0), 0).astype(np.int32))
            x = mx.take_along_axis(self.sample, mx.take(column, self.slot)[:, None], axis=1)[:, 0]
            if plain:
                return x
            total = total + x * mx.take(mx.array(np.append(weights[:, k], np.float32(0))), self.slot)
        return total

    def ranges(self, x: mx.array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Smallest and largest value present in each node; an empty range has low > high."""
        missing = mx.isnan(x)
        infinity = mx.full(self.n_nodes + 1, float("inf"), mx.float32)
        lows = infinity.at[self.slot].minimum(mx.where(missing, float("inf"), x))
        highs = (-infinity).at[self.slot].maximum(mx.where(missing, float("-inf"), x))
        return np.array(lows)[:-1], np.array(highs)[:-1]

    def all_ranges(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of every column: shape (n_columns, n_nodes) each."""
        ranges = [self.ranges(self.sample[:, j]) for j in range(self.n_columns)]
        return np.stack([low for low, _ in ranges]), np.stack([high for _, high in ranges])

    def choose(self, splittable: NDArray[np.bool_]) -> _Splits:
        """A column for each node, drawn among those that are not constant in it."""
        splits = _Splits.none(self.n_nodes, 1)

        def settle(columns: NDArray[np.int64], word: NDArray[np.uint32]) -> None:
            low, high = self.ranges(self.values(columns[:, None], np.ones((1, 1), np.float32)))
            ones = np.ones((self.n_nodes, 1), np.float32)
            good = splittable & ~splits.found & (low < high)
            splits[good] = _Splits(columns[:, None], ones, low, high, word)

        for attempt in range(ATTEMPTS):
            if not (splittable & ~splits.found).any():
                return splits
            word0, word1 = self.draws(attempt)
            settle(bounded(word0, self.n_columns), word1)
        if (splittable & ~splits.found).any():
            low, high = self.all_ranges()
            cumulative = np.cumsum(low < high, axis=0)
            word0, word1 = self.draws(ATTEMPTS)
            settle(np.argmax(cumulative > bounded(word0, cumulative[-1]), axis=0), word1)
        return splits

    def project(self, splittable: NDArray[np.bool_], width: int) -> _Splits:
        """A direction for each node in `width` columns, or all that are not constant in it, if fewer."""
        lows, highs = self.all_ranges()
        remaining = lows < highs
        columns = np.zeros((self.n_nodes, width), np.int64)
        weights = np.zeros((self.n_nodes, width), np.float32)
        node = np.arange(self.n_nodes)
        for k in range(width):
            word0, word1 = self.draws(ATTEMPTS + 1 + k)
            left = remaining.sum(axis=0)
            column = np.argmax(np.cumsum(remaining, axis=0) > bounded(word0, left), axis=0)
            chosen = left > 0
            columns[:, k] = np.where(chosen, column, columns[:, 0])
            low, high = (np.where(chosen, of[column, node], np.float32(0)) for of in (lows, highs))
            weights[:, k] = np.where(chosen, _coefficients(low, high, word1), np.float32(0))
            remaining[column[chosen], node[chosen]] = False
        low, high = self.ranges(self.values(columns, weights))
        splits = _Splits.none(self.n_nodes, width)
        splits[splittable & (low < high)] = _Splits(columns, weights, low, high, self.draws(ATTEMPTS)[1])
        return splits

    def part(self, splits: _Splits, threshold: NDArray[np.float32]) -> tuple[mx.array, NDArray[np.bool_]]:
        """Which samples go left; and for each node where missing values go."""
        x = self.values(splits.columns, splits.weights)
        missing = mx.isnan(x)
        to_left = (splits.word & 1).astype(np.bool_)
        goes_left = x <= mx.take(mx.array(np.append(threshold, np.float32(0))), self.slot)
        goes_left = goes_left | (missing & mx.take(mx.array(np.append(to_left, False)), self.slot))
        n_left = self._per_node(goes_left.astype(mx.int32))
        n_missing = self._per_node(missing.astype(mx.int32))
        return goes_left, np.where(n_missing > 0, to_left, 2 * n_left >= self.count)

    def children(self, is_split: NDArray[np.bool_], goes_left: mx.array, keys: NDArray[np.uint32]) -> _Level:
        n_split = int(is_split.sum())
        first_child = np.full(self.n_nodes + 1, 2 * n_split, np.int32)
        first_child[:-1][is_split] = 2 * np.arange(n_split, dtype=np.int32)
        start = mx.take(mx.array(first_child), self.slot)
        slot = mx.where(start < 2 * n_split, start + mx.logical_not(goes_left).astype(mx.int32), start)
        heap = (2 * self.heap[is_split][:, None] + np.arange(2)).reshape(-1)
        return _Level(self.sample, slot, np.repeat(self.tree[is_split], 2), heap, keys)


def _grow(X: NDArray[np.float32], plan: GrowthPlan) -> Forest:
    """Grow all trees of a plan at once, level by level."""
    n_trees, size = plan.n_trees, plan.subsample_size
    features = plan.features()
    sample = mx.array(
        np.ascontiguousarray(X[plan.rows()[:, :, None], features[:, None, :]]).reshape(n_trees * size, -1)
    )
    keys = plan.split_keys()
    slot = mx.array(np.repeat(np.arange(n_trees, dtype=np.int32), size))
    level = _Level(sample, slot, np.arange(n_trees), np.ones(n_trees, np.int64), keys)
    grown: list[tuple[NDArray[Any], ...]] = []
    for depth in range(plan.max_depth + 1):
        splittable = (level.count > 1) & (depth < plan.max_depth)
        if plan.extension_level:
            splits = level.project(splittable, plan.extension_level + 1)
        else:
            splits = level.choose(splittable)
        is_split = splits.found
        threshold = np.where(is_split, _thresholds(splits.low, splits.high, splits.word), np.float32(0))
        goes_left, missing_left = level.part(splits, threshold)
        low, high = splits.low * np.float32(0.5), splits.high * np.float32(0.5)
        left_share = np.where(
            is_split, (threshold * np.float32(0.5) - low) / np.maximum(high - low, TINY), np.float32(0)
        )
        direction = np.where(is_split[:, None], features[level.tree[:, None], np.maximum(splits.columns, 0)], 0)
        feature = np.where(is_split, direction[:, 0], LEAF)
        grown.append(
            (
                level.tree,
                feature,
                threshold,
                missing_left & is_split,
                level.count,
                left_share,
                direction,
                splits.weights,
            )
        )
        if not is_split.any():
            break
        level = level.children(is_split, goes_left, keys)
    tree, feature, threshold, missing_left, count, left_share, direction, weight = (
        np.concatenate(parts) for parts in zip(*grown, strict=True)
    )
    # Levels one after the other, sorted by tree and stable, are each tree's nodes breadth-first.
    order = np.argsort(tree, kind="stable")
    oblique = (direction[order].astype(np.int32), weight[order]) if plan.extension_level else ()
    return Forest.from_growth(
        plan.n_features,
        np.searchsorted(tree[order], np.arange(n_trees + 1)).astype(np.int64),
        feature[order].astype(np.int32),
        threshold[order].astype(np.float32),
        missing_left[order],
        count[order].astype(np.int32),
        left_share[order].astype(np.float32),
        *oblique,
    )


def _coefficients(low: NDArray[np.float32], high: NDArray[np.float32], word: NDArray[np.uint32]) -> NDArray[np.float32]:
    """`reference.draw_coefficient` of many nodes."""
    total = np.sum([(word >> np.uint32(8 * k)) & np.uint32(255) for k in range(4)], axis=0, dtype=np.int64) - 510
    scaled = np.where(total == 0, 1, total).astype(np.float32) * np.float32(2.0**-9)
    half = np.float32(0.5)
    width: NDArray[np.float32] = np.maximum(high * half - low * half, TINY)
    return scaled / width


def _thresholds(low: NDArray[np.float32], high: NDArray[np.float32], word: NDArray[np.uint32]) -> NDArray[np.float32]:
    """`reference.draw_threshold` in MLX; operations are not compiled, so no multiplication and addition fuse."""
    lows, highs = mx.array(low), mx.array(high)
    u = (mx.array(word) >> 8).astype(mx.float32) * (2.0**-24)
    threshold = 2.0 * (lows * 0.5 + u * (highs * 0.5 - lows * 0.5))
    threshold = mx.where((threshold < lows) | (threshold >= highs), lows, threshold)
    return np.array(threshold + 0.0)
