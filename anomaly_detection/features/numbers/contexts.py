"""Numbers against the context that foretells them best: a group of any size, or so much for each of another number.

Contexts are compared by how likely they make each value of the others, left out of its own group, see `learn_history`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Combinations, CombinedLevels, Kept, grouped_by
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.categories.pairing import most_related
from anomaly_detection.features.compiled.combinations import combination
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.group import FEW, Facts, FeatureSource, side_by_side
from anomaly_detection.features.numbers.bounds import bounded
from anomaly_detection.features.numbers.context_search import ContextSearch
from anomaly_detection.features.numbers.history import History, learn_history
from anomaly_detection.features.numbers.numeric_group import NumericGroup
from anomaly_detection.features.numbers.numeric_values import Scale, apply_scales, is_flag
from anomaly_detection.features.numbers.ordered import CodedColumns, Ordered
from anomaly_detection.progress import steps

__all__ = ["Context", "Contexts"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_SAMPLE = 5_000
_MOST_LEVELS = 0.7  # of the rows: with more, hardly any row has others of its level
_MOST_PAIRS = 50_000  # what more of them would take in memory and files, their columns' own levels do not


@dataclass
class Context:
    """One number in one context.

    Attributes
    ----------
    column : str
    per : str or None
        The number that it is divided by, where its logarithm less that one's is judged.
    group_by : tuple of str
        Columns whose combinations are the groups; none for all records.
    scale : Scale
        Of the number; unused where there is a divisor.
    """

    column: str
    per: str | None
    group_by: tuple[str, ...]
    scale: Scale
    groups: CombinedLevels
    history: History

    @property
    def name(self) -> str:
        """What the feature is called."""
        over = f" for each {self.per}" if self.per else ""
        return f"{self.column}{over} beside its {' and '.join(self.group_by) or 'like'}"

    def values(self, X: Table) -> Floats:
        """The number on the scale on which it is judged, shape (n,)."""
        return _on_scale(X, self.column, self.per, self.scale)


def _on_scale(X: Table, column: str, per: str | None, scale: Scale) -> Floats:
    values = bounded(X.numbers(column))
    if per is None:
        return scale.apply(values)
    under = bounded(X.numbers(per))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if not scale.is_log:
            return bounded(np.where(under > 0, values / under, np.nan))
        return np.where((values > 0) & (under > 0), np.log(values) - np.log(under), np.nan)


class Contexts(NumericGroup):
    """`asinh` deviation of each number from what its best contexts foretell; 0 is usual.

    For each number the two groupings are kept that make its values likeliest, of any column whose levels repeat, and of
    the best one with a second; and, for amounts, the quotient by another number, in its best grouping, if that makes
    them likelier still. A training row is judged by the others of its group, as a new one is.

    Parameters
    ----------
    numbers, categories : sequence of str
        Columns to judge and to group by.
    divisors : sequence of str
        Numbers that amounts may be divided by.
    kin : mapping of str to sequence of str, optional
        Columns that a number or a category is made of: none is its own context.
    """

    logarithmic: ClassVar[bool] = True

    def __init__(
        self,
        numbers: Sequence[str] = (),
        categories: Sequence[str] = (),
        divisors: Sequence[str] = (),
        kin: Any = None,
    ) -> None:
        self.numbers = numbers
        self.categories = categories
        self.divisors = divisors
        self.kin = kin

    def fit(self, X: Any, y: object = None) -> Contexts:
        """Choose contexts and learn what is usual in them."""
        self._learn(X)
        return self

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give each training row's deviations by the others of its groups."""
        return side_by_side(self._learn(X), len(as_table(X)))

    def _learn(self, X: Any) -> list[npt.NDArray[np.float32]]:
        """Fit, and give the training rows' deviations in each context, shape (n,)."""
        X = self._seen(X)
        step = -(-len(X) // _SAMPLE)
        coded: dict[str, tuple[Codes, int]] = {}
        for name in self.categories:
            groups = grouped_by(X, (name,))
            if 1 < len(groups.levels) <= _MOST_LEVELS * len(X):
                coded[name] = groups.codes[::step].astype(np.int64), len(groups.levels)
        coded = {name: coded[name] for name in most_related(coded)}
        self.contexts_: list[Context] = []
        deviations = []
        search = ContextSearch(X.take(slice(None, None, step)), CodedColumns(coded), self.divisors, self.kin or {})
        numbers = [name for name in self.numbers if not is_flag(X.numbers(name))]
        for name in steps(numbers, "comparing numbers within contexts"):
            ordered: dict[str | None, Ordered] = {}
            for per, group_by, scale in search.chosen(name):
                if per not in ordered:
                    ordered[per] = Ordered(_on_scale(X, name, per, scale))
                groups = grouped_by(X, group_by)
                if len(group_by) > 1 and len(groups.levels) > _MOST_PAIRS:
                    continue
                off_scale = partial(_off_scale, per=per, scale=scale)
                learned = learn_history(ordered[per], groups.codes, len(groups.levels), off_scale=off_scale)
                if learned is not None:
                    self.contexts_.append(Context(name, per, group_by, scale, groups.levels, learned[0]))
                    deviations.append(learned[1].astype(np.float32))
        return deviations

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The deviations, shape (n, contexts); NaN where the number is missing."""
        return _learned(self).deviations(X).astype(np.float32)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        found = []
        for one in self.contexts_:
            value = program.number(one.column).bounded()
            if one.per is None:
                value = one.scale.of(value)
            else:
                under = program.number(one.per).bounded()
                if one.scale.is_log:
                    value = ((value > 0.0) & (under > 0.0)).where(value.log() - under.log(), np.nan)
                else:
                    value = (under > 0.0).where(value / under, np.nan).bounded()
            place = combination(program, one.groups)
            centre, spread = (place.look_up(part) for part in one.history.expected())
            found.append(((value - centre) / spread).arcsinh())
        return found

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return `Context.name` of each."""
        return np.asarray([context.name for context in self.contexts_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The number that each feature judges, and the one that it is divided by."""
        return [(one.column,) if one.per is None else (one.column, one.per) for one in self.contexts_]

    @property
    def feature_groups_(self) -> list[tuple[str, ...]]:
        """The columns that each is grouped by."""
        return [context.group_by for context in self.contexts_]

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the values and the medians of their groups, in the numbers' own units; both (n, features)."""
        X = as_table(X)
        return _learned(self).off_scale(self._values(X)), self._told(X)[0]

    def told_beside(self, X: Table, feature: int, row: int = 0) -> tuple[str, ...] | None:
        """`FeatureGroup.told_beside`: all records, where the group has no other."""
        return None if self._others(X)[row, feature] else ()

    def facts(self, X: Table, feature: int, row: int = 0) -> Facts:
        """`FeatureGroup.facts`: of the row's group, of all records where that has no other."""
        found = X.made((self, "counted"), lambda: _usual(self).counted(_learned(self).places(X), self._others(X)))
        moved = self._moved(X)
        since = 0 if moved is None else int(moved[1, row, feature])
        return Facts(int(found[row, feature]) + since, *self._told(X)[:, row, feature].tolist())

    def ranges_in_units(self, X: Any, bounds: Floats) -> Floats:
        """Between what the middle 90 % of each row's group lie, in the numbers' units, shape (2, n, features)."""
        return self._told(as_table(X))[1:]

    def _values(self, X: Table) -> Floats:
        found: Floats = X.made((self, "values"), lambda: _learned(self).values(X))
        return found

    def _others(self, X: Table) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = X.made((self, "others"), lambda: self._find_others(X))
        return found

    def _find_others(self, X: Table) -> npt.NDArray[np.bool_]:
        learned, usual = _learned(self), _usual(self)
        places, values = learned.places(X), self._values(X)
        others = usual.others(learned.of_contexts(values), places)
        return others & ~usual.hold(learned.off_scale(values), places)

    def _told(self, X: Table) -> Floats:
        """What is usual for each row, and between what it usually lies, shape (3, n, features)."""
        found: Floats = X.made((self, "told"), lambda: self._find_told(X))
        return found

    def _find_told(self, X: Table) -> Floats:
        places, moved = _learned(self).places(X), self._moved(X)
        told = _usual(self).told(places, self._others(X))
        if moved is not None:
            by = np.multiply(
                moved[0], _learned(self).spreads(places), where=moved[0] != 0.0, out=np.zeros_like(moved[0])
            )
            for i in np.flatnonzero(by.any(axis=0)).tolist():
                one = self.contexts_[i]
                told[:, :, i] = _off_scale(_as_judged(told[:, :, i], one.per, one.scale) + by[:, i], one.per, one.scale)
        return told

    def _moved(self, X: Table) -> Floats | None:
        """How far what is usual for each row has moved since the training, in spreads, and by how many records of its
        group, shape (2, n, features); None where nothing is followed, see `Moves`.
        """
        found: Floats | None = self.followed(X).get("moved")
        return found

    def followed(self, X: Table) -> dict[str, Floats]:
        """Where `Moves` leave what they made of rows, as "moved"."""
        found: dict[str, Floats] = X.made((self, "followed"), dict)
        return found

    @property
    def effects(self) -> int:
        """How many places `effects_of` tells apart."""
        return _learned(self).effects

    @property
    def finest(self) -> Codes:
        """Which of the four effects is that of a row's own group, of each context."""
        return np.array([(0, 1, 3)[min(len(one.group_by), 2)] for one in self.contexts_], dtype=np.int64)

    def effects_of(self, X: Table, some: Codes) -> Codes:
        """Where each row's effects stand in a list of all: of a context by itself, of either column's level, of both.

        Of some contexts, shape (n, some, 4); 0 where there is none, as of a level that the training did not have.
        """
        return _learned(self).effects_of(X, some)

    @classmethod
    def weight(cls, source: FeatureSource) -> float:
        """`FeatureGroup.weight`; there are no words for a ratio, or days, for each of a third number."""
        return super().weight(source) if len(source.columns) < 3 else 0.0


class _Learned:
    """What was learned of all contexts, in arrays: what they share, a number or a grouping, is found once a row."""

    def __init__(self, contexts: Contexts) -> None:
        found = contexts.contexts_
        groups = list({one.group_by: one.groups for one in found}.values())
        self._group = np.array([[one.columns for one in groups].index(one.group_by) for one in found], dtype=np.int64)
        self._combinations = Combinations(groups)
        plain = list({(one.column, one.scale.floor): one.scale for one in found if one.per is None}.items())
        self._columns, self._scales = [column for (column, _), _ in plain], [scale for _, scale in plain]
        self._quotients = [one for one in found if one.per is not None]
        self._parts = [(one.column, str(one.per)) for one in self._quotients]
        self._are_logs = np.array([one.scale.is_log for one in self._quotients], dtype=bool)
        place = {which: i for i, (which, _) in enumerate(plain)}
        behind = iter(range(len(plain), len(plain) + len(found)))
        self._value = np.array(
            [place[one.column, one.scale.floor] if one.per is None else next(behind) for one in found], dtype=np.int64
        )
        # The last entry of each is that of code -1: it comes first.
        sizes = [len(one.history.count) for one in found]
        self._start = np.cumsum([1, *sizes])[:-1]
        parts = [one.history.expected() for one in found]
        self._centre, self._spread = (
            np.concatenate([np.zeros(0), *(np.roll(part[i], 1) for part in parts)]) for i in (0, 1)
        )
        # Of all, of either column's levels, and of both; where there is but one, that is no other than of both.
        levels = [[len(own) for own in one.groups.levels] for one in found]
        own = [[1, *[*each, 0, 0][:2], size * (len(each) > 1)] for each, size in zip(levels, sizes, strict=True)]
        counts = np.array(own, dtype=np.int64).reshape(-1, 4)
        self._ends = self._combinations.places[:, self._group].T
        self._effect = (np.cumsum(counts).reshape(-1, 4) - counts + 1) * (counts > 0)
        self.effects = int(counts.sum()) + 1

    def _of_quotients(self, X: Table) -> Floats:
        """`Context.values` of all that divide, shape (n, quotients)."""
        over, under = (bounded(X.matrix(names)) for names in zip(*self._parts, strict=True))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            plain = bounded(np.where(under > 0, over / under, np.nan))
            logs = np.where((over > 0) & (under > 0), np.log(over) - np.log(under), np.nan)
        return np.where(self._are_logs, logs, plain)

    def codes(self, X: Table) -> Codes:
        """Each row's group in each context, -1 for a new one, shape (n, contexts)."""
        return self._combinations.codes(X)[:, self._group]

    def effects_of(self, X: Table, some: Codes) -> Codes:
        """`Contexts.effects_of`."""
        levels = self._combinations.levels(X)
        effect, found = self._effect[some], np.ones((len(X), len(some), 4), dtype=np.int64)
        found[:, :, 1:3] = levels[:, self._ends[some]]
        cells = self._combinations.codes(X, levels)[:, self._group[some]]
        found[:, :, 3] += cells
        # In place: of many rows each array more costs as much as what is done with it.
        known = (found > 0) & (effect > 0)
        # Where a new group tells nothing, its records move nothing, and nothing moves for them.
        known &= np.isfinite(self._spread[cells + self._start[some]])[:, :, None]
        found += effect - 1
        found *= known
        return found

    def spreads(self, places: Codes) -> Floats:
        """What is one spread at those `places`."""
        return self._spread[places]

    def places(self, X: Table) -> Codes:
        """Where each row's group lies among those of all contexts, shape (n, contexts)."""
        return self.codes(X) + self._start

    def values(self, X: Table) -> Floats:
        """The numbers and quotients that contexts judge, each on its scale, shape (n, distinct ones)."""
        values = np.empty((len(X), len(self._columns) + len(self._quotients)))
        split = len(self._columns)
        if split:
            values[:, :split] = apply_scales(self._scales, bounded(X.matrix(self._columns)))
        if self._quotients:
            values[:, split:] = self._of_quotients(X)
        return values

    def of_contexts(self, values: Floats) -> Floats:
        """Those `values` side by side for all contexts, shape (n, contexts)."""
        return values[:, self._value]

    def off_scale(self, values: Floats) -> Floats:
        """`of_contexts` in the numbers' own units."""
        told = [scale.invert(values[:, i]) for i, scale in enumerate(self._scales)]
        split = len(told)
        told += [_off_scale(values[:, split + i], one.per, one.scale) for i, one in enumerate(self._quotients)]
        return self.of_contexts(np.stack(told, axis=1)) if told else np.empty((len(values), 0))

    def deviations(self, X: Table) -> Floats:
        """`History.deviation` of all contexts, shape (n, contexts)."""
        place = self.places(X)
        return np.arcsinh((self.of_contexts(self.values(X)) - self._centre[place]) / self._spread[place])


class _Usual:
    """What reasons hold rows against: each group's own median and range, laid out as `_Learned` has the groups."""

    def __init__(self, contexts: Contexts) -> None:
        found = contexts.contexts_
        rolled = [np.roll(np.stack([one.history.count, one.history.median]), 1, axis=1) for one in found]
        self._count, self._median = np.concatenate([np.zeros((2, 0)), *rolled], axis=1)
        self._of_all = np.array([one.history.count.sum() for one in found], dtype=np.float64)
        groups, alone = [np.zeros((3, 0))], []
        for one in found:
            history = one.history
            if history.told is None:
                own = _off_scale(np.stack([history.median, history.low, history.high]), one.per, one.scale)
                of_all = [float(_off_scale(np.asarray(history.centre), one.per, one.scale)), np.nan, np.nan]
            else:
                own, of_all = history.told, history.told[:, -1].tolist()
            groups.append(np.roll(own, 1, axis=1))
            alone.append(of_all)
        self._groups = np.concatenate(groups, axis=1)
        self._alone = np.array(alone).reshape(-1, 3).T[:, None]

    def others(self, values: Floats, places: Codes) -> npt.NDArray[np.bool_]:
        """Whether each row's groups have records besides itself: a lone one with its value is taken to be it."""
        count, median = self._count[places], self._median[places]
        with np.errstate(invalid="ignore"):
            same = (np.abs(values - median) <= 1e-9 * np.abs(median)) | (values == median)
        return np.asarray((count > 1) | ((count == 1) & ~same))

    def hold(self, told: Floats, places: Codes) -> npt.NDArray[np.bool_]:
        """Whether each row's groups are of few records, which make no history, and have values about as odd."""
        count, (_, low, high) = self._count[places], self._groups[:, places]
        # The least and the largest of few lie so much beyond their quantiles, at most.
        tail = 0.05 * np.clip(count - 1.0, 0.0, FEW)
        beyond = tail / (0.95 - tail) * (high - low) + 1e-9 * (np.abs(told) + high - low)
        return np.asarray((count < FEW) & (told >= low - beyond) & (told <= high + beyond))

    def counted(self, places: Codes, others: npt.NDArray[np.bool_]) -> Floats:
        """Of how many values `told` is."""
        return np.where(others, self._count[places], self._of_all)

    def told(self, places: Codes, others: npt.NDArray[np.bool_]) -> Floats:
        """Median and range of each row's groups, of all records where there is no other, shape (3, n, contexts)."""
        return np.where(others, self._groups[:, places], self._alone)


_learned: Kept[Contexts, _Learned] = Kept(_Learned)
_usual: Kept[Contexts, _Usual] = Kept(_Usual)


def _as_judged(values: Floats, per: str | None, scale: Scale) -> Floats:
    """The reverse of `_off_scale`."""
    if per is None:
        return scale.apply(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values) if scale.is_log else values


def _off_scale(values: Floats, per: str | None, scale: Scale) -> Floats:
    """Turn values on the scale of a number, or of its quotient by the number `per`, into its own units."""
    with np.errstate(over="ignore"):
        if per is not None and scale.is_log:
            return np.exp(np.minimum(values, 700.0))
        return values if per is not None else scale.invert(values)
