"""Values that repeat others although values hardly ever do: a sensor that is stuck, a copy that was amended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.table import Coded, Table, as_table
from anomaly_detection.features.clauses import exactly, listed, measured, number, without_unit
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.numbers.bounds import bounded
from anomaly_detection.features.numbers.frequency import (
    Frequency,
    follows_category,
    learn_frequency,
    learn_spread,
    near_values,
)
from anomaly_detection.features.repeats.agreements import agreeing, few_agreeing, near_others, partners
from anomaly_detection.features.repeats.coincidences import (
    Chance,
    agreement,
    cell_keys,
    combined,
    keys_by_column,
    labels_at,
    minus_log,
    mixed,
    others_of,
    repeats_of,
)
from anomaly_detection.features.repeats.remembered import Remembered
from anomaly_detection.progress import steps
from anomaly_detection.texts.said import N_, Said, as_text, say

__all__ = ["Readings"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_REMEMBERED = 10_000
_MOST_TOGETHER = 6  # columns: they are looked at in all combinations
_WIDE = 20  # steps: so near lie values that tell how common one is
_DENSER, _VALUES_AT_LEAST = 2.0, 10
_ODD = 2.0  # nats
_SHARES_OF_A_BATCH = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_FEW = 16  # rows: so many look up what is remembered, each by itself


def _values(X: Table, names: Sequence[str]) -> Floats:
    return bounded(X.matrix(names))


class Readings(FeatureGroup):
    """Evidence in nats that a value repeats others, a feature a column whose values hardly do; and that several do.

    Columns whose values come again because a category does are not looked at (`follows_category`): the denser records
    lie in time, the oftener a lane's distance does.

    For each column: how many rows of the same span of time (`within`; of all, if there is none) hold that very value,
    against what `Frequency` leads to expect of so many rows. *values repeated together*, where two or more columns are
    looked at: in how many of them, from two up, a row agrees with one and the same other row of its span, as a copy
    that was amended here and there does, against chance (`Chance`). A column's own evidence is left out where that of
    several together says as much, so nothing counts twice; and several say no more than those that lie near by in
    these columns would by chance (`near_others`): readings of one hour lie closer together than those of a year.

    Where values are compared with more than twice as many others as in training, the training tells little of how often
    they repeat: evidence that many values of the batch have is then no more than as many training rows had.

    Rows are compared with those that come together and the last 10,000 training records; one of these that comes again,
    alike in every column, is itself (or a copy, which is another group's business).

    Parameters
    ----------
    numbers : sequence of str
        Columns in which a repeated value is looked for.
    within : sequence of str
        The categorical column, if any, of the span of time that a value is compared within.
    """

    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    nats: ClassVar[bool] = True
    counted: ClassVar[bool] = True
    repeats: ClassVar[bool] = True
    by_name: ClassVar[bool] = True

    def __init__(self, numbers: Sequence[str] = (), within: Sequence[str] = ()) -> None:
        self.numbers = numbers
        self.within = within

    def fit(self, X: Any, y: object = None) -> Readings:
        """Learn how often values repeat."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give the evidence of the training records, each judged by those of other spans of time."""
        X = self._seen(X)
        spans = self._spans(X)
        self.frequencies_: dict[str, Frequency] = {}
        found = []
        categories = [X[name].codes for name in X if isinstance(X[name], Coded) and name not in self.within]
        for name in steps(self.numbers, "looking for repeated values"):
            values = bounded(X.numbers(name))
            frequency = learn_frequency(values)
            if frequency is not None and not follows_category(values, categories):
                self.frequencies_[name] = frequency
                found.append(learn_spread(frequency, values, spans))
        self.together_, agreed, which = self._learn_together(X, spans)
        last = X.take(slice(-_REMEMBERED, None) if self.judged else slice(0))
        self.last_ = _values(last, self.judged)
        self.last_spans_, self.last_whole_ = spans[len(X) - len(last) :], self._whole(last)
        single = np.column_stack([np.empty((len(X), 0)), *found])
        by_chance = self._by_chance(_values(X, self._joined), spans, which)
        return self._out(single, agreed, by_chance, others_of(spans))

    @property
    def judged(self) -> list[str]:
        """The columns in which a repeated value is looked for."""
        return list(self.frequencies_)

    @property
    def _joined(self) -> list[str]:
        """The columns looked at together: those whose values agree least."""
        order = sorted(self.frequencies_, key=lambda name: self.frequencies_[name].apart)
        return order[:_MOST_TOGETHER] if len(order) > 1 else []

    def _spans(self, X: Table) -> Codes:
        """The number of each row's span of time, -1 where it is not known; 0 where there are none; shape (n,)."""
        if not self.within:
            return np.zeros(len(X), dtype=np.int64)
        column = X.coded(self.within[0])
        numbered = np.array([*map(int, column.names), -1], dtype=np.int64)
        return np.asarray(numbered[column.codes], dtype=np.int64)

    def _whole(self, X: Table) -> Keys:
        made: Keys = X.made(self.whole, lambda: combined(keys_by_column(X, self.said), len(X)))
        return made

    @property
    def whole(self) -> tuple[Any, ...]:
        """Under what a table has the keys of records by all that they say."""
        return (self, "whole")

    @property
    def said(self) -> list[str]:
        """Columns that say something."""
        return [str(name) for name in self.feature_names_in_ if name not in self.within]

    @staticmethod
    def _cells(values: Floats, spans: Codes) -> list[Keys]:
        """A key for each value and its span, a list of (n,); 0 where it is missing."""
        within = mixed(spans.view(np.uint64) + np.uint64(1))
        keys = [np.maximum(mixed((column + 0.0).view(np.uint64) ^ within), np.uint64(1)) for column in values.T.copy()]
        return [np.where(np.isnan(column), np.uint64(0), key) for column, key in zip(values.T, keys, strict=True)]

    def _learn_together(self, X: Table, spans: Codes) -> tuple[list[Chance], Codes, Codes]:
        """The chances of agreeing in so many columns, and what `agreeing` gives for the rows."""
        for name in self.judged:
            self.frequencies_[name].apart = agreement(cell_keys(X.numbers(name)[~X.isna(name)]))
        names = self._joined
        agreed, which = agreeing(self._cells(_values(X, names), spans), len(X))
        compared = float(others_of(spans).mean())
        apart = sorted((self.frequencies_[name].apart for name in names), reverse=True)
        chances = [
            Chance(
                int((agreed >= count).sum()),
                len(X),
                compared,
                min(comb(len(names), count) * float(np.prod(apart[:count])), 1.0),
            )
            for count in range(2, len(names) + 1)
        ]
        return chances, agreed, which

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The evidence in nats, shape (n, features); 0 for what repeats nothing."""
        values, spans = _values(X, self.judged), self._spans(X)
        among = self._among_few if len(X) <= _FEW else self._among_all
        return self._judged(values, spans, lambda: self._beside(X), *among(X, values, spans))

    def _agreed(self, X: Table) -> tuple[Codes, Floats]:
        """In how many of the columns looked at together each row agrees with one and the same other; both (n,).

        And how many others are expected to agree in as many by chance, see `near_others`.
        """
        (values, spans), (agreed, which) = self._beside(X), self._agreeing(X)
        return agreed[: len(X)], self._by_chance(self._of_joined(values), spans, which)[: len(X)]

    def _by_chance(self, values: Floats, spans: Codes, which: Codes) -> Floats:
        if not which.any():
            return np.zeros(len(values))
        wide = [_WIDE * self.frequencies_[name].step for name in self._joined]
        return near_others(self._cells(values, spans), self._cells(np.floor(values / wide), spans), which, _WIDE)

    def of_record(self, X: Table, values: Floats, span: int, whole: np.uint64) -> npt.NDArray[np.float32]:
        """`features_of` one record by its values, shape (columns,), its span of time and the key of all that it says.

        By compiled code.
        """
        from anomaly_detection.features.compiled.key_kernels import agree

        arrays, joined = _arrays(self)
        others, compared = np.empty((2, len(values)), dtype=np.int64)
        together, agreed = agree(values, span, whole, joined, *arrays, others, compared)
        if agreed < 2 and not others.any():
            return np.zeros((1, len(values) + bool(self.together_)), dtype=np.float32)
        by_chance = self._agreed(X)[1] if agreed >= 2 else np.zeros(1)
        found = (
            others[None],
            compared[None].astype(np.float64),
            np.array([agreed]),
            by_chance,
            np.array([float(together)]),
        )
        return self._judged(values[None], np.array([span]), lambda: (self.last_, self.last_spans_), *found)

    def _judged(
        self,
        values: Floats,
        spans: Codes,
        beside: Callable[[], tuple[Floats, Codes]],
        others: Codes,
        compared: Floats,
        agreed: Codes,
        by_chance: Floats,
        together: Floats,
    ) -> npt.NDArray[np.float32]:
        single = np.zeros(values.shape)
        for i, frequency in enumerate(self.frequencies_.values()):
            rows = np.flatnonzero(others[:, i])
            if len(rows):
                x, alike, among = np.nan_to_num(values[rows, i]), others[rows, i], compared[rows, i]
                often = np.minimum(frequency.by_density(x) + frequency.seen(x) / (frequency.values + 1.0), 1.0)
                expected = often * among
                found = frequency.evidence(alike, expected, among)
                odd = np.flatnonzero(found > _ODD)
                if len(odd):
                    around, their_spans = beside()
                    near = near_values(x[odd], spans[rows[odd]], around[:, i], their_spans, frequency.step)
                    expected[odd] = np.maximum(expected[odd], near)
                    found[odd] = frequency.evidence(alike[odd], expected[odd], among[odd])
                single[rows, i] = found
                if compared[:, i].mean() > _DENSER * frequency.compared:
                    single[:, i] -= _of_density(single[:, i], others[:, i], frequency)
        return self._out(single, agreed, by_chance, together)

    def _among_all(self, X: Table, values: Floats, spans: Codes) -> tuple[Codes, Floats, Codes, Floats, Floats]:
        """How many others of a row's span have each value, and how many have any; both (n, columns).

        In how many columns it agrees with one and the same other, how many would by chance where it lies, and how many
        others its span has; each (n,).
        """
        n = len(X)
        _, spans = self._beside(X)
        others, compared = self._counted(X)
        return others[:n], compared[:n], *self._agreed(X), others_of(spans)[:n]

    def _among_few(self, X: Table, values: Floats, spans: Codes) -> tuple[Codes, Floats, Codes, Floats, Floats]:
        """`_among_all`, by looking up what is remembered, of which it would go through all."""
        remembered, cells = _remembered(self), np.array(self._cells(values, spans), dtype=np.uint64)
        cells = cells.reshape(len(self.judged), len(X))
        again = remembered.again(self._whole(X), spans)
        others, compared = remembered.alike(cells, again), remembered.given(spans, again)
        together = others_of(spans) + remembered.together(spans, again)
        for i, keys in enumerate(cells if len(X) > 1 else ()):
            given = np.flatnonzero(keys > 0)
            others[i, given] += repeats_of(keys[given])
            compared[i, given] += others_of(spans[given]).astype(np.int64)
        agreed = remembered.agreeing([self.judged.index(name) for name in self._joined], cells, again)
        by_chance = self._agreed(X)[1] if agreed.any() else np.zeros(len(X))
        return others.T, np.where(cells > 0, compared, 0).T.astype(np.float64), agreed, by_chance, together

    def _beside(self, X: Table) -> tuple[Floats, Codes]:
        """The values and spans of the rows and, after them, of the remembered ones that they are compared with."""
        made: tuple[Floats, Codes] = X.made((self, "beside"), lambda: self._with_remembered(X))
        return made

    def _with_remembered(self, X: Table) -> tuple[Floats, Codes]:
        values, spans = _values(X, self.judged), self._spans(X)
        if len(X) == 1:
            near = (self.last_spans_ == spans[0]) & (self.last_whole_ != self._whole(X)[0])
        else:
            near = np.isin(self.last_spans_, spans)
            near[near] = ~pd.Series(self.last_whole_[near]).isin(self._whole(X)).to_numpy()
        return np.vstack([values, self.last_[near]]), np.concatenate([spans, self.last_spans_[near]])

    def _agreeing(self, X: Table) -> tuple[Codes, Codes]:
        """`agreeing` of the rows and of the remembered ones beside them; of these it may be 0."""

        def make() -> tuple[Codes, Codes]:
            values, spans = self._beside(X)
            cells = self._cells(self._of_joined(values), spans)
            return few_agreeing(cells, len(values), len(X)) if len(X) <= _FEW else agreeing(cells, len(values))

        made: tuple[Codes, Codes] = X.made((self, "agreeing"), make)
        return made

    def _of_joined(self, values: Floats) -> Floats:
        return values[:, [self.judged.index(name) for name in self._joined]]

    def _counted(self, X: Table) -> tuple[Codes, Floats]:
        """`_counts` of the rows and of the remembered ones beside them."""
        made: tuple[Codes, Floats] = X.made((self, "counted"), lambda: self._counts(*self._beside(X)))
        return made

    def _counts(self, values: Floats, spans: Codes) -> tuple[Codes, Floats]:
        """How many others of its span have each value, and how many have any; both (n, columns)."""
        others, compared = np.zeros(values.shape, dtype=np.int64), np.zeros(values.shape)
        spans = pd.factorize(spans)[0]
        for i, keys in enumerate(self._cells(values, spans)):
            given = keys > 0
            others[given, i] = repeats_of(keys[given])
            compared[given, i] = (np.bincount(spans[given]) - 1)[spans[given]]
        return others, compared

    def _out(self, single: Floats, agreed: Codes, by_chance: Floats, compared: Floats) -> npt.NDArray[np.float32]:
        if not self.together_:
            return single.astype(np.float32)
        together = np.zeros(len(single))
        for i, chance in enumerate(self.together_):
            at = np.flatnonzero(agreed >= i + 2)
            if not len(at):
                break
            # That many or more: no less than fewer.
            together[at] = np.maximum(together[at], chance.evidence(compared[at]))
        together = np.minimum(together, minus_log(by_chance))
        single = np.where(single <= together[:, None], 0.0, single)
        return np.column_stack([single, together]).astype(np.float32)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``repeated <column>`` for each, and ``values repeated together``."""
        names = [f"repeated {name}" for name in self.judged]
        return np.asarray([*names, "values repeated together"] if self.together_ else names, dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """Source columns of each feature."""
        return [(name,) for name in self.judged] + ([tuple(self._joined)] if self.together_ else [])

    @property
    def feature_groups_(self) -> list[tuple[str, ...]]:
        """The span of time that each is compared within."""
        return [tuple(self.within)] * len(self.get_feature_names_out())

    def in_units(self, X: Any, rows: Codes | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return how many rows hold each value, and the columns that agree with one other row; both (n, features).

        What is usual is 1 and, of the columns that agree, the first such row by the index of `X`; None where that is a
        training record. `rows` are the positions of those to tell of, among all of `X`; all if not given.
        """
        X = as_table(X)
        places = np.arange(len(X)) if rows is None else np.asarray(rows, dtype=np.int64)
        out = np.empty((len(places), len(self.get_feature_names_out())), dtype=object)
        usual = np.full(out.shape, 1, dtype=object)
        if len(X) <= _FEW:
            others, _, agreed, *_ = self._among_few(X, _values(X, self.judged), self._spans(X))
            out[:, : len(self.judged)] = others[places] + 1
            if self.together_ and not agreed[places].any():
                # No columns, and no other row.
                out[:, -1:].fill(())
                usual[:, -1] = None
                return out, usual
        values, spans = self._beside(X)
        if len(X) > _FEW:
            others, _ = self._counted(X)
            out[:, : len(self.judged)] = others[places] + 1
        if self.together_:
            _, which = self._agreeing(X)
            named = {
                columns: tuple(name for i, name in enumerate(self._joined) if columns >> i & 1)
                for columns in np.unique(which[places]).tolist()
            }
            out[:, -1] = pd.Series(which[places]).map(named)
            other = partners(self._cells(self._of_joined(values), spans), which, places)
            usual[:, -1] = labels_at(X.labels, other)
        return out, usual

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``repeated``."""
        return "repeated"

    @classmethod
    def says(cls, value: Any) -> bool:
        """Nothing of a value that occurs once."""
        return len(value) > 1 if isinstance(value, tuple) else bool(value > 1)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: which value how many rows hold, or which values are those of what row."""
        if isinstance(value, tuple):
            those = N_("one of the %(rows)s training records")
            which = say(those, rows=number(rows)) if usual is None else say("row %(row)s", row=as_text(usual))
            near = N_("%(columns)s are those of %(which)s, within four weeks of it")
            template = near if source.group_by else N_("%(columns)s are those of %(which)s")
            return say(template, columns=listed(list(value)), which=which)
        name, unit = without_unit(source.columns[0])
        shown = measured(row[source.columns[0]], unit, exactly)  # for that is what they share
        near = N_("%(count)s rows within four weeks have this very %(name)s, %(value)s")
        template = near if source.group_by else N_("%(count)s rows have this very %(name)s, %(value)s")
        return say(template, count=number(value), name=name, value=shown)


def _of_density(evidence: Floats, others: Codes, frequency: Frequency) -> Floats:
    """What of the evidence of a dense batch is more than as large a share of the training rows had, shape (n,).

    By how many `others` have the same, no value is more than a tenth of a share: one that is stuck is not compared with
    itself.
    """
    n, some = len(evidence), np.flatnonzero(evidence > 0)
    order = some[np.argsort(-evidence[some], kind="stable")]
    ordered, alike = np.append(evidence[order], 0.0), others[order] + 1.0
    here: list[float] = []
    more: list[float] = []
    for share in _SHARES_OF_A_BATCH:
        rows = share * n
        if rows < _VALUES_AT_LEAST:
            break
        counted = np.cumsum(np.minimum(1.0, rows / _VALUES_AT_LEAST / alike))
        reached = float(ordered[np.searchsorted(counted, rows)])
        if not here or reached > here[-1]:
            here.append(reached)
            more.append(max(reached - frequency.usual(share), 0.0))
    out = np.zeros(n)
    if any(more):
        out[some] = np.minimum(evidence[some], np.interp(evidence[some], here, more))
    return out


_remembered: Kept[Readings, Remembered] = Kept(
    lambda readings: Remembered(
        np.array(readings._cells(readings.last_, readings.last_spans_), dtype=np.uint64).reshape(
            len(readings.judged), len(readings.last_)
        ),
        readings.last_spans_,
        readings.last_whole_,
    )
)

_arrays: Kept[Readings, tuple[tuple[npt.NDArray[Any], ...], Codes]] = Kept(
    lambda readings: (
        _remembered(readings).arrays(),
        np.array([readings.judged.index(name) for name in readings._joined], dtype=np.int64),
    )
)
"""What compiled code looks into, and the columns that are looked at together."""
