"""Values by their groups: what is compiled says what the plain functions say, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from anomaly_detection.features.compiled.groups import (
    by_group,
    distances_at,
    explained_shares,
    pairwise_sum,
    shares_of_variance,
)
from anomaly_detection.features.compiled.likelihoods import lent_likelihoods
from anomaly_detection.features.compiled.neighbours import distances_from_neighbours, distances_in_windows, windows
from anomaly_detection.features.compiled.pairs import bound, counted_pairs, lent_shares
from anomaly_detection.features.numbers.grouped import (
    MAD_TO_SIGMA,
    Sorted,
    distance_of_others,
    explained_share,
    robust_scale,
)
from anomaly_detection.features.numbers.history import History, likelihood
from anomaly_detection.features.numbers.ordered import CodedColumns, Ordered
from anomaly_detection.features.numbers.quantiles import median, quantiles
from anomaly_detection.features.series.sequence import _middles

SEEDS = st.integers(0, 10_000)


def table(seed: int, missing: bool = True) -> tuple[Any, Any, int]:
    """Values, many of them equal, some missing; their groups, some of them empty or of one row; how many there are."""
    rng = np.random.default_rng(seed)
    n, groups = int(rng.integers(2, 400)), int(rng.integers(1, 40))
    values = np.round(rng.normal(size=n) * 10.0 ** rng.integers(-2, 3), int(rng.integers(0, 6)))
    if missing:
        values[rng.random(n) < 0.1] = np.nan
    return values, rng.integers(0, groups, n), groups


@given(SEEDS)
@settings(max_examples=75, deadline=None)
def test_medians_of_others_and_their_distances_are_those_of_the_plain_functions(seed: int) -> None:
    values, codes, groups = table(seed)
    ordered = Ordered(values)
    if not len(ordered):
        return
    x, own = values[~np.isnan(values)], codes[~np.isnan(values)]
    plain = Sorted(own, x, groups)
    expected, count = plain.median_of_others()
    grouped = ordered.within(codes, groups)
    others, away, rest = map(grouped.by_row, grouped.by_others())
    np.testing.assert_array_equal(others, expected)
    np.testing.assert_array_equal(rest, count)
    filled = np.where(count > 0, expected, 0.0)
    np.testing.assert_array_equal(np.nan_to_num(away), np.nan_to_num(distance_of_others(x, own, filled, groups)))


@given(SEEDS)
@settings(max_examples=75, deadline=None)
def test_quantiles_of_groups_are_those_of_the_plain_functions_and_of_pandas(seed: int) -> None:
    values, codes, groups = table(seed)
    x, own = values[~np.isnan(values)], codes[~np.isnan(values)]
    if not len(x):
        return
    plain, grouped = Sorted(own, x, groups), Ordered(values).within(codes, groups)
    for share in (0.05, 0.5, 0.95):
        np.testing.assert_array_equal(grouped.quantile(share), plain.quantile(share))
    centres = plain.quantile(0.5)
    spread = MAD_TO_SIGMA * Sorted(own, np.abs(x - centres[own]), groups).quantile(0.5)
    np.testing.assert_array_equal(grouped.spread(centres), spread)
    by_group: Any = pd.Series(x).groupby(own)
    median = by_group.median().reindex(range(groups), fill_value=0.0).to_numpy()
    np.testing.assert_array_equal(grouped.median(), median)
    distance: Any = pd.Series(np.abs(x - median[own])).groupby(own)
    for found, expected in (
        (grouped.median_distance(median), distance.median()),
        (grouped.quantile_of_distances(median, 0.9), distance.quantile(0.9)),
    ):
        np.testing.assert_array_equal(found, expected.reindex(range(groups), fill_value=0.0).to_numpy())


@given(SEEDS)
@settings(max_examples=75, deadline=None)
def test_explained_shares_are_those_of_the_plain_function(seed: int) -> None:
    values, codes, groups = table(seed)
    ordered = Ordered(values)
    if not ordered.varies:
        return
    rng = np.random.default_rng(seed)
    other, present = rng.integers(0, 5, len(values)), ~np.isnan(values)
    columns = CodedColumns({"a": (codes, groups), "b": (other, 5), "c": (codes, groups)})
    wanted = np.array([True, True, False])
    ranks = rankdata(values[present])
    np.testing.assert_array_equal(ordered.ranks, ranks)
    single = [explained_share(ranks, own[present], size) for own, size in ((codes, groups), (other, 5))]
    np.testing.assert_array_equal(ordered.explained_shares(columns, wanted), [*single, 0.0])
    used, both = np.unique((codes * 5 + other)[present], return_inverse=True)
    pair = explained_share(ranks, both, len(used))
    wanted[0] = False
    np.testing.assert_array_equal(ordered.pair_shares(columns, 0, wanted, len(used)), [-1.0, pair, -1.0])
    np.testing.assert_array_equal(ordered.pair_shares(columns, 0, wanted, len(used) - 1), [-1.0, -1.0, -1.0])


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_pairs_of_categories_are_those_that_are_counted(seed: int) -> None:
    values, first, groups = table(seed, missing=False)
    rng = np.random.default_rng(seed)
    second = np.where(rng.random(len(first)) < 0.05, rng.integers(0, 5, len(first)), first % 5)
    for apart in (np.zeros(0, dtype=np.int64), rng.integers(0, 60, len(first))):
        both, beside = counted_pairs(first, groups, second, 5, apart)
        others = apart[:, None] != apart if len(apart) else ~np.eye(len(first), dtype=bool)
        same = (first[:, None] == first) & others
        np.testing.assert_array_equal(beside, same.sum(axis=1))
        np.testing.assert_array_equal(both, (same & (second[:, None] == second)).sum(axis=1))
        share = rng.random(len(first)) + 0.1
        expected = [np.mean(np.log((both + lent * share) / (beside + lent))) for lent in (0.1, 5.0)]
        np.testing.assert_allclose(lent_shares(both, beside, share, np.array([0.1, 5.0])), expected)
    columns = CodedColumns({"a": (first, groups), "b": (second, 5)})
    expected = _foretells(first, second) or _foretells(second, first)
    assert bound(columns.codes, columns.sizes, np.array([True, False]), 0.1).tolist() == [
        [False, expected],
        [expected, False],
    ]
    with np.errstate(divide="ignore", invalid="ignore"):  # of as many rows as levels, which is not looked at
        explained = [1.0 - left / (len(first) - size) for left, size in _left(values, ((first, groups), (second, 5)))]
    found = shares_of_variance(values, columns.codes, columns.sizes)
    wide = (len(values) > 2 * columns.sizes) & (values.var() > 0.0)
    np.testing.assert_allclose(found[wide], np.array(explained)[wide], atol=1e-9)


def _foretells(given: Any, of: Any) -> bool:
    """Whether rows with a level that occurs again have one level of another column, but for a tenth of what is open."""
    again = np.bincount(given)[given] > 1
    if not again.any():
        return False
    rows, commonest = again.sum(), np.bincount(of[again]).max()
    odd = rows - pd.crosstab(given[again], of[again]).max(axis=1).sum()
    return bool(commonest < rows and odd <= 0.1 * (rows - commonest))


def _left(values: Any, columns: Any) -> list[tuple[float, int]]:
    """The squares that are left within groups, over the variance, and how many groups there are."""
    total = max(values.var(ddof=1), 1e-300)
    within = [((values - pd.Series(values).groupby(codes).transform("mean")) ** 2).sum() for codes, _ in columns]
    return [(left / total, size) for left, (_, size) in zip(within, columns, strict=True)]


@given(SEEDS)
@settings(max_examples=50, deadline=None)
def test_likelihoods_are_those_of_the_history_nearly(seed: int) -> None:
    values, codes, groups = table(seed)
    ordered = Ordered(values)
    if len(ordered) < 10 or not ordered.varies:
        return
    grouped = ordered.within(codes, groups)
    others, away, rest = grouped.by_others()
    others, away = np.where(rest > 0, others, ordered.median), np.nan_to_num(away)
    usual = ordered.median, ordered.robust_scale, 0.1, 0.01
    lent = lent_likelihoods(grouped.values, rest, others, away, *usual, np.array([0.2, 4.0]), np.array([1.0, 16.0]))
    nothing = np.zeros(0)
    for i, centre in enumerate((0.2, 4.0)):
        for j, spread in enumerate((1.0, 16.0)):
            history = History(rest, nothing, nothing, nothing, nothing, *usual[:3], centre, spread, usual[3])
            assert lent[i, j] == pytest.approx(history._likelihood(grouped.values, rest, others, away), abs=1e-9)
    assert likelihood(ordered, codes.astype(np.int32), groups) == likelihood(ordered, groups - 1 - codes, groups)
    x = ordered.x
    assert median(x) == np.median(x)
    np.testing.assert_array_equal(quantiles(x, [0.0, 0.01, 0.5, 0.9]), np.quantile(x, [0.0, 0.01, 0.5, 0.9]))


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 127, 128, 129, 136, 1000, 4099])
def test_sums_are_numpys(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n) * 10.0 ** np.random.default_rng(n).integers(-8, 8, n)
    assert pairwise_sum(values) == values.sum()


@given(SEEDS)
@settings(max_examples=50, deadline=None)
def test_distances_from_neighbours_are_those_of_the_plain_function(seed: int) -> None:
    values, codes, _ = table(seed)
    order = np.argsort(codes, kind="stable")
    series = codes[order]
    away = np.abs(values[order] - _middles(values[order], series))
    np.testing.assert_array_equal(distances_from_neighbours(values, order, series), away)
    np.testing.assert_array_equal(distances_in_windows(values, windows(order, series, 3)), away[::3])


def test_neighbours_are_found_across_blocks_of_rows() -> None:
    values = np.random.default_rng(0).normal(size=3000)
    order, series = np.arange(3000), np.zeros(3000, dtype=np.int64)
    away = np.abs(values - _middles(values, series))
    np.testing.assert_array_equal(distances_from_neighbours(values, order, series), away)


def test_windows_with_rows_that_are_not_there_are_refused() -> None:
    rows = windows(np.arange(5), np.zeros(5, dtype=np.int64), 1)
    with pytest.raises(IndexError, match="not there"):
        distances_in_windows(np.zeros(4), rows)
    with pytest.raises(IndexError, match="not there"):
        distances_in_windows(np.zeros(5), rows - 1)


@pytest.mark.parametrize("values", [[1.0, 2, 3, 4, 5], [0.0] * 90 + [9.8] * 10, [2.0, 2.0], [3.0, np.nan]])
def test_the_whole_has_its_median_and_its_robust_scale(values: list[float]) -> None:
    ordered, present = Ordered(np.array(values)), np.array(values)[~np.isnan(values)]
    assert ordered.median == np.median(present)
    assert ordered.robust_scale == robust_scale(present)
    assert ordered.varies == (np.ptp(present) > 0)


def test_a_code_outside_its_groups_is_refused() -> None:
    with pytest.raises(IndexError, match="outside"):
        by_group(np.arange(3), np.array([0, 1, 2]), 2)
    columns = np.array([[0, -1]], dtype=np.int32)
    with pytest.raises(IndexError, match="outside"):
        explained_shares(np.array([1.0, 2.0]), columns, np.array([2]), np.array([True]), 1.0, 1.0)


def test_a_place_outside_its_group_is_moved_into_it() -> None:
    values, starts = np.array([1.0, 2.0, 4.0]), np.array([0, 2, 2, 3])
    found = distances_at(values, starts, np.zeros(3), np.array([9, 0, -1]))
    np.testing.assert_array_equal(found, [[2.0, 0.0, 4.0], [2.0, 0.0, 4.0]])
