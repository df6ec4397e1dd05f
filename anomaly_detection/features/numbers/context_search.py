"""Which contexts make a number likeliest: groups of one or two columns, and the quotient by another number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table
from anomaly_detection.features.clauses import tells_place
from anomaly_detection.features.numbers.bounds import bounded
from anomaly_detection.features.numbers.history import LEAST_ROWS, likelihood
from anomaly_detection.features.numbers.numeric_values import Scale, choose_scale
from anomaly_detection.features.numbers.ordered import CodedColumns, Ordered

__all__ = ["Chosen", "ContextSearch"]

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Chosen = tuple[str | None, tuple[str, ...], Scale]
"""The number that is divided by, if any, the columns that are grouped by, and the scale of the number."""

_LEAST_GAIN = 0.02  # in nats a row: below, a context says nothing
_LEAST_GAIN_OF_RATIO = 0.05
_SCREENED = 4
_PAIRS = 2
_NO_FINER = 1.05  # times as many groups as one of its columns has: a pair says what that says
_KEPT = 2
_MOST_PAIRS = 0.7  # of the rows
_MOST_ALONE = 0.1  # of the rows have none beside them in a grouping that is enough by itself
_DIVISORS = 16
_SCREENED_ROWS = 1_000


class ContextSearch:
    """Chooses contexts by some of the rows, of which all that numbers have in common is made once.

    Parameters
    ----------
    rows : Table
    columns : CodedColumns
        Of the same rows: what may be grouped by.
    divisors : sequence of str
        Numbers that others may be divided by.
    kin : mapping of str to sequence of str
        Columns that a number or a category is made of: none is its own context.
    """

    def __init__(self, rows: Table, columns: CodedColumns, divisors: Sequence[str], kin: Mapping[str, Sequence[str]]):
        self._rows, self._columns, self._kin = rows, columns, kin
        self._made_of = [{name, *kin.get(name, ())} for name in columns.names]
        found = {name: _Divisor(bounded(rows.numbers(name))) for name in divisors if not tells_place(name)}
        self._divisors = {name: one for name, one in found.items() if one.is_usual}

    def _free(self, *names: str) -> Bools:
        """Which of the columns are made of none of what these numbers are made of, shape (columns,)."""
        mine = {part for name in names for part in (name, *self._kin.get(name, ()))}
        return np.array([not mine & own for own in self._made_of], dtype=bool)

    def chosen(self, name: str) -> list[Chosen]:
        """The contexts that make a number likelier than it is among all records."""
        numbers = self._rows.numbers(name)
        scale = choose_scale(numbers)
        values = Ordered(scale.apply(numbers))
        if len(values) < LEAST_ROWS or not values.varies:
            return []
        free = self._free(name)
        alone = self._alone(values)
        found = self._groupings(values, free)
        kept: list[Chosen] = [(None, one.columns, scale) for one in _best_of(found, _KEPT, alone + _LEAST_GAIN)]
        least = max([alone, *(one.likely for one in found)]) + _LEAST_GAIN_OF_RATIO
        return kept + [(per, one.columns, scale) for per, one in self._best_quotients(name, scale, free, least)]

    def _alone(self, values: Ordered) -> float:
        return likelihood(values, np.zeros(len(self._rows), dtype=np.int32), 1)

    def _best_quotients(self, name: str, scale: Scale, free: Bools, least: float) -> list[tuple[str, _Grouping]]:
        """The quotient whose best grouping leaves least open: divisor and grouping, where it is likelier than `least`.

        And one that leaves fewer rows alone, where that does many.
        """
        if _is_share(self._rows.numbers(name)) or tells_place(name):
            # A discount of 0.2 for an amount, or an age for each year, is no number that anybody reckons with.
            return []
        closest: tuple[float, float, str, Ordered, Bools] | None = None
        mine = {name, *self._kin.get(name, ())}
        others = [other for other in self._divisors if not mine & {other, *self._kin.get(other, ())}]
        number = _Divisor(bounded(self._rows.numbers(name)))
        for other in self._promising(number, others, scale):
            values = Ordered(number.over(self._divisors[other], scale))
            if values.present.mean() < 0.5:
                continue
            both = free & self._free(other)
            shares = values.explained_shares(self._columns, both)[both]
            # The density of the number itself is that of its quotient, by the divisor; logarithms differ by nothing.
            under = 0.0 if scale.is_log else float(np.log(self._divisors[other].values[values.present]).mean())
            left = np.log(max(values.robust_scale, 1e-100)) + under
            left += 0.5 * np.log(max(1.0 - max([0.0, *shares.tolist()]), 1e-6))
            if closest is None or left < closest[0]:
                closest = left, under, other, values, both
        if closest is None:
            return []
        _, under, other, values, both = closest
        found = [_Grouping(self._alone(values), 0.0, ()), *self._groupings(values, both)]
        return [(other, one) for one in _best_of(found, 1, least + under)]

    def _promising(self, number: _Divisor, others: list[str], scale: Scale) -> list[str]:
        """Of many divisors those that leave least open by themselves, by some of the rows; in their order."""
        if len(others) <= _DIVISORS:
            return others
        step = -(-len(self._rows) // _SCREENED_ROWS)
        quotients = np.array([number.over(self._divisors[other], scale, step) for other in others])
        width = _middle(np.abs(quotients - _middle(quotients)[:, None]))
        with np.errstate(divide="ignore"):
            left = np.log(width)
        if not scale.is_log:
            left += [self._divisors[other].mean_log for other in others]
        # Rounded, and what is not known last: what differs by nothing else comes in its order, on every machine.
        best = np.argsort(np.round(left, 9), kind="stable")[:_DIVISORS]
        return [others[i] for i in sorted(best.tolist())]

    def _groupings(self, values: Ordered, free: Bools) -> list[_Grouping]:
        """Each promising grouping and how likely it makes the values; of the best one also with a second column."""
        columns, names = self._columns, self._columns.names
        shares = np.where(free, values.explained_shares(columns, free), 0.0)
        order = np.argsort(-shares, kind="stable")[: min(_SCREENED, int((shares > 0).sum()))]
        found: list[_Grouping] = []
        best: tuple[float, int] | None = None
        for i in order.tolist():
            codes, size = columns.codes[i], int(columns.sizes[i])
            likely = likelihood(values, codes, size)
            found.append(_Grouping(likely, float(_are_alone(values, codes, size).mean()), (names[i],)))
            if best is None or likely > best[0]:
                best = likely, i
        if best is None:
            return []
        first = best[1]
        wanted = free.copy()
        wanted[first] = False
        most = _MOST_PAIRS * len(values)
        pairs = values.pair_shares(columns, first, wanted, most)
        second = sorted(((share, names[i], i) for i, share in enumerate(pairs.tolist()) if share > -1.0), reverse=True)
        tried = 0
        for _, other, i in second:
            both = columns.codes[first].astype(np.int64) * columns.sizes[i] + columns.codes[i]
            used, place = np.unique(both, return_inverse=True)
            if len(used) <= _NO_FINER * columns.sizes[first]:
                continue
            tried += 1
            codes = place.astype(np.int32)
            alone = _are_alone(values, codes, len(used))
            # Where a row is alone in a pair, the first column's level judges it.
            likely = likelihood(values, codes, len(used), ~alone)
            likely += likelihood(values, columns.codes[first], int(columns.sizes[first]), alone)
            found.append(_Grouping(likely, float(alone.mean()), (names[first], other)))
            if tried == _PAIRS:
                break
        return found


class _Grouping(NamedTuple):
    """Columns to group by, how likely they make the values, and the share of rows that are alone in their groups."""

    likely: float
    alone: float
    columns: tuple[str, ...]


def _best_of(found: list[_Grouping], count: int, least: float) -> list[_Grouping]:
    """The likeliest of those that are likelier than `least`; where these leave many rows alone, one that does not."""
    kept = sorted((one for one in found if one.likely > least), key=lambda one: -one.likely)
    enough = [one for one in kept if one.alone <= _MOST_ALONE]
    if enough and not any(one in enough for one in kept[:count]):
        return [*kept[: max(count - 1, 1)], enough[0]]
    return kept[:count]


class _Divisor:
    """A number that others are divided by, or that is: its `bounded` values, shape (n,), and their logarithms."""

    def __init__(self, values: Floats) -> None:
        self.values = values

    @cached_property
    def is_usual(self) -> bool:
        """Whether nearly all values are there and positive."""
        return bool((self.values > 0).mean() > 0.95)

    @cached_property
    def logs(self) -> Floats:
        """NaN of what is not positive."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.values > 0, np.log(self.values), np.nan)

    @cached_property
    def mean_log(self) -> float:
        """Of the values that have one."""
        return float(self.logs[~np.isnan(self.logs)].mean())

    def over(self, other: _Divisor, scale: Scale, step: int = 1) -> Floats:
        """The quotient of every `step`-th row, as a logarithm where the scale is one."""
        if scale.is_log:
            return self.logs[::step] - other.logs[::step]
        under = other.values[::step]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return bounded(np.where(under > 0, self.values[::step] / under, np.nan))


def _are_alone(values: Ordered, codes: npt.NDArray[np.int32], groups: int) -> Bools:
    """Which of the values have no other in their group."""
    own = values.of(codes)
    return np.asarray(np.bincount(own, minlength=groups)[own] == 1)


def _middle(values: Floats) -> Floats:
    """The median of each row without what is missing, shape (rows,); NaN where all is."""
    ordered, given = np.sort(values, axis=1), (~np.isnan(values)).sum(axis=1)
    rows = np.arange(len(values))
    low, high = (
        ordered[rows, np.minimum(at, values.shape[1] - 1)] for at in (np.maximum(given - 1, 0) // 2, given // 2)
    )
    return np.asarray(low / 2.0 + high / 2.0)


def _is_share(values: Floats) -> bool:
    """Whether numbers are parts of a whole: between 0 and 1, and not all of them whole."""
    given = values[~np.isnan(values)]
    inside = (given >= 0.0) & (given <= 1.0)
    return bool(given.size and inside.all() and (given != np.round(given)).any())
