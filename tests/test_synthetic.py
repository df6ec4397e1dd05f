"""The classic profile is the distribution it says, and `generate` checks what it is asked."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anomaly_detection.errors import DataError
from anomaly_detection.synthetic import PROFILES, SyntheticData, generate

# Written out again from the description, not imported: a slip in the module's tables must show.
MOMENTS = {
    "order_quantity": (500, 50),
    "lead_time": (14, 2),
    "transportation_cost": (1000, 100),
    "inventory_level": (5000, 500),
    "supplier_reliability": (0.95, 0.02),
    "demand_forecast": (450, 40),
    "production_capacity": (600, 50),
    "quality_rating": (0.92, 0.03),
}
FACTORS = {
    "quantity_spike": ("order_quantity", 3, 5),
    "lead_time_delay": ("lead_time", 2, 4),
    "cost_anomaly": ("transportation_cost", 2, 3),
    "inventory_shortage": ("inventory_level", 0.1, 0.3),
    "quality_issue": ("quality_rating", 0.3, 0.6),
}
SHARES = ("supplier_reliability", "quality_rating")


@pytest.fixture(scope="module")
def data() -> SyntheticData:
    return generate("classic", 120_000, seed=3)


@pytest.fixture(scope="module")
def crowded() -> SyntheticData:
    """Ten thousand of each type, so that a factor slightly off shows."""
    return generate("classic", 120_000, anomaly_ratio=0.5, seed=4)


def _normal(rng: np.random.Generator, column: str, n: int = 50_000) -> np.ndarray:
    drawn = rng.normal(*MOMENTS[column], n)
    return np.clip(drawn, 0, 1) if column in SHARES else drawn


def _same_distribution(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(stats.ks_2samp(one, other).pvalue > 1e-4)


def test_defaults() -> None:
    data = generate()
    assert data.frame.shape == (10_000, 13)
    assert list(data.frame.columns) == [
        "timestamp", *MOMENTS, "supplier", "product_category", "shipping_method", "month",
    ]  # fmt: skip
    assert (data.labels == -1).sum() == 500
    assert set(np.unique(data.labels)) == {-1, 1}
    assert not data.frame.isna().any(axis=None)
    assert len(data) == 10_000


def test_truth_is_consistent(data: SyntheticData) -> None:
    normal = data.labels == 1
    assert (data.anomaly_types[normal] == "normal").all()
    assert (data.anomaly_kinds[normal] == "normal").all()
    assert set(data.anomaly_types[~normal]) == {*FACTORS, "forecast_error"}
    assert set(data.anomaly_kinds[~normal]) == {"point"}
    assert np.issubdtype(data.labels.dtype, np.integer)
    assert data.anomaly_types.dtype.kind == data.anomaly_kinds.dtype.kind == "U"


def test_time_is_uniform_over_the_year_and_sorted(data: SyntheticData) -> None:
    time = data.frame["timestamp"]
    assert time.is_monotonic_increasing
    assert time.min() >= pd.Timestamp("2023-01-01")
    assert time.max() < pd.Timestamp("2024-01-01")
    assert (data.frame["month"] == time.dt.month).all()
    share = (time - pd.Timestamp("2023-01-01")) / pd.Timedelta(days=365)
    assert stats.kstest(share, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("column", MOMENTS)
def test_normal_rows_follow_their_normal(data: SyntheticData, column: str) -> None:
    rows = (data.labels == 1) & (data.frame["month"] < 11).to_numpy()
    values = data.frame[column].to_numpy()[rows]
    mean, deviation = MOMENTS[column]
    if column in SHARES:
        assert values.max() == 1.0
        at_one = stats.norm.sf((1 - mean) / deviation)
        assert np.mean(values == 1.0) == pytest.approx(at_one, abs=5 * math.sqrt(at_one / values.size))
        assert _same_distribution(values, _normal(np.random.default_rng(0), column))
    else:
        assert stats.kstest(values, stats.norm(mean, deviation).cdf).pvalue > 1e-4


@pytest.mark.parametrize("column", ["order_quantity", "demand_forecast"])
def test_season_multiplies_november_and_december(data: SyntheticData, column: str) -> None:
    rows = (data.labels == 1) & (data.frame["month"] >= 11).to_numpy()
    rng = np.random.default_rng(1)
    assert _same_distribution(data.frame[column].to_numpy()[rows], _normal(rng, column) * rng.uniform(1.2, 1.5, 50_000))


def test_season_is_drawn_for_each_column_and_leaves_the_others(data: SyntheticData) -> None:
    winter = data.frame[(data.labels == 1) & (data.frame["month"] >= 11).to_numpy()]
    assert abs(winter["order_quantity"].corr(winter["demand_forecast"])) < 5 / math.sqrt(len(winter))
    for column in ("lead_time", "production_capacity", "inventory_level"):
        assert stats.kstest(winter[column], stats.norm(*MOMENTS[column]).cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", FACTORS)
def test_anomaly_multiplies_its_column_alone(crowded: SyntheticData, name: str) -> None:
    column, low, high = FACTORS[name]
    rows = (crowded.anomaly_types == name) & (crowded.frame["month"] < 11).to_numpy()
    rng = np.random.default_rng(2)
    assert _same_distribution(
        crowded.frame[column].to_numpy()[rows], _normal(rng, column) * rng.uniform(low, high, 50_000)
    )
    for other in set(MOMENTS) - {column, *SHARES}:
        assert stats.kstest(crowded.frame[other].to_numpy()[rows], stats.norm(*MOMENTS[other]).cdf).pvalue > 1e-5


def test_forecast_error_goes_down_and_for_half_up_again(crowded: SyntheticData) -> None:
    rows = (crowded.anomaly_types == "forecast_error") & (crowded.frame["month"] < 11).to_numpy()
    rng = np.random.default_rng(2)
    once = _normal(rng, "demand_forecast") * rng.uniform(0.2, 0.4, 50_000)
    twice = once * np.where(rng.random(50_000) < 0.5, rng.uniform(2.5, 4, 50_000), 1.0)
    values = crowded.frame["demand_forecast"].to_numpy()[rows]
    assert _same_distribution(values, twice)
    assert not _same_distribution(values, once)


def test_anomalies_in_season_keep_the_season(data: SyntheticData) -> None:
    rows = (data.anomaly_types == "quantity_spike") & (data.frame["month"] >= 11).to_numpy()
    mean = data.frame["order_quantity"].to_numpy()[rows].mean()
    assert mean == pytest.approx(500 * 1.35 * 4, rel=0.06)


def test_types_and_names_are_equally_likely(data: SyntheticData) -> None:
    types = pd.Series(data.anomaly_types[data.labels == -1]).value_counts()
    assert len(types) == 6
    assert stats.chisquare(types).pvalue > 1e-4
    for column, count in {"supplier": 4, "product_category": 5, "shipping_method": 4}.items():
        names = data.frame[column].value_counts()
        assert len(names) == count
        assert stats.chisquare(names).pvalue > 1e-4


@pytest.mark.parametrize("profile", PROFILES)
def test_same_seed_same_data(profile: str) -> None:
    one, other, third = (generate(profile, 800, seed=seed) for seed in (5, 5, 6))
    pd.testing.assert_frame_equal(one.frame, other.frame)
    for field in ("labels", "anomaly_types", "anomaly_kinds"):
        assert np.array_equal(getattr(one, field), getattr(other, field))
    assert not one.frame.equals(third.frame)
    assert not np.array_equal(one.labels, third.labels)


@pytest.mark.parametrize("profile", PROFILES)
@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 400), ratio=st.floats(0, 0.5), seed=st.integers(0, 2**63))
def test_number_of_anomalies_is_exact(profile: str, n: int, ratio: float, seed: int) -> None:
    data = generate(profile, n, anomaly_ratio=ratio, seed=seed)
    assert len(data.frame) == len(data.labels) == len(data.anomaly_types) == len(data.anomaly_kinds) == n
    assert int((data.labels == -1).sum()) == round(ratio * n)
    assert np.array_equal(data.labels == 1, data.anomaly_types == "normal")
    assert np.array_equal(data.labels == 1, data.anomaly_kinds == "normal")
    assert list(data.frame.index) == list(range(n))


def test_take_keeps_rows_and_truth_together(data: SyntheticData) -> None:
    rows = np.array([5, 2, 9])
    part = data.take(rows)
    assert list(part.frame.index) == [5, 2, 9]
    assert np.array_equal(part.labels, data.labels[rows])
    masked = data.take(data.labels == -1)
    assert (masked.anomaly_types != "normal").all()
    assert len(masked.frame) == 6_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "clasic"}, "did you mean 'classic'"),
        ({"profile": None}, "profile None is unknown"),
        ({"difficulty": "meduim", "profile": "realistic"}, "did you mean 'medium'"),
        ({"difficulty": "hard"}, "realistic profile"),
        ({"n_samples": 0}, "n_samples is 0"),
        ({"n_samples": 10.5}, "n_samples is 10.5"),
        ({"n_samples": True}, "n_samples is True"),
        ({"n_samples": "100"}, "n_samples is '100'"),
        ({"anomaly_ratio": 0.6}, "anomaly_ratio is 0.6"),
        ({"anomaly_ratio": -0.1}, "anomaly_ratio is -0.1"),
        ({"anomaly_ratio": math.nan}, "anomaly_ratio is nan"),
        ({"anomaly_ratio": "5%"}, "anomaly_ratio is '5%'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": None}, "seed is None"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        generate(**arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numpy_numbers_are_numbers() -> None:
    data = generate("classic", np.int64(40), anomaly_ratio=np.float32(0.25), seed=np.uint32(1))  # type: ignore[arg-type]
    assert (data.labels == -1).sum() == 10
