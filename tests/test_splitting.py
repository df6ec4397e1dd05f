"""Train, validation and test rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_detection.data.splitting import MIN_ROWS, split
from anomaly_detection.errors import DataError


def _all_rows(parts):
    return np.sort(np.concatenate([parts.train, parts.validation, parts.test]))


@given(rows=st.integers(MIN_ROWS, 300), anomalies=st.integers(0, 10), seed=st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_random_uses_every_row_once_and_keeps_shares(rows, anomalies, seed):
    labels = np.ones(rows, dtype=int)
    labels[:anomalies] = -1
    parts = split(pd.DataFrame({"a": np.arange(rows)}), labels, seed=seed)
    assert (_all_rows(parts) == np.arange(rows)).all()
    for rows_of_part, share in ((parts.train, 0.6), (parts.validation, 0.2), (parts.test, 0.2)):
        assert abs((labels[rows_of_part] == -1).sum() - share * anomalies) <= 1.0
        assert abs(len(rows_of_part) - share * rows) <= 2.0
    if anomalies >= 3:
        assert min((labels[part] == -1).sum() for part in (parts.train, parts.validation, parts.test)) >= 1


def test_random_is_the_seeds_and_shuffles():
    frame = pd.DataFrame({"a": range(100)})
    one, same, other = split(frame, seed=1), split(frame, seed=1), split(frame, seed=2)
    assert (one.test == same.test).all()
    assert not np.array_equal(one.test, other.test)
    assert not np.array_equal(one.train, np.arange(60))
    assert one.sizes() == {"train": 60, "validation": 20, "test": 20}


@given(times=st.lists(st.integers(0, 40), min_size=MIN_ROWS, max_size=120), seed=st.integers(0, 100))
@settings(max_examples=80, deadline=None)
def test_by_time_no_part_holds_a_later_row_than_the_next(times, seed):
    if len(set(times)) == 1:
        times[0] += 1
    moments = pd.Series(pd.Timestamp("2024-01-01") + pd.to_timedelta(times, unit="D"))
    frame = pd.DataFrame({"when": moments})
    parts = split(frame, method="time", time="when", seed=seed)
    assert (_all_rows(parts) == np.arange(len(times))).all()
    assert min(parts.sizes().values()) >= 1
    values = np.array(times)
    assert values[parts.train].max() <= values[parts.validation].min()
    assert values[parts.validation].max() <= values[parts.test].min()
    if len(set(times)) >= 3:
        together = [set(values[part]) for part in (parts.train, parts.validation, parts.test)]
        assert not together[0] & together[1]
        assert not together[1] & together[2]


def test_by_time_keeps_ties_together_at_the_nearest_cut():
    # 20 rows; the cut at 12 falls into the moment of rows 10 to 13, whose nearest end is 10 or 14: the first is taken.
    days = [0] * 10 + [1] * 4 + [2] * 2 + [3] * 4
    parts = split(
        pd.DataFrame({"when": pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D")}), method="time", time="when"
    )
    assert parts.sizes() == {"train": 10, "validation": 6, "test": 4}


def test_by_time_reads_text_and_sends_rows_without_a_time_to_train():
    days = [f"2024-01-{day:02d}" for day in range(20, 0, -1)]
    frame = pd.DataFrame({"when": [*days, "Date Not Captured", None]})
    parts = split(frame, method="time", time="when")
    assert set(parts.train) == {20, 21, *range(8, 20)}
    assert parts.test.tolist() == [3, 2, 1, 0]
    assert parts.note.startswith("2 rows without a usable time")
    assert split(frame.iloc[:20], method="time", time="when").note == ""


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (pd.DataFrame({"a": range(19)}), {}, "19 rows, but training needs at least 20"),
        (pd.DataFrame({"a": range(30)}), {"method": "magic"}, "choose 'random' or 'time'"),
        (pd.DataFrame({"a": range(30)}), {"labels": [1, -1]}, "30 rows but 2 labels"),
        (pd.DataFrame({"a": range(30)}), {"method": "time"}, "needs the time column"),
        (pd.DataFrame({"a": range(30)}), {"method": "time", "time": "b"}, "'b' is not in the data"),
        (pd.DataFrame({"a": ["x"] * 30}), {"method": "time", "time": "a"}, "Only 0 of 30 rows"),
        (pd.DataFrame({"a": ["2024-01-01"] * 30}), {"method": "time", "time": "a"}, "the same time"),
        (pd.DataFrame({"a": range(30)}), {"method": "time", "time": pd.Series(["2024-01-01"])}, "30 rows but 1 times"),
    ],
)
def test_what_cannot_be_split_is_said(frame, options, message):
    with pytest.raises(DataError, match=message):
        split(frame, **options)
