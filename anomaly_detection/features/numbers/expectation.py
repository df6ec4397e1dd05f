"""How far a number lies from what the rest of its record leads one to expect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from anomaly_detection.data.columns.levels import Kept, Levels, vocabulary
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.categories.information import determined
from anomaly_detection.features.categories.pairing import MOST_PARTNERS
from anomaly_detection.features.clauses import compared_with, listed, measured, named_value, number, without_unit
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.group import FeatureSource, Range, Row
from anomaly_detection.features.numbers.design import Design
from anomaly_detection.features.numbers.grouped import robust_scale
from anomaly_detection.features.numbers.numeric_group import ComparingGroup
from anomaly_detection.features.numbers.numeric_values import Scale, apply_scales, choose_scale, is_flag
from anomaly_detection.features.numbers.quantiles import median, quantiles
from anomaly_detection.progress import steps
from anomaly_detection.texts.said import N_, Said, say

__all__ = ["Expectation"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]
_SAMPLE = 10_000
_ROUNDS = 4
_LEAST_ROWS = 100
_SCREENED_ROWS = 1_000
_SCREENED_AT_ONCE = 256
_CELLS = 10_000_000
_FARTHEST = 8.0  # spreads from the centre that foretell anything more
_FARTHEST_JUDGED = 1e30
_WILD = 30.0  # times
_MOVES = 0.2  # spreads: what moves an estimate by less is not named


@cache
def _libraries() -> ThreadpoolController:
    """Those that have threads of their own; to look for them takes longer than a small table's matrices."""
    return ThreadpoolController()


@dataclass
class _Target:
    """The regression of one number; `weights` belong to the design's columns at `places`, None for all of them."""

    column: str
    weights: Floats
    spread: float
    group_by: tuple[str, ...]
    places: Places | None = None


class Expectation(ComparingGroup):
    """Residual of each number after what all other columns foretell, as ``asinh(z)``; 0 is as expected.

    One robust ridge regression a number, additive in the other numbers (lopsided ones as logarithms) and in the
    categories: freight by weight, distance, mode and lane at once, where a group of two columns sees but two of them.
    Residuals beyond two spreads are cut while fitting (Huber), so that anomalies do not set the expectation. A number
    of which the others explain less than `min_explained` gives no feature.

    Where there are more than `MOST_PARTNERS` columns, each number is foretold by those alone that explain most of it
    one by one, with so many coefficients in all: the work then grows as columns do, not as their fourth power.

    Parameters
    ----------
    numbers, categories : sequence of str
    bound : sequence of tuple of str
        Columns that are bound by an exact rule, such as a total and its factors; none of them foretells another.
    min_explained : float, default 0.3
        Least share of the robust scale's square explained, 0 to 1.
    strength : float, default 3.0
        Rows that each coefficient is lent towards 0.
    """

    logarithmic: ClassVar[bool] = True
    units: ClassVar[tuple[float, float]] = (0.5, 0.5)
    standard: ClassVar[str] = N_("expected%(among)s")
    titled: ClassVar[Mapping[str, str]] = {"high": N_("above what is expected"), "low": N_("below what is expected")}
    learned: ClassVar[str] = "targets_"
    farthest_: float = 1e6
    """Spreads from the centre that foretell anything more. What stands in the class is for files of before."""

    def __init__(
        self,
        numbers: Sequence[str] = (),
        categories: Sequence[str] = (),
        bound: Sequence[tuple[str, ...]] = (),
        min_explained: float = 0.3,
        strength: float = 3.0,
    ) -> None:
        self.numbers = numbers
        self.categories = categories
        self.bound = bound
        self.min_explained = min_explained
        self.strength = strength

    def fit(self, X: Any, y: object = None) -> Expectation:
        """Learn the regressions."""
        X = self._seen(X)
        self.farthest_ = _FARTHEST
        self.targets_: list[_Target] = []
        sample = X.take(slice(None, None, -(-len(X) // _SAMPLE)))
        self.scales_: dict[str, Scale] = {}
        self.centres_: dict[str, tuple[float, float, float, float]] = {}
        for name in self.numbers:
            values = sample.numbers(name)
            self.scales_[name] = choose_scale(values)
            scaled = self.scales_[name].apply(values)
            present = scaled[~np.isnan(scaled)]
            if present.size < _LEAST_ROWS or robust_scale(present) == 0.0:
                continue
            low, high = quantiles(present, [0.001, 0.999])
            self.centres_[name] = (median(present), robust_scale(present), float(low), float(high))
        found = {name: Levels(sample[name]) for name in self.categories}
        self.levels_ = {name: one for name, one in found.items() if 1 < len(one) <= len(sample) / 20}
        for name in determined(sample, self.levels_):
            del self.levels_[name]
        if len(sample) < _LEAST_ROWS:
            return self
        wide = len(self.centres_) + len(self.levels_) > MOST_PARTNERS
        if wide:
            self.levels_ = {name: one for name, one in self.levels_.items() if len(one) <= MOST_PARTNERS}
            width = len(self.centres_) + sum(map(len, self.levels_.values()))
            step = min(-(-len(sample) * width // _CELLS), -(-len(sample) // _SCREENED_ROWS))
            sample = sample.take(slice(None, None, step))
        design = self._design(sample)
        made: Iterator[_Target | None]
        if wide:
            partners = steps([*self._partners(design)], "foretelling numbers")
            made = (self._fit_near(name, near, sample, design) for name, near in partners)
        else:
            gram = design.gram(np.ones(len(sample), dtype=bool))
            made = (self._fit_target(name, sample, design, gram) for name in self.centres_)
        # Matrices of some hundred columns: threads would wait for each other longer than they work.
        with _libraries().limit(limits=1, user_api="blas"):
            self.targets_ += [target for target in made if target is not None]
        return self

    def _partners(self, design: Design) -> Iterator[tuple[str, list[str]]]:
        """Give each number and the columns that explain most of it one by one, the best first."""
        some, blocks = design.dense(-(-len(design) // _SCREENED_ROWS))[:, 1:], design.blocks
        count = len(self.centres_)
        numbers = some[:, :count] - some[:, :count].mean(axis=0)
        numbers /= np.maximum(np.sqrt((numbers**2).sum(axis=0)), 1e-12)
        levels = some[:, count:] / np.sqrt(np.maximum(some[:, count:].sum(axis=0), 1.0))
        basis = np.hstack([numbers, levels])
        names, sizes = list(blocks), np.array([len(block) for block in blocks.values()])
        first = np.cumsum(sizes) - sizes
        free = np.where(np.arange(len(sizes)) < count, 1, sizes - 1)[:, None]
        for start in range(0, count, _SCREENED_AT_ONCE):
            part = numbers[:, start : start + _SCREENED_AT_ONCE]
            explained = np.add.reduceat((basis.T @ part) ** 2, first, axis=0) - free / len(some)
            explained[np.arange(start, start + part.shape[1]), np.arange(part.shape[1])] = -np.inf
            # Rounded: sums of matrices may differ in their last bits from machine to machine.
            best = np.argsort(-np.round(explained, 9), axis=0, kind="stable")[:MOST_PARTNERS]
            for name, own in zip(names[start:], best.T, strict=False):
                yield name, [names[i] for i in own[np.cumsum(sizes[own]) <= MOST_PARTNERS]]

    def _fit_near(self, name: str, near: Sequence[str], sample: Table, design: Design) -> _Target | None:
        """`_fit_target` by the columns `near` alone."""
        part = design.only([name, *near])
        target = self._fit_target(name, sample, part, part.gram(np.ones(len(sample), dtype=bool)))
        if target is None:
            return None
        return replace(target, places=np.concatenate([[0], *(design.blocks[other] for other in part.blocks)]))

    def _design(self, X: Table) -> Design:
        levels = {name: (own.codes(X[name]), len(own)) for name, own in self.levels_.items()}
        return Design({name: self._telling(X, name) for name in self.centres_}, levels, len(X))

    def _standard(self, X: Table, name: str) -> Floats:
        centre, spread, _, _ = self.centres_[name]
        standard = (self.scales_[name].apply(X.numbers(name)) - centre) / spread
        return np.asarray(np.clip(standard, -_FARTHEST_JUDGED, _FARTHEST_JUDGED))

    def _said(self, X: Table) -> tuple[dict[str, Floats], dict[str, Codes]]:
        """What each number of the rows says of others, and each category's levels."""
        numbers = {name: self._telling(X, name) for name in self.centres_}
        return numbers, {name: levels.codes(X[name]) for name, levels in self.levels_.items()}

    def _telling(self, X: Table, name: str) -> Floats:
        """What a number says of others: not missing, and no farther out than nearly all are."""
        centre, spread, low, high = self.centres_[name]
        scaled = np.clip(self.scales_[name].apply(X.numbers(name)), low, high)
        return np.asarray(np.clip(np.nan_to_num((scaled - centre) / spread), -self.farthest_, self.farthest_))

    def _fit_target(self, name: str, sample: Table, design: Design, gram: Floats) -> _Target | None:
        if is_flag(sample.numbers(name)):
            return None
        y = self._standard(sample, name)
        present = ~np.isnan(y)
        kin = {name, *(other for group in self.bound if name in group for other in group)}
        unused = [design.blocks[one] for one in kin if one in design.blocks]
        used = np.delete(np.arange(design.width), np.concatenate(unused))
        # Only the smaller part of the rows is gone through.
        own = design.gram(present) if 2 * present.sum() < len(y) else gram - design.gram(~present)
        own = own[np.ix_(used, used)]
        n = int(present.sum())
        penalty = np.full(len(used), self.strength)
        penalty[0] = 1e-6
        inverse = np.linalg.inv(own + np.diag(penalty))
        freedom = n - float(np.einsum("ij,ji->", inverse, own))
        if freedom < 0.5 * n:
            return None
        fitted = np.full(len(y), np.median(y[present]))
        full = np.zeros(design.width)
        for _ in range(_ROUNDS):
            residual = y - fitted
            spread = max(robust_scale(residual[present]), 1e-6)
            goal = np.where(present, fitted + np.clip(residual, -2 * spread, 2 * spread), 0.0)
            full[used] = inverse @ design.sums(goal)[used]
            fitted = design.times(full)
        spread = max(robust_scale((y - fitted)[present]) * np.sqrt(n / freedom), 0.02)
        if 1.0 - (spread / max(robust_scale(y[present]), 1e-6)) ** 2 < self.min_explained:
            return None
        power = design.spreads(full)
        # Rounded: of two columns that say the same the first counts, on every machine.
        strongest = sorted(power, key=lambda other: -round(power[other], 9))[:3]
        return _Target(name, full, spread, tuple(other for other in strongest if power[other] > _MOVES))

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The residuals, shape (n, features); NaN where the number is missing."""
        out = np.empty((len(X), len(self.targets_)), dtype=np.float32)
        if not self.targets_:
            return out
        rows = max(1, min(_SAMPLE, _CELLS // len(self.targets_)))
        for start in range(0, len(X), rows):
            some = X if rows >= len(X) else X.take(slice(start, start + rows))
            expected, standard = self._expected(some)
            out[start : start + rows] = np.arcsinh((standard - expected) / _weights(self).spreads)
        return out

    def _expected(self, X: Table) -> tuple[Floats, Floats]:
        """What is foretold of each target, and what it is, on one scale; both (n, targets).

        Each row's sum by itself: a product of matrices may round otherwise where rows come in other numbers.
        """
        weights = _weights(self)
        centre, spread, low, high = weights.centres
        scaled = apply_scales(weights.scales, X.matrix(list(self.centres_)))
        standard = np.clip((scaled - centre) / spread, -_FARTHEST_JUDGED, _FARTHEST_JUDGED)[:, weights.targets]
        telling = (np.clip(scaled, low, high) - centre) / spread
        telling = np.clip(np.where(np.isnan(telling), 0.0, telling), -self.farthest_, self.farthest_)
        expected = np.repeat(weights.at(0, 1)[1], len(X), axis=0)
        place = 1
        for own_telling in telling.T:
            of, own = weights.at(place, 1)
            expected[:, of] += own_telling[:, None] * own
            place += 1
        for name, levels in self.levels_.items():
            # An unknown level is -1, the last row: it adds nothing.
            of, own = weights.at(place, len(levels), unknown=True)
            expected[:, of] += own[levels.codes(X[name])]
            place += len(levels)
        return expected, standard

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`; each sum is added up in the order of `_expected`."""
        if not self.targets_:
            return []
        weights, count = _weights(self), len(self.targets_)
        standard, telling = {}, []
        for name, (centre, spread, low, high) in self.centres_.items():
            scaled = self.scales_[name].of(program.number(name))
            standard[name] = ((scaled - centre) / spread).clip(-_FARTHEST_JUDGED, _FARTHEST_JUDGED)
            told = (scaled.clip(low, high) - centre) / spread
            telling.append(told.is_missing().where(0.0, told).clip(-self.farthest_, self.farthest_))
        first = weights.at(0, 1)[1][0]
        expected = [program.as_value(float(own)) for own in first]
        place = 1
        for value in telling:
            of, own = weights.at(place, 1)
            for i, weight in zip(np.arange(count)[of].tolist(), own[0].tolist(), strict=True):
                expected[i] = expected[i] + value * weight
            place += 1
        for name, levels in self.levels_.items():
            of, own = weights.at(place, len(levels), unknown=True)
            for i, each in zip(np.arange(count)[of].tolist(), own.T, strict=True):
                expected[i] = expected[i] + program.of_level(name, vocabulary(levels), each)
            place += len(levels)
        parts = zip(self.targets_, expected, weights.spreads.tolist(), strict=True)
        return [((standard[target.column] - told) / spread).arcsinh() for target, told, spread in parts]

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<number> as expected`` for each feature."""
        return np.asarray([f"{target.column} as expected" for target in self.targets_], dtype=object)

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the numbers and what was to be expected, in the numbers' own units; both (n, features)."""
        X = as_table(X)
        values = np.empty((len(X), len(self.targets_)))
        usual = np.empty_like(values)
        if self.targets_:
            expected, _ = self._expected(X)
            for i, target in enumerate(self.targets_):
                centre, spread, low, high = self.centres_[target.column]
                values[:, i] = X.numbers(target.column)
                # A line may foretell what no record ever had, such as a negative quantity.
                usual[:, i] = self.scales_[target.column].invert(np.clip(expected[:, i] * spread + centre, low, high))
        return values, usual

    def ranges_in_units(self, X: Any, bounds: Floats) -> Floats:
        """Turn `bounds` of the features, shape (2, features), into each row's own units, shape (2, n, features)."""
        X = as_table(X)
        ends = np.empty((2, len(X), len(self.targets_)))
        if self.targets_:
            expected, _ = self._expected(X)
            for i, target in enumerate(self.targets_):
                centre, spread, low, high = self.centres_[target.column]
                standard = expected[:, i] + np.sinh(bounds[:, i, None]) * target.spread
                ends[..., i] = self.scales_[target.column].invert(np.clip(standard * spread + centre, low, high))
        return ends

    def told_beside(self, X: Table, target: int, row: int = 0) -> tuple[str, ...]:
        """`FeatureGroup.told_beside`: the columns that move the estimate most, at most three."""
        moved = X.made((self, target), lambda: self._moved(X, target))[row]
        # What moves less never is among the strongest that are named, whatever rounding does.
        near = np.flatnonzero(moved > 0.9 * _MOVES)
        ranked = [(-round(by, 9), place, by) for place, by in zip(near.tolist(), moved[near].tolist(), strict=True)]
        names = _names(self)
        return tuple(names[place] for _, place, by in sorted(ranked)[:3] if by > _MOVES)

    def _moved(self, X: Table, target: int) -> Floats:
        """How far each number and each category of the rows moves the estimate of a target, shape (n, columns)."""
        told, coded = X.made((self, "telling"), lambda: self._said(X))
        weights, place = self._weights_of(target), 1
        moved = np.zeros((len(X), len(self.centres_) + len(self.levels_)))
        for i, name in enumerate(self.centres_):
            moved[:, i] = told[name] * weights[place]
            place += 1
        for i, (name, levels) in enumerate(self.levels_.items(), len(self.centres_)):
            codes = coded[name]
            known = codes >= 0
            moved[known, i] = weights[place + codes[known]]
            place += len(levels)
        return np.abs(moved)

    def _weights_of(self, target: int) -> Floats:
        """The weights of a regression by the places of the design, 0 where it has none."""
        known = _by_place(self)
        if target not in known:
            weights = np.zeros(1 + len(self.centres_) + sum(map(len, self.levels_.values())))
            one = self.targets_[target]
            weights[slice(None) if one.places is None else one.places] = one.weights
            known[target] = weights
        return known[target]

    @classmethod
    def is_ordinary(cls, feature: float, value: Any, usual: Any) -> bool:
        """`FeatureGroup.is_ordinary`: no count is nearer to an estimate than by less than one."""
        return float(value).is_integer() and bool(abs(value - usual) < 1.0)

    @classmethod
    def weight(cls, source: FeatureSource) -> float:
        """`FeatureGroup.weight`; what is usual in a group is understood sooner than what a record foretells."""
        return 0.7 / max(len(source.columns), 1)

    @classmethod
    def among(cls, source: FeatureSource, row: Row) -> str:
        """`NumericGroup.among`: the rest of the record foretells the value, its numbers as well as its categories."""
        return say(" from %(what)s", what=cls._told_by(source, row))

    @staticmethod
    def _told_by(source: FeatureSource, row: Row) -> str:
        named, _ = compared_with(source, row, joined=False, missing=N_("a missing %(what)s"))
        return listed(named) if named else say("the rest of the record")

    @classmethod
    def of_one(
        cls, source: FeatureSource, value: float, usual: float, row: Row, rows: int, between: Range | None
    ) -> Said:
        """`NumericGroup.of_one`: an estimate, and called one."""
        name, unit = without_unit(source.columns[0])
        subject = named_value(name, measured(value, unit))
        told_by = cls._told_by(source, row)
        # What is foretold may be beyond all that nearly any record has had, and was cut there, as its range was.
        at_most, at_least = (between is not None and end == usual for end in between or (usual, usual))
        if number(value) == number(usual) or (at_least and value > usual) or (at_most and value < usual):
            return say("%(subject)s does not go with %(told_by)s", subject=subject, told_by=told_by)
        # Of a value so far away the numbers beside it are odd as well, and nobody believes what they foretell.
        is_wild = value * usual > 0 and not 1.0 / _WILD < value / usual < _WILD
        about = "" if at_least or at_most or is_wild else say(": about %(usual)s", usual=measured(usual, unit))
        above = N_("%(subject)s is above what is expected from %(told_by)s%(about)s")
        below = N_("%(subject)s is below what is expected from %(told_by)s%(about)s")
        return say(above if value > usual else below, subject=subject, told_by=told_by, about=about)


class _Weights:
    """What was learned of all regressions, in arrays, with their weights by the columns of the design.

    Attributes
    ----------
    scales : list of Scale
    centres : ndarray of float64, shape (4, numbers)
        `Expectation.centres_`.
    targets : ndarray of int64
        Which of the numbers each regression foretells.
    spreads : ndarray of float64
        Of the regressions.
    """

    def __init__(self, expectation: Expectation) -> None:
        targets = expectation.targets_
        self.scales = [expectation.scales_[name] for name in expectation.centres_]
        self.centres = np.array([*expectation.centres_.values()]).T
        self.targets = np.array([[*expectation.centres_].index(one.column) for one in targets], dtype=np.int64)
        self.spreads = np.array([one.spread for one in targets])
        places = [np.arange(len(one.weights)) if one.places is None else one.places for one in targets]
        place = np.concatenate(places)
        order = np.argsort(place, kind="stable")
        self._place = place[order]
        self._of = np.repeat(np.arange(len(targets)), [len(own) for own in places])[order]
        self._value = np.concatenate([one.weights for one in targets])[order]
        self._all = len(targets)
        self._known: dict[int, tuple[Places | slice, Floats]] = {}

    def at(self, place: int, count: int, unknown: bool = False) -> tuple[Places | slice, Floats]:
        """Which regressions look at `count` columns from `place` on, and their weights, shape (count, regressions).

        If something may be `unknown`, a last row of zeros is for that.
        """
        if place not in self._known:
            start, stop = np.searchsorted(self._place, [place, place + count])
            each = (stop - start) // count
            of = slice(None) if each == self._all else self._of[start : start + each]
            own = self._value[start:stop].reshape(count, each)
            self._known[place] = of, np.vstack([own, np.zeros((int(unknown), each))])
        return self._known[place]


_weights: Kept[Expectation, _Weights] = Kept(_Weights)
_names: Kept[Expectation, list[str]] = Kept(lambda expectation: [*expectation.centres_, *expectation.levels_])
_by_place: Kept[Expectation, dict[int, Floats]] = Kept(lambda expectation: {})
