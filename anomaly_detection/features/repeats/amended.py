"""Records that say what another says but for one number: an order that was entered twice, with another amount."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.clauses import number, with_unit
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.repeats.coincidences import (
    Chance,
    agreement,
    among,
    column_key,
    combined,
    first_other,
    keys_by_column,
    labels_at,
    mixed,
    name_keys_by_column,
    repeats_of,
)
from anomaly_detection.features.repeats.copies import names_records
from anomaly_detection.features.repeats.recent_twins import RecentTwins
from anomaly_detection.texts.said import N_, Said, as_text, say

__all__ = ["Amended"]

Codes = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_REMEMBERED = 10_000
_MOST = 8
_NATURAL = 0.001
_NEVER, _SELDOM = 6.0, 0.002
"""Nats that it is worth besides where fewer training records than that have such a twin: chance hardly makes one."""


class Amended(FeatureGroup):
    """Evidence in nats that a record is another one with another number in one column.

    The other record is one that comes with it, one of the last 10,000 training records or, where these are kept
    (`recent`), of the last 10,000 that were judged; one that says exactly the same is `Copies`' business. What names a
    record is no part of what is compared: an order that was entered again has another number. Only where more than one
    in a thousand records agree so far with one of another order, the orders' numbers have to agree too. How often
    records do by chance is learned from the training records, see `Chance`.

    Parameters
    ----------
    numbers : sequence of str
        Columns of which one may differ, two or more: of more than eight, those whose values agree least.
    names : sequence of str
        Columns that may name a record.

    Attributes
    ----------
    amended_, names_ : list of str
        Of the numbers those that may differ, and of the names those that may not.
    """

    recent: RecentTwins | None = None
    """What was judged since the training, where somebody keeps it; no part of what was learned."""

    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    nats: ClassVar[bool] = True
    counted: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    repeats: ClassVar[bool] = True
    by_name: ClassVar[bool] = True

    def __init__(self, numbers: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        self.numbers = numbers
        self.names = names

    def fit(self, X: Any, y: object = None) -> Amended:
        """Remember the records, and how many have such a twin."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give the evidence of the training records among themselves."""
        X = self._seen(X)
        cells = keys_by_column(X, [name for name in X if name not in self.names])
        agree = {name: agreement(keys) for name, keys in cells.items()}
        self.amended_ = sorted(self.numbers, key=agree.__getitem__)[:_MOST]
        self.names_: list[str] = []
        keys = self._keys_but_one(X, np.arange(len(X)))
        twins = self._have_twins_here(keys)
        if twins.sum() > _NATURAL * len(X):
            self.names_ = [name for name in self.names if not names_records(X.objects(name))]
            keys = self._keys_but_one(X, np.arange(len(X)))
            twins = self._have_twins_here(keys)
        logs = {name: float(np.log(share)) for name, share in agree.items()}
        apart = sum(float(np.exp(sum(logs.values()) - logs[name])) for name in self.amended_)
        self.chance_ = Chance(int(twins.sum()), len(X), len(X) - 1.0, max(min(apart, 1.0), 1e-300), _NEVER, _SELDOM)
        self.remembered_ = min(len(X), _REMEMBERED)
        self.alike_ = np.unique(self._alike(X)[-_REMEMBERED:])
        self.keys_ = np.unique(keys[1:, -_REMEMBERED:])
        return self._evidence(twins, len(X) - 1)

    @property
    def unnamed(self) -> tuple[Any, ...]:
        """Under what a table has the keys of records by `unnamed_columns`."""
        return (self, "alike")

    @property
    def unnamed_columns(self) -> list[str]:
        """Columns that name nothing, in which no record may differ."""
        apart = {*self.amended_, *self.names}
        return [str(name) for name in self.feature_names_in_ if name not in apart]

    def _alike(self, X: Table) -> Keys:
        made: Keys = X.made(self.unnamed, lambda: combined(keys_by_column(X, self.unnamed_columns), len(X)))
        return made

    def _keys_but_one(self, X: Table, rows: Codes) -> Keys:
        """Keys of some records by all that they say, and by all but one number each, shape (1 + numbers, n).

        Where that number is missing nothing is left out: a gap is no other number.
        """
        some = X if len(rows) == len(X) else X.take(rows)
        # Of many rows they would take as much as the columns, and nobody asks again.
        parts: Keys = some.made(self.parts, lambda: self._parts(some)) if len(some) == 1 else self._parts(some)
        whole = self._alike(X)[rows] + parts.sum(axis=0, dtype=np.uint64)
        whole += combined(name_keys_by_column(some, self.names_), len(rows))
        missing = np.isnan(some.matrix(self.amended_).T)
        return np.vstack([whole[None], np.where(missing, whole, whole - parts)])

    @property
    def parts(self) -> tuple[Any, ...]:
        """Under what a table has what each number that may differ adds to a record's key, shape (numbers, n)."""
        return (self, "parts")

    def _parts(self, X: Table) -> Keys:
        cells = keys_by_column(X, self.amended_)
        return np.array([mixed(keys ^ column_key(name)) for name, keys in cells.items()])

    @staticmethod
    def _have_twins_here(keys: Keys) -> npt.NDArray[np.bool_]:
        """Which records have another here that differs in one number, shape (n,)."""
        found = np.zeros(keys.shape[1], dtype=bool)
        if len(found) < 2:
            return found
        alike = repeats_of(keys[0])
        for but_one in keys[1:]:
            found |= repeats_of(but_one) > alike
        return found

    def _candidates(self, X: Table) -> Codes:
        """The records that agree with another in all that may not differ."""
        alike = self._alike(X)
        found = among(self.alike_, alike)[0]
        return np.flatnonzero(found if len(X) == 1 else found | (repeats_of(alike) > 0))

    def _have_twins_before(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Which records differ in one number from a training record; the very record agrees whichever is left out."""
        known = among(self.keys_, keys[1:])[0]
        return np.asarray(known.any(axis=0) & ~known.all(axis=0))

    def _twins(self, X: Table) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(X), dtype=bool)
        rows = self._candidates(X)
        if len(rows):
            keys = self._keys_but_one(X, rows)
            found[rows] = self._have_twins_here(keys) | self._have_twins_before(keys)
        found[list(self._before(X))] = True
        return found

    def keep_recent(self) -> None:
        """See `FeatureGroup`; what comes again changes nothing."""
        self.recent = RecentTwins(len(self.amended_), _REMEMBERED)

    def remember(self, X: Any, label: Callable[[int], Callable[[], str]]) -> None:
        """See `FeatureGroup`."""
        X = as_table(X)
        if self.recent is not None:
            self.recent.add(self._rest(X), X.matrix(self.amended_), label)

    def some_alike(self, tables: Sequence[Table]) -> bool:
        """See `FeatureGroup`."""
        rest = [int(self._rest(X)[0]) for X in tables]
        if len(set(rest)) == len(rest):
            return False
        keys = [key for X in tables for key in set(self._keys_but_one(X, np.arange(1))[1:, 0].tolist())]
        return len(set(keys)) < len(keys)

    def _rest(self, X: Table) -> Keys:
        """Keys of what twins agree in, whichever number differs, shape (n,)."""
        return self._alike(X) + combined(name_keys_by_column(X, self.names_), len(X))

    def _before(self, X: Table) -> dict[int, tuple[str, str]]:
        """By position, in which column one that was judged before differs, and what that one is called."""
        # Once for the evidence and for the reasons of the same records.
        made: dict[int, tuple[str, str]] = X.made((self, "before"), lambda: self._find_before(X))
        return made

    def _find_before(self, X: Table) -> dict[int, tuple[str, str]]:
        twins = self.recent.twins(self._rest(X), X.matrix(self.amended_)) if self.recent else {}
        return {at: (self.amended_[number], label) for at, (number, label) in twins.items()}

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The evidence in nats, shape (n, 1); 0 for a record without such a twin."""
        known = self.remembered_ + (0 if self.recent is None else len(self.recent))
        return self._evidence(self._twins(X), known + len(X) - 1)

    def _evidence(self, twins: npt.NDArray[np.bool_], compared: int) -> npt.NDArray[np.float32]:
        worth = float(self.chance_.evidence(compared)) if twins.any() else 0.0
        return np.where(twins, worth, 0.0).astype(np.float32)[:, None]

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``amended record``."""
        return np.asarray(["amended record"], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """All columns that are compared."""
        apart = {*self.names} - {*self.names_}
        return [tuple(str(name) for name in self.feature_names_in_ if name not in apart)]

    def in_units(self, X: Any, rows: Codes | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the column in which each differs, and the first row of `X` that it differs from; both (n, 1).

        `rows` are the positions of those to tell of, among all of `X`; all if not given. A row is told by the index of
        `X`, one of before by what it is called; None where the other is a training record. Without such a twin both
        are None.
        """
        X = as_table(X)
        places = np.arange(len(X)) if rows is None else np.asarray(rows, dtype=np.int64)
        column, other = np.full(len(X), None, dtype=object), np.full(len(X), -1)
        found = self._candidates(X)
        if len(found):
            keys = self._keys_but_one(X, found)
            before = self._have_twins_before(keys)
            for name, but_one in zip(self.amended_, keys[1:], strict=True):
                known = before & among(self.keys_, but_one)[0]
                here = _first_that_differs(but_one, keys[0])
                told = (known | (here >= 0)) & (other[found] < 0)
                column[found[told]], other[found[told]] = name, np.where(here < 0, -1, found[here])[told]
        labels = labels_at(X.labels, other)
        for place, twin in self._before(X).items():
            if labels[place] is None:
                column[place], labels[place] = twin
        return column[places][:, None], labels[places][:, None]

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``repeated``."""
        return "repeated"

    @classmethod
    def says(cls, value: Any) -> bool:
        """Nothing of a record without such a twin."""
        return isinstance(value, str)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: which row says the same but for what."""
        name, shown = with_unit(value, row[value])
        if usual is None:
            template = N_("the record says what one of the %(rows)s training records says, but for %(name)s %(value)s")
            return say(template, rows=number(rows), name=name, value=shown)
        template = N_("the record says what row %(row)s says, but for %(name)s %(value)s")
        return say(template, row=as_text(usual), name=name, value=shown)


def _first_that_differs(keys: Keys, whole: Keys) -> Codes:
    """The position of the first other one with the same key that is not wholly the same; -1 where there is none."""
    # Of those wholly the same the first stands for all.
    _, first, at = np.unique(whole, return_index=True, return_inverse=True)
    other = first_other(keys[first])
    return np.asarray(np.where(other >= 0, first[other], -1)[at], dtype=np.int64)
