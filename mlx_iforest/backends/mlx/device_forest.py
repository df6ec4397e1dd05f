"""A forest in the words that the scoring kernel reads, and how its work is cut up (see kernels/score.h)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.mlx.kernel_source import Kernel, kernel_text
from mlx_iforest.backends.scored_trees import DoesNotFitError, Trees
from mlx_iforest.forest import LEAF

__all__ = ["DeviceForest", "Layout", "Ranking"]

NARROW_TREES = 127
"""Trees whose values, whole numbers of 24 bits, add up to no more than 32 bits hold."""

MOST_CHUNK_TREES = 256
"""Trees of a chunk at most, since each takes some words besides its nodes."""

SHORTEST = 8
"""Elements of the shortest array passed to a kernel: shorter ones are constants to Metal."""

FEWER_THREADS = 512
"""Threads of a group where the most that a group may have are too many for the trees: wide rows, few trees."""

REGISTER_FEATURES = 8
"""Features whose 8-bit codes a thread keeps in two registers."""

MISSING_CODE = 255
"""The code of missing values, and of leaves."""


@dataclass(frozen=True)
class Ranking:
    """How values become codes; see kernels/rank.h.

    Parameters
    ----------
    thresholds : ndarray of float32, shape (n_features, 2**steps - 1)
        Of each feature, filled up with infinities, in the order of a complete binary search tree.
    steps : int
    """

    thresholds: NDArray[np.float32]
    steps: int

    @classmethod
    def of(cls, trees: Trees) -> Ranking:
        """Codes for a forest.

        Raises
        ------
        DoesNotFitError
            There are more features than registers have codes for, a feature has more thresholds than 8 bits number, or
            splits are oblique.
        """
        if trees.width:
            raise DoesNotFitError("oblique splits have no thresholds to rank values among")
        if trees.n_features > REGISTER_FEATURES:
            raise DoesNotFitError(f"{trees.n_features} features; registers hold the codes of {REGISTER_FEATURES}")
        most = max(len(values) for values in trees.feature_thresholds)
        # All codes from 0 to `most`, and that of missing values.
        if most + 1 > MISSING_CODE:
            raise DoesNotFitError(f"a feature has {most} thresholds; codes of 8 bits number up to {MISSING_CODE - 1}")
        steps = max(1, most.bit_length())
        thresholds = np.full((trees.n_features, 2**steps - 1), np.inf, np.float32)
        for row, values in zip(thresholds, trees.feature_thresholds, strict=True):
            row[: len(values)] = values
        order = [np.arange(2 ** (steps - 1 - level) - 1, 2**steps - 1, 2 ** (steps - level)) for level in range(steps)]
        return cls(np.ascontiguousarray(thresholds[:, np.concatenate(order)]), steps)

    @property
    def n_words(self) -> int:
        """32-bit words of the codes of a row."""
        return -(-len(self.thresholds) // 4)

    def template(self, threads: int) -> dict[str, int]:
        """That of `RANK`, the kernel that makes codes."""
        return {"THREADS": threads, "N_FEATURES": len(self.thresholds), "N_WORDS": self.n_words, "STEPS": self.steps}


RANK = Kernel(
    "rank",
    kernel_text("rank"),
    (("X", "float32"), ("sizes", "uint32"), ("thresholds", "float32")),
    (("codes", "uint32"),),
    (("float", "staged", "N_FEATURES * (2 ** STEPS - 1)"),),
)


@dataclass(frozen=True)
class Layout:
    """How the kernel's work is cut up.

    Parameters
    ----------
    threads : int
        Of a group; a multiple of 32.
    splits : int
        Threads that share a row, each with its own trees; ``threads // splits`` is a multiple of 32.
    trees_side_by_side : int
        Walks of a thread that do not wait for each other.
    shared : int
        Bytes of shared memory to be used.
    ranks : bool
        Whether rows are codes, in registers.
    """

    threads: int
    splits: int
    trees_side_by_side: int
    shared: int
    ranks: bool = False

    @property
    def rows(self) -> int:
        """Rows of a tile."""
        return self.threads // self.splits

    @classmethod
    def of(cls, trees: Trees, shared: int, threads: int, *, ranks: bool = False, **changes: Any) -> Layout:
        """The layout that is taken for a forest.

        Parameters
        ----------
        shared, threads : int
            Bytes of shared memory, and threads, that a group may have.
        """
        row_bytes = 0 if ranks else 4 * trees.n_features
        # Five eighths of the memory for rows at most, and no fewer rows than a SIMD group has threads.
        splits = 1
        while threads // splits > 32 and threads // splits * row_bytes > 5 * shared // 8:
            splits *= 2
        layout = cls(threads, splits, 4 if splits * 4 <= trees.n_trees else 1, shared, ranks=ranks)
        return replace(layout, **changes)


@dataclass(frozen=True)
class DeviceForest:
    """A forest packed for a layout: the kernel, the values of its template, and the arrays it reads besides rows."""

    kernel: Kernel
    template: dict[str, int]
    arrays: dict[str, NDArray[Any]]
    n_chunks: int
    layout: Layout
    ranking: Ranking | None
    n_trees: int
    n_values: int

    @property
    def total(self) -> str:
        """The dtype of sums."""
        return self.kernel.outputs[0][1]

    @classmethod
    def best(cls, trees: Trees, shared: int, threads: int) -> DeviceForest:
        """Pack a forest the way that is expected to be scored fastest; arguments as for `Layout.of`."""
        if Layout.of(trees, shared, threads).trees_side_by_side == 1:
            # Rows are so wide that many threads share one, and each would have too few trees to walk side by side.
            threads = min(threads, FEWER_THREADS)
        try:
            # On an H100 codes in registers were the faster, and codes in shared memory at best as fast as thresholds:
            # what they save is spent on ranking.
            return cls.of(trees, Layout.of(trees, shared, threads, ranks=True))
        except DoesNotFitError:
            pass  # thresholds may
        return cls.of(trees, Layout.of(trees, shared, threads))

    @classmethod
    def of(cls, trees: Trees, layout: Layout) -> DeviceForest:
        """Pack a forest.

        Raises
        ------
        DoesNotFitError
            See there.
        """
        ranking = Ranking.of(trees) if layout.ranks else None
        k, n_trees, rows = trees.n_values, trees.n_trees, layout.rows
        wide, has_values = n_trees > NARROW_TREES, layout.ranks or k > 1
        used = 256 + (layout.splits - 1) * rows * k * (8 if wide else 4)
        tile = 4 * rows * trees.n_features
        tiled = not layout.ranks and used + tile <= layout.shared
        used += tile if tiled else 0
        # A node's two words, or one and the values beside it; half of the nodes are leaves.
        node_bytes = 4 + 4 * k if layout.ranks else 8 + (2 * k if k > 1 else 0)
        tree_bytes = (4 + 2 * k) * _rounded_up(min(n_trees, MOST_CHUNK_TREES))
        room = max(0, (layout.shared - used - tree_bytes) // node_bytes)
        staged = room >= trees.largest_tree
        if layout.ranks and not staged:
            raise DoesNotFitError(f"a tree of {trees.largest_tree} nodes does not fit {layout.shared} bytes")
        chunk_trees = _chunks(trees.tree_start, room) if staged else np.array([0, n_trees])
        chunks = np.zeros((len(chunk_trees), 3), np.int64)
        leaves = np.append(0, np.cumsum(trees.feature == LEAF))
        chunks[:, 0], chunks[:, 1] = chunk_trees, trees.tree_start[chunk_trees]
        chunks[:, 2] = chunks[:, 1] if layout.ranks else leaves[chunks[:, 1]]
        largest = chunks[1:] - chunks[:-1]
        chunk_of_tree = np.searchsorted(chunk_trees, np.arange(n_trees), side="right") - 1
        roots = trees.tree_start[:-1] - chunks[chunk_of_tree, 1]
        if roots.max() >= 1 << 24 or trees.depths.max() >= 1 << 8:
            raise DoesNotFitError(
                f"{trees.tree_start[-1]} nodes and depth {trees.depths.max()}: 24 and 8 bits hold less"
            )
        template = {
            "THREADS": layout.threads, "SPLITS": layout.splits, "ILP": layout.trees_side_by_side,
            "N_VALUES": k, "N_FEATURES": trees.n_features,
            "N_WORDS": ranking.n_words if ranking else 0, "WIDE": int(wide), "WIDTH": trees.width,
            "STAGED": int(staged), "TILED": int(tiled), "RANKS": int(layout.ranks), "VALUES": int(has_values),
            "NODE_ROOM": min(_rounded_up(int(largest[:, 1].max())), max(room, 1)) if staged else 0,
            "TREE_ROOM": _rounded_up(int(largest[:, 0].max())) if staged else 0,
        }  # fmt: skip
        # A tree has a leaf more than splits.
        nodes, leaves_room = template["NODE_ROOM"], (template["NODE_ROOM"] + template["TREE_ROOM"] + 1) // 2
        template["VALUE_ROOM"] = k * (nodes if layout.ranks else leaves_room) if has_values else 0
        size = np.diff(trees.tree_start)
        chunk_root = np.repeat(roots, size)
        own = np.arange(len(trees.feature)) - np.repeat(trees.tree_start[:-1], size)
        is_leaf = trees.feature == LEAF
        left = np.where(is_leaf, own, trees.left)
        if ranking is not None:
            words = _rank_words(trees, left)
            values = trees.numbers
        else:
            place = leaves[:-1] - np.repeat(chunks[chunk_of_tree, 2], size)
            words = _threshold_words(trees, left + chunk_root, place, rows, template)
            values = trees.numbers[is_leaf]
        arrays: dict[str, NDArray[Any]] = {
            "chunks": chunks.astype(np.uint32).reshape(-1),
            "trees": (roots | trees.depths.astype(np.int64) << 24).astype(np.uint32),
            "nodes": words,
        }
        if has_values:
            arrays["values"] = values.astype(np.int32).reshape(-1)
        if trees.direction_feature is not None and trees.direction_weight is not None:
            arrays["direction_feature"] = trees.direction_feature.astype(np.uint32).reshape(-1)
            arrays["direction_weight"] = trees.direction_weight.reshape(-1)
        arrays = {name: np.pad(array, (0, max(0, SHORTEST - array.size))) for name, array in arrays.items()}
        kernel = _kernel(layout.ranks, wide, arrays)
        return cls(kernel, template, arrays, len(chunks) - 1, layout, ranking, n_trees, k)


def _chunks(tree_start: NDArray[np.int64], room: int) -> NDArray[np.int64]:
    """First trees of the chunks of at most `room` nodes, and the number of trees."""
    bounds = [0]
    while bounds[-1] < len(tree_start) - 1:
        last = int(np.searchsorted(tree_start, tree_start[bounds[-1]] + room, side="right")) - 1
        bounds.append(min(last, bounds[-1] + MOST_CHUNK_TREES))
    return np.array(bounds)


def _rounded_up(n: int) -> int:
    """To a number of few: a kernel is compiled for each."""
    step = max(1, 1 << max(0, n.bit_length() - 3))
    return -(-n // step) * step


def _threshold_words(
    trees: Trees, left: NDArray[np.int64], place: NDArray[np.int64], rows: int, template: dict[str, int]
) -> NDArray[np.uint32]:
    feature_bits, left_bits = max(1, (trees.n_features - 1).bit_length()), int(left.max()).bit_length()
    # Where it has room there, the feature is already multiplied by the bytes of a column of the tile.
    feature_at = rows.bit_length() + 1
    if feature_at + feature_bits + left_bits > 32:
        feature_at = 2
    left_at = feature_at + feature_bits
    if left_at + left_bits > 32:
        raise DoesNotFitError(f"{trees.n_features} features and {left.max() + 1} nodes do not fit a word of 32 bits")
    template.update(FEATURE_AT=feature_at, FEATURE_MASK=2**feature_bits - 1, LEFT_AT=left_at)
    is_leaf = trees.feature == LEAF
    words = np.empty((len(left), 2), np.uint32)
    number = trees.numbers[:, 0] if trees.n_values == 1 else place.astype(np.int32)
    words[:, 0] = np.where(is_leaf, number.view(np.uint32), trees.threshold.view(np.uint32))
    feature = np.maximum(trees.feature, 0).astype(np.int64)
    words[:, 1] = left << left_at | feature << feature_at | is_leaf.astype(np.int64) << 1 | trees.missing_left
    return words.reshape(-1)


def _rank_words(trees: Trees, left: NDArray[np.int64]) -> NDArray[np.uint32]:
    if left.max() >= 1 << 10:
        raise DoesNotFitError(f"{left.max() + 1} nodes of a tree; a node beside its code numbers up to {1 << 10}")
    is_leaf = trees.feature == LEAF
    rank = np.full(len(left), MISSING_CODE, np.int64)
    for number, values in enumerate(trees.feature_thresholds):
        nodes = trees.feature == number
        rank[nodes] = np.searchsorted(values, trees.threshold[nodes])
    missing_left = trees.missing_left & ~is_leaf
    feature = np.maximum(trees.feature, 0).astype(np.int64)
    # The feature lies where an instruction of CUDA looks for it; bit 15 stays 0.
    words = rank << 24 | feature << 12 | left << 2 | missing_left
    return words.astype(np.uint32)


def _kernel(ranks: bool, wide: bool, arrays: dict[str, NDArray[Any]]) -> Kernel:
    inputs = [("X", "uint32" if ranks else "float32"), ("sizes", "uint32")]
    inputs += [(name, str(array.dtype)) for name, array in arrays.items()]
    total = "int64" if wide else "int32"
    shared = (
        ("float", "tile_rows", "TILED * (THREADS // SPLITS) * N_FEATURES"),
        ("uint32_t" if ranks else "uint2", "staged_nodes", "NODE_ROOM"),
        ("uint32_t", "staged_trees", "TREE_ROOM"),
        ("int32_t", "staged_values", "STAGED * VALUE_ROOM"),
        (f"{total}_t", "partial", "(SPLITS - 1) * (THREADS // SPLITS) * N_VALUES"),
        ("uint32_t", "any_missing", "1"),
    )
    return Kernel("score", kernel_text("score"), tuple(inputs), (("totals", total),), shared)
