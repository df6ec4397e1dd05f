"""c(n), depth limits and scores against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlx_iforest.score_function import BLEND
from mlx_iforest.scoring import (
    Spread,
    average_path_length,
    density_score,
    depth_limit,
    depth_score,
    soft_minimum,
)


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
    assert depth_score(np.array([c, 0.0, 2 * c]), 256) == pytest.approx([-0.5, -1.0, -0.25])


def test_score_of_a_forest_of_single_samples_says_nothing():
    assert depth_score(np.zeros(3), 1).tolist() == [-0.5] * 3


def test_density_score_of_an_even_spread_is_half():
    assert density_score(np.array([0.0, np.log(3), -np.log(3), 1e6])) == pytest.approx([-0.5, -0.25, -0.75, 0])
    assert density_score(np.array([1e6]))[0] < 0


def test_blend_score_is_half_three_deviations_below_the_median():
    assert BLEND.score(np.array([-3.0])) == pytest.approx([-0.5])
    scores = BLEND.score(np.linspace(-30, 30, 100))
    assert (np.diff(scores) > 0).all()
    assert scores.min() >= -1
    assert scores.max() < 0


def test_spread_by_hand():
    spread = Spread.of(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert spread.median == 3
    assert spread.deviation == pytest.approx(2 / 1.3489795)
    assert spread.standardise(np.array([3.0, 5.0])) == pytest.approx([0, 1.3489795])


@pytest.mark.parametrize(("values", "deviation"), [([5.0] * 9, 1.0), ([0.0] * 9 + [10.0], 3.0)])
def test_spread_of_values_that_hardly_vary(values, deviation):
    assert Spread.of(np.array(values)).deviation == pytest.approx(deviation)


def test_soft_minimum_by_hand():
    normality = np.array([[0.0, 0.0], [-20.0, 5.0], [1.0, 2.0]])
    expected = [0, -20 - np.log(0.25), -np.log(0.25 * np.exp(-1) + 0.75 * np.exp(-2))]
    assert soft_minimum(normality, np.array([1.0, 3.0])) == pytest.approx(expected)
