"""Tables of all kinds of columns, names and values: refused in one line, or learned from, scored and explained."""

from __future__ import annotations

import datetime
import decimal
import json
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from explained import explain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomaly_detection.calibration.drift import DriftWarning
from anomaly_detection.detector import Detector
from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.settings import RECIPE, make_detector
from mlx_iforest import MLXIsolationForest

NUMBERS = (0.0, -0.0, 1.0, 2.5, -3.0, 1e6, 1e30, 1e39, 1e308, -1e39, -1e308, 5e-324, 1e-200, float("nan"))
WORDS = ("a", "b", "", " ", "n/a", "x y z", "1,5", "1.5", "(5)", "1e400", "00412", "2024-03-01", "9999-12-31", "\ud800")
DATES = tuple(pd.Timestamp("2024-01-01") + pd.Timedelta(days=i, hours=i) for i in (0, 1, 2, 40, 400, 4000))
OBJECTS = (
    *(None, np.nan, pd.NA, pd.NaT, True, 3, 2.5, 10**40, "a", "\udfff", b"\xff", 1 + 2j, decimal.Decimal("1.5")),
    *([], [1, "\ud800"], {"a": [1]}, {1}, (1,), np.array([1, 2]), object, datetime.date(9999, 1, 1), datetime.time(1)),
    *(
        pathlib.Path("p"),
        pd.Timestamp("2024-01-01", tz="UTC"),
        pd.Timedelta("1D"),
        pd.Interval(0, 1),
        pd.Period("2024"),
    ),
)
NAMES: tuple[Any, ...] = (
    *("date", "sent", "number", "price", "quantity", "value", "kind", "", " ", "\ud800", 0, 1, 2.5, None, ("a", 1)),
    *("days from date to sent", "days from sent to date", "month of date", "period of date", "hour of date"),
    *("value / quantity", "value / (price x quantity)", "number given", "number (how missing)", "missing values"),
    *("kind rarity", "number by kind", "number as expected", "surprise 1", "kind for number", " given", "date given'"),
)

Maker = Callable[[np.random.Generator, int], Any]


def of(values: tuple[Any, ...], dtype: Any = object) -> Maker:
    def make(rng: np.random.Generator, rows: int) -> pd.Series[Any]:
        return pd.Series([values[i] for i in rng.integers(0, len(values), rows)], dtype=dtype)

    return make


def arrow(kind: pa.DataType, values: tuple[Any, ...]) -> Maker:
    return lambda rng, rows: pd.Series(
        pd.array([values[i] for i in rng.integers(0, len(values), rows)], dtype=pd.ArrowDtype(kind))
    )


def amounts(rng: np.random.Generator, rows: int) -> Any:
    return pd.Series(np.exp(rng.normal(3, 1, rows)))


KINDS: tuple[Maker, ...] = (
    *(amounts, amounts, of(NUMBERS, float), of(WORDS), of(OBJECTS), of(DATES, "datetime64[ns]"), of(("p", "q"), "str")),
    lambda rng, rows: pd.Series(rng.integers(-9, 9, rows)),
    lambda rng, rows: pd.Series(rng.integers(0, 3, rows) * (2**62 - 1), dtype="Int64").mask(rng.random(rows) < 0.2),
    lambda rng, rows: pd.Series(rng.random(rows) < 0.5, dtype="boolean").mask(rng.random(rows) < 0.2),
    lambda rng, rows: pd.Series(pd.Categorical(rng.integers(0, 3, rows))),
    lambda rng, rows: pd.Series(pd.arrays.SparseArray(rng.integers(0, 2, rows) * 1.5)),
    lambda rng, rows: pd.Series(rng.integers(0, 9, rows) * pd.Timedelta("5h")),
    lambda rng, rows: pd.Series(pd.to_datetime(rng.integers(0, 9**9, rows), unit="s", utc=True)),
    lambda rng, rows: pd.Series(pd.PeriodIndex.from_ordinals(rng.integers(0, 9**5, rows), freq="M")),
    lambda rng, rows: pd.Series(pd.arrays.IntervalArray.from_breaks(np.arange(rows + 1))),
    lambda rng, rows: pd.Series(rng.random(rows) + 1j),
    lambda rng, rows: pd.Series(rng.integers(2, size=rows).astype(np.longdouble)),
    lambda rng, rows: pd.Series([None] * rows, dtype=object),
    arrow(pa.list_(pa.int64()), ([1], [], None)),
    arrow(pa.struct([("a", pa.int64())]), ({"a": 1}, None)),
    arrow(pa.map_(pa.string(), pa.int64()), ([("a", 1)], None)),
    arrow(pa.binary(), (b"\xff", b"a", None)),
    arrow(pa.decimal128(10, 2), (decimal.Decimal("1.5"), decimal.Decimal(0), decimal.Decimal(7), None)),
    arrow(pa.date32(), (datetime.date(2024, 1, 1), datetime.date(9999, 1, 1), datetime.date(2024, 2, 1), None)),
    arrow(pa.timestamp("us", "UTC"), (DATES[0], DATES[3], None)),
    arrow(pa.duration("s"), (1, 10**6, None)),
    arrow(pa.time64("us"), (datetime.time(1), datetime.time(2), None)),
    arrow(pa.float32(), (1.5, 3e38, None)),
    arrow(pa.null(), (None,)),
)

SIZES = st.sampled_from((0, 1, 2, 30, 60))
SEEDS = st.integers(0, 2**32 - 1)
COLUMNS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(range(len(KINDS)))),
    max_size=9,
    unique_by=lambda column: str(column[0]),
)


def table(columns: list[tuple[Any, int]], rows: int, seed: int) -> pd.DataFrame:
    made = [KINDS[kind](np.random.default_rng([seed, place]), rows) for place, (_, kind) in enumerate(columns)]
    return joined(made, [name for name, _ in columns]) if made else pd.DataFrame(index=range(rows))


def joined(columns: list[pd.Series[Any]], names: list[Any]) -> pd.DataFrame:
    """Under any names, also those of which pandas would make something else or nothing."""
    frame = pd.concat([column.rename(place) for place, column in enumerate(columns)], axis=1)
    return frame.set_axis(pd.Index(names, dtype=object, tupleize_cols=False), axis=1)


def small_detector() -> Detector:
    return make_detector(RECIPE, None, MLXIsolationForest(n_estimators=3, random_state=0))


def tried(work: Callable[[], Any]) -> Any:
    """What `work` gives, or None where it is refused, in one line."""
    try:
        return work()
    except AnomalyDetectionError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    message.encode()
    return None


def check(detector: Detector, frame: pd.DataFrame) -> None:
    """A table with the columns of the training is scored and explained, or refused."""
    scores = tried(lambda: detector.score_samples(frame))
    if scores is None:
        return
    assert scores.shape == (len(frame),)
    assert np.isfinite(scores).all()
    for found in explain(detector, frame, range(min(5, len(frame))), threshold=0.0):
        json.dumps(found.to_dict(), allow_nan=False, ensure_ascii=False).encode()
        assert len(found.sentence.splitlines()) == 1


@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(COLUMNS, SIZES, SEEDS, st.booleans(), st.booleans())
def test_odd_tables(columns: list[tuple[Any, int]], rows: int, seed: int, usable: bool, twice: bool) -> None:
    warnings.simplefilter("ignore", DriftWarning)
    if usable:
        # Most tables can be learned from, and have dates and amounts that features are derived of.
        kept = [column for column in columns if column[0] not in ("date", "value", "quantity")]
        columns, rows = [("date", 5), ("value", 0), ("quantity", 0), *kept], max(rows, 30)
    if twice and columns:
        columns = [*columns, columns[0]]
    frame = table(columns, rows, seed)
    detector = tried(lambda: small_detector().fit(frame))
    if detector is None:
        assert not usable or twice
        return
    check(detector, frame)
    rng = np.random.default_rng(seed)
    check(detector, frame.iloc[:1])
    # All columns of other kinds, which mostly is refused, then one at a time.
    kinds = rng.integers(0, len(KINDS), len(columns)).tolist()
    other = table([(name, kind) for (name, _), kind in zip(columns, kinds, strict=True)], rows, seed)
    check(detector, other)
    for place in rng.permutation(len(columns))[:2].tolist():
        changed = [frame.iloc[:, i] if i != place else other.iloc[:, i] for i in range(len(columns))]
        check(detector, joined(changed, list(frame.columns)))
