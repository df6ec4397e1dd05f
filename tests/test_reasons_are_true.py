"""Every number that a reason states is what a person gets from a pivot of the training records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from anomaly_detection.data.chunks import read_table
from anomaly_detection.synthetic import generate
from benchmarks.pivots import Pivots, judged, refuted
from benchmarks.real_tables import FILES

TABLES = Path(__file__).parents[2] / "shared" / "data"


def table(name: str) -> pd.DataFrame:
    if name in FILES:
        path = TABLES / FILES[name]
        if not path.is_file():
            pytest.skip(f"{path} is not here")
        frame = read_table(path, lambda told: None).iloc[::4]
        return frame.loc[:, frame.notna().any()]
    return generate(name, 1500, seed=5).frame


@pytest.mark.parametrize("name", ["realistic", "classic", *FILES])
def test_no_reason_is_refuted_by_a_pivot(name: str) -> None:
    batch = judged(table(name))
    wrong, asked = refuted(batch, top=40)
    assert not wrong
    assert sum(asked.values()) >= 40, asked
    if name != "realistic":
        return
    # What is false is found.
    pivots, found = Pivots(batch), 0
    for alert in batch.alerts(top=20):
        for reason in alert.reasons:
            source = pivots.sources[reason.feature]
            if source.kind in ("contexts", "num", "levels", "neighbours") and isinstance(reason.expected, (int, float)):
                assert pivots.check(alert.row - 1, source, replace(reason, expected=2 * reason.expected + 1))
                found += 1
    assert found >= 10
