"""Levels of a category that were never seen, one slip of a typist away from one that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.table import Coded, Table, as_table
from anomaly_detection.features.categories.companions import NONE, Companions, find_companions
from anomaly_detection.features.clauses import short
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.forms import NEVER, Columns, Texts, seldom, worth_less_of_one
from anomaly_detection.features.group import FeatureSource, Range, Row
from anomaly_detection.features.repeats.coincidences import mixed
from anomaly_detection.texts.said import N_, Said, say

__all__ = ["Spelling", "Spellings"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_SHORTEST, _LONGEST = 4, 60
_BASE = 0x9E3779B97F4A7C15


@dataclass(frozen=True, eq=False)
class Spellings:
    """The known levels of a column, and the evidence in nats against a new one that is next to a known one.

    `slips` are the levels of a single row that are next to another.
    """

    names: list[str]
    evidence: float
    slips: tuple[str, ...] = ()


class Spelling(Texts):
    """Levels never seen that are one slip away from a known one: a letter too many, too few, or two changed round.

    A known one in other capitals, or with other blanks or signs, is one slip away too.

    The evidence is that of a new level and of one that lies so near another as often as known ones do, and no more than
    such levels are common: where customers' numbers are one digit apart, a new one is too. A training row whose level
    no other has is judged by the others, to which it would be new. Where a companion is new as well it is news, and no
    slip (`Companions`).
    """

    word = "spelling"
    titled: ClassVar[Mapping[str, str]] = {"rare": N_("nearly another")}
    companions_: Companions = NONE

    def fit(self, X: Any, y: object = None) -> Columns:
        """Learn the levels of each column, and which have companions."""
        X = as_table(X)
        self.companions_ = find_companions(X, [*X])
        return super().fit(X)

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """`Columns.features_of`."""
        out = self._none_of_news(X, super().features_of(X), 0)
        self.with_others(X, out)
        return out

    def with_others(self, X: Table, found: npt.NDArray[np.float32]) -> None:
        """Change the evidence, shape (n, features), of a level that several rows bring: slips are made one by one."""
        for i, name in enumerate(self.learned_):
            odd = np.flatnonzero(found[:, i])
            if odd.size > 1:
                worth_less_of_one(found[:, i], odd, X[name].codes)

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """`Columns.fit_transform`."""
        X = as_table(X)
        return self._none_of_news(X, super().fit_transform(X), 1)

    def _none_of_news(self, X: Table, found: npt.NDArray[np.float32], own: int) -> npt.NDArray[np.float32]:
        for i, name in enumerate(self.learned_):
            if name in self.companions_.of:
                found[self.companions_.are_news(X, name, own), i] = 0.0
        return found

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`Texts.emit`."""
        found = super().emit(program, columns) or []
        news = [self.companions_.news(program, name) for name in self.learned_]
        return [new.where(0.0, one) for one, new in zip(found, news, strict=True)]

    def _learn(self, column: Coded) -> Spellings | None:
        counts = column.counts()
        order = [place for place in np.argsort(-counts, kind="stable").tolist() if counts[place]]
        rows = int(counts.sum())
        if len(order) < 2 or len(order) > 0.7 * max(rows, 1):
            return None
        names = [str(column.names[place]) for place in order]
        known = _Neighbours(names)
        alike = known.have(names).tolist()
        once = [counts[place] == 1 for place in order]
        share = max(0.01, (sum(alike) + 0.5) / (len(names) + 1.0))
        new = (sum(once) + 0.5) / (rows + 1.0)
        slips = tuple(name for name, close, alone in zip(names, alike, once, strict=True) if close and alone)
        learned = Spellings(names, float(-np.log(new) - np.log(share) + NEVER), slips)
        _neighbours.keep(learned, known)
        return learned

    def _others(self, column: Coded, learned: Spellings, own: int) -> Floats:
        others = float(max(len(learned.slips) - own, 0))
        return self._of_levels(column, lambda text: None if _nearest(learned, text, own) is None else others)

    def _nats(self, counts: Floats, learned: Spellings) -> Floats:
        return np.where(counts > 0, np.minimum(seldom(counts, self.n_rows_), learned.evidence), learned.evidence)

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the cells, and the known levels that they are next to."""
        X = as_table(X)
        values = np.empty((len(X), len(self.learned_)), dtype=object)
        for i, name in enumerate(self.learned_):
            values[:, i] = X.objects(name)
        near = np.empty(values.shape, dtype=object)
        for i, learned in enumerate(self.learned_.values()):
            near[:, i] = [
                None if isinstance(cell, float) else _nearest(learned, str(cell).strip(), 1) for cell in values[:, i]
            ]
        return values, near

    @classmethod
    def tells(cls, usual: Any) -> bool:
        """Only a known level that it is next to."""
        return usual is not None

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`."""
        template = N_("%(what)s is known from no other record, and is nearly %(usual)s")
        return say(template, what=f"{source.columns[0]} {short(value)}", usual=short(usual))


def _nearest(learned: Spellings, text: str, own: int) -> str | None:
    """The known level that a new one is next to; with `own`, one of a single training row is new to the others."""
    known = text in _known(learned) and not (own and text in _slips(learned))
    return None if known else _neighbours(learned).of(text)


class _Neighbours:
    """Finds the known texts that are one slip away (Damerau, 1964), by hashes of what a slip can have made.

    One letter for another leaves the same when that place is left out; of two lengths one is the other without a place.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._written: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            self._written.setdefault(_plainly(name), []).append(name)
        self._names = [name for name in dict.fromkeys(names) if _SHORTEST <= len(name) <= _LONGEST]
        made = [(places, _Hashes.of([self._names[i] for i in places])) for places in _by_length(self._names)]
        self._whole = _Found([(places, own.whole[:, None]) for places, own in made])
        self._longer = _Found([(places, own.without) for places, own in made])
        self._beside = _Found([(places, own.beside) for places, own in made])

    def have(self, names: Sequence[str]) -> Bools:
        """Whether any known text is one slip away from each of these known ones, or the same written otherwise."""
        found = np.zeros(len(names), dtype=bool)
        otherwise = {name for alike in self._written.values() if len(alike) > 1 for name in alike}
        for places in _by_length(names):
            own = _Hashes.of([names[i] for i in places])
            turned = (self._whole.counts(own.turned) > 0) & (own.turned != own.whole[:, None])
            near = (self._beside.counts(own.beside) > 1).any(axis=1) | turned.any(axis=1)
            near |= (self._longer.counts(own.whole) > 0) | (self._whole.counts(own.without) > 0).any(axis=1)
            found[places] = near if _SHORTEST - 1 <= len(names[places[0]]) <= _LONGEST + 1 else False
        return found | np.array([name in otherwise for name in names], dtype=bool)

    def of(self, name: str) -> str | None:
        """A known text other than `name` that is the same written otherwise, or one slip away; the alphabet's first."""
        otherwise = {*self._written.get(_plainly(name), ())} - {name}
        if otherwise or not _SHORTEST - 1 <= len(name) <= _LONGEST + 1:
            return min(otherwise, default=None)
        own = _Hashes.of([name])
        places = [
            *(self._longer.places(own.whole), self._beside.places(own.beside[0])),
            *(self._whole.places(own.without[0]), self._whole.places(own.turned[0])),
        ]
        return min({self._names[i] for i in np.concatenate(places).tolist()} - {name}, default=None)


def _plainly(name: str) -> str:
    """A text without capitals, blanks and signs between its letters and figures; itself where it has none of these."""
    return "".join(filter(str.isalnum, name.casefold())) or name


def _by_length(names: Sequence[str]) -> list[Places]:
    """The places of texts of one length each."""
    lengths = np.array([len(name) for name in names], dtype=np.int64)
    return [np.flatnonzero(lengths == length) for length in np.unique(lengths[lengths > 0])]


@dataclass(frozen=True)
class _Hashes:
    """Polynomials in the letters of n texts of one length.

    Attributes
    ----------
    whole : ndarray of uint64, shape (n,)
    without : ndarray of uint64, shape (n, length)
        Of what is left without each letter.
    beside : ndarray of uint64, shape (n, length)
        The same, with the letter's place.
    turned : ndarray of uint64, shape (n, length - 1)
        With each two neighbours changed round.
    """

    whole: Keys
    without: Keys
    beside: Keys
    turned: Keys

    @classmethod
    def of(cls, names: Sequence[str]) -> _Hashes:
        letters = np.frombuffer("".join(names).encode("utf-32-le", "surrogatepass"), dtype="<u4")
        letters = letters.reshape(len(names), -1).astype(np.uint64) + np.uint64(1)
        length = letters.shape[1]
        power = np.cumprod(np.full(length, _BASE, dtype=np.uint64))[::-1]
        own = letters * power
        whole = own.sum(axis=1, dtype=np.uint64)
        # What stands before the letter that is left out moves up.
        moved = np.cumsum(letters[:, :-1] * power[1:], axis=1, dtype=np.uint64)
        before = np.hstack([np.zeros((len(names), 1), dtype=np.uint64), moved])
        without = before + whole[:, None] - np.cumsum(own, axis=1, dtype=np.uint64)
        beside = mixed(without + np.arange(1, length + 1, dtype=np.uint64))
        turned = whole[:, None] + (letters[:, 1:] - letters[:, :-1]) * (power[:-1] - power[1:])
        return cls(whole, without, beside, turned)


class _Found:
    """Hashes in ascending order, and of which text each is."""

    def __init__(self, parts: Sequence[tuple[Places, Keys]]) -> None:
        keys = np.concatenate([np.zeros(0, dtype=np.uint64), *(keys.ravel() for _, keys in parts)])
        owners = [np.repeat(places, keys.shape[1]) for places, keys in parts]
        order = np.argsort(keys)
        self._keys, self._owners = keys[order], np.concatenate([np.zeros(0, dtype=np.int64), *owners])[order]

    def counts(self, keys: Keys) -> Places:
        """How often each occurs."""
        return np.searchsorted(self._keys, keys, side="right") - np.searchsorted(self._keys, keys)

    def places(self, keys: Keys) -> Places:
        """The texts that have any of them."""
        ends = zip(np.searchsorted(self._keys, keys), np.searchsorted(self._keys, keys, side="right"), strict=True)
        return np.concatenate([np.zeros(0, dtype=np.int64), *(self._owners[first:last] for first, last in ends)])


_known: Kept[Spellings, frozenset[str]] = Kept(lambda learned: frozenset(learned.names))
_neighbours: Kept[Spellings, _Neighbours] = Kept(lambda learned: _Neighbours(learned.names))
_slips: Kept[Spellings, frozenset[str]] = Kept(lambda learned: frozenset(learned.slips))
