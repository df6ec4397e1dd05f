"""Train, validation and test rows: at random, or by time so that nothing is learned from the future."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.errors import DataError

IntArray = npt.NDArray[np.int64]

MIN_ROWS = 20
"""The fewest rows worth splitting: 12 to train on, 4 to choose with, 4 to test on."""


@dataclass(frozen=True)
class Split:
    """Row positions of the three parts, each ascending (random) or in order of time; every row is in exactly one.

    Attributes
    ----------
    train, validation, test : int64 arrays
        Positions, for ``frame.iloc``.
    method : str
        ``"random"`` or ``"time"``.
    note : str
        What a reader should know, for example where rows without a time went; empty when there is nothing.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    method: str
    note: str = ""

    def sizes(self) -> dict[str, int]:
        """The number of rows in each part."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def split(
    frame: pd.DataFrame,
    labels: npt.ArrayLike | None = None,
    *,
    method: Literal["random", "time"] = "random",
    time: str | pd.Series[Any] | None = None,
    seed: int = 42,
) -> Split:
    """Split rows into three fifths to train on, one for validation and one to test.

    Parameters
    ----------
    frame : DataFrame
        The records; only the number of rows and the `time` column are looked at.
    labels : array-like (rows,), optional
        Classes whose shares the random split keeps in every part; the split by time ignores them.
    method : {"random", "time"}
        By time, no row in train is later than one in validation, nor one in validation than one in test. Rows of the
        same moment stay together unless a part would be left empty. Rows without a usable time go to train.
    time : str or Series, optional
        The column, or the times themselves; required for ``method="time"``. Text is parsed.
    seed : int
        Seeds the random split.

    Raises
    ------
    DataError
        Fewer than `MIN_ROWS` rows, an unknown method or column, labels of another length, or (by time) fewer than half
        of the rows with a usable time, or all at the same moment.
    """
    rows = len(frame)
    if rows < MIN_ROWS:
        raise DataError(f"There are {rows} rows, but training needs at least {MIN_ROWS}; give more records.")
    if method == "random":
        return _random(rows, labels, seed)
    if method == "time":
        return _by_time(_times(frame, time))
    raise DataError(f"The split method is {method!r}; choose 'random' or 'time'.")


def _random(rows: int, labels: npt.ArrayLike | None, seed: int) -> Split:
    classes = np.zeros(rows, dtype=np.int64) if labels is None else np.unique(labels, return_inverse=True)[1].ravel()
    if classes.shape != (rows,):
        raise DataError(f"There are {rows} rows but {classes.size} labels; give one label a row.")
    shuffled = np.random.default_rng(seed).permutation(rows)
    # Shuffled rows, sorted by class (the sort is stable): cutting each class's run keeps its share in every part.
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    parts: tuple[list[IntArray], ...] = ([], [], [])
    for members in np.split(by_class, np.cumsum(np.bincount(classes))[:-1]):
        for part, chosen in zip(parts, np.split(members, _cuts(len(members))), strict=True):
            part.append(chosen)
    train, validation, test = (np.sort(np.concatenate(part)).astype(np.int64) for part in parts)
    return Split(train, validation, test, "random")


def _cuts(rows: int) -> list[int]:
    """Where to cut `rows` ordered rows; each part gets at least one where there are three."""
    first, second = round(rows * 0.6), round(rows * 0.8)
    if rows >= 3:
        first = min(max(first, 1), rows - 2)
        second = min(max(second, first + 1), rows - 1)
    return [first, second]


def _times(frame: pd.DataFrame, time: str | pd.Series[Any] | None) -> pd.Series[Any]:
    if time is None:
        raise DataError("A split by time needs the time column; name it, or split at random.")
    if isinstance(time, str):
        if time not in frame.columns:
            raise DataError(
                f"The time column {time!r} is not in the data; it has: {', '.join(map(str, frame.columns))}."
            )
        time = frame[time]
    if len(time) != len(frame):
        raise DataError(f"There are {len(frame)} rows but {len(time)} times; give one time a row.")
    if not pd.api.types.is_datetime64_any_dtype(time):
        time = pd.to_datetime(time, errors="coerce", utc=True, format="mixed")
    return time.reset_index(drop=True)


def _by_time(times: pd.Series[Any]) -> Split:
    untimed = np.flatnonzero(times.isna()).astype(np.int64)
    if 2 * len(untimed) > len(times):
        raise DataError(
            f"Only {len(times) - len(untimed)} of {len(times)} rows have a usable time; split at random instead."
        )
    timed = np.flatnonzero(times.notna()).astype(np.int64)
    moments = times.iloc[timed].astype("int64").to_numpy()
    order = np.argsort(moments, kind="stable")
    timed, moments = timed[order], moments[order]
    if moments[0] == moments[-1]:
        raise DataError("All rows have the same time, so there is no earlier and later; split at random instead.")
    first, second = _cuts(len(timed))
    steps = np.flatnonzero(moments[1:] > moments[:-1]) + 1
    # Two moments cannot fill three parts: then a tie has to be split.
    if steps.size >= 2:
        first = _nearest(steps[:-1], first)
        second = _nearest(steps[steps > first], second)
    note = (
        f"{len(untimed)} rows without a usable time went to the training part, which leaks no future into it as far"
        " as can be known"
        if len(untimed)
        else ""
    )
    train = np.concatenate([untimed, timed[:first]])
    return Split(train, timed[first:second], timed[second:], "time", note)


def _nearest(steps: IntArray, cut: int) -> int:
    return int(steps[np.argmin(np.abs(steps - cut))])
