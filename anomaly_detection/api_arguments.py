"""Arguments of `AnomalyDetectionAPI`, checked: of another kind or in the wrong order they are a one-line error."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.calibration.thresholds import ThresholdRule
from anomaly_detection.errors import DataError

__all__ = [
    "column_name",
    "column_names",
    "count",
    "file_path",
    "judged",
    "progress",
    "rule",
    "seed",
    "share",
    "threshold",
]


def _kind(value: object) -> str:
    return type(value).__name__


def column_name(value: Any, argument: str) -> str | None:
    """The name of one column, or None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, numbers.Integral):
        return str(value)
    raise DataError(f"{argument} is a {_kind(value)}; give the name of one column.")


def column_names(value: Any, argument: str) -> list[str] | None:
    """The names of columns, or None; numbers stand for columns that are named so."""
    if value is None:
        return None
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)) or hasattr(value, "columns"):
        raise DataError(f"{argument} is {_shown(value)}; give a list of column names.")
    names = list(value)
    odd = [name for name in names if not isinstance(name, (str, numbers.Integral))]
    if odd:
        raise DataError(f"{argument} holds {_shown(odd[0])}; give a list of column names.")
    return [str(name) for name in names]


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, (str, int, float)) or value is None else f"a {_kind(value)}"


def share(value: Any, argument: str) -> float:
    """A number; whether it is one that a rule takes is the rule's to say."""
    return _number(value, argument, "give a share above 0 and at most 0.5, such as 0.05")


def threshold(value: Any) -> float:
    """A decision score; 0, the trained threshold, for None."""
    return 0.0 if value is None else _number(value, "threshold", "give a number, such as 0 for the trained threshold")


def _number(value: Any, argument: str, advice: str) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, (bool, np.bool_)):
        raise DataError(f"{argument} is {_shown(value)}; {advice}.")
    try:
        number = float(value)
    except OverflowError as error:
        raise DataError(f"{argument} is beyond what a float can hold; {advice}.") from error
    if math.isnan(number):
        raise DataError(f"{argument} is {_shown(value)}; {advice}.")
    return number


def seed(value: Any) -> int:
    """A whole number from 0 up to 2**32 - 1."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not 0 <= int(value) < 2**32:
        raise DataError(f"seed is {_shown(value)}; give a whole number from 0 to 4294967295.")
    return int(value)


def count(value: Any, argument: str) -> int | None:
    """A whole number of 0 or more, or None."""
    if value is None:
        return None
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or int(value) < 0:
        raise DataError(f"{argument} is {_shown(value)}; give a whole number of 0 or more, or nothing.")
    return int(value)


def progress(value: Any) -> Callable[[int], object] | None:
    """A function, or None."""
    if value is None or callable(value):
        return value
    raise DataError(f"progress is {_shown(value)}; give a function that takes the number of records judged so far.")


def rule(value: Any) -> ThresholdRule | None:
    """A threshold rule (one made, not its class), or None."""
    offers = all(hasattr(value, name) for name in ("uses_labels", "needs_batch"))
    if value is None or (offers and not isinstance(value, type)):
        return value
    raise DataError(
        f"threshold is {_shown(value)}; give a rule of anomaly_detection.calibration.thresholds, or nothing."
    )


def file_path(value: Any, argument: str) -> str | os.PathLike[str]:
    """A path."""
    if isinstance(value, (str, os.PathLike)):
        return value
    raise DataError(f"{argument} is {_shown(value)}; give the path of a file.")


def judged(predictions: Any, scores: Any, rows: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What `predict` gave for so many records, each of shape (rows,): +1 or -1, and decision scores."""
    verdicts, values = _numbers(predictions, "predictions"), _numbers(scores, "scores")
    if not verdicts.shape == values.shape == (rows,):
        raise DataError(
            f"There are {rows} records, but predictions of shape {verdicts.shape} and scores of shape {values.shape};"
            f" {_ORDER}."
        )
    odd = np.flatnonzero(np.abs(verdicts) != 1)
    if odd.size:
        raise DataError(f"predictions hold {verdicts[odd[0]]:g} where +1 and -1 are expected; {_ORDER}.")
    if np.isnan(values).any():
        raise DataError(f"scores hold a missing value where numbers are expected; {_ORDER}.")
    return verdicts, values


_ORDER = "give what predict returned for these records, in this order: explain_anomalies(data, predictions, scores)"


def _numbers(values: Any, argument: str) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{argument} is a {_kind(values)} where numbers are expected; {_ORDER}.") from error
