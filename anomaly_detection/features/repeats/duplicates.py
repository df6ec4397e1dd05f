"""Counts of records and readings that occur again, for model files that have them; new ones have `Copies` instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.clauses import number, with_unit
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.progress import steps
from anomaly_detection.texts.said import Said, say

__all__ = ["Repeats"]

_CONTINUOUS_SHARE = 0.2
_REMEMBERED = 100_000

Keys = npt.NDArray[np.uint64]


class Repeats(FeatureGroup):
    """Binary logarithm of how many times a record, and any one of its readings, occurs.

    Three features. *record*: rows that agree in every column but those in `dates` and `within`. *reading*: the largest
    count over the columns whose values hardly ever repeat, each within its category where `within` names one.
    *readings*: how many such columns repeat at once, from two up, for a copy that was amended here and there.

    Records are counted among the training rows (the last 100,000) and those that come together; one that is known from
    training in every column counts once only, so that scoring training rows again finds no copies. A reading is counted
    among the training rows or those that come together, whichever gives more: an amended record repeats all its other
    readings. So a record that comes alone is found to copy a training row, or a reading that was stuck in training;
    what it cannot know are copies that came after training: score a day's or a week's records together for those.

    Parameters
    ----------
    numbers : sequence of str
        Columns in which a stuck reading is looked for.
    within : sequence of str
        Categorical columns that a stuck reading stays in, such as a span of time; they are no part of a record.
    dates : sequence of str
        Columns in which copies of a record may differ.
    """

    counted: ClassVar[bool] = True
    repeats: ClassVar[bool] = True
    weighed: ClassVar[bool] = False

    @classmethod
    def units_of(cls, name: str) -> tuple[float, float]:
        """A reading may repeat by chance; two records or several readings hardly do."""
        return cls.units if name == "repeated reading" else (0.0, 0.25)

    def __init__(self, numbers: Sequence[str] = (), within: Sequence[str] = (), dates: Sequence[str] = ()) -> None:
        self.numbers = numbers
        self.within = within
        self.dates = dates

    def fit(self, X: Any, y: object = None) -> Repeats:
        """Count what occurs more than once."""
        X = self._seen(X).frame()
        self.continuous_ = [
            name
            for name in self.numbers
            if X[name].notna().sum() >= 20 and X[name].nunique() > _CONTINUOUS_SHARE * X[name].notna().sum()
        ]
        self.records_ = _Records(*self._record_keys(X))
        within = self._within_hashes(X)
        self.readings_ = [
            _Counter(self._reading_keys(X, name, within)[-_REMEMBERED:])
            for name in steps(self.continuous_, "looking for repeated readings")
        ]
        return self

    def known(self, X: Any) -> npt.NDArray[np.bool_]:
        """Say which records are among the training rows, alike in every column."""
        return np.isin(self._record_keys(as_table(X).frame())[1], self.records_.whole)

    def _record_keys(self, X: pd.DataFrame) -> tuple[Keys, Keys]:
        return _hash(X.drop(columns=[*self.within, *self.dates])), _hash(X.drop(columns=list(self.within)))

    def _within_hashes(self, X: pd.DataFrame) -> list[Keys]:
        return [_hash_column(X[name]) for name in self.within]

    def _reading_keys(self, X: pd.DataFrame, name: str, within: Sequence[Keys]) -> Keys:
        keys = np.maximum(_combine([_hash_column(X[name]), *within]), np.uint64(1))
        # A missing reading repeats nothing: 0 is the key that is never counted.
        return np.where(X[name].isna().to_numpy(), np.uint64(0), keys)

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The logarithms, shape (n, 3) or (n, 1) where no column could be stuck; 0 for what occurs once."""
        out = np.zeros((len(X), len(self.get_feature_names_out())), dtype=np.float32)
        records, readings = self._count(X.frame())
        out[:, 0] = np.log2(records)
        if self.continuous_:
            out[:, 1] = np.log2(readings.max(axis=1))
            out[:, 2] = np.log2(np.maximum((readings > 1).sum(axis=1), 1))
        return out

    def _count(self, X: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """How many times each record occurs (n,), and each of its readings (n, continuous columns)."""
        content, whole = self._record_keys(X)
        readings = np.ones((len(X), len(self.continuous_)), dtype=np.int64)
        within = self._within_hashes(X)
        for i, (counter, name) in enumerate(zip(self.readings_, self.continuous_, strict=True)):
            readings[:, i] = counter.count(self._reading_keys(X, name, within))
        return self.records_.count(content, whole), readings

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the one or three features."""
        names = ["repeated record", "repeated reading", "repeated readings"]
        return np.asarray(names if self.continuous_ else names[:1], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """Source columns of each feature."""
        apart = {*self.within, *self.dates}
        return [
            tuple(name for name in self.feature_names_in_ if name not in apart),
            tuple(self.continuous_),
            tuple(self.continuous_),
        ][: len(self.get_feature_names_out())]

    def in_units(self, X: Any, rows: npt.NDArray[np.int64] | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return each record's count, the most repeated reading as (column, count), and how many columns repeat.

        `rows` are the positions of those to tell of, among all of `X`; all if not given.
        """
        records, counts = self._count(as_table(X).frame())
        records, counts = (records, counts) if rows is None else (records[rows], counts[rows])
        values = np.empty((len(records), len(self.get_feature_names_out())), dtype=object)
        values[:, 0] = records
        if self.continuous_:
            most = counts.argmax(axis=1)
            for row, column in enumerate(most):
                values[row, 1] = (self.continuous_[column], int(counts[row, column]))
            values[:, 2] = (counts > 1).sum(axis=1)
        return values, np.ones(values.shape)

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``repeated``."""
        return "repeated"

    @classmethod
    def says(cls, value: Any) -> bool:
        """That nothing is repeated can be unusual, but is no reason."""
        return bool((value[1] if isinstance(value, tuple) else value) > 1)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: what occurs how many times."""
        if source.name == "repeated record":
            return say("the same record occurs %(count)s times", count=number(value))
        if source.name == "repeated readings":
            return say("%(count)s readings at once repeat others within four weeks, like a copy's", count=number(value))
        column, count = value
        name, shown = with_unit(column, row[column])
        return say(
            "the same %(name)s, %(value)s, occurs %(count)s times within four weeks",
            name=name,
            value=shown,
            count=number(count),
        )


def _hash(X: pd.DataFrame) -> Keys:
    keys: Keys = pd.util.hash_pandas_object(X, index=False).to_numpy().astype(np.uint64)
    return np.maximum(keys, np.uint64(1))


def _hash_column(column: pd.Series[Any]) -> Keys:
    plain = isinstance(column.dtype, np.dtype)
    return np.asarray(pd.util.hash_array(column.to_numpy() if plain else column.array), dtype=np.uint64)


def _combine(hashes: Sequence[Keys]) -> Keys:
    """What `_hash` makes of columns with these hashes, where columns are shared by many such sets."""
    # As pandas and, before it, Python's tuples.
    factor, out = 1_000_003, np.full(len(hashes[0]), 0x345678, dtype=np.uint64)
    for i, own in enumerate(hashes):
        out = (out ^ own) * np.uint64(factor)
        factor += 82_520 + 2 * (len(hashes) - i)
    return out + np.uint64(97_531)


class _Records:
    """What each record says and, as a second key, what it says with its dates; of so many training rows, the last."""

    def __init__(self, content: Keys, whole: Keys) -> None:
        self.content, self.whole = content[-_REMEMBERED:], whole[-_REMEMBERED:]

    def count(self, content: Keys, whole: Keys) -> npt.NDArray[np.int64]:
        """Give each record's count, at least 1."""
        known = np.isin(self.content, content)
        both = pd.DataFrame(
            {
                "content": np.concatenate([self.content[known], content]),
                "whole": np.concatenate([self.whole[known], whole]),
                "new": np.repeat([False, True], [int(known.sum()), len(content)]),
            }
        )
        sizes = both.groupby(["content", "whole", "new"], sort=False).size()
        totals = sizes.groupby(level=["content", "whole"], sort=False).max().groupby(level="content", sort=False).sum()
        return np.asarray(totals.reindex(content), dtype=np.int64)


class _Counter:
    """Counts of the keys that occur more than once."""

    def __init__(self, keys: Keys) -> None:
        known, counts = np.unique(keys[keys > 0], return_counts=True)
        self.keys, self.counts = known[counts > 1], counts[counts > 1].astype(np.int32)

    def count(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Give each key's count, here or among those known, whichever is more; at least 1."""
        _, codes, here = np.unique(keys, return_inverse=True, return_counts=True)
        result = here[codes]
        if len(self.keys):
            place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            result = np.maximum(result, np.where(self.keys[place] == keys, self.counts[place], 1))
        return np.where(keys == 0, 1, result)
