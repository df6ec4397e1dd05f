"""Dates outside the span of time that the records are from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.features.dates.spans import Dates

SPAN = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(365), unit="D")


@pytest.fixture(scope="module")
def fitted() -> Dates:
    return Dates().fit(pd.DataFrame({"at": SPAN}))


def found(fitted: Dates, dates: object) -> list[float]:
    return [float(value) for value in fitted.transform(pd.DataFrame({"at": pd.Series(dates)}))[:, 0]]


def test_a_year_too_late_among_dates_of_the_span(fitted: Dates) -> None:
    dates = SPAN[::3].to_series().reset_index(drop=True)
    dates[40] += pd.DateOffset(years=1)
    values = found(fitted, dates)
    assert [row for row, value in enumerate(values) if value > 0.1] == [40]


def test_records_that_all_come_later_are_usual(fitted: Dates) -> None:
    assert not any(found(fitted, SPAN[:100] + pd.DateOffset(years=3)))


def test_alone_a_date_may_be_as_late_again_as_all_span(fitted: Dates) -> None:
    late = ["2024-06-01", "2024-12-30"], ["2025-02-01", "2091-01-01"]
    assert found(fitted, pd.to_datetime(pd.Series(late[0]))) == [0.0, 0.0]
    assert min(found(fitted, pd.to_datetime(pd.Series(late[1])))) > 0.1


def test_before_the_span_and_missing(fitted: Dates) -> None:
    early, missing = found(fitted, pd.to_datetime(pd.Series(["1916-01-01", None])))
    assert early < -100.0
    assert np.isnan(missing)


def test_a_training_date_far_from_all_others_is_none_of_the_span() -> None:
    usual = pd.Series(pd.date_range("2024-01-01", periods=500, freq="12h"))
    dates = usual.copy()
    dates[100], dates[200] = pd.Timestamp("2091-03-01"), pd.Timestamp("1916-03-01")
    found = Dates().fit_transform(pd.DataFrame({"when": dates}))[:, 0]
    assert found[100] > 100.0
    assert found[200] < -100.0
    assert not np.delete(found, [100, 200]).any()
    # Three are no slip any more, and a table of several epochs has them in numbers.
    dates[[101, 102]] = pd.Timestamp("2091-03-01")
    assert Dates().fit_transform(pd.DataFrame({"when": dates}))[100, 0] == 0.0
    assert not Dates().fit_transform(pd.DataFrame({"when": usual})).any()
