"""Threefry, permutations and samples: known answers, and the scalar versions equal to the array versions."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils import check_random_state

from mlx_iforest import randomness
from mlx_iforest.backends.numba import drawing_kernels
from mlx_iforest.randomness import (
    PERMUTATION_ROUNDS,
    Stream,
    draw_seed,
    permutation,
    permutation_keys,
    threefry2x32,
    tree_keys,
)

WORD = st.integers(0, 2**32 - 1)
KNOWN_ANSWERS = [  # of the Random123 library that accompanies the paper: key, counter, result
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def words(*values: int) -> list[np.ndarray]:
    return [np.array([value], np.uint32) for value in values]


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN_ANSWERS)
def test_threefry_gives_the_published_answers(key, counter, expected):
    assert [int(w[0]) for w in threefry2x32(*words(*key, *counter))] == list(expected)


@settings(deadline=None)  # the first call compiles
@given(WORD, WORD, WORD, WORD)
def test_threefry_is_the_same_in_numpy_numba_and_mlx(key0, key1, counter0, counter1):
    arguments = words(key0, key1, counter0, counter1)
    expected = [int(w[0]) for w in threefry2x32(*arguments)]
    assert [int(w) for w in drawing_kernels.threefry(*(a[0] for a in arguments))] == expected
    assert [int(w.item()) for w in threefry2x32(*(mx.array(a) for a in arguments))] == expected


@settings(deadline=None)
@given(WORD, st.integers(1, 2**31))
def test_bounded_is_the_high_half_of_the_product(word, bound):
    expected = word * bound >> 32
    assert randomness.bounded(np.array([word], np.uint32), bound)[0] == expected
    assert drawing_kernels.bounded(np.uint32(word), np.int64(bound)) == expected


@given(st.integers(1, 3000), st.integers(0, 2**63))
def test_permutation_is_one(size, seed):
    keys = permutation_keys(tree_keys(seed, np.arange(2), Stream.ROWS))
    sent = permutation(keys, np.arange(size), size)
    for row in sent:
        assert sorted(row) == list(range(size))


@settings(deadline=None)
@given(st.integers(2, 2**31), st.integers(0, 2**63), st.integers(1, 300))
def test_the_compiled_permutation_is_the_same(size, seed, count):
    keys = permutation_keys(tree_keys(seed, np.arange(1), Stream.ROWS))
    assert keys.shape == (1, PERMUTATION_ROUNDS, 2)
    positions = np.empty(min(count, size), np.int64)
    drawing_kernels.permute(keys[0], size, positions)
    assert np.array_equal(positions, permutation(keys, np.arange(len(positions)), size)[0])


def test_samples_are_uniform_over_rows_and_over_pairs():
    size, count, trees = 50, 10, 40_000
    drawn = randomness.sample(3, np.arange(trees), Stream.ROWS, size, count)
    chosen = np.zeros((trees, size), bool)
    np.put_along_axis(chosen, drawn, True, axis=1)
    assert (chosen.sum(axis=1) == count).all()
    share = count / size
    deviation = (chosen.mean(axis=0) - share) / np.sqrt(share * (1 - share) / trees)
    assert np.abs(deviation).max() < 4.5
    pair = share * (count - 1) / (size - 1)
    together = (chosen.T.astype(np.float64) @ chosen) / trees
    deviation = (together[~np.eye(size, dtype=bool)] - pair) / np.sqrt(pair * (1 - pair) / trees)
    assert np.abs(deviation).max() < 5.5
    assert 0.9 < deviation.std() < 1.1


def test_trees_and_streams_have_draws_of_their_own():
    keys = np.concatenate([tree_keys(1, np.arange(1000), s) for s in (Stream.SPLITS, Stream.ROWS, Stream.FEATURES)])
    assert len({tuple(key) for key in keys.tolist()}) == 3000


def test_all_of_them_come_in_order():
    assert randomness.sample(0, [4, 5], Stream.ROWS, 6, 6).tolist() == [list(range(6))] * 2


@pytest.mark.parametrize("random_state", [0, 7, 2**32 - 1, np.int64(5)])
def test_a_seed_is_what_scikit_learn_would_draw(random_state):
    words = check_random_state(random_state).randint(0, 2**32, size=2, dtype=np.uint64)
    for _ in range(2):
        assert draw_seed(random_state) == int(words[0]) | int(words[1]) << 32
    generator = np.random.RandomState(random_state)
    assert draw_seed(generator) == int(words[0]) | int(words[1]) << 32 != draw_seed(generator)
    assert draw_seed(None) != draw_seed(None)


@pytest.mark.parametrize("random_state", [-1, 2**32, "seed"])
def test_what_is_no_seed_is_refused(random_state):
    with pytest.raises(ValueError, match=r"Seed must be between|cannot be used to seed"):
        draw_seed(random_state)
