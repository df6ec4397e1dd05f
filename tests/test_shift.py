"""Shifts between earlier and later records, counted by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from anomaly_detection.data.columns.schema import Role, infer_schema
from anomaly_detection.training.shift import column_shifts, rate_changed


def _shifts(before: dict[str, list[object]], after: dict[str, list[object]]) -> dict[str, float]:
    roles = {name: Role.CATEGORICAL if isinstance(values[0], str) else Role.NUMERIC for name, values in before.items()}
    ours = pd.DataFrame(before)
    return column_shifts(infer_schema(ours, roles), ours, pd.DataFrame(after))


def test_shifts_by_hand() -> None:
    found = _shifts(
        {"cost": [1.0, 2.0, 3.0, 4.0] * 10, "mode": ["air", "sea"] * 20, "same": [1.0, 2.0] * 20},
        {"cost": [3.0, 4.0, 5.0, 6.0] * 10, "mode": ["sea"] * 40, "same": [2.0, 1.0] * 20},
    )
    # Half of the costs lie above all earlier ones; half of the earlier modes were air; sameness is no shift.
    assert found == {"cost": 0.5, "mode": 0.5, "same": 0.0}


def test_missing_values_count_and_rare_levels_are_taken_together() -> None:
    before = {"cost": [1.0, 2.0] * 10, "product": [f"p{i}" for i in range(20)]}
    after = {"cost": [1.0, None] * 10, "product": [f"q{i}" for i in range(20)]}
    assert _shifts(before, after) == {"cost": 0.5, "product": 0.0}


@pytest.mark.parametrize(
    ("expected", "found", "changed"),
    [(50, 50, False), (50, 99, False), (50, 850, True), (50, 5, True), (1, 3, False)],
)
def test_a_rate_changes_when_it_is_far_off_and_no_chance(expected: int, found: int, changed: bool) -> None:
    assert rate_changed(expected, 1000, found, 1000) is changed


def test_no_alerts_at_all_is_no_change() -> None:
    assert rate_changed(0, 100, 0, 100) is False
