"""`Companions`: of each category the columns that say the same, so that a new thing is new in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import CombinedLevels, Levels, grouped_by, levels_of, vocabulary
from anomaly_detection.data.columns.table import Table
from anomaly_detection.features.categories.pairing import most_related
from anomaly_detection.features.compiled.combinations import combination
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.numbers.ordered import CodedColumns

__all__ = ["NONE", "RARELY", "Companions", "find_companions", "new_later"]

RARELY = 0.1
"""Of the rows with one level have another; what more of them have is nothing odd, however few they are."""

_LEFT_OPEN = 0.1  # of the rows that its commonest level does not have
_COMES_LATER = 0.05  # of the rows of the last fifth have a level that the others lack
_MOST_LEVELS = 0.7
_SAMPLE = 50_000
_MOST = 4  # of one column

Codes = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Companions:
    """Columns that foretell each other, their levels, and which of these occur together.

    A slip changes one cell, and leaves the others of its record as they were. A town that had no order before brings a
    postal code that none had, and perhaps the name of another town. So what is new beside something else that is new
    is news, and no slip; and two levels that hardly occur together are right where a third one has both.

    Attributes
    ----------
    of : mapping of str to tuple of str
        The companions of each column that has any.
    levels : mapping of str to Levels
        Those of each companion.
    pairs : tuple of CombinedLevels
        The levels that occur together of a companion and its column, and of two companions of one column.
    """

    of: Mapping[str, tuple[str, ...]]
    levels: Mapping[str, Levels]
    pairs: tuple[CombinedLevels, ...]

    def are_new(self, X: Table, name: str, beside: str | None, own: int) -> Bools:
        """Whether any companion of a column, other than `beside`, has a level that only `own` rows have, shape (n,)."""
        found = np.zeros(len(X), dtype=bool)
        for other in self._asked(name, beside):
            found |= self._counts(X, other) <= own
        return found

    def are_news(self, X: Table, name: str, own: int) -> Bools:
        """`are_new`, or new together, shape (n,)."""
        found = self.are_new(X, name, None, own)
        for both in self._of_two(name):
            found |= _counts(both, X) <= own
        return found

    def agree(self, X: Table, name: str, beside: str, both: Codes, own: int) -> Bools:
        """Whether a companion explains two columns' levels, which `both` rows have together, shape (n,).

        It has occurred with the one, and more than a tenth of the rows that have it and the other have all three: of
        two columns that are companions one tells the other.
        """
        found = np.zeros(len(X), dtype=bool)
        for first, second in self._beside(name, beside):
            others = _counts(second, X) - own
            found |= (_counts(first, X) > own) & (others > 0) & (both - own > RARELY * others)
        return found

    def new(self, program: Program, name: str, beside: str | None) -> Value:
        """`are_new` as a program has it."""
        found = program.as_value(0.0)
        for other in self._asked(name, beside):
            found = found.at_least(program.place(other, vocabulary(self.levels[other])) < 0.0)
        return found

    def news(self, program: Program, name: str) -> Value:
        """`are_news` as a program has it."""
        found = self.new(program, name, None)
        for both in self._of_two(name):
            found = found.at_least(combination(program, both) < 0.0)
        return found

    def agreement(self, program: Program, name: str, beside: str, both: Value) -> Value:
        """`agree` as a program has it."""
        found = program.as_value(0.0)
        for first, second in self._beside(name, beside):
            others = combination(program, second).look_up(np.append(second.counts, 0))
            found = found.at_least((combination(program, first) >= 0.0) & (others > 0.0) & (both > others * RARELY))
        return found

    def _asked(self, name: str, beside: str | None) -> list[str]:
        return [other for other in self.of.get(name, ()) if other != beside]

    def _counts(self, X: Table, name: str) -> Codes:
        levels = self.levels[name]
        return np.append(levels.counts, 0)[levels.codes(X[name])]

    def _of_two(self, name: str) -> list[CombinedLevels]:
        others = self.of.get(name, ())
        return [both for both in self.pairs if both.columns[0] in others and both.columns[1] in others]

    def _beside(self, name: str, beside: str) -> list[tuple[CombinedLevels, CombinedLevels]]:
        """The pairs of each companion with a column, and with the one beside it."""
        known = {frozenset(both.columns): both for both in self.pairs}
        asked = [(known[frozenset((other, name))], frozenset((other, beside))) for other in self._asked(name, beside)]
        return [(first, known[second]) for first, second in asked if second in known]


def _counts(both: CombinedLevels, X: Table) -> Codes:
    return np.append(both.counts, 0)[both.codes(X)]


def find_companions(X: Table, names: Sequence[str]) -> Companions:
    """Find the companions among some categories of the training records, once for all who ask.

    Two columns are companions where the level of one leaves at most a tenth open of what the other would be without
    it. What names a single transaction is no companion, since it is always new: a column in whose last fifth of the
    rows more than 5 % have a level that none before has.
    """
    made: Companions = X.made((find_companions, *names), lambda: _found(X, names))
    return made


def _found(X: Table, names: Sequence[str]) -> Companions:
    step = -(-len(X) // _SAMPLE)
    coded: dict[str, tuple[Codes, int]] = {}
    for name in names:
        levels = levels_of(X, name)
        if 1 < len(levels) <= _MOST_LEVELS * len(X):
            coded[name] = (levels.codes(X[name])[::step], len(levels))
    asked = most_related(coded)
    lasting = [name for name in asked if new_later(*coded[name]) <= _COMES_LATER]
    of: dict[str, tuple[str, ...]] = {}
    for name, foretelling in zip(asked, _bound({name: coded[name] for name in asked}, lasting), strict=True):
        own = [other for other, is_bound in zip(asked, foretelling, strict=True) if is_bound and other in lasting]
        if own:
            of[name] = tuple(own[:_MOST])
    companions = [name for name in lasting if any(name in own for own in of.values())]
    pairs = {frozenset(pair): pair for name, own in of.items() for pair in combinations((name, *own), 2)}
    return Companions(
        of,
        {name: levels_of(X, name) for name in companions},
        tuple(grouped_by(X, pair).levels for pair in pairs.values()),
    )


def new_later(codes: Codes, size: int) -> float:
    """The share of the last fifth of the rows, 0 to 1, whose levels no row before has."""
    split = len(codes) - len(codes) // 5
    known = np.zeros(size, dtype=bool)
    known[codes[:split]] = True
    return float(np.mean(~known[codes[split:]])) if split < len(codes) else 1.0


def _bound(coded: Mapping[str, tuple[Codes, int]], lasting: Sequence[str]) -> list[list[bool]]:
    """Whether each two columns, one of them `lasting`, foretell each other; see `compiled.pairs`."""
    if not coded:
        return []
    from anomaly_detection.features.compiled.pairs import bound

    columns = CodedColumns(coded)
    wanted = np.array([name in lasting for name in columns.names], dtype=bool)
    found: list[list[bool]] = bound(columns.codes, columns.sizes, wanted, _LEFT_OPEN).tolist()
    return found


NONE = Companions({}, {}, ())
"""What models of before have."""
