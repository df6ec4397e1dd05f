"""Numbers and dates beside the rows around them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.kinds import EVIDENCE_GROUPS
from anomaly_detection.features.series import sequence
from anomaly_detection.features.series.sequence import Neighbours, Runs

N = 400


def readings(seed: int = 0, n: int = N) -> pd.DataFrame:
    """A temperature that drifts, a number that does not follow, and dates in order."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "temperature": np.round(np.cumsum(rng.normal(size=n)), 2),
            "noise": rng.normal(size=n),
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(n) + rng.random(n), unit="h"),
        }
    )


def middles(values: list[float], series: list[int]) -> list[float]:
    """Row by row."""
    found = []
    for i in range(len(values)):
        sides = [
            [values[j] for j in side if 0 <= j < len(values) and series[j] == series[i] and not np.isnan(values[j])]
            for side in (range(i - 2, i), range(i + 1, i + 3))
        ]
        found.append(float(np.median(sides[0] + sides[1])) if all(sides) else np.nan)
    return found


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 60])
def test_the_middle_of_the_rows_around(n: int) -> None:
    rng = np.random.default_rng(n)
    values = np.where(rng.random(n) < 0.3, np.nan, np.round(rng.normal(size=n), 1))
    series = np.sort(rng.integers(0, 4, n))
    np.testing.assert_allclose(sequence._middles(values, series), middles(values.tolist(), series.tolist()))


@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_the_length_of_runs(n: int) -> None:
    rng = np.random.default_rng(n)
    values = np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 2, n).astype(float))
    series = np.sort(rng.integers(0, 3, n))
    expected = []
    for i in range(n):
        first = last = i
        while first > 0 and series[first - 1] == series[i] and values[first - 1] == values[i]:
            first -= 1
        while last < n - 1 and series[last + 1] == series[i] and values[last + 1] == values[i]:
            last += 1
        expected.append(0 if np.isnan(values[i]) else last - first + 1)
    assert sequence._runs(values, series).tolist() == expected


def test_only_columns_that_follow_are_judged() -> None:
    frame = readings()
    fitted = Neighbours(["temperature", "noise", "at", "day"]).fit(frame.assign(day=frame["at"].dt.day))
    assert [(one.column, one.by) for one in fitted.series_] == [("temperature", None), ("at", None)]


def test_a_jump_and_a_wrong_year_fall_out() -> None:
    frame, new = readings(), readings(1)
    new.loc[100, "temperature"] += 30.0
    new.loc[200, "at"] += pd.DateOffset(years=1)
    fitted = Neighbours(["temperature", "at"]).fit(frame)
    found = np.abs(fitted.transform(new))
    assert found.argmax(axis=0).tolist() == [100, 200]
    assert found[100, 0] == pytest.approx(
        abs(new["temperature"][100] - new["temperature"][[98, 99, 101, 102]].median())
    )
    value, usual = fitted.in_units(new, np.array([100, 200]))
    assert value[0, 0] == new["temperature"][100]
    assert usual[0, 0] == pytest.approx(new["temperature"][[98, 99, 101, 102]].median())
    assert abs(pd.Timestamp(usual[1, 1]) - new["at"][[198, 199, 201, 202]].median()) < pd.Timedelta("1s")


def test_the_ends_of_what_rises_evenly_are_usual() -> None:
    hours = pd.date_range("2024-01-01", periods=400, freq="h")
    frame = pd.DataFrame({"at": np.repeat(hours, 2), "device": pd.Categorical(["a", "b"] * 400)})
    fitted = Neighbours(["at"], ["device"]).fit(frame)
    assert [one.by for one in fitted.series_] == ["device"]
    new = frame.assign(at=frame["at"] + pd.Timedelta(days=30))
    assert np.abs(fitted.transform(new)).max() < 1e-9
    # Beside a wrong one at the end, the next is a step away at most.
    new.loc[798, "at"] += pd.Timedelta(days=90)
    assert np.abs(fitted.transform(new)).max() < 1.001 / 24.0
    new.loc[792, "at"] += pd.Timedelta(days=5)
    assert fitted.transform(new).argmax() == 792


def test_a_date_after_a_gap_is_in_its_place() -> None:
    fitted = Neighbours(["at"]).fit(pd.DataFrame({"at": pd.date_range("2024-01-01", periods=N, freq="h")}))
    new = pd.DataFrame({"at": pd.date_range("2024-02-01", periods=N, freq="h")}).drop(range(100, 105))
    assert not fitted.transform(new).any()
    new.loc[200, "at"] -= pd.Timedelta(hours=5)
    assert np.abs(fitted.transform(new))[195, 0] == pytest.approx(5 / 24, rel=1e-3)


def test_in_a_file_that_is_sorted_by_its_dates_the_first_that_falls_out_is_evidence_the_more_the_farther() -> None:
    frame = readings()
    features = SupplyChainFeatures(groups=EVIDENCE_GROUPS).fit(frame)
    new = readings(1)
    new.loc[100, "at"] += pd.Timedelta(days=3)
    new.loc[200, "at"] -= pd.DateOffset(years=1)
    place = [source.name for source in features.feature_sources_].index("at beside the rows around")
    found = features.evidence_.of(features.transform(new)[:, :-1])[:, place]
    assert found[200] > found[100] + 5.0 > np.log(N) + 5.0
    assert np.delete(found, [100, 200]).max() < 2.0


def test_rows_in_no_order_tell_nothing() -> None:
    fitted = Neighbours(["temperature", "at"]).fit(readings())
    shuffled = readings(1).sample(frac=1.0, random_state=0)
    assert not fitted.transform(shuffled).any()
    assert not fitted.transform(readings(1).iloc[:1]).any()


def test_rows_farther_apart_are_no_odder() -> None:
    fitted = Neighbours(["at"])
    usual = np.quantile(np.abs(fitted.fit_transform(readings())), 0.9)
    sparse = np.quantile(np.abs(fitted.transform(readings(1, 4 * N).iloc[::4])), 0.9)
    assert sparse <= 1.01 * usual


def test_a_clock_that_is_not_exact_is_no_evidence_where_that_of_the_training_was_and_a_wrong_day_is() -> None:
    exact = pd.DataFrame({"at": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N), unit="h")})
    fitted = Neighbours(["at"]).fit(exact)
    seconds = np.random.default_rng(0).integers(-2, 3, N)
    new = exact + pd.to_timedelta(seconds, unit="s").to_numpy()[:, None]
    assert np.abs(fitted.transform(new)[2:-2]).max() < 1e-9
    new.loc[100, "at"] += pd.Timedelta("1D")
    assert fitted.transform(new)[100, 0] == pytest.approx(1.0, abs=0.001)


def test_devices_are_series_of_their_own() -> None:
    rng = np.random.default_rng(2)
    device = rng.integers(0, 3, N)
    level = np.round(100.0 * device + np.cumsum(rng.normal(size=N)) / 5.0 + rng.normal(size=N) / 10.0, 2)
    frame = pd.DataFrame({"level": level, "device": pd.Categorical(np.array(["a", "b", "c"])[device])})
    fitted = Neighbours(["level"], ["device"]).fit(frame)
    assert [one.by for one in fitted.series_] == ["device"]
    wrong = frame.copy()
    row = int(np.flatnonzero(device == 1)[20])
    wrong.loc[row, "level"] = level[device == 0].mean()  # usual for another device
    assert np.abs(fitted.transform(wrong)).argmax() == row


def test_a_value_that_no_longer_moves() -> None:
    frame, new = readings(), readings(1)
    new.loc[50:55, "temperature"] = new.loc[50, "temperature"]
    frame["held"], new["held"] = (np.repeat(np.arange(N // 4), 4).astype(float) for _ in range(2))
    runs = Runs(["noise", "held", "temperature"]).fit(frame)
    # None that follows nothing, and none that often repeats the row above.
    assert [one.column for one in runs.series_] == ["temperature"]
    found = runs.transform(new)[:, 0]
    assert (found[50:56] == found.max()).all()
    assert found.max() > 15.0
    assert np.median(found) == 0.0
    assert runs.in_units(new, np.array([49, 52]))[0].tolist() == [[1], [6]]
    text = Runs.phrase(_source(runs), 6, 1, new.loc[52].to_dict(), N, None)
    assert text == f"temperature is {new['temperature'][52]:.4g} in 6 rows in a row"


def test_rows_that_lie_closer_together_may_repeat_each_other_and_one_long_run_is_still_told() -> None:
    fitted = Runs(["temperature"]).fit(readings())
    close = readings(1, 20 * N)
    close["temperature"] = np.round(np.cumsum(np.random.default_rng(1).normal(scale=0.05, size=20 * N)), 2)
    usual = fitted.transform(close)[:, 0]
    assert (usual >= 8.0).mean() <= np.exp(-8.0)
    close.loc[3_000:3_060, "temperature"] = close["temperature"][3_000]
    assert fitted.transform(close)[3_030, 0] > usual.max()


def test_a_value_that_follows_loosely_and_no_longer_moves() -> None:
    frame, new = readings(), readings(1)
    for table, seed in ((frame, 2), (new, 3)):
        rng = np.random.default_rng(seed)
        table["loose"] = np.round(np.convolve(rng.normal(size=N + 2), [1.0, 1.0, 1.0], "valid"), 2)
    new.loc[50:55, "loose"] = new.loc[50, "loose"]
    runs = Runs(["loose"]).fit(frame)
    assert [one.foretold for one in runs.series_] == [False]
    found = runs.transform(new)[:, 0]
    assert (np.flatnonzero(found) == np.arange(50, 56)).all()
    # As one run among as many as the batch has, and no more.
    assert 0.9 * np.log(N) < found.max() <= np.log(N)


def test_a_file_sorted_by_a_coarse_value_is_not_stuck() -> None:
    frame, new = readings(), readings(1)
    new["temperature"] = np.round(new["temperature"] / 4.0).sort_values().to_numpy()
    assert not Runs(["temperature"]).fit(frame).transform(new).any()


def _source(group: Runs) -> object:
    from anomaly_detection.features.group import FeatureSource

    return FeatureSource(str(group.get_feature_names_out()[0]), "runs", group.feature_columns_[0], ())
