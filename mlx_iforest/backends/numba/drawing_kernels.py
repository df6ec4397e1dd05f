"""What Numba compiles to draw: the scalar versions of `randomness`, and the rows and features of a tree."""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np

from mlx_iforest.compiled_code import compiled
from mlx_iforest.randomness import PARITY, PERMUTATION_ROUNDS

__all__ = ["bounded", "draw_features", "draw_rows", "permute", "threefry", "tree_keys"]

u32 = np.uint32


@compiled(inline="always")
def _mix(x0, x1, r):
    x0 = u32(x0 + x1)
    x1 = u32(u32(x1 << u32(r)) | u32(x1 >> u32(32 - r))) ^ x0
    return x0, x1


@compiled(inline="always")
def _mix_even(x0, x1):
    x0, x1 = _mix(x0, x1, 13)
    x0, x1 = _mix(x0, x1, 15)
    x0, x1 = _mix(x0, x1, 26)
    return _mix(x0, x1, 6)


@compiled(inline="always")
def _mix_odd(x0, x1):
    x0, x1 = _mix(x0, x1, 17)
    x0, x1 = _mix(x0, x1, 29)
    x0, x1 = _mix(x0, x1, 16)
    return _mix(x0, x1, 24)


@compiled()
def threefry(key0, key1, counter0, counter1):
    """`randomness.threefry2x32` of scalars; its loops are written out, since they run for every split."""
    key2 = u32(key0 ^ key1 ^ u32(PARITY))
    x0, x1 = _mix_even(u32(counter0 + key0), u32(counter1 + key1))
    x0, x1 = _mix_odd(u32(x0 + key1), u32(x1 + key2 + u32(1)))
    x0, x1 = _mix_even(u32(x0 + key2), u32(x1 + key0 + u32(2)))
    x0, x1 = _mix_odd(u32(x0 + key0), u32(x1 + key1 + u32(3)))
    x0, x1 = _mix_even(u32(x0 + key1), u32(x1 + key2 + u32(4)))
    return u32(x0 + key2), u32(x1 + key0 + u32(5))


@compiled(inline="always")
def bounded(word, bound):
    """`randomness.bounded` of a scalar."""
    return np.int64((np.uint64(word) * np.uint64(bound)) >> np.uint64(32))


@compiled()
def tree_keys(seed0, seed1, tree, stream, keys):
    """`randomness.tree_keys` of one tree, then its `randomness.permutation_keys`, as the rows of `keys`."""
    keys[0, 0], keys[0, 1] = threefry(seed0, seed1, u32(tree), u32(stream))
    for r in range(PERMUTATION_ROUNDS):
        multiplier, increment = threefry(keys[0, 0], keys[0, 1], u32(r), u32(0))
        keys[1 + r, 0], keys[1 + r, 1] = multiplier | u32(1), increment


@compiled(inline="always")
def _permute_once(x, keys, mask, shift):
    for r in range(PERMUTATION_ROUNDS):
        x = u32(u32(x * keys[r, 0]) + keys[r, 1]) & mask
        x = u32(x ^ (x >> shift))
    return x


@compiled()
def permute(keys, size, positions):
    """`randomness.permutation`: `positions`, the numbers 0, 1, 2 and so on, are sent to where it sends them."""
    bits = 1
    while (np.int64(1) << bits) < size:
        bits += 1
    mask = u32((np.uint64(1) << np.uint64(bits)) - np.uint64(1))
    shift = u32((bits + 1) // 2)
    # The first pass has no branch, so that the compiler makes vectors of it; few positions walk on.
    for i in range(len(positions)):
        positions[i] = _permute_once(u32(i), keys, mask, shift)
    for i in range(len(positions)):
        x = u32(positions[i])
        while x >= size:
            x = _permute_once(x, keys, mask, shift)
        positions[i] = x


@compiled()
def draw_rows(n_samples, row_keys, row_table, bootstrap, order):
    """Fill `order` with the rows of a tree."""
    # Loops, for an assignment of slices would compile its message about shapes: a fifth of all that growing compiles.
    if len(row_table):
        for i in range(len(order)):
            order[i] = row_table[i]
    elif bootstrap:
        for i in range(len(order)):
            word, _ = threefry(row_keys[0, 0], row_keys[0, 1], u32(i), u32(0))
            order[i] = bounded(word, n_samples)
    elif len(order) == n_samples:
        for i in range(n_samples):
            order[i] = i
    else:
        permute(row_keys[1:], n_samples, order)


@compiled()
def draw_features(n_features, feature_keys, features):
    if len(features) == n_features:
        for i in range(n_features):
            features[i] = i
    else:
        permute(feature_keys[1:], n_features, features)
