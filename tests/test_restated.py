"""Columns that restate a date, and break it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.features.dates.restated import Restated
from anomaly_detection.features.dates.restated_columns import find_restated
from anomaly_detection.features.group import FeatureSource

DATES = pd.Series(pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(360), unit="D"))
FRAME = pd.DataFrame({"date": DATES, "month": DATES.dt.month, "quarter": "Q" + DATES.dt.quarter.astype(str)})
RESTATED = {"month": ("month", "date"), "quarter": ("quarter", "date")}


@pytest.fixture(scope="module")
def fitted() -> Restated:
    return Restated(RESTATED).fit(FRAME)


def test_what_keeps_its_date_is_no_evidence(fitted: Restated) -> None:
    assert not fitted.transform(FRAME).any()
    assert not fitted.transform(FRAME.assign(date=FRAME["date"] + pd.DateOffset(years=3))).any()


def test_breaches_are_evidence(fitted: Restated) -> None:
    wrong = FRAME.iloc[:4].astype({"month": "float64"})
    wrong.loc[0, "month"] = 9000.0
    wrong.loc[1, "quarter"] = "Q3"
    wrong.loc[2, "date"] = pd.NaT
    wrong.loc[3, "month"] = np.nan
    nats = -np.log(0.5 / 361.0) + 2.0  # as what none of 360 had, see `forms.seldom`
    expected = [[nats, 0.0], [0.0, nats], [0.0, 0.0], [0.0, 0.0]]
    np.testing.assert_allclose(fitted.transform(wrong), expected, rtol=1e-6)
    values, usual = fitted.in_units(wrong)
    assert (values[0, 0], usual[0, 0]) == ("9000", ("1", 0))
    assert usual[2].tolist() == [(None, 0), (None, 0)]
    source = FeatureSource("month as the month of date", "restated", ("month", "date"))
    assert Restated.phrase(source, values[0, 0], usual[0, 0], {}, 360, None) == (
        "month 9000 disagrees with date, which makes it 1, as in none of 360 records"
    )


def test_a_wrong_month_is_an_alert_and_its_first_reason() -> None:
    rng = np.random.default_rng(0)
    n = 600
    dates = pd.Series(pd.Timestamp("2023-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 700, n)), unit="D"))
    frame = pd.DataFrame({"date": dates, "month": dates.dt.month, "price": rng.lognormal(size=n)})
    api = AnomalyDetectionAPI().fit(frame)
    wrong = frame.iloc[[300]].assign(price=1.0, month=13)
    (alert,) = api.alerts(wrong, top=1)
    assert alert.is_alert
    assert "month 13" in alert.reasons[0].text


def test_a_price_of_its_own_on_each_day_restates_no_day() -> None:
    days = pd.date_range("2024-01-01", periods=240, freq="D")
    price = np.random.default_rng(0).permutation(240) / 8 + 10.0
    records = pd.DataFrame({"day": days, "price": price, "month": days.month, "week": days.isocalendar().week.array})
    found = find_restated(records.astype({"month": float, "week": float}), ["price", "month", "week"], ["day"])
    assert found == {"month": ("month", "day"), "week": ("week", "day")}


def test_a_cost_that_nearly_no_record_has_restates_no_hour() -> None:
    records = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=1_000, freq="D"), "cost": 0.0})
    records.loc[[3, 500, 900], "cost"] = [10.0, 250.0, 75.5]
    assert not find_restated(records, ["cost"], ["day"])
