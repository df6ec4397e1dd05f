"""Levels of a category that were never seen, one slip of a typist away from one that was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.levels import Kept
from anomaly_detection.data.table import Coded, as_table
from anomaly_detection.features.clauses import short
from anomaly_detection.features.forms import NEVER, Texts, seldom
from anomaly_detection.features.group import FeatureSource, Range, Row

__all__ = ["Spelling", "Spellings"]

Floats = npt.NDArray[np.float64]

_SHORTEST, _LONGEST = 4, 60


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
    no other has is judged by the others, to which it would be new.
    """

    word = "spelling"

    def _learn(self, column: Coded) -> Spellings | None:
        counts = column.counts()
        order = [place for place in np.argsort(-counts, kind="stable").tolist() if counts[place]]
        rows = int(counts.sum())
        if len(order) < 2 or len(order) > 0.7 * max(rows, 1):
            return None
        names = [str(column.names[place]) for place in order]
        known = _Neighbours(names)
        alike = [known.has(name) for name in names]
        once = [counts[place] == 1 for place in order]
        share = max(0.01, (sum(alike) + 0.5) / (len(names) + 1.0))
        new = (sum(once) + 0.5) / (rows + 1.0)
        slips = tuple(name for name, close, alone in zip(names, alike, once, strict=True) if close and alone)
        return Spellings(names, float(-np.log(new) - np.log(share) + NEVER), slips)

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
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`."""
        return f"{source.columns[0]} {short(value)} is known from no other record, and is nearly {short(usual)}"


def _nearest(learned: Spellings, text: str, own: int) -> str | None:
    """The known level that a new one is next to; with `own`, one of a single training row is new to the others."""
    known = text in _known(learned) and not (own and text in learned.slips)
    return None if known else _neighbours(learned).of(text)


class _Neighbours:
    """Finds the known texts that are one slip away (Damerau, 1964), by looking up what a slip can have made.

    One letter for another leaves the same when that place is left out; of two lengths one is the other without a place.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = {name for name in names if _SHORTEST <= len(name) <= _LONGEST}
        self._written: dict[str, list[str]] = {}
        for name in names:
            self._written.setdefault(_plainly(name), []).append(name)
        self._without: dict[tuple[int, str], list[str]] = {}
        self._longer: dict[str, list[str]] = {}
        for name in self._names:
            parts = _parts(name)
            for at in enumerate(parts):
                self._without.setdefault(at, []).append(name)
            for part in set(parts):
                self._longer.setdefault(part, []).append(name)

    def _found(self, name: str) -> Iterator[str]:
        """Known texts one slip away, or written otherwise; some of them several times."""
        yield from (other for other in self._written.get(_plainly(name), ()) if other != name)
        if not _SHORTEST - 1 <= len(name) <= _LONGEST + 1:
            return
        yield from self._longer.get(name, ())
        for at in enumerate(_parts(name)):
            if at[1] in self._names:
                yield at[1]
            yield from (other for other in self._without.get(at, ()) if other != name)
        for i in range(len(name) - 1):
            turned = name[:i] + name[i + 1] + name[i] + name[i + 2 :]
            if turned in self._names and turned != name:
                yield turned

    def has(self, name: str) -> bool:
        """Whether any known text other than `name` is one slip away."""
        return next(self._found(name), None) is not None

    def of(self, name: str) -> str | None:
        """A known text other than `name` that is one slip away; the first in the alphabet."""
        return min(self._found(name), default=None)


def _plainly(name: str) -> str:
    """A text without capitals, blanks and signs between its letters and figures; itself where it has none of these."""
    return "".join(filter(str.isalnum, name.casefold())) or name


def _parts(name: str) -> list[str]:
    """The text without its first letter, its second, and so on."""
    return [name[:i] + name[i + 1 :] for i in range(len(name))]


_known: Kept[Spellings, frozenset[str]] = Kept(lambda learned: frozenset(learned.names))
_neighbours: Kept[Spellings, _Neighbours] = Kept(lambda learned: _Neighbours(learned.names))
