"""`reason_cells`: a reason's value, what is usual and the range, as a table shows them."""

from __future__ import annotations

from typing import Any

import pytest

from anomaly_detection.explain.cells import reason_cells


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (("high", 2302.9671, 945.0, (460.2, 2101.0)), ("2,303", "945", "460 to 2,100")),
        (("rare", ["Xerox 1932", "OFF-PA"], [1, 10], None), ("Xerox 1932, OFF-PA", "1 of 10 records", "")),
        (("rare", ("a", ""), (1, 10), None), ("a, (missing)", "1 of 10 records", "")),
        (("rare", "Wyoming", 1, None), ("Wyoming", "1 records", "")),
        (("repeated", 1, 406, None), ("1", "once", "")),
        (("high", "2024-05-01", ["2023-01-01", "2023-12-31"], None), ("2024-05-01", "2023-01-01 to 2023-12-31", "")),
        (("(hidden)", "(hidden)", "(hidden)", "(hidden)"), ("(hidden)", "(hidden)", "")),
        (("high", 3.5, None, None), ("3.5", "", "")),
    ],
)  # fmt: skip
def test_cells(reason: tuple[Any, ...], shown: tuple[str, str, str]) -> None:
    assert reason_cells(*reason) == shown
