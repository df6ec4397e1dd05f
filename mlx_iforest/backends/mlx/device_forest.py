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


@dataclass(frozen=True)
class Ranking:
    """How values become codes; see kernels/rank.h.

    Parameters
    ----------
    thresholds : ndarray of float32, shape (n_features, 2**steps - 1)
        Of each feature, filled up with infinities, in the order of a complete binary search tree.
    steps : int
    code_bits : {8, 16}
        Bits of a code where they lie in rows; a row is a whole number of 32-bit words.
    rank_bits : int
        Bits that codes have. The largest is the code of missing values, and of leaves.
    """

    thresholds: NDArray[np.float32]
    steps: int
    code_bits: int
    rank_bits: int

    @classmethod
    def of(cls, trees: Trees) -> Ranking:
        """Codes for a forest.

        Raises
        ------
        DoesNotFitError
            A feature has more thresholds than 16 bits number, or splits are oblique.
        """
        if trees.width:
            raise DoesNotFitError("oblique splits have no thresholds to rank values among")
        most = max(len(values) for values in trees.feature_thresholds)
        # All codes from 0 to `most`, and that of missing values.
        rank_bits = (most + 1).bit_length()
        if rank_bits > 16:
            raise DoesNotFitError(f"a feature has {most} thresholds; codes of 16 bits number up to {2**16 - 2}")
        code_bits = 8 if rank_bits <= 8 else 16
        if code_bits == 8 and trees.n_features <= REGISTER_FEATURES:
            rank_bits = 8
        steps = max(1, most.bit_length())
        thresholds = np.full((trees.n_features, 2**steps - 1), np.inf, np.float32)
        for row, values in zip(thresholds, trees.feature_thresholds, strict=True):
            row[: len(values)] = values
        order = [np.arange(2 ** (steps - 1 - level) - 1, 2**steps - 1, 2 ** (steps - level)) for level in range(steps)]
        return cls(np.ascontiguousarray(thresholds[:, np.concatenate(order)]), steps, code_bits, rank_bits)

    @property
    def n_words(self) -> int:
        """32-bit words of the codes of a row."""
        return -(-len(self.thresholds) * self.code_bits // 32)

    @property
    def missing_code(self) -> int:
        return int(2**self.rank_bits - 1)

    @property
    def in_registers(self) -> bool:
        return self.code_bits == 8 and len(self.thresholds) <= REGISTER_FEATURES

    def _is_staged(self, shared: int) -> bool:
        return self.thresholds.nbytes + 64 <= shared

    def kernel(self, threads: int, shared: int) -> tuple[Kernel, dict[str, int]]:
        """The kernel that makes codes, with its template, within `shared` bytes of shared memory."""
        template = {
            "THREADS": threads, "N_FEATURES": len(self.thresholds), "N_WORDS": self.n_words, "STEPS": self.steps,
            "CODE_BITS": self.code_bits, "MISSING_CODE": self.missing_code,
            "STAGED": int(self._is_staged(shared)),
        }  # fmt: skip
        return RANK, template


RANK = Kernel(
    "rank",
    kernel_text("rank"),
    (("X", "float32"), ("sizes", "uint32"), ("thresholds", "float32")),
    (("codes", "uint32"),),
    (("float", "staged", "STAGED * N_FEATURES * (2 ** STEPS - 1)"),),
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
    rows_per_thread, trees_side_by_side : int
        Walks of a thread that do not wait for each other.
    load_rows : int
        Rows that neighbouring threads copy together; a divisor of 32.
    shared : int
        Bytes of shared memory to be used.
    ranks : bool
        Whether rows are codes.
    """

    threads: int
    splits: int
    rows_per_thread: int
    trees_side_by_side: int
    shared: int
    load_rows: int = 8
    ranks: bool = False

    @property
    def rows(self) -> int:
        """Rows of a tile."""
        return self.threads // self.splits * self.rows_per_thread

    @classmethod
    def of(cls, trees: Trees, shared: int, threads: int, *, ranks: bool = False, **changes: Any) -> Layout:
        """The layout that is taken for a forest.

        Parameters
        ----------
        shared, threads : int
            Bytes of shared memory, and threads, that a group may have.
        """
        in_registers = ranks and Ranking.of(trees).in_registers
        row_bytes = 0 if in_registers else 4 * trees.n_features
        # Five eighths of the memory for rows at most, and no fewer rows than a SIMD group has threads.
        splits = 1
        while threads // splits > 32 and threads // splits * row_bytes > 5 * shared // 8:
            splits *= 2
        layout = cls(threads, splits, 1, 4 if splits * 4 <= trees.n_trees else 1, shared, ranks=ranks)
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

    @classmethod
    def best(cls, trees: Trees, shared: int, threads: int) -> DeviceForest:
        """Pack a forest the way that is expected to be scored fastest; arguments as for `Layout.of`."""
        if Layout.of(trees, shared, threads).trees_side_by_side == 1:
            # Rows are so wide that many threads share one, and each would have too few trees to walk side by side.
            threads = min(threads, FEWER_THREADS)
        try:
            # On an H100 codes in registers were the faster, and codes in shared memory at best as fast as thresholds:
            # what they save is spent on ranking.
            if Ranking.of(trees).in_registers:
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
        in_registers = ranking is not None and ranking.in_registers
        wide, has_values = n_trees > NARROW_TREES, layout.ranks or k > 1
        used = 256 + (layout.splits - 1) * rows * k * (8 if wide else 4)
        columns = ranking.n_words * 32 // ranking.code_bits if ranking else trees.n_features
        tile = 0 if in_registers else 4 * rows * columns
        tiled = used + tile <= layout.shared and not in_registers
        if layout.ranks and not in_registers and not tiled:
            raise DoesNotFitError(f"{rows} rows of {trees.n_features} codes do not fit {layout.shared} bytes")
        used += tile if tiled else 0
        # A node's two words, or one and the values beside it; half of the nodes are leaves.
        node_bytes = 4 + 4 * k if layout.ranks else 8 + (2 * k if k > 1 else 0)
        tree_bytes = (4 + 2 * k) * _rounded_up(min(n_trees, MOST_CHUNK_TREES))
        room = max(0, (layout.shared - used - tree_bytes) // node_bytes)
        staged = room >= trees.largest_tree
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
            "THREADS": layout.threads, "SPLITS": layout.splits, "RPT": layout.rows_per_thread,
            "ILP": layout.trees_side_by_side, "LOAD_ROWS": layout.load_rows,
            "N_VALUES": k, "N_FEATURES": trees.n_features,
            "N_WORDS": ranking.n_words if ranking else 0, "WIDE": int(wide), "WIDTH": trees.width,
            "STAGED": int(staged), "TILED": int(tiled), "RANKS": int(layout.ranks), "REGISTERS": int(in_registers),
            "VALUES": int(has_values),
            "NODE_ROOM": min(_rounded_up(int(largest[:, 1].max())), max(room, 1)) if staged else 0,
            "TREE_ROOM": _rounded_up(int(largest[:, 0].max())) if staged else 0,
            "CODE_BITS": ranking.code_bits if ranking else 0,
            "MISSING_CODE": ranking.missing_code if ranking else 0, "TILE_COLUMNS": columns,
        }  # fmt: skip
        # A tree has a leaf more than splits.
        template["VALUE_ROOM"] = k * (template["NODE_ROOM"] if layout.ranks else _half(template)) if has_values else 0
        size = np.diff(trees.tree_start)
        chunk_root = np.repeat(roots, size)
        own = np.arange(len(trees.feature)) - np.repeat(trees.tree_start[:-1], size)
        is_leaf = trees.feature == LEAF
        left = np.where(is_leaf, own, trees.left)
        if ranking is not None:
            words = _rank_words(trees, ranking, left, rows, template)
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


def _half(template: dict[str, int]) -> int:
    return (template["NODE_ROOM"] + template["TREE_ROOM"] + 1) // 2


def _field(n_bits: int, free: int, wish: int) -> int:
    """The lowest bit of a field between `free` and bit 32: `wish`, where it has room."""
    return wish if wish >= free and wish + n_bits <= 32 else free


def _threshold_words(
    trees: Trees, left: NDArray[np.int64], place: NDArray[np.int64], rows: int, template: dict[str, int]
) -> NDArray[np.uint32]:
    feature_bits, left_bits = max(1, (trees.n_features - 1).bit_length()), int(left.max()).bit_length()
    # Where it is, the feature is already multiplied by the bytes of a column of the tile.
    feature_at = _field(feature_bits + left_bits, 2, rows.bit_length() + 1)
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


def _rank_words(
    trees: Trees, ranking: Ranking, left: NDArray[np.int64], rows: int, template: dict[str, int]
) -> NDArray[np.uint32]:
    feature_bits, left_bits = max(1, (trees.n_features - 1).bit_length()), max(1, int(left.max()).bit_length())
    rank_at, left_mask = 32 - ranking.rank_bits, 4 * (2**left_bits - 1)
    if ranking.in_registers:
        # Where an instruction of CUDA looks for it; bit 15 stays 0.
        feature_at, end = 12, rank_at + (left_bits > 10)
    else:
        feature_at = _field(feature_bits + ranking.rank_bits, left_bits + 2, rows.bit_length() + 1)
        end = feature_at + feature_bits
    if end > rank_at:
        raise DoesNotFitError(
            f"{trees.n_features} features, {left.max() + 1} nodes of a tree and codes of {ranking.rank_bits} bits do"
            " not fit a word of 32 bits"
        )
    template.update(
        FEATURE_AT=feature_at, FEATURE_MASK=2**feature_bits - 1, LEFT_MASK=left_mask, RANK_AT=rank_at
    )  # fmt: skip
    is_leaf = trees.feature == LEAF
    rank = np.full(len(left), ranking.missing_code, np.int64)
    for number, values in enumerate(trees.feature_thresholds):
        nodes = trees.feature == number
        rank[nodes] = np.searchsorted(values, trees.threshold[nodes])
    missing_left = trees.missing_left & ~is_leaf
    feature = np.maximum(trees.feature, 0).astype(np.int64)
    words = rank << rank_at | feature << feature_at | left << 2 | missing_left
    return words.astype(np.uint32)


def _kernel(ranks: bool, wide: bool, arrays: dict[str, NDArray[Any]]) -> Kernel:
    inputs = [("X", "uint32" if ranks else "float32"), ("sizes", "uint32")]
    inputs += [(name, str(array.dtype)) for name, array in arrays.items()]
    total = "int64" if wide else "int32"
    shared = (
        ("uint32_t" if ranks else "float", "tile_rows", "TILED * (THREADS // SPLITS * RPT) * TILE_COLUMNS"),
        ("uint32_t" if ranks else "uint2", "staged_nodes", "NODE_ROOM"),
        ("uint32_t", "staged_trees", "TREE_ROOM"),
        ("int32_t", "staged_values", "STAGED * VALUE_ROOM"),
        (f"{total}_t", "partial", "(SPLITS - 1) * (THREADS // SPLITS * RPT) * N_VALUES"),
        ("uint32_t", "any_missing", "1"),
    )
    return Kernel("score", kernel_text("score"), tuple(inputs), (("totals", total),), shared)
