"""A reason's value, what is usual and the usual range, as the cells of a table."""

from __future__ import annotations

from typing import Any

from anomaly_detection.explain.wording import number, number_range, short
from anomaly_detection.features.clauses import series
from anomaly_detection.texts.said import say

__all__ = ["reason_cells"]

_LONGEST = 40


def reason_cells(direction: str, value: Any, expected: Any, between: Any) -> tuple[str, str, str]:
    """Write what a `Contribution`, or its JSON, has under these names, each as the sentences do.

    Parameters
    ----------
    direction : str
    value, expected : object
        A list where a reason is about several columns or counts.
    between : two floats, or None
        `expected_range`; a text where it is hidden from who asks.

    Returns
    -------
    value, usual, between : str
        The last is empty where there is no range.
    """
    usual: str
    ends = ""
    if direction in ("rare", "missing") and not isinstance(expected, str):
        seen = expected if isinstance(expected, (list, tuple)) else [expected]
        # What the others have may follow.
        count, *of = map(number, seen[:2])
        usual = say("%(count)s records", count=count)
        if of:
            usual = say("%(count)s of %(rows)s records", count=count, rows=of[0])
    elif direction == "repeated":
        usual = say("once")
    elif isinstance(expected, (list, tuple)):
        first, last = expected
        usual = say("%(low)s to %(high)s", low=str(first), high=str(last))
    elif expected is None or isinstance(expected, str):
        usual = short(expected or "", _LONGEST)
    else:
        usual = number(expected)
        if between is not None and not isinstance(between, str):
            ends = number_range(between, whole="." not in number(value) + usual)
    parts = value if isinstance(value, (list, tuple)) else [value]
    missing = say("(missing)")
    shown = [
        number(part) if isinstance(part, (int, float)) else short(part, _LONGEST) if part else missing for part in parts
    ]
    return series(shown), usual, ends
