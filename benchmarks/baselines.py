"""What `benchmarks.real_tables` compares with: a forest on plain numbers, the largest z-score, a prototype of rules.

Each trains on one table and scores another: the higher, the odder. Columns are read as the library reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import IsolationForest

from anomaly_detection.data.columns.schema import Role, infer_schema

__all__ = ["isolation_forest", "largest_robust_z", "prototype"]

Floats = npt.NDArray[np.float64]


def isolation_forest(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Floats:
    """scikit-learn's forest of 200 trees on numbers, dates and how frequent each category is."""
    known, new = _numbers(train, test)
    for name in infer_schema(train).names(Role.CATEGORICAL):
        frequency = train[name].astype(str).value_counts(normalize=True)
        for numbers, frame in ((known, train), (new, test)):
            numbers[name] = frame[name].astype(str).map(frequency).fillna(0.0).to_numpy(dtype=np.float64)
    middle = known.median()
    forest = IsolationForest(n_estimators=200, random_state=seed).fit(known.fillna(middle).to_numpy())
    return -np.asarray(forest.score_samples(new.fillna(middle).to_numpy()))


def largest_robust_z(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Floats:
    """The largest distance of any number or date from its median, in robust deviations, on an asinh scale."""
    known, new = (numbers.apply(np.arcsinh) for numbers in _numbers(train, test))
    middle = known.median()
    width = 1.4826 * (known - middle).abs().median()
    width = width.where(width > 0, known.std() + 1e-9)
    return ((new - middle).abs() / width).max(axis=1).fillna(0.0).to_numpy(dtype=np.float64)


def _numbers(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Numbers and dates (in seconds) of both tables."""
    schema = infer_schema(train)
    names, dates = schema.names(Role.NUMERIC, Role.TIMESTAMP), set(schema.names(Role.TIMESTAMP))
    known, new = (schema.clean(frame)[0] for frame in (train, test))
    read: Any = [
        {name: _seconds(frame[name]) if name in dates else frame[name].to_numpy(dtype=np.float64) for name in names}
        for frame in (known, new)
    ]
    return pd.DataFrame(read[0]), pd.DataFrame(read[1])


def _seconds(dates: pd.Series[Any]) -> Floats:
    values = dates.to_numpy().astype("datetime64[ns]")
    return np.where(np.isnat(values), np.nan, values.astype(np.int64) / 1e9)


# The prototype: sixty lines without a forest.


def prototype(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Floats:
    """Evidence in nats: of each row's, the largest, 0.3 of the second and 0.1 of the third."""
    found = np.array([np.nan_to_num(evidence) for evidence in _evidence(train, test)])
    largest = -np.sort(-np.vstack([found, np.zeros((3, len(test)))]), axis=0)[:3]
    return np.array([1.0, 0.3, 0.1]) @ largest


def _evidence(train: pd.DataFrame, test: pd.DataFrame) -> Iterator[Floats]:
    schema = infer_schema(train)
    known, new = (schema.clean(frame)[0] for frame in (train, test))
    rows, split = len(train), np.split
    both = pd.concat([known, new], ignore_index=True)
    numbers = {name: both[name].to_numpy(dtype=np.float64) for name in schema.names(Role.NUMERIC)}
    for first, second in combinations(schema.names(Role.TIMESTAMP), 2):
        numbers[f"{first} to {second}"] = (_seconds(both[second]) - _seconds(both[first])) / 86_400
    groups = [
        pd.factorize(both[name].astype(object), use_na_sentinel=False)[0] for name in schema.names(Role.CATEGORICAL)
    ]
    scaled = {}
    for name, values in numbers.items():
        size = np.nanmedian(np.abs(values[:rows][values[:rows] != 0])) if np.any(values[:rows] > 0) else 1.0
        scaled[name] = np.arcsinh(values / size)
        yield _tail(*split(np.abs(_from_group(scaled[name], groups, rows)), [rows]))
        if not np.any(values[:rows] < 0):
            yield np.where(values[rows:] < 0, np.log(rows) + 2.0, 0.0)
    for first, second in combinations(schema.names(Role.NUMERIC), 2):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(np.abs(numbers[first])) - np.log(np.abs(numbers[second]))
        ratio[~np.isfinite(ratio)] = np.nan
        if (~np.isnan(ratio[:rows])).sum() > 100:
            off = _from_group(ratio, groups, rows)
            if _spread(off[:rows]) < 0.3 * min(_spread(scaled[first][:rows]), _spread(scaled[second][:rows])):
                yield _tail(*split(np.abs(off), [rows]))
    for codes in groups:
        count = np.bincount(codes[:rows], minlength=codes.max() + 1)[codes[rows:]]
        yield np.where(count < 0.01 * rows, -np.log((count + 0.5) / (rows + 1)), 0.0)
    names = [name for name in schema.names(Role.IDENTIFIER, Role.TEXT) if train[name].nunique() >= 0.99 * rows]
    keys = pd.util.hash_pandas_object(pd.concat([train, test]).drop(columns=names).astype(str), index=False)
    again = keys.duplicated(keep=False).to_numpy()
    yield np.where(again[rows:], -np.log((keys[:rows].duplicated(keep=False).sum() + 0.5) / (rows + 1)), 0.0)


def _from_group(values: Floats, groups: list[npt.NDArray[np.int64]], rows: int) -> Floats:
    """Distance from the median of the group that leaves the least spread, groups of fewer than five left alone."""
    known = pd.Series(np.where(np.arange(len(values)) < rows, values, np.nan))
    best = values - np.nanmedian(values[:rows])
    for codes in groups:
        of_group = known.groupby(codes)
        middle = of_group.transform("median").where(of_group.transform("count") >= 5, known.median())
        off = values - middle.to_numpy()
        # A group of few rows is always near its median.
        free = 1.0 - len(np.unique(codes[:rows])) / rows
        best = off if np.nanstd(off[:rows]) / free < np.nanstd(best[:rows]) else best
    return best


def _tail(known: Floats, new: Floats) -> Floats:
    """-log of how often training rows lie so far out; beyond the outermost 1 % as Hill's exponent has it, uncapped."""
    known = np.sort(known[~np.isnan(known)])
    n, k = len(known), max(len(known) // 100, 10)
    if n < 2 * k or known[-1] == 0:
        return np.where(new > 0, np.log(n + 1.0), 0.0)
    start = max(known[-k], 1e-3)
    hill = max(float(np.mean(np.log(np.maximum(known[-k:], start) / start))), 0.05)
    inside = -np.log((n - np.searchsorted(known, new) + 1.0) / (n + 1.0))
    return np.where(new > start, -np.log(k / n) + np.log(np.maximum(new, start) / start) / hill, inside)


def _spread(values: Floats) -> float:
    return float(np.nanmedian(np.abs(values - np.nanmedian(values))))
