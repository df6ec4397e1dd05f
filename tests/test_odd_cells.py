"""Numbers, dates and times of a clock as people write them: each is what it says, and none is dropped."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.data.columns.column import Role
from anomaly_detection.data.columns.inference import infer_column
from anomaly_detection.data.columns.schema import infer_schema

DAYS = [datetime.datetime(2023, 1, 1) + datetime.timedelta(days=17 * i, minutes=97 * i) for i in range(60)]
AMOUNTS = [round(7.25 + 61.5 * i, 2) * (-1) ** i for i in range(60)]


def _read(cells: list[str], name: str = "cells") -> tuple[Any, Any]:
    """How a column is read, and its values."""
    frame = pd.DataFrame({name: cells, "other": np.arange(len(cells)) * 1.5 % 7.25})
    schema = infer_schema(frame)
    return schema[name], schema.clean(frame)[0][name].to_numpy()


@pytest.mark.parametrize(
    "write",
    [
        lambda x: f"$({abs(x):,.2f})" if x < 0 else f"${x:,.2f}",
        lambda x: f"\u2013{abs(x):.2f}" if x < 0 else f"{x:.2f}",
        lambda x: f'="{x:.2f}"',
        lambda x: f"{x:,.2f} \u00b0C",
        lambda x: f"{x / 1000:.5f} MWh" if abs(x) > 2000 else f"{x:.2f} kWh",
    ],
    ids=["bracket behind the currency", "dash", "formula", "degrees", "kWh and MWh"],
)
def test_a_number_is_what_its_text_says(write: Callable[[float], str]) -> None:
    column, values = _read([write(x) for x in AMOUNTS])
    assert column.role is Role.NUMERIC
    scale = 1e-3 if column.unit == "MWh" else 1.0
    np.testing.assert_allclose(values, np.array(AMOUNTS) * scale, rtol=1e-5, atol=1e-5)


def test_a_dash_after_a_slash_stands_for_no_paise() -> None:
    _, values = _read([f"Rs. {100 + 7 * i:,}/-" for i in range(60)])
    np.testing.assert_array_equal(values, [100.0 + 7 * i for i in range(60)])


def test_degrees_of_another_zero_are_refused_and_not_mixed() -> None:
    column, values = _read([f"{20 + i / 10:.1f} \u00b0C" if i % 3 else f"{70 + i}.0 \u00b0F" for i in range(60)])
    assert "\u00b0F cannot be turned into it" in column.reason
    assert np.flatnonzero(np.isnan(values)).tolist() == list(range(0, 60, 3))


_FRENCH = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
_POLISH = "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia"


@pytest.mark.parametrize(
    "write",
    [
        lambda d: f"{('Mo', 'Di', 'Mi', 'Do', 'Fr', 'Sa', 'So')[d.weekday()]}, {d:%d.%m.%Y}",
        lambda d: f"{d:%a %m/%d/%Y}",
        lambda d: f"{'1er' if d.day == 1 else d.day} {_FRENCH.split()[d.month - 1]} {d.year}",
        lambda d: f"{d.day} {_POLISH.split()[d.month - 1]} {d.year}",
    ],
    ids=["German weekday", "American weekday", "French first", "Polish"],
)
def test_a_day_is_what_its_text_says(write: Callable[[datetime.datetime], str]) -> None:
    column, values = _read([write(day) for day in DAYS])
    assert column.role is Role.TIMESTAMP
    np.testing.assert_array_equal(values.astype("datetime64[D]"), np.array(DAYS, dtype="datetime64[D]"))


@pytest.mark.parametrize("form", ["%d/%m/%Y \u00e0 %Hh%M", "%d.%m.%Y %H:%M Uhr", "%d.%m.%Y um %H:%M Uhr"])
def test_a_day_and_its_time_are_what_their_text_says(form: str) -> None:
    column, values = _read([day.strftime(form) for day in DAYS])
    assert column.role is Role.TIMESTAMP
    np.testing.assert_array_equal(values, np.array(DAYS, dtype="datetime64[ns]"))


@pytest.mark.parametrize(
    ("write", "unit"),
    [
        (lambda d: f"{d:%b %Y}", "M"),
        (lambda d: f"{d:%b-%y}", "M"),
        (lambda d: f"{d:%m/%Y}", "M"),
        (lambda d: f"{d.year}-Q{(d.month + 2) // 3}", "Q"),
        (lambda d: f"Q{(d.month + 2) // 3} {d.year}", "Q"),
        (lambda d: "KW {1:02d}/{0}".format(*d.isocalendar()), "W"),
    ],
    ids=["Jan 2024", "Jan-24", "01/2024", "2024-Q1", "Q1 2024", "KW 13/2024"],
)
def test_a_month_quarter_or_week_is_its_first_day_and_no_category_that_is_new_each_time(
    write: Callable[[datetime.datetime], str], unit: str
) -> None:
    column, values = _read([write(day) for day in DAYS])
    assert column.role is Role.TIMESTAMP
    firsts = pd.DatetimeIndex(DAYS).to_period(unit).start_time
    np.testing.assert_array_equal(values.astype("datetime64[D]"), firsts.to_numpy().astype("datetime64[D]"))


@pytest.mark.parametrize("form", ["%H:%M", "%H:%M:00", "%I:%M %p"])
def test_times_of_a_clock_are_hours(form: str) -> None:
    column, values = _read([day.strftime(form) for day in DAYS], "start")
    assert (column.role, column.unit) == (Role.NUMERIC, "h")
    np.testing.assert_allclose(values, [day.hour + day.minute / 60 for day in DAYS])


@pytest.mark.parametrize("form", ["{} days 0{}:30:00", "{}d {}h 30m", "{}d{}h30min", "{} Tage, {} Std. 30 Min"])
def test_days_and_hours_are_hours(form: str) -> None:
    column, values = _read([form.format(place % 4, place % 7) for place in range(60)])
    assert (column.role, column.unit) == (Role.NUMERIC, "h")
    np.testing.assert_allclose(values, [24.0 * (place % 4) + place % 7 + 0.5 for place in range(60)])


def test_times_that_repeat_stay_categories_and_a_clock_among_prices_is_no_price() -> None:
    assert _read([f"{8 + i % 6:02d}:00" for i in range(60)])[0].role is Role.CATEGORICAL
    column, values = _read([f"{i * 1.25 + 1}" if i % 20 else "12:30" for i in range(60)])
    assert column.texts == ("#:#",)
    assert np.flatnonzero(np.isnan(values)).tolist() == [0, 20, 40]


def test_seconds_of_a_column_that_says_when_something_was_made_are_dates() -> None:
    column, values = _read([str(int(day.replace(tzinfo=datetime.timezone.utc).timestamp())) for day in DAYS], "created")
    assert column.epoch == "s"
    np.testing.assert_array_equal(values, np.array(DAYS, dtype="datetime64[ns]"))


def test_units_that_the_training_did_not_name_are_told() -> None:
    train = pd.DataFrame({"load": [f"{i * 1.25}" for i in range(60)], "other": np.arange(60) % 7})
    new = train.assign(load=[f"{i * 1250} g" for i in range(60)])
    _, report = infer_schema(train).clean(new)
    assert report.columns["load"].note == "numbers are read as they stand, in g, for the training records had none"


def test_bytes_that_are_no_text_name_no_record() -> None:
    blobs, texts = [bytes([place, 1, 255]) for place in range(60)], [b"order %d" % place for place in range(60)]
    assert [infer_column(pd.Series(cells, name="a")).role for cells in (blobs, texts, [*blobs, "text"])] == [
        *(Role.CONSTANT, Role.IDENTIFIER, Role.IDENTIFIER)
    ]
