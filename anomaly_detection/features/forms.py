"""What hardly any record had before: a sign, decimals, a form of text, a gap."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from string import ascii_letters
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.table import Coded, Table, as_table, missing_in
from anomaly_detection.features.clauses import named_value, number, short, times_seen, with_unit
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row, side_by_side
from anomaly_detection.texts.said import N_, Figure, Said, say

__all__ = [
    "MOST_DECIMALS",
    "NEVER",
    "SELDOM",
    "Columns",
    "Decimals",
    "Forms",
    "Gaps",
    "Signs",
    "Texts",
    "Zeros",
    "decimals",
    "seldom",
    "written",
]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

NEVER = 2.0
"""Nats that what was never seen is worth beyond its bound: errors make such things oftener than usual records do."""

_NEVER_NEGATIVE = 5.0
SELDOM = 0.01
"""Of the records: what fewer have is seldom."""
MOST_DECIMALS = 12
_AGAIN = 5  # rows of each value
_ALL_DIGITS = 9  # as many are told apart, see `decimals`
_MOST_FORMS = 0.02  # of the rows have one that is seldom: with more, a column has no form
_LONGEST = 60
_REMEMBERED = 10_000
_IN_FORMS = str.maketrans({**dict.fromkeys(ascii_letters, "a"), **dict.fromkeys("0123456789", "#")})
_LETTERS, _DIGITS = re.compile(r"[^\W\d_]+"), re.compile(r"\d")


def worth_less_together(found: npt.NDArray[np.float32]) -> None:
    """Change evidence, shape (n, features), by how many rows have some of each feature."""
    together = np.count_nonzero(found, axis=0)
    # One in a hundred is what seldom means: so many may be errors, each by itself.
    found /= np.maximum(together / (1.0 + SELDOM * len(found)), 1.0) ** 0.25


def worth_less_of_one(
    found: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], codes: npt.NDArray[Any], power: float = 0.25
) -> None:
    """Change the evidence of some rows, in a column of shape (n,), by how many of them have the same code."""
    _, place, together = np.unique(codes[rows], return_inverse=True, return_counts=True)
    found[rows] /= together[place] ** power


def seldom(count: npt.ArrayLike, rows: int, never: float = NEVER) -> Floats:
    """Evidence in nats of what `count` of `rows` training records had: ``-log`` of a share below 1 %, else 0."""
    count = np.asarray(count, dtype=np.float64)
    found = -np.log((count + 0.5) / (rows + 1.0)) + np.where(count == 0, never, 0.0)
    return np.where(count < SELDOM * rows, found, 0.0)


class Columns(FeatureGroup):
    """A feature a column, in nats of evidence; 0 is usual.

    Attributes
    ----------
    never_ : float
        Nats that what was never seen is worth besides. What stands in the class is for files of before.
    """

    never_: float = NEVER
    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    nats: ClassVar[bool] = True
    word: ClassVar[str] = ""

    def fit(self, X: Any, y: object = None) -> Columns:
        """Count what the columns hold."""
        X = self._seen(X)
        self.n_rows_ = len(X)
        self.learned_ = {name: found for name in X if (found := self._learn(X[name])) is not None}
        return self

    def _learn(self, column: Any) -> Any:
        raise NotImplementedError

    def _counts(self, column: Any, learned: Any) -> Floats:
        """How many training rows were alike; NaN where there is nothing to judge; shape (n,)."""
        raise NotImplementedError

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The evidence in nats, shape (n, features)."""
        out = np.zeros((len(X), len(self.learned_)), dtype=np.float32)
        for i, (name, judge) in enumerate(_judges(self)):
            # Of categories once for each column that is remembered, as those of single records are.
            column = X[name]
            out[:, i] = column.made(judge) if isinstance(column, Coded) else judge(column)
        return out

    def _judge(self, learned: Any) -> Callable[[Any], Floats]:
        """What gives the evidence of a column's rows."""

        def judge(column: Any) -> Floats:
            return self._evidence(column, learned, 0)

        return judge

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give each training row's evidence by the other rows."""
        X = as_table(X)
        learned = self.fit(X).learned_
        return side_by_side(
            [self._evidence(X[name], one, 1).astype(np.float32) for name, one in learned.items()], len(X)
        )

    def _evidence(self, column: Any, learned: Any, own: int) -> Floats:
        """`own` rows of those counted are the row itself."""
        others = self._others(column, learned, own)
        return np.where(np.isnan(others), 0.0, self._nats(np.nan_to_num(others), learned))

    def _others(self, column: Any, learned: Any, own: int) -> Floats:
        return np.maximum(self._counts(column, learned) - own, 0.0)

    def _nats(self, counts: Floats, learned: Any) -> Floats:
        return seldom(counts, self.n_rows_, self.never_)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<column> <word>`` for each feature."""
        return np.asarray([f"{name} {self.word}" for name in self.learned_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The column of each feature."""
        return [(name,) for name in self.learned_]

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the cells, and in how many training rows it was alike; both (n, features)."""
        X = as_table(X)
        values = np.empty((len(X), len(self.learned_)), dtype=object)
        counts = np.empty(values.shape, dtype=object)
        for i, (name, learned) in enumerate(self.learned_.items()):
            values[:, i] = X.objects(name)
            counts[:, i] = np.nan_to_num(self._counts(X[name], learned)).astype(np.int64)
        return values, counts


_judges: Kept[Columns, list[tuple[str, Callable[[Any], Floats]]]] = Kept(
    lambda columns: [(name, columns._judge(learned)) for name, learned in columns.learned_.items()]
)


_seldom_each: Kept[Columns, Floats] = Kept(
    lambda columns: np.array(
        [seldom(learned, columns.n_rows_, columns.never_) for learned in columns.learned_.values()]
    )
)
"""The evidence of each column's counts, where these are numbers."""


def written(column: str, value: Any, count: Any, rows: int) -> Said:
    """Say in how many of the training records a column was written like this value."""
    seen = times_seen(count, rows)
    return say("%(what)s is written in a form found in %(seen)s", what=f"{column} {short(value)}", seen=seen)


class Seldom(Columns):
    """Numbers of a kind that hardly any record has, see `is_one`."""

    @staticmethod
    def is_one(values: Floats) -> npt.NDArray[np.bool_]:
        """Whether each number is of the kind, in the shape of `values`."""
        raise NotImplementedError

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """`Columns.features_of`, of all columns at once."""
        found = self.is_one(X.matrix(list(self.learned_)))
        return np.where(found, _seldom_each(self), 0.0).astype(np.float32)

    @classmethod
    def is_one_of(cls, value: Value) -> Value:
        """`is_one` as a program has it."""
        raise NotImplementedError

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        told = zip(self.learned_, _seldom_each(self).tolist(), strict=True)
        return [self.is_one_of(program.number(name)).where(nats, 0.0) for name, nats in told]

    def _learn(self, column: Floats) -> int | None:
        count = int(self.is_one(column).sum())
        return count if count < SELDOM * len(column) else None

    def _counts(self, column: Floats, learned: int) -> Floats:
        return np.where(self.is_one(column), float(learned), np.nan)


class Signs(Seldom):
    """Negative numbers where hardly any record had one: a slip of a key, or a code, and no usual number."""

    word = "sign"

    def fit(self, X: Any, y: object = None) -> Signs:
        """Count the negative numbers."""
        self.never_ = _NEVER_NEGATIVE
        super().fit(X)
        return self

    @staticmethod
    def is_one(values: Floats) -> npt.NDArray[np.bool_]:
        """Whether each is negative."""
        return values < 0

    @classmethod
    def is_one_of(cls, value: Value) -> Value:
        """`is_one` as a program has it."""
        return value < 0.0

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`."""
        name, shown = with_unit(source.columns[0], float(value))
        return say("%(what)s is negative, as in %(seen)s", what=named_value(name, shown), seen=times_seen(usual, rows))


class Zeros(Seldom):
    """Zeros among numbers of which hardly any was, and none negative: a price that nobody filled in."""

    word = "zero"
    titled: ClassVar[Mapping[str, str]] = {"rare": N_("0")}

    @staticmethod
    def is_one(values: Floats) -> npt.NDArray[np.bool_]:
        """Whether each is 0."""
        return values == 0

    @classmethod
    def is_one_of(cls, value: Value) -> Value:
        """`is_one` as a program has it."""
        return value.equals(0.0)

    def _learn(self, column: Floats) -> int | None:
        return None if (column < 0).any() else super()._learn(column)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`."""
        return say("%(column)s is 0, as in %(seen)s", column=source.columns[0], seen=times_seen(usual, rows))


def decimals(values: Floats) -> Codes:
    """How many decimals each number has, at most 12; -1 where it is missing."""
    size = np.abs(values)
    missing = np.isnan(size)
    found = np.where(missing, -1, np.where(size >= 1e9, 0, MOST_DECIMALS))
    left = np.flatnonzero(found == MOST_DECIMALS)
    for digits in range(MOST_DECIMALS):
        if not left.size:
            break
        some = size[left]
        exact = np.abs(np.round(some, digits) - some) <= 1e-9 * np.maximum(some, 1e-3)
        found[left[exact]] = digits
        left = left[~exact]
    return found


def _at_least(found: Codes) -> Codes:
    """How many have so many decimals, or more."""
    counts = np.bincount(found[found >= 0], minlength=MOST_DECIMALS + 1)[::-1].cumsum()[::-1]
    return np.asarray(counts, dtype=np.int64)


class Decimals(Columns):
    """Numbers written more finely than nearly all: a part of a piece, a tenth of a cent.

    Where one in a hundred has all digits that are told apart, the column is measured or computed, and the smallest
    number has most decimals: nothing is told of it; nor of decimals of a few values that come again, such as discounts
    of 0.32.
    """

    word = "decimals"
    titled: ClassVar[Mapping[str, str]] = {"rare": N_("finer than usual")}

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """`Columns.features_of`, of all columns at once."""
        values = X.matrix(list(self.learned_))
        # Of what has none, or is missing, nothing is told.
        found = np.maximum(decimals(values.ravel()).reshape(values.shape), 0)
        told = _seldom_each(self).reshape(-1, MOST_DECIMALS + 1)
        return np.where(found > 0, told[np.arange(len(told)), found], 0.0).astype(np.float32)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        told = zip(self.learned_, _seldom_each(self), strict=True)
        # The first is that of none, the last that of what is missing.
        return [program.number(name).decimals().look_up([0.0, *nats[1:], 0.0]) for name, nats in told]

    def _learn(self, column: Floats) -> Codes | None:
        found = decimals(column)
        with np.errstate(divide="ignore", invalid="ignore"):
            digits = found + np.floor(np.log10(np.abs(column))) + 1
        if np.count_nonzero((found > 0) & (digits >= _ALL_DIGITS)) >= SELDOM * len(column):
            return None
        at_least = _at_least(found)
        come_again = at_least >= _AGAIN * _at_least(decimals(np.unique(column)))
        return np.where(come_again & (at_least > 0), len(column), at_least)

    def _counts(self, column: Floats, learned: Codes) -> Floats:
        found = decimals(column)
        return np.where(found > 0, learned[np.maximum(found, 0)].astype(np.float64), np.nan)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`."""
        count = int(decimals(np.array([float(value)]))[0])
        what = named_value(source.columns[0], Figure(f"{float(value):.{count}f}"))
        one = N_("%(what)s has %(count)s decimal; %(seen)s have so many or more")
        many = N_("%(what)s has %(count)s decimals; %(seen)s have so many or more")
        return say(one if count == 1 else many, what=what, count=number(count), seen=times_seen(usual, rows))


class Gaps(Columns):
    """Gaps in columns that hardly ever have any.

    One that more than one in a hundred rows bring is worth less, by the fourth root of how many times as many they are:
    a feed without a column, or one in a form that cannot be read, is no error of each record.
    """

    word = "given"

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """`Columns.features_of`, of all columns at once."""
        missing = np.empty((len(X), len(self.learned_)), dtype=bool)
        for i, name in enumerate(self.learned_):
            missing[:, i] = X.isna(name)
        out = np.where(missing, _seldom_each(self), 0.0).astype(np.float32)
        self.with_others(X, out)
        return out

    def with_others(self, X: Table, found: npt.NDArray[np.float32]) -> None:
        """Change the evidence of gaps, shape (n, features), by how many rows have them."""
        worth_less_together(found)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        told = zip(self.learned_, _seldom_each(self).tolist(), strict=True)
        return [program.missing(name).where(nats, 0.0) for name, nats in told]

    def _learn(self, column: Any) -> int | None:
        missing = int(missing_in(column).sum())
        return missing if missing < SELDOM * len(column) else None

    def _counts(self, column: Any, learned: int) -> Floats:
        return np.where(missing_in(column), float(learned), np.nan)

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``missing``."""
        return "missing"

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`."""
        return say("%(column)s is missing, as in %(seen)s", column=source.columns[0], seen=times_seen(usual, rows))


class Texts(Columns):
    """Columns of texts, looked at level by level."""

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        return [program.level(name, judge) for name, judge in _judges(self)]

    def _of_levels(self, column: Coded, of: Callable[[str], float | None]) -> Floats:
        """Give `of` each text that occurs; what it says of each row's, NaN where it says None or there is none."""
        found = np.full(len(column.names) + 1, np.nan)
        for code in np.unique(column.codes).tolist():
            said = None if code < 0 else of(str(column.names[code]).strip())
            found[code] = np.nan if said is None else said
        return np.asarray(found[column.codes], dtype=np.float64)


@lru_cache(_REMEMBERED)
def form_of(text: str) -> str:
    """A text's form: a run of letters as ``a``, a digit as ``#``, other signs as they are; all words without one alike.

    "PMO - US" and "Haiti Field Office" are names, and written in no form.
    """
    text = text[:_LONGEST]
    return _DIGITS.sub("#", _LETTERS.sub("a", text)) if _DIGITS.search(text) else "a"


def _forms_of(column: Coded, places: Codes) -> list[str]:
    return forms_of([str(column.names[place]).strip() for place in places.tolist()])


def forms_of(texts: Sequence[str]) -> list[str]:
    """`form_of` of each; of those in ASCII at once, in a fifth of the time."""
    plain = [text[:_LONGEST] if text.isascii() and "\n" not in text else "" for text in texts]
    joined = "\n".join(plain).translate(_IN_FORMS)
    while "aa" in joined:
        joined = joined.replace("aa", "a")
    found = zip(texts, plain, joined.split("\n"), strict=False)
    return [
        form_of(text) if text and not cut else form if "#" in form and _DIGITS.search(cut) else "a"
        for text, cut, form in found
    ]


class Forms(Texts):
    """The form of codes and names (`form_of`): ``#####`` where postal codes have five digits."""

    word = "form"
    titled: ClassVar[Mapping[str, str]] = {"rare": N_("written unusually")}

    def _learn(self, column: Coded) -> dict[str, int] | None:
        forms: Counter[str] = Counter()
        counts = column.counts()
        used = np.flatnonzero(counts)
        for form, count in zip(_forms_of(column, used), counts[used].tolist(), strict=True):
            forms[form] += count
        # Names of products are written in hundreds of ways, of which none is the form.
        seldom_ones = sum(count for count in forms.values() if count < SELDOM * len(column))
        return None if not forms or seldom_ones > _MOST_FORMS * len(column) else dict(forms.most_common())

    def _counts(self, column: Coded, learned: dict[str, int]) -> Floats:
        found, used = np.full(len(column.names) + 1, np.nan), np.flatnonzero(column.counts())
        # Files of before tell names of two words from those of three.
        known = {**learned, "a": sum(count for form, count in learned.items() if "#" not in form)}
        found[used] = [known.get(form, 0) for form in _forms_of(column, used)]
        return np.asarray(found[column.codes], dtype=np.float64)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`."""
        return written(source.columns[0], value, usual, rows)
