"""A forest as packed arrays, declared for model files, and checked when it is read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.compress.quantization import Levels, PackedForest
from mlx_iforest.convert.declared import (
    Arrays,
    Dict,
    Fields,
    Kind,
    Optional,
    Record,
    StateError,
    place,
    refuse_other_keys,
)
from mlx_iforest.convert.declared_values import Array, Whole
from mlx_iforest.forest import (
    ARRAYS,
    LARGEST_INT32,
    LEAF_VALUES,
    MOST_FEATURES,
    MOST_LEVELS,
    Forest,
    InvalidForestError,
    split_levels,
)

__all__ = ["FOREST"]

_UNSIGNED = ("uint8", "uint16", "uint32", "uint64")

_LEVELS = Record(
    Levels,
    {"values": Array("float32"), "counts": Array(_UNSIGNED), "codes": Optional(Array(_UNSIGNED))},
)
_PACKED = Record(
    PackedForest,
    {
        "n_features": Whole(1, MOST_FEATURES),
        "tree_nodes": Array(_UNSIGNED),
        "is_split": Array("uint8"),
        "missing_left": Array("uint8"),
        "feature": Array(_UNSIGNED),
        "threshold": _LEVELS,
        "leaf_samples": Array(_UNSIGNED),
        "leaf_values": Dict(_LEVELS),
    },
)


class _Forest(Kind):
    """A forest, packed; what was unpacked is a valid one."""

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        packed = value if isinstance(value, PackedForest) else PackedForest.of(value)
        parts = dict(vars(packed))
        others = parts.pop("others")
        values = Fields(_PACKED.kinds).encode(parts, at, arrays)
        return {**values, "others": Fields(_OTHERS, _OTHERS).encode(others, place(at, "others"), arrays)}

    def decode(self, found: Any, at: str, arrays: Arrays) -> Forest:
        found = refuse_other_keys(found, [*_PACKED.kinds, "others"], at)
        parts = {name: found[name] for name in _PACKED.kinds}
        values = Fields(_PACKED.kinds).decode(parts, at, arrays)
        others = Fields(_OTHERS, _OTHERS).decode(found["others"], place(at, "others"), arrays)
        packed = PackedForest(**values, others=others)
        fault = _fault(packed)
        if fault is not None:
            raise StateError(f"{at}: {fault}")
        try:
            return packed.unpack().validate()
        except InvalidForestError as error:
            raise StateError(f"{at}: {error}") from error


FOREST = _Forest()

_OTHERS = {
    name: Array(np.dtype(dtype).name, dimensions)
    for name, (dtype, dimensions) in ARRAYS.items()
    if name != "tree_start"
}


def _fault(packed: PackedForest) -> str | None:
    """Why a forest cannot be unpacked in time and memory that go with its bytes; None where it can."""
    sizes = packed.tree_nodes
    # Before any sum: a few bytes may name more nodes than memory holds.
    if not sizes.size or int(sizes.max()) > 8 * packed.is_split.size:
        return "'tree_nodes' names more nodes than there are"
    sizes = sizes.astype(np.int64)
    n_nodes = int(sizes.sum())
    if packed.is_split.size != -(-n_nodes // 8) or np.any(sizes % 2 == 0):
        return f"'is_split' and 'tree_nodes' do not go together: {packed.is_split.size} bytes for {n_nodes} nodes"
    is_split = np.unpackbits(packed.is_split, count=n_nodes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    splits_before = np.concatenate([[0], np.cumsum(is_split, dtype=np.int64)])
    if np.any(2 * np.diff(splits_before[starts]) + 1 != sizes):
        return "'is_split' does not give every tree one leaf more than splits"
    n_splits = int(splits_before[-1])
    lengths = {
        "feature": (packed.feature, n_splits),
        "missing_left": (packed.missing_left, -(-n_splits // 8)),
        "leaf_samples": (packed.leaf_samples, n_nodes - n_splits),
    }
    for name, (array, length) in lengths.items():
        if len(array) != length:
            return f"'{name}' has {len(array)} entries; expected {length}"
    if packed.feature.size and int(packed.feature.max()) >= packed.n_features:
        return f"'feature' must be below {packed.n_features}"
    if int(packed.leaf_samples.min()) < 1 or int(packed.leaf_samples.max()) > LARGEST_INT32:
        return "'leaf_samples' must be at least 1 and fit into 32 bits"
    leaves = packed.leaf_samples.astype(np.int64)
    if int(np.add.reduceat(leaves, starts[:-1] - splits_before[starts[:-1]]).max()) > LARGEST_INT32:
        return "'leaf_samples' of a tree must add up to what fits into 32 bits"
    if not packed.leaf_values.keys() <= LEAF_VALUES.keys():
        return "'leaf_values' holds what is no value of a leaf"
    one_group = np.zeros(n_nodes - n_splits, np.int64)
    tables = [("threshold", packed.threshold, packed.feature.astype(np.int64), packed.n_features)]
    tables += [(name, table, one_group, 1) for name, table in packed.leaf_values.items()]
    for name, table, group, n_groups in tables:
        fault = _levels_fault(table, group, n_groups)
        if fault is not None:
            return f"'{name}' {fault}"
    split = is_split.astype(np.bool_)
    before = splits_before[:-1] - np.repeat(splits_before[starts[:-1]], sizes)
    left = np.where(split, 1 + 2 * before, -1)
    for level, _ in enumerate(split_levels(starts, left)):
        if level > MOST_LEVELS:
            return f"a tree has more than {MOST_LEVELS} levels"
    return None


def _levels_fault(table: Levels, group: NDArray[np.int64], n_groups: int) -> str | None:
    """What is wrong with a table of values and the codes into it; None where nothing is."""
    if table.codes is None:
        fits = len(table.values) == len(group) and not len(table.counts)
        return None if fits else f"has {len(table.values)} values; expected {len(group)}"
    if len(table.codes) != len(group) or len(table.counts) != n_groups:
        return f"has {len(table.codes)} codes in {len(table.counts)} groups; expected {len(group)} in {n_groups}"
    if table.counts.size and int(table.counts.max()) > len(table.values):
        return "counts more values than it has"
    counts = table.counts.astype(np.int64)
    if int(counts.sum()) != len(table.values) or np.any(table.codes >= counts[group]):
        return "has codes of values that are not there"
    return None
