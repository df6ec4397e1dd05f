"""What a document's number belongs to: an order's lines have one customer and one date, an invoice is one vendor's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Coded, Table, as_table
from anomaly_detection.features.clauses import named_value, short
from anomaly_detection.features.forms import SELDOM, seldom
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.repeats.coincidences import (
    agreement,
    among,
    column_key,
    first_other,
    keys_by_column,
    labels_at,
    mixed,
    name_keys_by_column,
    repeats_of,
)
from anomaly_detection.features.repeats.copies import names_records
from anomaly_detection.features.repeats.recent_records import RecentRecords
from anomaly_detection.features.repeats.transactions import find_transactions
from anomaly_detection.texts.said import N_, Said, as_text, say

__all__ = ["Owned", "Owners"]

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_REMEMBERED = 100_000
_FEWEST = 30  # records beside another of their document, or nothing is known of what these have in common
_MOST = 8  # columns
_COMMON = 0.5  # of two records: what agrees as often anyway tells nothing
_COUNTED = 4  # times as many as there are records: numbers up to it count rows up, and each file begins again
_NO_CELL = np.uint64(0)


@dataclass(frozen=True, eq=False)
class Owned:
    """A column that names documents, and what the records of one document have in common.

    Attributes
    ----------
    name : str
    columns : tuple of str
    least : int
        Of the columns so many differ where a record is another document's: one where documents have several records;
        else half of them, for one that is sent again may have changed.
    breaches : int
        Training records that differ so.
    keys : ndarray of uint64, shape (k,)
        The training's documents, ascending.
    cells : ndarray of uint64, shape (columns, k)
        What more than half of a document's records have; 0 where there is no such thing.
    """

    name: str
    columns: tuple[str, ...]
    least: int
    breaches: int
    keys: Keys
    cells: Keys

    @property
    def all_columns(self) -> tuple[str, ...]:
        """The name and what it tells of."""
        return (self.name, *self.columns)


class Owners(FeatureGroup):
    """Evidence in nats that a record has another document's number, a feature for each column that names documents.

    Of a document in the training (of the last 100,000 records) it is known what its records have; others are compared
    with those that come together, of which the larger part is right, and with the first that was judged before, where
    these are kept: after a wrong record the right ones stay right. Where more than one in a hundred records of a batch
    differ, each is as much less: another system numbers them. What counts records up names none.

    Parameters
    ----------
    names, categories, dates : sequence of str
        Columns that may name documents; of the categories one that names transactions (`find_transactions`) does.
    """

    recent: RecentRecords | None = None
    """What was judged since the training, where somebody keeps it; no part of what was learned."""

    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    nats: ClassVar[bool] = True
    counted: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    by_name: ClassVar[bool] = True

    def __init__(self, names: Sequence[str] = (), categories: Sequence[str] = (), dates: Sequence[str] = ()) -> None:
        self.names = names
        self.categories = categories
        self.dates = dates

    def fit(self, X: Any, y: object = None) -> Owners:
        """Learn what documents are, and what theirs is."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give the evidence of the training records among themselves."""
        X = self._seen(X)
        self.n_rows_ = len(X)
        self.owned_: list[Owned] = []
        found = []
        transactions = find_transactions(X, [*self.categories, *self.names], self.dates)
        documents = [*self.names, *({transactions[0]} & {*self.categories} if transactions else ())]
        last = X.take(slice(-_REMEMBERED, None)) if len(X) > _REMEMBERED else X
        for one in self._found(last, documents):
            broken = _differ_here(X, one).sum(axis=1) >= one.least
            if broken.sum() < SELDOM * len(X):
                one = replace(one, breaches=int(broken.sum()))
                self.owned_.append(one)
                found.append(np.where(broken, seldom(max(one.breaches - 1, 0), len(X)), 0.0))
        return np.array(found, dtype=np.float32).reshape(-1, len(X)).T.copy()

    def _found(self, X: Table, documents: Sequence[str]) -> Iterator[Owned]:
        """The columns that name documents, and what these have in common."""
        cells = keys_by_column(X, [name for name in X if name not in self.names])
        agree = {name: agreement(keys) for name, keys in cells.items()}
        telling = sorted((name for name in agree if agree[name] <= _COMMON), key=agree.__getitem__)
        for name in documents:
            keys, given = _keys(X, name)
            beside = int(np.count_nonzero(repeats_of(keys[given])))
            several = beside >= _FEWEST
            if not given.any() or (not several and (not names_records(X.objects(name)) or _counts_up(X, name))):
                continue
            own = [other for other in telling if other != name]
            if several:
                differs = _differ_here(X, Owned(name, tuple(own), 1, 0, keys[:0], np.empty((len(own), 0), np.uint64)))
                own = [other for i, other in enumerate(own) if differs[:, i].sum() <= SELDOM * beside]
            own = own[:_MOST]
            if own:
                least = 1 if several else (len(own) + 1) // 2
                known = np.unique(keys[given])
                yield Owned(name, tuple(own), least, 0, known, np.array([_most(X, name, o, known) for o in own]))

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The evidence in nats, shape (n, features); 0 for a record that agrees with its document."""
        out = np.zeros((len(X), len(self.owned_)), dtype=np.float32)
        for i, one in enumerate(self.owned_):
            differs = self._differ(X, one)
            if differs.any():
                broken = differs.sum(axis=1) >= one.least
                worth = float(seldom(one.breaches, self.n_rows_))
                out[broken, i] = worth / max(float(broken.sum()) / (1.0 + SELDOM * len(X)), 1.0)
        return out

    def _differ(self, X: Table, one: Owned) -> Bools:
        """In which columns each record differs from its document, shape (n, columns)."""
        made: Bools = X.made((self, one), lambda: self._find_differing(X, one))
        return made

    def _find_differing(self, X: Table, one: Owned) -> Bools:
        keys, given = _keys(X, one.name)
        known, at = among(one.keys, keys)
        found = _differ_here(X, one) if len(X) > 1 else np.zeros((1, len(one.columns)), dtype=bool)
        before = self._before(X, one)
        if not (known & given).any() and not before:
            return found
        for i, (name, cells) in enumerate(keys_by_column(X, one.columns).items()):
            told = np.where(known & given & ~X.isna(name), one.cells[i, at], _NO_CELL)
            found[:, i] = np.where(told != _NO_CELL, told != cells, found[:, i])
            for row, (columns, _) in before.items():
                found[row, i] |= told[row] == _NO_CELL and i in columns
        return found

    def keep_recent(self) -> None:
        """See `FeatureGroup`."""
        self.recent = RecentRecords()

    def remember(self, X: Any, label: Callable[[int], Callable[[], str]]) -> None:
        """See `FeatureGroup`."""
        if self.recent is not None:
            X = as_table(X)
            for one in self.owned_:
                for _, rows, documents, cells in _said(X, one):
                    self.recent.add(documents, cells, lambda at, rows=rows: label(int(rows[at])))  # type: ignore[misc]

    def some_alike(self, tables: Sequence[Table]) -> bool:
        """See `FeatureGroup`."""
        keys = [int(_keys(X, one.name)[0][0]) for one in self.owned_ for X in tables if _keys(X, one.name)[1][0]]
        return len(set(keys)) < len(keys)

    def _before(self, X: Table, one: Owned) -> dict[int, tuple[set[int], Callable[[], str]]]:
        """By position, in which columns the document's first record that was judged before differs, and its label."""
        found: dict[int, tuple[set[int], Callable[[], str]]] = {}
        if self.recent is None or not len(self.recent):
            return found
        for i, rows, documents, cells in _said(X, one):
            for at in self.recent.alike(documents):
                first = self.recent.first(int(documents[at]))
                if first is not None and first[0] != int(cells[at]):
                    found.setdefault(int(rows[at]), (set(), first[1]))[0].add(i)
        return found

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``owner of <name>`` for each."""
        return np.asarray([f"owner of {one.name}" for one in self.owned_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The name of each feature's documents, and what they tell of."""
        return [one.all_columns for one in self.owned_]

    def in_units(self, X: Any, rows: Codes | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the first column in which each record differs, and a row of its document; both (n, features).

        `rows` are the positions of those to tell of, among all of `X`; all if not given. A row is told by the index of
        `X`, one of before by what it is called; None where it is a training record. Without a breach both are None.
        """
        X = as_table(X)
        places = np.arange(len(X)) if rows is None else np.asarray(rows, dtype=np.int64)
        column, other = (np.full((len(places), len(self.owned_)), None, dtype=object) for _ in range(2))
        for i, one in enumerate(self.owned_):
            differs = self._differ(X, one)
            keys, _ = _keys(X, one.name)
            here, before = labels_at(X.labels, first_other(keys)), self._before(X, one)
            known = among(one.keys, keys)[0]
            for at, place in enumerate(places.tolist()):
                if differs[place].sum() >= one.least:
                    column[at, i] = one.columns[int(differs[place].argmax())]
                    label = here[place] if place not in before else before[place][1]()
                    other[at, i] = None if known[place] else label
        return column, other

    @classmethod
    def says(cls, value: Any) -> bool:
        """Nothing of a record that agrees."""
        return isinstance(value, str)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: what is another document's."""
        name = source.columns[0]
        parts = {"name": named_value(name, short(row[name])), "column": value}
        if usual is None:
            return say(N_("%(name)s has another %(column)s in the training records"), **parts)
        return say(N_("%(name)s has another %(column)s in row %(row)s"), **parts, row=as_text(usual))


def _keys(X: Table, name: str) -> tuple[Keys, Bools]:
    """A key of each record's document, and whether it has one; both (n,)."""
    coded = isinstance(X[name], Coded)
    return (keys_by_column if coded else name_keys_by_column)(X, [name])[name], ~X.isna(name)


def _said(X: Table, one: Owned, again: bool = False) -> Iterator[tuple[int, Codes, Keys, Keys]]:
    """Of each column its place, the rows that have it and a document, and keys of the document there, and the cell.

    Only of documents that come `again`, if so.
    """
    keys, given = _keys(X, one.name)
    if again:
        given = given.copy()
        given[given] = repeats_of(keys[given]) > 0
        if not given.any():
            return
    for i, (name, cells) in enumerate(keys_by_column(X, one.columns).items()):
        rows = np.flatnonzero(given & ~X.isna(name))
        documents = mixed(keys[rows] ^ column_key(one.name) ^ column_key(name))
        yield i, rows, documents, mixed(documents ^ cells[rows])


def _differ_here(X: Table, one: Owned) -> Bools:
    """In which columns each record is none of the larger part of its document's records here, shape (n, columns)."""
    found = np.zeros((len(X), len(one.columns)), dtype=bool)
    for i, rows, documents, cells in _said(X, one, again=True):
        several, alike = repeats_of(documents) + 1, repeats_of(cells) + 1
        found[rows, i] = (several > 1) & (2 * alike <= several)
    return found


def _most(X: Table, name: str, column: str, known: Keys) -> Keys:
    """What more than half of each document's records have in a column, `_NO_CELL` where there is no such thing."""
    found = np.full(len(known), _NO_CELL)
    keys, cells = _keys(X, name)[0], keys_by_column(X, [column])[column]
    for _, rows, documents, both in _said(X, Owned(name, (column,), 1, 0, known, cells[None, :0])):
        right = rows[2 * (repeats_of(both) + 1) > repeats_of(documents) + 1]
        found[np.searchsorted(known, keys[right])] = cells[right]
    return found


def _counts_up(X: Table, name: str) -> bool:
    """Whether a column counts the records up, from about 0."""
    try:
        numbers = np.array(X.objects(name)[~X.isna(name)], dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        # Dates, and numbers that no float holds.
        return False
    return bool(numbers.min() >= 0.0 and numbers.max() <= _COUNTED * len(X))
