"""Counter-based randomness: every draw is a pure function of what it is for.

A draw depends on (seed, tree, node, attempt) alone, never on the order in which trees and nodes are visited. That is
what makes "same seed, same forest" hold on every backend and for any number of threads.

The functions here work on arrays, of NumPy and of MLX alike, since they use operators only. The scalar
versions are in ``backends/numba/drawing_kernels.py``, and a test holds the two equal.

References
----------
.. [1] Salmon, Moraes, Dror and Shaw. Parallel random numbers: as easy as 1, 2, 3. SC 2011. (Threefry)
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Stream",
    "bounded",
    "draw_seed",
    "permutation",
    "permutation_keys",
    "split_seed",
    "threefry2x32",
    "tree_keys",
]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
PERMUTATION_ROUNDS = 4


class Stream:
    """What a tree's key is for; two streams of one tree share no draws."""

    SPLITS = 0
    ROWS = 1
    FEATURES = 2


def threefry2x32(key0: Any, key1: Any, counter0: Any, counter1: Any) -> tuple[Any, Any]:
    """Threefry-2x32 with 20 rounds [1]_: two uint32 words from a key and a counter of two words each.

    Parameters
    ----------
    key0, key1, counter0, counter1 : uint32 arrays, of NumPy or MLX, that broadcast together
        At least one-dimensional, so that additions wrap around silently.

    Returns
    -------
    (word0, word1) : uint32 arrays
        Independent, uniform over all 2**32 values.
    """
    keys = (key0, key1, key0 ^ key1 ^ PARITY)
    x0 = counter0 + key0
    x1 = counter1 + key1
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << rotation) | (x1 >> (32 - rotation))) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + (group + 1)
    return x0, x1


class _Reseeded(threading.local):
    """A generator for each thread, to be seeded anew: making one takes as long as growing ten trees."""

    def __init__(self) -> None:
        self.state = np.random.RandomState(0)


_reseeded = _Reseeded()


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """64 bits from what users give as ``random_state``, by scikit-learn's conventions.

    Raises
    ------
    ValueError
        In scikit-learn's or NumPy's words.
    """
    if isinstance(random_state, Integral):
        generator = _reseeded.state
        generator.seed(int(random_state))
    else:
        from sklearn.utils import check_random_state

        generator = check_random_state(random_state)
    words = generator.randint(0, 2**32, size=2, dtype=np.uint64)
    return int(words[0]) | int(words[1]) << 32


def split_seed(seed: int) -> tuple[int, int]:
    """The low and the high 32 bits of a 64-bit seed."""
    return seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF


def tree_keys(seed: int, trees: NDArray[np.integer], stream: int) -> NDArray[np.uint32]:
    """One key a tree.

    Parameters
    ----------
    seed : int
        64 bits are used.
    trees : integer array of shape (n_trees,)
        Numbers of the trees in the forest; a forest that grows goes on counting.
    stream : int
        One of `Stream`.

    Returns
    -------
    ndarray of uint32, shape (n_trees, 2)
    """
    low, high = split_seed(seed)
    shape = np.shape(trees)
    words = threefry2x32(
        np.full(shape, low, np.uint32),
        np.full(shape, high, np.uint32),
        np.asarray(trees).astype(np.uint32),
        np.full(shape, stream, np.uint32),
    )
    return np.stack(words, axis=-1)


def bounded(word: NDArray[np.uint32], bound: int | NDArray[np.integer]) -> NDArray[np.int64]:
    """A uint32 draw as an integer in [0, bound): the high half of their product (Lemire, 2019, without the rejection,
    whose absence biases a choice by less than bound / 2**32)."""
    return ((word.astype(np.uint64) * np.asarray(bound).astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


def permutation_keys(keys: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Multipliers (odd) and increments of the rounds of `permutation`.

    Parameters
    ----------
    keys : ndarray of uint32, shape (n_trees, 2)

    Returns
    -------
    ndarray of uint32, shape (n_trees, PERMUTATION_ROUNDS, 2)
    """
    rounds = np.arange(PERMUTATION_ROUNDS, dtype=np.uint32)[None, :]
    multiplier, increment = threefry2x32(keys[:, :1], keys[:, 1:], rounds, np.zeros_like(rounds))
    return np.stack([multiplier | np.uint32(1), increment], axis=-1)


def permutation(round_keys: NDArray[np.uint32], positions: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """Where a keyed permutation of [0, size) sends positions: sampling without replacement, without any state.

    Multiplying by an odd number, adding, and xor with a right shift are each bijections of the b-bit numbers, so a few
    rounds of them are one too. Numbers that fall outside [0, size) are sent on until they fall inside (cycle walking),
    which takes fewer than two steps on average because 2**(b-1) < size.

    Parameters
    ----------
    round_keys : ndarray of uint32, shape (n_trees, PERMUTATION_ROUNDS, 2)
        From `permutation_keys`.
    positions : integer array, shape (n_positions,)
        Each in [0, size).
    size : int
        At most 2**32.

    Returns
    -------
    ndarray of int64, shape (n_trees, n_positions)
        Distinct along the last axis, each in [0, size).
    """
    bits = max(int(size - 1).bit_length(), 1)
    mask = np.uint32((1 << bits) - 1)
    shift = np.uint32((bits + 1) // 2)
    keys = np.repeat(round_keys[:, None], len(positions), axis=1).reshape(-1, PERMUTATION_ROUNDS, 2)
    result = np.tile(np.asarray(positions).astype(np.uint32), len(round_keys))
    walking = np.arange(result.size)
    while walking.size:
        x = result[walking]
        for r in range(PERMUTATION_ROUNDS):
            x = (x * keys[walking, r, 0] + keys[walking, r, 1]) & mask
            x ^= x >> shift
        result[walking] = x
        walking = walking[x >= size]
    return result.astype(np.int64).reshape(len(round_keys), len(positions))


def sample(
    seed: int, trees: Sequence[int] | NDArray[np.integer], stream: int, size: int, count: int
) -> NDArray[np.int64]:
    """`count` distinct numbers of [0, size) for every tree; all of them, in order, where count == size.

    Returns
    -------
    ndarray of int64, shape (n_trees, count)
    """
    trees = np.asarray(trees)
    positions = np.arange(count)
    if count == size:
        return np.broadcast_to(positions, (len(trees), size))
    return permutation(permutation_keys(tree_keys(seed, trees, stream)), positions, size)
