"""Columns that follow exactly from others, and records that break it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.numbers.ties import Ties

N = 400


def orders() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    net, freight = rng.lognormal(4.0, 1.0, N).round(2), rng.lognormal(2.0, 1.0, N).round(2)
    ordered = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N), unit="D"))
    paid = (net + freight).round(2)
    frame = {"net": net, "freight": freight, "total": paid, "paid": paid, "tax": (0.19 * net).round(2)}
    return pd.DataFrame({**frame, "ordered": ordered, "booked": ordered, "weight": rng.lognormal(size=N)})


@pytest.fixture(scope="module")
def fitted() -> Ties:
    return Ties(["net", "freight", "total", "paid", "tax", "weight"], ["ordered", "booked"]).fit(orders())


def test_what_follows_from_others_is_found(fitted: Ties) -> None:
    assert [tie.columns for tie in fitted.ties_] == [
        ("paid", "total"),
        ("net", "tax"),
        ("total", "net", "freight"),
        ("booked", "ordered"),
    ]
    assert not fitted.transform(orders()).any()


def test_breaches_are_evidence_and_gaps_are_none(fitted: Ties) -> None:
    wrong = orders().iloc[:4]
    wrong.loc[0, "paid"] *= 10.0
    wrong.loc[1, "freight"] += 1.0
    wrong.loc[2, "booked"] += pd.Timedelta(days=1)
    wrong.loc[3, ["total", "booked"]] = np.nan
    nats = -np.log(0.5 / (N + 1.0)) + 2.0  # as what no record had, see `forms.seldom`
    expected = nats * np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    np.testing.assert_allclose(fitted.transform(wrong), expected, rtol=1e-6)


def test_the_second_of_two_equal_dates_is_judged_and_told_of() -> None:
    frame = orders().drop(columns=["net", "freight", "tax", "paid"])
    wrong = frame.iloc[[200]].assign(booked=frame["booked"] + pd.Timedelta(days=40), weight=1.234)
    (alert,) = AnomalyDetectionAPI().fit(frame).alerts(wrong, top=1)
    assert alert.is_alert
    told = "booked 2024-08-28 is not ordered 2024-07-19, as in none of 400 records"
    assert told in [reason.text for reason in alert.reasons]


def test_it_says_what_the_number_should_be() -> None:
    source = FeatureSource("total as net + freight", "ties", ("total", "net", "freight"))
    row = {"total": 150.0, "net": 100.0, "freight": 9.5}
    assert Ties.phrase(source, 150.0, (1.0, 0, True), row, N, None) == (
        "total 150 is not net 100 + freight 9.5, as in none of 400 records"
    )
    source = FeatureSource("net as tax", "ties", ("net", "tax"))
    assert Ties.phrase(source, 100.0, (5.25, 2, True), {"net": 100.0, "tax": 9.0}, N, None) == (
        "net 100 is not 5.25 x tax 9, as in 2 of 400 records"
    )
