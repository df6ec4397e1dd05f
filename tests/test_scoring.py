"""c(n), depth limits and scores against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlx_iforest.scoring import average_path_length, depth_limit, score_from_path_length


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, 0.0),
        (1, 0.0),
        (2, 1.0),
        (3, 2 * (math.log(2) + 0.5772156649015329) - 4 / 3),
        (256, 2 * (math.log(255) + 0.5772156649015329) - 2 * 255 / 256),
    ],
)
def test_average_path_length(n, expected):
    assert average_path_length(n) == pytest.approx(expected, abs=1e-12)


def test_average_path_length_of_the_usual_subsample():
    assert average_path_length(256) == pytest.approx(10.244770920, abs=1e-8)
    assert average_path_length([[1, 2], [2, 1]]).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(("size", "limit"), [(1, 1), (2, 1), (3, 2), (4, 2), (256, 8), (257, 9), (1000, 10)])
def test_depth_limit(size, limit):
    assert depth_limit(size) == limit


def test_score_is_half_at_the_average_and_one_at_once():
    c = average_path_length(256)
    assert score_from_path_length(np.array([c, 0.0, 2 * c]), 256) == pytest.approx([-0.5, -1.0, -0.25])


def test_score_of_a_forest_of_single_samples_says_nothing():
    assert score_from_path_length(np.zeros(3), 1).tolist() == [-0.5] * 3
