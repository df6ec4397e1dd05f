"""What hardly any record had before: a sign, decimals, a form of text, a gap, a spelling next to a known one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from anomaly_detection.features.clauses import number, short, with_unit
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row

__all__ = ["MOST_DECIMALS", "NEVER", "Decimals", "Forms", "Given", "Signs", "Spelling", "Spellings", "seldom"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

NEVER = 2.0
"""Nats that what was never seen is worth beyond its bound: errors make such things oftener than usual records do."""

_SELDOM = 0.01
MOST_DECIMALS = 12
_MOST_FORMS = 0.02  # of the rows have one that is seldom: with more, a column has no form
_LONGEST = 60
_SHORTEST = 4
_LETTERS, _DIGITS = re.compile(r"[^\W\d_]+"), re.compile(r"\d")


def seldom(count: npt.ArrayLike, rows: int) -> Floats:
    """Evidence in nats of what `count` of `rows` training records had: ``-log`` of a share below 1 %, else 0."""
    count = np.asarray(count, dtype=np.float64)
    found = -np.log((count + 0.5) / (rows + 1.0)) + np.where(count == 0, NEVER, 0.0)
    return np.where(count < _SELDOM * rows, found, 0.0)


class _Columns(FeatureGroup):
    """A feature a column, in nats of evidence; 0 is usual."""

    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    nats: ClassVar[bool] = True
    word: ClassVar[str] = ""

    def fit(self, X: pd.DataFrame, y: object = None) -> _Columns:
        """Count what the columns hold."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        self.n_rows_ = len(X)
        self.learned_ = {name: found for name in X.columns if (found := self._learn(X[name])) is not None}
        return self

    def _learn(self, column: pd.Series[Any]) -> Any:
        raise NotImplementedError

    def _counts(self, column: pd.Series[Any], learned: Any) -> Floats:
        """How many training rows were alike; NaN where there is nothing to judge; shape (n,)."""
        raise NotImplementedError

    def fit_transform(self, X: pd.DataFrame, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give each training row's evidence by the other rows."""
        return self.fit(X)._evidence(X, 1)

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Give the evidence in nats, shape (n, features)."""
        check_is_fitted(self)
        return self._evidence(X, 0)

    def _evidence(self, X: pd.DataFrame, own: int) -> npt.NDArray[np.float32]:
        """`own` rows of those counted are the row itself."""
        out = np.zeros((len(X), len(self.learned_)), dtype=np.float32)
        for i, (name, learned) in enumerate(self.learned_.items()):
            others = self._others(X[name], learned, own)
            out[:, i] = np.where(np.isnan(others), 0.0, self._nats(np.nan_to_num(others), learned))
        return out

    def _others(self, column: pd.Series[Any], learned: Any, own: int) -> Floats:
        return np.maximum(self._counts(column, learned) - own, 0.0)

    def _nats(self, counts: Floats, learned: Any) -> Floats:
        return seldom(counts, self.n_rows_)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<column> <word>`` for each feature."""
        return np.asarray([f"{name} {self.word}" for name in self.learned_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The column of each feature."""
        return [(name,) for name in self.learned_]

    def in_units(self, X: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the cells, and in how many training rows it was alike; both (n, features)."""
        values = np.empty((len(X), len(self.learned_)), dtype=object)
        counts = np.empty(values.shape, dtype=object)
        for i, (name, learned) in enumerate(self.learned_.items()):
            values[:, i] = X[name].astype(object)
            counts[:, i] = np.nan_to_num(self._counts(X[name], learned)).astype(np.int64)
        return values, counts


def _times_seen(count: Any, rows: int) -> str:
    return f"none of {rows:,} records" if not count else f"{number(count)} of {rows:,} records"


class Signs(_Columns):
    """Negative numbers where hardly any record had one."""

    word = "sign"

    def _learn(self, column: pd.Series[Any]) -> int | None:
        negative = int((column < 0).sum())
        return negative if negative < _SELDOM * len(column) else None

    def _counts(self, column: pd.Series[Any], learned: int) -> Floats:
        return np.where(column.to_numpy(dtype=np.float64) < 0, float(learned), np.nan)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`."""
        name, shown = with_unit(source.columns[0], float(value))
        return f"{name} {shown} is negative, as in {_times_seen(usual, rows)}"


def decimals(values: Floats) -> Codes:
    """How many decimals each number has, at most 12; -1 where it is missing."""
    found = np.full(len(values), MOST_DECIMALS, dtype=np.int64)
    size = np.abs(values)
    for digits in range(MOST_DECIMALS - 1, -1, -1):
        with np.errstate(over="ignore", invalid="ignore"):
            exact = np.abs(np.round(size, digits) - size) <= 1e-9 * np.maximum(size, 1e-3)
        found[exact] = digits
    found[size >= 1e9] = 0
    return np.where(np.isnan(values), -1, found)


class Decimals(_Columns):
    """Numbers written more finely than nearly all: a part of a piece, a tenth of a cent."""

    word = "decimals"

    def _learn(self, column: pd.Series[Any]) -> Codes:
        found = decimals(column.to_numpy(dtype=np.float64))
        at_least = np.bincount(found[found >= 0], minlength=MOST_DECIMALS + 1)[::-1].cumsum()[::-1]
        return np.asarray(at_least, dtype=np.int64)

    def _counts(self, column: pd.Series[Any], learned: Codes) -> Floats:
        found = decimals(column.to_numpy(dtype=np.float64))
        return np.where(found > 0, learned[np.maximum(found, 0)].astype(np.float64), np.nan)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`."""
        count = int(decimals(np.array([float(value)]))[0])
        text = f"{float(value):.{count}f}"
        places = "1 decimal" if count == 1 else f"{count} decimals"
        return f"{source.columns[0]} {text} has {places}, so many or more in {_times_seen(usual, rows)}"


class Given(_Columns):
    """Gaps in columns that hardly ever have any."""

    word = "given"

    def _learn(self, column: pd.Series[Any]) -> int | None:
        missing = int(column.isna().sum())
        return missing if missing < _SELDOM * len(column) else None

    def _counts(self, column: pd.Series[Any], learned: int) -> Floats:
        return np.where(column.isna().to_numpy(), float(learned), np.nan)

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``missing``."""
        return "missing"

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`."""
        return f"{source.columns[0]} is missing, as in {_times_seen(usual, rows)}"


class _Texts(_Columns):
    """Columns of texts, looked at level by level."""

    def _of_levels(self, column: pd.Series[Any], of: Any) -> npt.NDArray[Any]:
        """Give `of` a list of distinct texts, each row's; None is missing."""
        codes, levels = pd.factorize(column.astype(object))
        found = np.empty(len(levels) + 1, dtype=object)
        found[:-1] = of([str(level).strip() for level in levels])
        found[-1] = None
        return np.asarray(found[codes], dtype=object)


def form_of(text: str) -> str:
    """A text's form: a run of letters as ``a``, a digit as ``#``, other signs as they are."""
    return _DIGITS.sub("#", _LETTERS.sub("a", text[:_LONGEST]))


class Forms(_Texts):
    """The form of codes and names (`form_of`): ``#####`` where postal codes have five digits."""

    word = "form"

    def _learn(self, column: pd.Series[Any]) -> dict[str, int] | None:
        forms = pd.Series(self._of_levels(column, lambda texts: [form_of(text) for text in texts])).value_counts()
        # Names of products are written in hundreds of ways, of which none is the form.
        if not len(forms) or int(forms[forms < _SELDOM * len(column)].sum()) > _MOST_FORMS * len(column):
            return None
        return {str(form): int(count) for form, count in forms.items()}

    def _counts(self, column: pd.Series[Any], learned: dict[str, int]) -> Floats:
        found = self._of_levels(column, lambda texts: [float(learned.get(form_of(text), 0)) for text in texts])
        return np.asarray([np.nan if one is None else one for one in found], dtype=np.float64)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`."""
        return f"{source.columns[0]} {short(value)} is written as in {_times_seen(usual, rows)}"


@dataclass(frozen=True)
class Spellings:
    """The known levels of a column, and the evidence in nats against a new one that is next to a known one.

    `slips` are the levels of a single row that are next to another.
    """

    names: list[str]
    evidence: float
    slips: tuple[str, ...] = ()


class Spelling(_Texts):
    """Levels never seen that are one slip away from a known one: a letter too many, too few, or two changed round.

    The evidence is that of a new level and of one that lies so near another as often as known ones do, and no more than
    such levels are common: where customers' numbers are one digit apart, a new one is too. A training row whose level
    no other has is judged by the others, to which it would be new.
    """

    word = "spelling"

    def _learn(self, column: pd.Series[Any]) -> Spellings | None:
        counts = column.value_counts()
        counts = counts[counts > 0]
        if len(counts) < 2 or len(counts) > 0.7 * max(int(counts.sum()), 1):
            return None
        names = [str(name) for name in counts.index]
        near = _Neighbours(names)
        alike = [near.of(name) is not None for name in names]
        once = (counts == 1).tolist()
        share = max(0.01, (sum(alike) + 0.5) / (len(names) + 1.0))
        new = (sum(once) + 0.5) / (int(counts.sum()) + 1.0)
        slips = tuple(name for name, close, alone in zip(names, alike, once, strict=True) if close and alone)
        return Spellings(names, float(-np.log(new) - np.log(share) + NEVER), slips)

    def _near(self, column: pd.Series[Any], learned: Spellings, own: int) -> npt.NDArray[Any]:
        known = {*learned.names}.difference(learned.slips if own else ())
        near: _Neighbours | None = None

        def of(texts: Iterable[str]) -> list[str | None]:
            nonlocal near
            found: list[str | None] = []
            for text in texts:
                if text in known:
                    found.append(None)
                    continue
                near = _Neighbours(learned.names) if near is None else near
                found.append(near.of(text))
            return found

        return self._of_levels(column, of)

    def _others(self, column: pd.Series[Any], learned: Spellings, own: int) -> Floats:
        others = float(max(len(learned.slips) - own, 0))
        return np.array([np.nan if near is None else others for near in self._near(column, learned, own)])

    def _nats(self, counts: Floats, learned: Spellings) -> Floats:
        return np.where(counts > 0, np.minimum(seldom(counts, self.n_rows_), learned.evidence), learned.evidence)

    def in_units(self, X: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the cells, and the known levels that they are next to."""
        values = np.empty((len(X), len(self.learned_)), dtype=object)
        near = np.empty(values.shape, dtype=object)
        for i, (name, learned) in enumerate(self.learned_.items()):
            values[:, i], near[:, i] = X[name].astype(object), self._near(X[name], learned, 1)
        return values, near

    @classmethod
    def tells(cls, usual: Any) -> bool:
        """Only a known level that it is next to."""
        return usual is not None

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`."""
        return f"{source.columns[0]} {short(value)} is known from no other record, and is nearly {short(usual)}"


class _Neighbours:
    """Finds the known text that is one slip away (Damerau, 1964), by texts with a letter left out."""

    def __init__(self, names: Sequence[str]) -> None:
        self._by_part: dict[str, list[str]] = {}
        for name in names:
            if _SHORTEST <= len(name) <= _LONGEST:
                for part in self._parts(name):
                    self._by_part.setdefault(part, []).append(name)

    @staticmethod
    def _parts(name: str) -> set[str]:
        return {name, *(name[:i] + name[i + 1 :] for i in range(len(name)))}

    def of(self, name: str) -> str | None:
        """A known text other than `name` that is one slip away; the first in the alphabet."""
        if not _SHORTEST - 1 <= len(name) <= _LONGEST + 1:
            return None
        found = (other for part in self._parts(name) for other in self._by_part.get(part, ()) if other != name)
        return min((other for other in found if _one_slip(name, other)), default=None)


def _one_slip(one: str, other: str) -> bool:
    if len(one) > len(other):
        one, other = other, one
    i = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return len(other) == len(one) + 1 and one[i:] == other[i + 1 :]
    return one[i + 1 :] == other[i + 1 :] or (
        one[i + 2 :] == other[i + 2 :] and one[i : i + 2] == other[i : i + 2][::-1]
    )
