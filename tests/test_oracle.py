"""The Bayes-optimal detector of the classic profile: densities, calibration, and that no simple rule beats it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from anomaly_detection.errors import DataError
from anomaly_detection.evaluation.oracle import _log_density, classic_log_likelihood_ratio, classic_oracle
from anomaly_detection.synthetic import SyntheticData, generate

RATIO = 0.05
PRODUCTS = {
    "spike": ("order_quantity", [(3.0, 5.0)]),
    "spike in season": ("order_quantity", [(1.2, 1.5), (3.0, 5.0)]),
    "season": ("demand_forecast", [(1.2, 1.5)]),
    "forecast error, twice, in season": ("demand_forecast", [(1.2, 1.5), (0.2, 0.4), (2.5, 4.0)]),
    "quality": ("quality_rating", [(0.3, 0.6)]),
    "delay": ("lead_time", [(2.0, 4.0)]),
}
MOMENTS = {
    "order_quantity": (500, 50),
    "demand_forecast": (450, 40),
    "quality_rating": (0.92, 0.03),
    "lead_time": (14, 2),
}


@pytest.fixture(scope="module")
def data() -> SyntheticData:
    return generate("classic", 150_000, seed=7)


@pytest.fixture(scope="module")
def log_odds(data: SyntheticData) -> np.ndarray:
    return classic_log_likelihood_ratio(data.frame, RATIO)


@pytest.mark.parametrize("name", PRODUCTS)
def test_density_agrees_with_draws(name: str) -> None:
    column, factors = PRODUCTS[name]
    mean, deviation = MOMENTS[column]
    rng = np.random.default_rng(1)
    drawn = rng.normal(mean, deviation, 200_000)
    if column == "quality_rating":
        drawn = np.clip(drawn, 0, 1)
    for low, high in factors:
        drawn *= rng.uniform(low, high, drawn.size)
    edges = np.quantile(drawn, np.linspace(0.02, 0.98, 13))
    expected = []
    for low, high in itertools.pairwise(edges):
        grid = np.linspace(low, high, 201)
        expected.append(integrate.trapezoid(np.exp(_log_density(grid, column, factors)), grid))
    observed = np.histogram(drawn, edges)[0] / drawn.size
    assert observed == pytest.approx(expected, abs=5 * math.sqrt(0.08 * 0.92 / drawn.size))
    # and it is a density: all of it is there
    grid = np.linspace(1e-9, drawn.max() * 1.3, 20_001)
    assert integrate.trapezoid(np.exp(_log_density(grid, column, factors)), grid) == pytest.approx(1.0, abs=2e-4)


@pytest.mark.parametrize("y", [700.0, 1500.0, 2000.0, 2600.0])
def test_density_of_one_factor_is_the_textbook_integral(y: float) -> None:
    expected, _ = integrate.quad(lambda u: stats.norm.pdf(y / u, 500, 50) / u / 2, 3, 5, epsabs=0, epsrel=1e-11)
    assert np.exp(_log_density(np.array([y]), "order_quantity", [(3.0, 5.0)]))[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("y", [1800.0, 2600.0, 3300.0])
def test_density_of_two_factors_is_the_textbook_double_integral(y: float) -> None:
    def inner(u: float, s: float) -> float:
        return float(stats.norm.pdf(y / (u * s), 500, 50) / (u * s) / 2 / 0.3)

    expected, _ = integrate.dblquad(inner, 1.2, 1.5, 3, 5, epsabs=1e-13, epsrel=1e-9)
    density = np.exp(_log_density(np.array([y]), "order_quantity", [(1.2, 1.5), (3.0, 5.0)]))[0]
    assert density == pytest.approx(expected, rel=1e-7)


def test_clipping_leaves_a_mass_at_one_that_the_factor_spreads() -> None:
    mass = stats.norm.sf((1 - 0.92) / 0.03)
    assert np.exp(_log_density(np.array([1.0]), "quality_rating", []))[0] == pytest.approx(mass)

    def below_one(y: float) -> float:
        low = max(0.3, y)  # y / u <= 1
        return float(integrate.quad(lambda u: stats.norm.pdf(y / u, 0.92, 0.03) / u / 0.3, low, 0.6, epsrel=1e-10)[0])

    inside = np.exp(_log_density(np.array([0.59]), "quality_rating", [(0.3, 0.6)]))[0]
    assert inside == pytest.approx(below_one(0.59) + mass / 0.3, rel=1e-6)
    assert _log_density(np.array([0.65]), "quality_rating", [(0.3, 0.6)])[0] == -math.inf


def test_ratio_is_the_mean_over_the_types() -> None:
    """One row in July, each type's ratio from textbook integrals."""
    row = {
        "order_quantity": 780.0, "lead_time": 22.0, "transportation_cost": 1450.0, "inventory_level": 2400.0,
        "quality_rating": 0.7, "demand_forecast": 330.0, "month": 7,
    }  # fmt: skip

    def times_uniform(y: float, mean: float, deviation: float, low: float, high: float) -> float:
        def at(u: float) -> float:
            return float(stats.norm.pdf(y / u, mean, deviation) / u / (high - low))

        return float(integrate.quad(at, low, high, epsabs=0, epsrel=1e-10, points=[0.99 * high, 0.999 * high])[0])

    types = {
        "order_quantity": (500, 50, 3, 5),
        "lead_time": (14, 2, 2, 4),
        "transportation_cost": (1000, 100, 2, 3),
        "inventory_level": (5000, 500, 0.1, 0.3),
    }
    ratios = [
        times_uniform(row[name], mean, deviation, low, high) / stats.norm.pdf(row[name], mean, deviation)
        for name, (mean, deviation, low, high) in types.items()
    ]
    ratios.append(0.0)  # a quality of 0.7 is more than 0.6 of anything up to 1
    once = times_uniform(330.0, 450, 40, 0.2, 0.4)
    twice = integrate.quad(lambda v: times_uniform(330.0 / v, 450, 40, 0.2, 0.4) / v / 1.5, 2.5, 4.0, epsrel=1e-9)[0]
    ratios.append((once + twice) / 2 / stats.norm.pdf(330.0, 450, 40))
    assert sum(ratio > 0.05 * max(ratios) for ratio in ratios) >= 2  # or a maximum would pass for a mean
    expected = math.log(np.mean(ratios)) + math.log(RATIO / (1 - RATIO))
    assert classic_log_likelihood_ratio(pd.DataFrame([row]), RATIO)[0] == pytest.approx(expected, rel=1e-6)


def test_posterior_is_calibrated(data: SyntheticData, log_odds: np.ndarray) -> None:
    posterior = 1 / (1 + np.exp(-log_odds))
    anomaly = data.labels == -1
    edges = [0, 0.002, 0.004, 0.006, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95, 0.999, 1.0001]
    for low, high in itertools.pairwise(edges):
        rows = (posterior >= low) & (posterior < high)
        error = math.sqrt(float(np.sum(posterior[rows] * (1 - posterior[rows])))) + 1
        assert abs(anomaly[rows].sum() - posterior[rows].sum()) < 4.5 * error, (low, high, rows.sum())


def test_posterior_is_calibrated_within_the_season(data: SyntheticData, log_odds: np.ndarray) -> None:
    """Over all months a wrong seasonal density could hide behind the ten others."""
    rows = data.frame["month"].isin([11, 12]).to_numpy() & (np.abs(log_odds) < 4)
    posterior = 1 / (1 + np.exp(-log_odds[rows]))
    assert rows.sum() > 300
    found = int((data.labels[rows] == -1).sum())
    assert abs(found - posterior.sum()) < 4.5 * math.sqrt(float(np.sum(posterior * (1 - posterior))))


def test_half_is_the_best_cut(data: SyntheticData, log_odds: np.ndarray) -> None:
    anomaly = data.labels == -1
    accuracy = {cut: float(np.mean((log_odds > cut) == anomaly)) for cut in (-3.0, -1.5, 0.0, 1.5, 3.0)}
    noise = 3 * math.sqrt(0.0005 / len(anomaly))
    assert all(accuracy[0.0] > value - noise for value in accuracy.values())
    assert accuracy[0.0] > accuracy[-3.0]
    assert accuracy[0.0] > accuracy[3.0]


def test_no_rule_of_thumb_beats_it(data: SyntheticData) -> None:
    """Rules tuned on the very rows they are judged on, season known, still lose."""
    best = classic_oracle(data)
    frame, anomaly = data.frame, data.labels == -1
    season = frame["month"].isin([11, 12]).to_numpy()
    moments = {**MOMENTS, "transportation_cost": (1000, 100), "inventory_level": (5000, 500)}
    deviations = []
    for column, (mean, deviation) in moments.items():
        seasonal = season & (column in ("order_quantity", "demand_forecast"))
        spread = np.where(seasonal, math.hypot(1.35 * deviation, mean * 0.3 / math.sqrt(12)), deviation)
        deviations.append(np.abs(frame[column].to_numpy() - np.where(seasonal, 1.35, 1.0) * mean) / spread)
    worst = np.max(deviations, axis=0)
    total = np.sqrt(np.sum(np.square(deviations), axis=0))
    for rule in (worst, total):
        accuracy = max(float(np.mean((rule > cut) == anomaly)) for cut in np.linspace(2, 8, 121))
        assert 0.98 < accuracy < best.accuracy
        order = np.argsort(-rule)
        hits = np.cumsum(anomaly[order])
        precision = hits / np.arange(1, len(rule) + 1)
        assert float(np.sum(precision * anomaly[order]) / anomaly.sum()) < (best.average_precision or 0.0)


def test_what_it_reports(data: SyntheticData, log_odds: np.ndarray) -> None:
    report = classic_oracle(data, anomaly_ratio=RATIO)
    found, anomaly = log_odds > 0, data.labels == -1
    assert report.accuracy == pytest.approx(np.mean(found == anomaly))
    assert report.precision == pytest.approx(anomaly[found].mean())
    assert report.recall == pytest.approx(found[anomaly].mean())
    assert report.false_positive_rate == pytest.approx(found[~anomaly].mean())
    assert 0.995 < report.accuracy < 0.9975
    assert 0.9 < report.recall < 0.95


def test_any_rows_in_any_order(data: SyntheticData, log_odds: np.ndarray) -> None:
    rows = np.random.default_rng(3).permutation(len(data))[:2_000]
    part = data.take(rows)
    assert classic_log_likelihood_ratio(part.frame, RATIO) == pytest.approx(log_odds[rows], abs=1e-9)
    assert classic_oracle(part).accuracy == np.mean((log_odds[rows] > 0) == (part.labels == -1))
    assert classic_log_likelihood_ratio(data.frame.iloc[:0], RATIO).shape == (0,)


def test_prior_shifts_the_odds(data: SyntheticData) -> None:
    few, many = (classic_log_likelihood_ratio(data.frame[:50], ratio) for ratio in (0.01, 0.3))
    assert many - few == pytest.approx(math.log(0.3 / 0.7) - math.log(0.01 / 0.99))


def test_extreme_rows_stay_finite_and_ordered() -> None:
    row = generate("classic", 1, anomaly_ratio=0.0).frame
    rows = pd.concat([row] * 5, ignore_index=True)
    rows["order_quantity"] = [500.0, -1e6, 1900.0, 1e6, 1e9]
    log_odds = classic_log_likelihood_ratio(rows, RATIO)
    assert np.isfinite(log_odds).all()
    assert log_odds[2] > 100 > 0 > log_odds[0]


@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.5, math.nan])
def test_ratio_out_of_range(ratio: float) -> None:
    with pytest.raises(DataError, match="anomaly_ratio"):
        classic_oracle(generate("classic", 10), anomaly_ratio=ratio)


def test_other_data_are_refused() -> None:
    data = generate("classic", 20)
    frames = {
        "lead_time": data.frame.drop(columns="lead_time"),
        "quality_rating": data.frame.assign(quality_rating=math.nan),
        "month": data.frame.assign(month="May"),
    }
    for column, frame in frames.items():
        with pytest.raises(DataError, match=column) as caught:
            classic_log_likelihood_ratio(frame, RATIO)
        assert "\n" not in str(caught.value)
