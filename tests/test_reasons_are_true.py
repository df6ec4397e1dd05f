"""Every number that a reason states is what a person gets from a pivot of the training records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.data.chunks import read_table
from anomaly_detection.features.clauses import number
from anomaly_detection.settings import RECIPE, make_detector, make_forest
from anomaly_detection.synthetic import generate

TABLES = Path(__file__).parents[2] / "shared" / "data"
REAL = {"superstore": "superstore/superstore.csv", "scms": "scms/SCMS_Delivery_History_Dataset_20150929.csv"}
_CLOSE = 1e-9


def table(name: str) -> pd.DataFrame:
    if name in REAL:
        path = TABLES / REAL[name]
        if not path.is_file():
            pytest.skip(f"{path} is not here")
        return read_table(path).iloc[::4]
    return generate(name, 1500, seed=5).frame


def like(extended: pd.DataFrame, row: Any, columns: tuple[str, ...]) -> pd.DataFrame:
    """The training records with a row's levels in some columns."""
    same = np.ones(len(extended), dtype=bool)
    for name in columns:
        level = row[name]
        same &= extended[name].isna().to_numpy() if pd.isna(level) else (extended[name] == level).to_numpy()
    return extended[same]


@pytest.mark.parametrize("name", ["realistic", "classic", *REAL])
def test_no_reason_is_refuted_by_a_pivot(name: str) -> None:
    frame = table(name)
    detector = make_detector(RECIPE, None, make_forest(RECIPE, seed=0, backend="numba")).fit(frame)
    features = detector.preprocessor
    extended, _ = features.extend(frame)
    batch = score_table(detector, frame)
    sources = {source.name: source for source in features.feature_sources_}
    checked: dict[str, int] = {}
    for alert in batch.alerts(top=40):
        row = extended.iloc[alert.row - 1]
        for reason in alert.reasons:
            source = sources[reason.feature]
            if source.kind == "contexts" and len(source.columns) == 1 and source.columns[0] in extended:
                own = like(extended, row, source.group_by)[source.columns[0]].astype(float).dropna()
                if len(own) == 1 and own.index[0] == extended.index[alert.row - 1]:
                    # Alone in its group, it is told of beside all records.
                    own = extended[source.columns[0]].astype(float).dropna()
                assert reason.value == pytest.approx(float(row[source.columns[0]]), rel=_CLOSE)
                assert reason.expected == pytest.approx(own.median(), rel=_CLOSE)
                assert reason.expected_range == pytest.approx(own.quantile([0.05, 0.95]).tolist(), rel=_CLOSE)
            elif source.kind == "levels" and reason.feature == f"{source.columns[0]} rarity" and reason.value:
                assert reason.expected == (extended[source.columns[0]] == reason.value).sum()
            elif source.kind == "relations" and all(column in extended for column in source.columns):
                of, given = source.columns
                beside = like(extended, row, (given,))
                assert reason.expected == [len(like(beside, row, (of,))), len(beside)]
            elif source.kind == "num":
                whole = extended[source.columns[0]].astype(float)
                assert reason.expected == pytest.approx(whole.median(), rel=_CLOSE)
            elif source.kind == "dates":
                dates = extended[source.columns[0]]
                shown = [str(end)[:10] for end in (dates.min(), dates.max())]
                assert [end[:10] for end in reason.expected] == shown
                assert all(end in reason.text for end in shown if f"({end})" in reason.text)
            elif source.kind == "neighbours" and not source.group_by:
                at, whole = alert.row - 1, extended[source.columns[0]]
                around = whole.iloc[[i for i in range(at - 2, at + 3) if i != at and 0 <= i < len(whole)]]
                if whole.dtype.kind == "M":
                    assert abs(pd.Timestamp(reason.expected) - around.median()) < pd.Timedelta("1s")
                else:
                    assert reason.expected == pytest.approx(around.median(), rel=_CLOSE)
            elif source.kind == "runs" and not source.group_by:
                whole = extended[source.columns[0]]
                runs = (whole != whole.shift()).cumsum()
                assert reason.value == (runs == runs.iloc[alert.row - 1]).sum()
            else:
                continue
            checked[source.kind] = checked.get(source.kind, 0) + 1
            if isinstance(reason.expected, float) and source.kind in ("contexts", "num"):
                assert number(reason.expected) in reason.text or "days" in source.name
    assert sum(checked.values()) >= 10, checked
