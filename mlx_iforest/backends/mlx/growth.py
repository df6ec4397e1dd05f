"""Growing trees by MLX's kernel, one group of threads a tree; the forest is the one that Numba grows, bit for bit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.base import DeviceError, device_errors
from mlx_iforest.backends.mlx.kernel_source import LANES, Kernel, Language, kernel_text
from mlx_iforest.backends.mlx.launch import LOCK, launch
from mlx_iforest.backends.mlx.simd import has_simd
from mlx_iforest.forest import LEAF, Families, Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.randomness import split_seed
from mlx_iforest.threads import run

__all__ = ["KERNEL", "grow", "grow_on_device", "is_grown_by_kernel"]

KERNEL = Kernel(
    "grow",
    kernel_text("grow"),
    inputs=(("X", "float32"), ("plan", "uint32")),
    outputs=(("sizes", "uint32"), ("nodes", "uint32"), ("scratch", "uint32")),
    shared=(
        ("uint32_t", "keys", "20"),
        ("uint32_t", "sums", "THREADS // 32"),
        ("uint32_t", "large_nodes", "THREADS // 32"),
        ("uint32_t", "lows", "THREADS"),
        ("uint32_t", "highs", "THREADS"),
        LANES,
    ),
)

THREADS: dict[Language, int] = {"metal": 256, "cuda": 512}
"""Of a group, which grows a tree."""

FEWEST_THREADS = 256
"""Of a group that grows a small tree, in which more would wait for each other."""

SMALL = 1024
"""Rows up to which a tree is small."""

LARGE = 1024
"""Rows of a node from which on all threads of the group may split it together."""

MEMORY_SHARE = 1 / 4
"""Part of the device's memory that the trees of one launch may take, with the rows copied for them."""

LAUNCH_WORK: dict[Language, int] = {"metal": 1 << 27, "cuda": 1 << 34}
"""Samples times levels of one launch: about half a second on a small chip. macOS ends launches that take long."""

SHORTEST = 8
"""Elements of the shortest array passed to a kernel: shorter ones are constants to Metal."""

NODES_PER_TASK = 1 << 15
"""Nodes that one thread packs at least: fewer take less time than asking another thread."""

OUT_OF_MEMORY = re.compile("allocat|out of memory", re.IGNORECASE)

LARGEST = 1 << 31
"""Elements that an array of MLX has fewer than, along one axis."""

WORDS = 4
"""What a kernel says of each node: feature and side of missing values, threshold, count and left share."""

SIDE = np.uint32(1 << 31)
"""Where in a feature's word the side of missing values is; all bits below it are set at a leaf."""

ROWS_OF_TABLE = 3


def is_grown_by_kernel(plan: GrowthPlan) -> bool:
    """Whether the kernel can grow a plan's trees; oblique ones it cannot."""
    fits = plan.n_samples < 1 << 32 and plan.n_features < int(SIDE) - 1 and _scratch_words(plan) < LARGEST
    return plan.extension_level == 0 and fits


def grow(X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int = 1) -> Forest:
    """Grow a plan's trees from rows in host memory.

    Where trees take few of the rows, only those are moved to the device.
    """
    whole = 4 * plan.n_trees * plan.subsample_size >= plan.n_samples and X.nbytes <= _memory() * MEMORY_SHARE
    if whole:
        return grow_on_device(_moved(X), plan, n_threads=n_threads)
    forests = []
    for part in _parts(plan, X.shape[1] * X.itemsize):
        there = _moved(_taken(X, part, n_threads))
        rows = np.arange(len(there)).reshape(part.n_trees, -1)
        forests.append(grow_on_device(there, part.with_rows(rows, len(there)), n_threads=n_threads))
    return _together(forests)


def _taken(X: NDArray[np.float32], plan: GrowthPlan, n_threads: int) -> NDArray[np.float32]:
    """The rows of a plan's trees, tree by tree; threads share what is mostly waiting for memory."""
    taken = np.empty((plan.n_trees, plan.subsample_size, X.shape[1]), np.float32)
    per_task = -(-plan.n_trees // n_threads)

    def task(first: int) -> None:
        part = taken[first : first + per_task]
        # Without `clip`, which changes no row here, NumPy would fill a copy first.
        X.take(plan.slice(first, len(part)).rows(), axis=0, out=part, mode="clip")

    run(task, range(0, plan.n_trees, per_task), n_threads)
    return taken.reshape(-1, X.shape[1])


def _moved(X: NDArray[np.float32]) -> mx.array:
    with LOCK, device_errors(f"moving {len(X)} rows"):
        return mx.array(X)


def grow_on_device(X: mx.array, plan: GrowthPlan, *, n_threads: int = 1) -> Forest:
    """Grow a plan's trees from rows that lie on the device.

    Parameters
    ----------
    X : mx.array of float32, shape (n_samples, n_features)
        Finite or NaN.
    plan : GrowthPlan
        One that `is_grown_by_kernel`.
    n_threads : int
        Of the host, which make a forest of what the device grew.

    Returns
    -------
    Forest
        In host memory.

    Raises
    ------
    DeviceError
        The device failed, and not for want of memory for many trees.
    """
    if X.size < SHORTEST:
        X = mx.concatenate([X.reshape(-1), mx.zeros(SHORTEST, mx.float32)])
    return _together([_grow_part(X, part, n_threads) for part in _parts(plan)])


def _grow_part(X: mx.array, plan: GrowthPlan, n_threads: int) -> Forest:
    """Grow trees in one launch, or in smaller ones where memory does not suffice."""
    try:
        with LOCK:
            grown = fetched(plan, *_launch(X, plan))
    except RuntimeError as error:
        if plan.n_trees == 1 or not OUT_OF_MEMORY.search(str(error)):
            raise DeviceError(f"MLX's device failed while growing {plan.n_trees} trees: {error}") from error
    else:
        return packed(plan, grown, n_threads=n_threads)
    mx.clear_cache()
    half = plan.n_trees // 2
    halves = (plan.slice(0, half), plan.slice(half, plan.n_trees - half))
    return _together([_grow_part(X, part, n_threads) for part in halves])


def _launch(X: mx.array, plan: GrowthPlan) -> tuple[mx.array, mx.array]:
    """What the kernel says of the trees of a plan and of their nodes, not yet evaluated."""
    template = {"THREADS": _threads(plan), "LARGE": LARGE, "SIMD": int(has_simd())}
    inputs = {"X": X, "plan": mx.array(plan_words(plan))}
    shapes = {name: (size,) for name, size in output_sizes(plan).items()}
    sizes, nodes, _ = launch(KERNEL, template, inputs, shapes, plan.n_trees)
    return sizes, nodes


def _threads(plan: GrowthPlan) -> int:
    most = THREADS[_language()]
    return min(most, FEWEST_THREADS) if plan.subsample_size <= SMALL else most


def _language() -> Language:
    return "cuda" if mx.cuda.is_available() else "metal"


def plan_words(plan: GrowthPlan) -> NDArray[np.uint32]:
    """What the kernel is told besides the data."""
    if plan.row_table is not None:
        rows = ROWS_OF_TABLE
    else:
        rows = 2 if plan.bootstrap else int(plan.subsample_size < plan.n_samples)
    words = [
        *split_seed(plan.seed), plan.first_tree & 0xFFFFFFFF, plan.n_samples, plan.n_features, plan.features_per_tree,
        plan.subsample_size, plan.max_depth, rows,
    ]  # fmt: skip
    parts = [np.array(words)]
    if plan.row_table is not None:
        parts.append(plan.row_table.reshape(-1))
    return np.concatenate(parts).astype(np.uint32)


def output_sizes(plan: GrowthPlan) -> dict[str, int]:
    """Words of what the kernel fills, by name."""
    return {
        "sizes": plan.n_trees,
        "nodes": plan.n_trees * WORDS * _most_nodes(plan),
        "scratch": plan.n_trees * _scratch_words(plan),
    }


def _most_nodes(plan: GrowthPlan) -> int:
    return 2 * plan.subsample_size - 1


def _scratch_words(plan: GrowthPlan) -> int:
    """Words that the kernel needs for a tree besides what it says."""
    return 3 * plan.subsample_size + 3 * _most_nodes(plan)


@cache
def _memory() -> int:
    """Bytes of the device's memory, as Metal or as CUDA tells it; asked once, since the driver takes its time."""
    info = mx.device_info()
    return int(info.get("memory_size") or info.get("total_memory") or 8 << 30)


def _parts(plan: GrowthPlan, row_bytes: int = 0) -> Iterator[GrowthPlan]:
    """A plan in launches, each small enough in memory and time."""
    work = LAUNCH_WORK[_language()]
    tree_bytes = 4 * (_scratch_words(plan) + WORDS * _most_nodes(plan)) + plan.subsample_size * row_bytes
    bounds = (
        _memory() * MEMORY_SHARE // tree_bytes,
        work // (plan.subsample_size * plan.max_depth),
        (LARGEST - 1) // _scratch_words(plan),
    )
    count = max(1, int(min(bounds)))
    for start in range(0, plan.n_trees, count):
        yield plan.slice(start, min(count, plan.n_trees - start))


def _together(forests: list[Forest]) -> Forest:
    return forests[0] if len(forests) == 1 else Forest.concatenate(forests)


@dataclass(frozen=True)
class Grown:
    """What the kernel says of a plan's trees, in host memory.

    Parameters
    ----------
    tree_start : ndarray of int64, shape (n_trees + 1,)
        As `Forest.tree_start`.
    places : ndarray of int64, shape (n_trees,)
        Where the words of each tree begin.
    words : ndarray of uint32, shape (4, n_words)
        Of each node.
    """

    tree_start: NDArray[np.int64]
    places: NDArray[np.int64]
    words: NDArray[np.uint32]


def fetched(plan: GrowthPlan, sizes: mx.array, nodes: mx.array) -> Grown:
    """What the kernel says, in host memory.

    There is room for the largest trees, and most are far smaller. Metal's memory is the host's; from CUDA's only what
    is needed is copied: what the host has read once moves to and fro, page by page, with every launch that reuses it.
    """
    mx.eval(sizes, nodes)
    counts = np.asarray(sizes)
    tree_start = np.zeros(plan.n_trees + 1, np.int64)
    np.cumsum(counts, out=tree_start[1:])
    places = np.arange(plan.n_trees) * _most_nodes(plan)
    words = nodes.reshape(WORDS, -1)
    if _language() == "cuda":
        gaps = np.repeat(places - tree_start[:-1], counts)
        gaps += np.arange(tree_start[-1])
        words = mx.take(words, mx.array(gaps.astype(np.uint32)), axis=1)
        places = tree_start[:-1]
    return Grown(tree_start, places, np.asarray(words))


def packed(plan: GrowthPlan, grown: Grown, *, n_threads: int = 1) -> Forest:
    """The forest of which the kernel's words tell."""
    n_nodes = int(grown.tree_start[-1])
    unpack = _compiled_unpack()
    if unpack is None:
        return _packed_by_numpy(plan, grown)
    dtypes = (np.int32, np.float32, np.bool_, np.int32, np.float32, np.int32, np.int32, np.float64)
    arrays: tuple[NDArray[Any], ...] = tuple(np.empty(n_nodes, dtype) for dtype in dtypes)
    n_tasks = min(plan.n_trees, 4 * n_threads, -(-n_nodes // NODES_PER_TASK))
    per_task = -(-plan.n_trees // n_tasks)
    floats = grown.words.view(np.float32)

    def task(first: int) -> None:
        last = min(first + per_task, plan.n_trees)
        unpack(grown.words, floats, grown.places, grown.tree_start, first, last, arrays)

    run(task, range(0, plan.n_trees, per_task), n_threads)
    return Forest.from_growth(plan.n_features, grown.tree_start, *arrays[:5], families=Families(*arrays[5:]))


def _packed_by_numpy(plan: GrowthPlan, grown: Grown) -> Forest:
    sizes = np.diff(grown.tree_start)
    place = np.arange(grown.tree_start[-1]) + np.repeat(grown.places - grown.tree_start[:-1], sizes)
    feature, threshold, count, left_share = (word.take(place) for word in grown.words)
    missing_left = (feature & SIDE) != 0
    feature &= ~SIDE
    feature[feature == ~SIDE] = np.uint32(LEAF & 0xFFFFFFFF)
    return Forest.from_growth(
        plan.n_features, grown.tree_start, feature.view(np.int32), threshold.view(np.float32), missing_left,
        count.view(np.int32), left_share.view(np.float32),
    )  # fmt: skip


@cache
def _compiled_unpack() -> Any:
    """`grown_arrays.unpack`, or None where Numba is not installed."""
    try:
        from mlx_iforest.backends.mlx.grown_arrays import unpack
    except ImportError:
        return None
    return unpack
