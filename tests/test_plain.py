"""Values for JSON."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.data.columns.schema import Role
from anomaly_detection.data.json_values import plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((np.int64(1), np.float64("nan"), None, pd.NaT, pd.NA, "x"), [1, None, None, None, None, "x"]),
        ({3: np.float32(0.5), "infinite": -np.inf, "flag": np.bool_(True)}, {"3": 0.5, "infinite": None, "flag": True}),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (np.datetime64("2026-11-23"), "2026-11-23"),
        (np.datetime64("NaT", "ns"), None),
        (pd.Timestamp("2026-11-23"), "2026-11-23T00:00:00"),
        (datetime.date(2026, 11, 23), "2026-11-23"),
        (pd.Timedelta(days=2), "2 days 00:00:00"),
        (Role.NUMERIC, "numeric"),
        (Path("a"), "a"),
        (Decimal("1.50"), "1.50"),
        (np.array(["2026-11-23", "NaT"], dtype="datetime64[D]"), ["2026-11-23", None]),
        ("NaT", "NaT"),
        ("Zürich", "Zürich"),
        ("a\ud800\U0001f600", "a\\ud800\U0001f600"),
    ],
)
def test_plain_values(value: object, expected: object) -> None:
    assert plain(value) == expected
