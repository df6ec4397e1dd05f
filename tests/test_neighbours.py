"""The nearest records, against the plain way: every record, column by column, in Python alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.alerts.neighbours import DIFFERS, nearest


def plain(record: pd.Series, records: pd.DataFrame, columns: list[str]) -> list[float]:
    """Gower's distance of each record."""
    found = []
    for _, other in records.iterrows():
        parts = []
        for name in columns:
            own, its = record[name], other[name]
            if pd.isna(own) or pd.isna(its):
                parts.append(0.0 if pd.isna(own) and pd.isna(its) else 1.0)
            elif isinstance(own, str):
                parts.append(0.0 if own == its else 1.0)
            else:
                low, high = np.quantile(records[name].dropna(), [0.05, 0.95])
                parts.append(min(1.0, abs(own - its) / (high - low)))
        found.append(sum(parts) / len(columns))
    return found


def table(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    made = pd.DataFrame(
        {
            "price": random.lognormal(3, 1, rows),
            "days": random.integers(1, 9, rows).astype(float),
            "mode": random.choice(["Sea", "Air", "Road"], rows).astype(object),
            "port": random.choice(["Rotterdam", "Lagos", None], rows).astype(object),
        }
    )
    made.loc[random.random(rows) < 0.1, "price"] = np.nan
    return made


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_are_those_of_the_plain_way(seed: int) -> None:
    records = table(80, seed)
    own = records.iloc[-1] if seed % 2 else table(1, seed + 100).iloc[0]
    columns = list(records)
    far = plain(own, records, columns)
    found = nearest(own, records, columns, 5)
    assert [each.distance for each in found] == pytest.approx(sorted(far)[:5])
    assert [far[each.place] for each in found] == pytest.approx([each.distance for each in found])
    # Of equally near ones the last comes first.
    assert [each.place for each in found] == sorted(
        (each.place for each in found), key=lambda place: (round(far[place], 12), -place)
    )


def test_it_is_told_in_which_columns_one_differs() -> None:
    records = pd.DataFrame({"price": [10.0, 10.1, 30.0, 50.0], "mode": ["Sea", "Air", "Sea", "Sea"]})
    own = {"price": 10.0, "mode": "Sea"}
    found = nearest(own, records, ["mode"], 9, ["price"])
    assert [(each.place, each.differs) for each in found] == [
        (3, ("price",)),
        (2, ("price",)),
        (0, ()),
        (1, ("mode",)),
    ]
    assert DIFFERS < 0.5


def test_what_cannot_be_compared() -> None:
    records = pd.DataFrame({"same": [5.0, 5.0], "none": [np.nan, np.nan]})
    assert nearest({"same": 5.0}, records, [], 3) == []
    assert nearest({"same": 5.0}, records[:0], ["same"], 3) == []
    assert [each.distance for each in nearest({"same": 6.0, "none": 1.0}, records, ["same", "none"], 1)] == [1.0]
    assert [each.distance for each in nearest({"same": 5.0, "none": np.nan}, records, ["same", "none"], 1)] == [0.0]
