"""Records that say the same as another one, under another number or the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.clauses import number
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.repeats.coincidences import (
    Chance,
    agreement,
    among,
    combined,
    first_other,
    keys_by_column,
    labels_at,
    name_keys_by_column,
    repeats_of,
)
from anomaly_detection.features.repeats.commonness import Commonness, learn_commonness
from anomaly_detection.features.repeats.recent_records import RecentRecords
from anomaly_detection.texts.said import N_, Said, as_text, say

__all__ = ["Copies", "names_records"]

Codes = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_REMEMBERED = 100_000
_NAMING = 0.99
_NEVER, _SELDOM = 6.0, 0.01
"""Nats that a copy is worth besides where fewer training records than that have a twin: chance hardly makes one."""


class Copies(FeatureGroup):
    """Evidence in nats that a record is a copy: it agrees with another in every column but those that name a record.

    A copy may be of a training record (the last 100,000 are remembered), of one that comes with it, or of one that was
    judged before, where these are kept (`recent`). A record that comes again, alike in its names too or without any, is
    itself. How often records agree by chance is learned from the training records and grows with how many a record is
    compared with: so the more come together, the less two that agree prove. Where some training records have twins,
    records of common cells have them oftener (`Commonness`); else one has no more than all (`Chance`). A record without
    any value is a copy of none.

    Parameters
    ----------
    names : sequence of str
        Columns that may name a record. Those that hardly ever repeat do, and are no part of what it says; an order's
        number that its lines share is.

    Attributes
    ----------
    commonness_ : Commonness or None
        None where hardly any training record has a twin, and in files of before.
    """

    commonness_: Commonness | None = None
    recent: RecentRecords | None = None
    """What was judged since the training, where somebody keeps it; no part of what was learned."""

    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    nats: ClassVar[bool] = True
    counted: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    repeats: ClassVar[bool] = True
    by_name: ClassVar[bool] = True

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = names

    def fit(self, X: Any, y: object = None) -> Copies:
        """Remember the records, and how many have a twin."""
        self._learn(as_table(X))
        return self

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give the evidence of the training records among themselves."""
        X = as_table(X)
        return self._evidence(X, self._learn(X), len(X) - 1)

    def _learn(self, X: Table) -> Codes:
        X = self._seen(X)
        self.names_ = [name for name in self.names if names_records(X.objects(name))]
        cells, content = self._cells(X), self.content(X)
        others = np.where(self._blank(X), 0, repeats_of(content))
        apart = float(np.prod([agreement(keys) for keys in cells.values()]))
        self.chance_ = Chance(int((others > 0).sum()), len(X), len(X) - 1.0, max(apart, 1e-300), _NEVER, _SELDOM)
        given = np.flatnonzero(~self._blank(X))
        by_column = {name: keys[given] for name, keys in cells.items()}
        self.commonness_ = learn_commonness(by_column, content[given], len(X) - 1.0)
        last = content[-_REMEMBERED:]
        self.content_, counts = np.unique(last, return_counts=True)
        self.counts_ = counts.astype(np.int64)
        self.whole_ = np.unique(self._whole(X.take(slice(-_REMEMBERED, None)), last))
        return others

    @property
    def _said(self) -> list[str]:
        return [str(name) for name in self.feature_names_in_ if name not in self.names_]

    def content(self, X: Table) -> Keys:
        """A key of what each record says besides the names of records, shape (n,)."""

        # Once for the evidence and for the keys of the same records.
        def make() -> Keys:
            unnamed: Keys = X.made(self.unnamed, lambda: combined(keys_by_column(X, self.unnamed_columns), len(X)))
            return unnamed + combined(self._name_keys(X, _named(self)), len(X))

        made: Keys = X.made((self, "content"), make)
        return made

    @property
    def unnamed(self) -> tuple[Any, ...]:
        """Under what a table has the keys of records by `unnamed_columns`."""
        return (self, "unnamed")

    @property
    def unnamed_columns(self) -> list[str]:
        """Columns that say something and name nothing."""
        return [name for name in self._said if name not in self.names]

    def _cells(self, X: Table) -> dict[str, Keys]:
        return {**keys_by_column(X, self.unnamed_columns), **self._name_keys(X, _named(self))}

    def _name_keys(self, X: Table, names: Sequence[str]) -> dict[str, Keys]:
        """`name_keys` of some columns; those of all are made at once."""
        made = name_keys_by_column(X, _named(self) + self.names_)
        return {name: made[name] for name in names}

    def _whole(self, X: Table, content: Keys) -> Keys:
        return content + combined(self._name_keys(X, self.names_), len(X))

    def _blank(self, X: Table) -> npt.NDArray[np.bool_]:
        blank = np.ones(len(X), dtype=bool)
        for name in self._said:
            blank &= X.isna(name)
        return blank

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The evidence in nats, shape (n, 1); 0 for a record without a twin."""
        content = self.content(X)
        if len(X) == 1 and not self._places(X)[0][0] and not self._before(X, content):
            return np.zeros((1, 1), dtype=np.float32)
        others, again = self._others(X, content)
        known = _remembered(self) + (0 if self.recent is None else len(self.recent))
        return self._evidence(X, others, known + len(X) - again - 1)

    def keep_recent(self) -> None:
        """See `FeatureGroup`; what comes again changes nothing."""
        self.recent = RecentRecords()

    def remember(self, X: Any, label: Callable[[int], Callable[[], str]]) -> None:
        """See `FeatureGroup`."""
        X = as_table(X)
        if self.recent is not None and self.names_:
            said = np.flatnonzero(~self._blank(X))
            self.recent.add(self.content(X)[said], self.keys(X)[said], lambda at: label(int(said[at])))

    def some_alike(self, tables: Sequence[Table]) -> bool:
        """See `FeatureGroup`."""
        return len({int(self.content(X)[0]) for X in tables}) < len(tables)

    def _before(self, X: Table, content: Keys) -> dict[int, list[str]]:
        """By position, what those are called that said the same before these records came."""
        # Once for the evidence and for the reasons of the same records.
        made: dict[int, list[str]] = X.made((self, "before"), lambda: self._find_before(X, content))
        return made

    def _find_before(self, X: Table, content: Keys) -> dict[int, list[str]]:
        recent = self.recent
        if recent is None or not (places := recent.alike(content)):
            return {}
        nameless = np.logical_and.reduce([X.isna(name) for name in self.names_])
        together: dict[int, set[int]] = {}
        for said, whole in zip(content[places].tolist(), self.keys(X)[places].tolist(), strict=True):
            # Those that come together are compared with each other.
            together.setdefault(said, set()).add(whole)
        others = {said: recent.others(said, names) for said, names in together.items()}
        return {at: others[int(content[at])] for at in places if not nameless[at] and others[int(content[at])]}

    def keys(self, X: Any) -> Keys:
        """A key of each record, by all that it says and its names, shape (n,)."""
        X = as_table(X)
        made: Keys = X.made((self, "whole"), lambda: self._whole(X, self.content(X)))
        return made

    def may_be_known(self, X: Table) -> bool:
        """Whether any record may have a key that a training record has, as far as that is told without the names."""
        # Of a longer training only the last records are remembered here.
        return _remembered(self) < self.chance_.rows or bool(self._places(X)[0].any())

    def _places(self, X: Table) -> tuple[npt.NDArray[np.bool_], Codes]:
        """Which records are remembered by what they say, and where; both (n,)."""
        made: tuple[npt.NDArray[np.bool_], Codes] = X.made(
            (self, "places"), lambda: among(self.content_, self.content(X))
        )
        return made

    def known(self, X: Any) -> npt.NDArray[np.bool_]:
        """Say which records are among the training records remembered, alike in every column; shape (n,)."""
        X = as_table(X)
        return self._itself(X)

    def _itself(self, X: Table) -> npt.NDArray[np.bool_]:
        # Without any name, one that says the same is itself.
        found, _ = self._places(X)
        if not found.any():
            return found
        nameless = found.copy()
        for name in self.names_:
            nameless &= X.isna(name)
        return nameless | (found & among(self.whole_, self.keys(X))[0])

    def _others(self, X: Table, content: Keys) -> tuple[Codes, int]:
        """How many other records, here, before or among the training records, say the same; how many come again."""
        if len(X) == 1:
            return self._others_of_one(X)
        here = repeats_of(content)
        for place, labels in self._before(X, content).items():
            here[place] += len(labels)
        known, at = self._places(X)
        before = np.where(known, self.counts_[at], 0)
        itself = self._itself(X)
        # Training records that come again are counted once, here.
        if itself.any():
            codes, _ = pd.factorize(content)
            before = np.maximum(before - np.bincount(codes, weights=itself)[codes].astype(np.int64), 0)
        others = here + before
        return np.where(self._blank(X), 0, others) if others.any() else others, min(
            int(itself.sum()), _remembered(self)
        )

    def _others_of_one(self, X: Table) -> tuple[Codes, int]:
        """`_others` of a record that comes alone."""
        known, at = self._places(X)
        itself = bool(known[0]) and (
            bool(among(self.whole_, self.keys(X))[0][0]) or all(X.isna(name)[0] for name in self.names_)
        )
        before = sum(map(len, self._before(X, self.content(X)).values()))
        others = np.maximum(np.where(known, self.counts_[at], 0) - int(itself), 0) + before
        return np.where(self._blank(X), 0, others) if others[0] else others, min(int(itself), _remembered(self))

    def _evidence(self, X: Table, others: Codes, compared: int) -> npt.NDArray[np.float32]:
        found = np.zeros((len(others), 1), dtype=np.float32)
        twins = np.flatnonzero(others > 0)
        if not len(twins):
            return found
        if self.commonness_ is None:
            found[twins, 0] = self.chance_.evidence(compared)
        else:
            keys = {name: column[twins] for name, column in self._cells(X).items()}
            known, at = among(self.content_, self.content(X)[twins])
            alike = np.where(known, self.counts_[at], 0)
            most = np.log(self.chance_.rows + 1.0) + self.chance_.never
            found[twins, 0] = np.minimum(
                self.commonness_.evidence(keys, alike, compared, float(self.chance_.besides(compared))), most
            )
        return found

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``copied record``."""
        return np.asarray(["copied record"], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """All columns that say something."""
        return [tuple(self._said)]

    def in_units(self, X: Any, rows: npt.NDArray[np.int64] | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return how many others say the same, and which row of `X` is the first of them; both (n, 1).

        `rows` are the positions of those to tell of, among all of `X`; all if not given. A row is told by the index of
        `X`, one of before by what it is called; None where the others are training records only.
        """
        X = as_table(X)
        content = self.content(X)
        others, _ = self._others(X, content)
        places = np.arange(len(X)) if rows is None else np.asarray(rows, dtype=np.int64)
        other = first_other(content)[places]
        told = labels_at(X.labels, np.where(others[places] > 0, other, -1))
        before = self._before(X, content)
        for at, place in enumerate(places.tolist()):
            if told[at] is None and place in before:
                told[at] = before[place][0]
        return others[places].astype(object)[:, None], told[:, None]

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``repeated``."""
        return "repeated"

    @classmethod
    def says(cls, value: Any) -> bool:
        """Nothing of a record without a twin."""
        return bool(value > 0)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: which row says the same, and how many more."""
        if usual is None:
            more = "" if value == 1 else say(", as %(count)s of them do", count=number(value))
            template = N_("the record says exactly what one of the %(rows)s training records says%(more)s")
            return say(template, rows=number(rows), more=more)
        more = "" if value == 1 else say(", one of %(count)s that do", count=number(value))
        return say("the record says exactly what row %(row)s says%(more)s", row=as_text(usual), more=more)


_named: Kept[Copies, list[str]] = Kept(lambda copies: [name for name in copies._said if name in copies.names])
"""Columns that name something that several records share."""

_remembered: Kept[Copies, int] = Kept(lambda copies: int(copies.counts_.sum()))
"""How many training records are remembered."""


def names_records(cells: npt.NDArray[np.object_]) -> bool:
    """Whether hardly any value of a column comes again."""
    column = pd.Series(cells)
    return bool(column.nunique() >= _NAMING * column.notna().sum())
