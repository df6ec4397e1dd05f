"""How odd a category is beside the column that foretells it best, by the other rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import MISSING_LEVEL, CombinedLevels, Kept, Levels, levels_of, vocabulary
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.categories.companions import NONE, RARELY, Companions, find_companions
from anomaly_detection.features.categories.level_pairs import (
    LevelPairs,
    PairCounter,
    PairCounts,
    described,
    in_so_many,
    shown,
)
from anomaly_detection.features.categories.newcomers import Newcomer, Places
from anomaly_detection.features.categories.pairing import most_related
from anomaly_detection.features.clauses import number
from anomaly_detection.features.compiled.combinations import pair_counts
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.forms import worth_less_of_one
from anomaly_detection.features.group import FeatureSource, Range, Row
from anomaly_detection.features.numbers.history import UNSURE
from anomaly_detection.features.repeats.coincidences import combined, keys_by_column
from anomaly_detection.features.repeats.transactions import Transactions, find_transactions
from anomaly_detection.progress import steps
from anomaly_detection.texts.said import N_, Said, say

__all__ = ["Relation", "Relations"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_LENT = (0.1, 1.0, 5.0, 30.0)
_LEAST_GAIN = 0.05  # in nats a row
_MOST_LEVELS = 0.7
_KEPT = 2
_SAMPLE = 5_000
_MOST_OTHERS = 0.5  # of the records with the given level and another: what they have is told
_LEAST_COUNT = 0.3  # of others with a level that occurred once


@dataclass
class Relation:
    """Column `of` judged beside column `given`; `lent` pseudo-counts go to how common each level is anyway.

    `lent_back` are those of `given` beside `of`; None in files of before.
    """

    of: str
    given: str
    lent: float
    levels: Levels
    given_levels: Levels
    both: CombinedLevels
    lent_back: float | None = None

    @property
    def name(self) -> str:
        """What the feature is called."""
        return f"{self.of} beside {self.given}"


def _new(counts: Codes) -> float:
    """The share of rows whose level is new, as often as levels were new in training (Good, 1953)."""
    return float((np.count_nonzero(counts == 1) + 0.5) / (counts.sum() + 1.0))


def _share(of: Any, own: int, new: Any, rows: Any) -> Floats:
    """How common each level is among the other rows."""
    return np.asarray(np.maximum(of - own, _LEAST_COUNT) * (1.0 - new) / rows)


class Relations(LevelPairs):
    """``-log p(b | a)`` in nats for each category `b` and the two columns `a` that foretell it best.

    No pair is odder than ``p(a | b)`` makes it: of two records of a rare `b`, one with an `a` that half of all records
    have is none, though none of these many has had that `b`. A pair never seen that several rows of a batch bring is
    worth as much less.

    `p` has pseudo-counts in proportion to how common `b` is, as many as make the training rows likeliest, each judged
    by the others. A column that tells less than 0.05 nats a row is no `a`. What is common is no evidence: how far out a
    surprisal lies is judged by the training rows' own, and it is 0 where more than a tenth of the rows with `a` have
    `b`, or as many as without `a`. So it is where other companions of `b` tell of another town of its name
    (`Companions`). Where a column names transactions of several rows, rows are judged by those of other transactions.

    Parameters
    ----------
    kin : mapping of str to sequence of str, optional
        Columns that a category is made of: none is foretold by what it is made of.
    keys : sequence of str
        Columns that may name transactions, besides the categories, and neither foretell nor are foretold.
    dates : sequence of str
        Columns of dates, that tell which transactions are later ones.
    """

    units: ClassVar[tuple[float, float]] = (0.75, 1.0)
    logarithmic: ClassVar[bool] = True
    one_sided: ClassVar[bool] = True
    companions_: Companions = NONE

    def __init__(self, kin: Any = None, keys: Sequence[str] = (), dates: Sequence[str] = ()) -> None:
        self.kin = kin
        self.keys = keys
        self.dates = dates

    def fit(self, X: Any, y: object = None) -> Relations:
        """Find the relations and count their levels."""
        X = self._seen(X)
        step = -(-len(X) // _SAMPLE)
        coded: dict[str, tuple[Codes, int]] = {}
        categories = [name for name in X if name not in (*self.keys, *self.dates)]
        levels = {name: levels_of(X, name) for name in categories}
        for name, found in levels.items():
            if 1 < len(found) <= _MOST_LEVELS * len(X):
                coded[name] = (found.codes(X[name])[::step], len(found))
        coded = {name: coded[name] for name in most_related(coded)}
        self.companions_ = find_companions(X, categories)
        self.relations_: list[Relation] = []
        transactions = find_transactions(X, [*categories, *self.keys], self.dates)
        if transactions is not None:
            transactions = transactions[0], np.unique(transactions[1][::step], return_inverse=True)[1]
        for of in steps(list(coded), "comparing categories"):
            chosen = self._chosen(of, coded, transactions)
            for _, given, lent in sorted(chosen, reverse=True)[:_KEPT]:
                both = CombinedLevels(X, (given, of))
                back = _likeliest(given, of, coded, transactions)[1]
                self.relations_.append(Relation(of, given, lent, levels[of], levels[given], both, back))
        return self

    def _chosen(
        self, of: str, coded: dict[str, tuple[Codes, int]], transactions: Transactions | None
    ) -> list[tuple[float, str, float]]:
        """The columns that foretell one better than nothing does: how likely they make it, and what is lent."""
        codes, size = coded[of]
        counts = np.bincount(codes, minlength=size)
        alone = float(np.mean(np.log(_share(counts[codes], 1, _new(counts), len(codes)))))
        found = ((*_likeliest(of, given, coded, transactions), given) for given in self._promising(of, coded))
        return [(likely, given, lent) for likely, lent, given in found if likely > alone + _LEAST_GAIN]

    def _promising(self, of: str, coded: dict[str, tuple[Codes, int]]) -> list[str]:
        kin = self.kin or {}
        mine = {of, *kin.get(of, ())}
        return [name for name in coded if not mine & {name, *kin.get(name, ())}]

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The surprisals in nats, shape (n, relations)."""
        out = super().features_of(X)
        self.with_others(X, out)
        return out

    def with_others(self, X: Table, found: npt.NDArray[np.float32]) -> None:
        """Change the surprisals, shape (n, relations): a pair never seen that several rows bring is worth less."""
        if len(X) == 1:
            return
        both = self._counts(X).both
        for i, one in enumerate(self.relations_):
            new = np.flatnonzero((both[:, i] == 0) & (found[:, i] > 0))
            if len(new) > 1 and one.lent_back is not None:
                cells = keys_by_column(X, (one.of, one.given))
                worth_less_of_one(found[:, i], new, combined(cells, len(X)), 1.0)

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        return [(relation.of, relation.given) for relation in self.relations_]

    def _counts(self, X: Table) -> PairCounts:
        return _learned(self).counter.of(X)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`; what follows from one level alone is found once a level."""
        learned, found = _learned(self), []
        parts = zip(self.relations_, learned.new, learned.rows, learned.lent, learned.new_given, strict=True)
        for relation, new, rows, lent, new_given in parts:
            given, of, both = pair_counts(program, relation.both)
            counts = np.append(relation.both.levels[1].counts, 0)
            share = np.where(counts > 0, _share(counts, 0, new, rows), new)
            lent_share = program.of_level(relation.of, vocabulary(relation.both.levels[1]), lent * share)
            likely = (both + lent_share) / (given + float(lent))
            common = (both > given * RARELY).at_least((of > 0.0) & (both * float(rows) >= of * given))
            told = -likely.log()
            if relation.lent_back is not None:
                back = relation.lent_back
                of_given = np.append(relation.both.levels[0].counts, 0)
                share = np.where(of_given > 0, _share(of_given, 0, new_given, rows), new_given)
                lent_share = program.of_level(relation.given, vocabulary(relation.both.levels[0]), back * share)
                # How likely the other column is beside this one: of two records of a level one may be anything.
                told_back = -((both + lent_share) / (of + back)).log()
                told = (of > 0.0).where(told.at_most(told_back), told)
            told = (given > 0.0).where(common.where(0.0, told), np.nan)
            if self.companions_.of:
                explained = self.companions_.new(program, relation.of, relation.given)
                explained = explained.at_least(self.companions_.agreement(program, relation.of, relation.given, both))
                explained = explained.at_least(of.equals(0.0) & self.companions_.news(program, relation.of))
                told = explained.where(0.0, told)
            found.append(told)
        return found

    def newcomers(self, X: Table, rows: Places, features: Places) -> Iterator[tuple[int, int, Newcomer]]:
        """The pairs that no training record had, or what is new of one: as of `CategoryRarity`."""
        counts, pairs = self._counts(X), self._pairs
        for at in np.flatnonzero(counts.both[rows, features] == 0).tolist():
            row, feature = int(rows[at]), int(features[at])
            of, given = pairs[feature]
            new = (of, X.objects(of)[row])
            yield row, at, new if counts.of[row, feature] == 0 else (*new, given, X.objects(given)[row])

    def _explained(self, X: Table, counts: PairCounts, own: int) -> npt.NDArray[np.bool_] | bool:
        known = self.companions_
        if not known.of:
            return False
        explained = np.empty(counts.both.shape, dtype=bool)
        for i, one in enumerate(self.relations_):
            explained[:, i] = known.are_new(X, one.of, one.given, own)
            explained[:, i] |= known.agree(X, one.of, one.given, counts.both[:, i], own)
            explained[:, i] |= (counts.of[:, i] <= own) & known.are_news(X, one.of, own)
        return explained

    def _surprisals(self, counts: PairCounts, own: int) -> npt.NDArray[Any]:
        learned, of, given, both = _learned(self), counts.of, counts.given, counts.both
        share = np.where(of > 0, _share(of, own, learned.new, learned.rows), learned.new)
        likely = (both - np.minimum(own, both) + learned.lent * share) / (np.maximum(given - own, 0) + learned.lent)
        common = both - own > RARELY * (given - own)
        common |= (of > own) & ((both - own) * learned.rows >= (of - own) * (given - own))
        found = -np.log(likely)
        if not np.isnan(learned.back).all():
            share = np.where(given > 0, _share(given, own, learned.new_given, learned.rows), learned.new_given)
            back = (both - np.minimum(own, both) + learned.back * share) / (np.maximum(of - own, 0) + learned.back)
            found = np.where(of > own, np.fmin(found, -np.log(back)), found)
        found = np.where(common, 0.0, found)
        # Beside a level that was never seen nothing is foretold.
        return np.where(given > own, found, np.nan)

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """`LevelPairs.in_units`, and the commonest other level beside the given one, and in how many rows it is."""
        X = as_table(X)
        values, usual = super().in_units(X)
        usual += _others(self).beside(*_learned(self).counter.levels(X))
        return values, usual

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<b> beside <a>`` for each relation."""
        return np.asarray([relation.name for relation in self.relations_], dtype=object)

    @classmethod
    def is_ordinary(cls, feature: float, value: Any, usual: Any) -> bool:
        """`FeatureGroup.is_ordinary`: what many rows with the other level have."""
        return feature <= 0.0

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: how many of the records with one category have the other."""
        (both, total), (level, count) = usual[:2], usual[2:] or ("", 0)
        of, given = (described(name, part) for name, part in zip(source.columns, value, strict=True))
        if both == 0 or both > RARELY * total:
            # One of two is what it is, and no rarity.
            told = in_so_many(of, given, both, total)
        else:
            told = say(
                "%(of)s is rare with %(given)s: %(both)s of its %(total)s records",
                of=of,
                given=given,
                both=number(both),
                total=number(total),
            )
        if count < max(both, _MOST_OTHERS * (total - both), 1):
            return told
        have = N_("%(told)s, %(count)s has %(level)s") if count == 1 else N_("%(told)s, %(count)s have %(level)s")
        have = N_("%(told)s, it is missing in %(count)s") if level == MISSING_LEVEL else have
        return say(have, told=told, count=number(count), level=shown(level))


def _likeliest(
    of: str, given: str, coded: dict[str, tuple[Codes, int]], transactions: Transactions | None
) -> tuple[float, float]:
    """How likely one column makes another at best, each row judged by the others, and what is lent then."""
    from anomaly_detection.features.compiled.pairs import counted_pairs, lent_shares

    (codes, size), (others, other_size) = coded[of], coded[given]
    counts = np.bincount(codes, minlength=size)
    share = _share(counts[codes], 1, _new(counts), len(codes))
    # What a transaction has in common, its own column tells.
    apart = np.zeros(0, dtype=np.int64) if transactions is None or transactions[0] == given else transactions[1]
    both, rows = counted_pairs(others, other_size, codes, size, apart)
    nearly = lent_shares(both, rows, share, np.array(_LENT))
    promising = (lent for lent, likely in zip(_LENT, nearly.tolist(), strict=True) if likely >= nearly.max() - UNSURE)
    return max((float(np.mean(np.log((both + lent * share) / (rows + lent)))), lent) for lent in promising)


@dataclass(frozen=True)
class _Learned:
    """What was learned of all relations, in arrays: rows, share of new levels, and what is lent; each (relations,)."""

    counter: PairCounter
    rows: Floats
    new: Floats
    lent: Floats
    new_given: Floats
    back: Floats

    @classmethod
    def of(cls, relations: Relations) -> _Learned:
        found = relations.relations_
        return cls(
            PairCounter([one.both for one in found]),
            np.array([float(one.levels.counts.sum()) for one in found]),
            np.array([_new(one.levels.counts) for one in found]),
            np.array([one.lent for one in found]),
            np.array([_new(one.given_levels.counts) for one in found]),
            np.array([np.nan if one.lent_back is None else one.lent_back for one in found]),
        )


_learned: Kept[Relations, _Learned] = Kept(_Learned.of)


class _Others:
    """The two commonest levels of a column beside each level of another, and in how many rows they are."""

    def __init__(self, relations: Relations) -> None:
        found = relations.relations_
        # The first of each is that of a new level.
        sizes = [len(one.both.levels[0]) + 1 for one in found]
        self._start = np.cumsum([0, *sizes])[:-1]
        self._commonest = np.full(sum(sizes), -1, dtype=np.int64)
        self._two = np.empty((len(self._commonest), 2), dtype=object)
        self._two.fill(("", 0))
        seen = [0] * len(self._commonest)
        for one, start in zip(found, self._start.tolist(), strict=True):
            given, of = np.divmod(one.both.known, len(one.both.levels[1]))
            names, order = one.both.levels[1].names.tolist(), np.argsort(-one.both.counts, kind="stable")
            parts = (given[order] + start + 1, of[order], one.both.counts[order])
            for at, level, count in zip(*(part.tolist() for part in parts), strict=True):
                if seen[at] < 2:
                    self._two[at, seen[at]] = (names[level], count)
                    if not seen[at]:
                        self._commonest[at] = level + 1
                    seen[at] += 1

    def beside(self, given: Codes, of: Codes) -> npt.NDArray[np.object_]:
        """The commonest level that a row has not, and its count; of levels from 1, 0 for a new one; (n, relations).

        ``("", 0)`` where there is none.
        """
        at = given + self._start
        found: npt.NDArray[np.object_] = self._two[at, (self._commonest[at] == of).astype(np.int64)]
        return found


_others: Kept[Relations, _Others] = Kept(_Others)
