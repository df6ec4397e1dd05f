"""Why a row is abnormal: the columns that stand out, by how much, as values and as a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from math import isclose, isfinite
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.table import Table
from anomaly_detection.data.json_values import plain
from anomaly_detection.explain.attribution import Attribution, attribute
from anomaly_detection.explain.wording import listed, phrase, sentence
from anomaly_detection.features.group import FEW, FeatureSource
from anomaly_detection.features.kept_features import foretold
from anomaly_detection.features.kinds import KINDS
from anomaly_detection.features.units import Units

__all__ = ["Contribution", "Explanation", "explain_features"]

Floats = npt.NDArray[np.float64]

_LEAST_SHARE = 0.05
_LEAST_WAY = 0.02  # of the way from the usual score to the threshold
# Standard deviations; what is nearer is no reason that a person would accept. By evidence more tells, and less only
# where nothing else does.
_LEAST_FARNESS = 1.0
_LEAST_BY_EVIDENCE = 2.0
_FAR = 10.0
_BY_ITSELF = 0.5


@dataclass(frozen=True)
class Contribution:
    """One reason.

    Attributes
    ----------
    feature : str
        Name of the feature that tells it.
    columns : tuple of str
        Input columns that it judges, those that `share` belongs to first.
    value, expected : object
        What the record has and what is usual, in the columns' own units; for categories the level and the number of
        training records with it.
    expected_range : tuple of two floats, or None
        Between what the middle 90 % of the training records lie, against the same group, in the same units as `value`;
        None for what has no order, and for rules.
    direction : str
        ``high``, ``low``, ``usual``, ``rare``, ``missing`` or ``repeated``.
    factor : float or None
        Value over expected, where both are positive numbers.
    share : float
        Part of all that lowers the record's score, 0 to 1. What raises it is not counted, so that the shares of all
        reasons and of the rest add up to 1.
    effect : float
        By how much the score changes through it, in units of the score; negative makes the record more abnormal.
    text : str
        The reason as a clause.
    """

    feature: str
    columns: tuple[str, ...]
    value: Any
    expected: Any
    expected_range: tuple[float, float] | None
    direction: str
    factor: float | None
    share: float
    effect: float
    text: str


@dataclass(frozen=True)
class Explanation:
    """Why one row has its score: ``score = base + sum of the contributions' effects + rest``.

    Attributes
    ----------
    score : float
        `score_samples` of the row, in [-1, 0), lower for the more abnormal.
    base : float
        The score of the usual record: features at their medians, surprises as large as is usual (see `attribute`).
    is_alert : bool
        Whether the score is below the threshold.
    contributions : tuple of Contribution
        The strongest reason first; empty if nothing stands out.
    rest : float
        The effect of everything else together, what makes the row look more normal included.
    sentence : str
    """

    score: float
    base: float
    is_alert: bool
    contributions: tuple[Contribution, ...]
    rest: float
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain JSON-able values."""
        # `asdict` would copy every value first.
        result: dict[str, Any] = plain({**vars(self), "contributions": [vars(each) for each in self.contributions]})
        return result


def explain_features(
    detector: Any,
    extended: Table,
    features: npt.NDArray[np.float32],
    positions: npt.NDArray[np.int64],
    top: int = 3,
    threshold: float | None = None,
    *,
    alerts: npt.NDArray[np.bool_] | None = None,
) -> list[Explanation]:
    """Explain the scores of some rows.

    Each column's effect is a Shapley value of the score (`attribute`). One of its features
    tells it: the one that lies farthest out, counted less where it judges several columns at once. Columns of which one
    feature tells are one reason, and so is a column that is odd only beside one that a stronger reason is about.

    Parameters
    ----------
    detector : object
        With `preprocessor` (a fitted `SupplyChainFeatures`), `score_features` and `model` (`offset_`), as `Detector`.
    extended : Table
        What ``preprocessor.prepare`` made of the records, its rows called as reasons are to name them.
    features : ndarray of float32, shape (n, n_features)
        What ``preprocessor.features_of`` gave for all of them, since repeats are counted among them.
    positions : ndarray of int64
        The rows to explain, from 0.
    top : int, default 3
        Most reasons a row.
    threshold : float, optional
        Scores below it are alerts; ``detector.model.offset_`` if not given.
    alerts : ndarray of bool, of the shape of `positions`, optional
        The verdicts where somebody else has judged: no threshold then says how much a reason must do to be one.

    Returns
    -------
    list of Explanation
        In the order of `positions`.
    """
    if positions.size == 0:
        return []
    features = features[positions]
    found = attribute(detector, features)
    least = 0.0
    if alerts is None:
        cut = float(detector.model.offset_) if threshold is None else threshold
        alerts, least = found.score < cut, _LEAST_WAY * max(found.base - cut, 0.0)
    told = _Told(detector.preprocessor, found, extended, positions, features, least)
    result = []
    for i in range(len(positions)):
        score, reasons = float(found.score[i]), told.reasons(i, top)
        result.append(
            Explanation(
                score=score,
                base=found.base,
                is_alert=bool(alerts[i]),
                contributions=reasons,
                rest=score - found.base - sum(reason.effect for reason in reasons),
                sentence=sentence(
                    [(reason.text, reason.share) for reason in reasons],
                    alert=bool(alerts[i]),
                    columns=() if reasons else told.columns(i, top),
                ),
            )
        )
    return result


def _weigh_tellers(preprocessor: Any) -> tuple[Floats, npt.NDArray[np.bool_], dict[tuple[str, ...], list[int]]]:
    """How well each feature tells, whether it is evidence, and the features that judge columns within contexts."""
    judged: Sequence[FeatureSource] = preprocessor.feature_sources_[: len(preprocessor.kept_)]
    contexts: dict[tuple[str, ...], list[int]] = {}
    for feature, source in enumerate(judged):
        if source.kind == "contexts":
            contexts.setdefault(source.columns, []).append(feature)
    kinds = [KINDS[source.kind] for source in judged]
    weights = np.array([kind.weight(source) for kind, source in zip(kinds, judged, strict=True)])
    # Beside its group or the rest of the record a number says more.
    weights[foretold(judged)] *= _BY_ITSELF
    return weights, np.array([kind.weighed for kind in kinds]), contexts


_tellers: Kept[Any, tuple[Floats, npt.NDArray[np.bool_], dict[tuple[str, ...], list[int]]]] = Kept(_weigh_tellers)


class _Told:
    """The effects of players as reasons, each told by a feature."""

    def __init__(
        self,
        preprocessor: Any,
        found: Attribution,
        extended: Table,
        positions: npt.NDArray[np.int64],
        features: npt.NDArray[np.float32],
        least: float,
    ) -> None:
        self.sources: Sequence[FeatureSource] = preprocessor.feature_sources_
        self.n_records = int(preprocessor.n_records_)
        self.found = found
        self.units = Units(preprocessor, extended, positions)
        self.features = features
        self.farness = found.farness
        self.records = self.units.rows.records()
        self.falls = np.maximum(-found.effects, 0.0)
        self.fall = self.falls.sum(axis=1) + np.maximum(-found.rest, 0.0)
        self.least = np.maximum(_LEAST_SHARE * self.fall, max(least, 1e-12))
        weight, weighed, self.contexts = _tellers(preprocessor)
        self.telling = np.minimum(self.farness, _FAR) * weight
        self.least_farness = _LEAST_FARNESS
        self.by_evidence = preprocessor.evidence_ is not None
        self.preprocessor, self.weight, self.weighed = preprocessor, weight, weighed
        if self.by_evidence:
            self.least_farness = _LEAST_BY_EVIDENCE
            # By evidence, so that what is only a little rare does not tell of what a rare pair has done. What is no
            # evidence is told by what is: its words are of what the records show, not of an estimate.
            self.telling *= np.minimum(self.farness, _FAR) * weighed
        self._besides: dict[tuple[int, tuple[str, ...]], FeatureSource] = {}

    def reasons(self, row: int, top: int) -> tuple[Contribution, ...]:
        """The strongest reasons of a row; what is ordinary, or not so far out, is one only where nothing else is.

        Where evidence has none, what surprises the forest is told: no evidence by itself, but what made the score.
        """
        found = self._reasons(row, top, self._far[row], self._strictly)
        found = found or self._reasons(row, min(top, 1), self._beyond[row], self._by_and_large)
        if self.by_evidence and not found:
            return self._reasons(row, top, self._surprising[row], self.units.is_fact)
        return found

    def columns(self, row: int, top: int) -> list[tuple[str, float]]:
        """The columns that lower a row's score most, and their shares."""
        players = np.argsort(-self.falls[row], kind="stable")[:top].tolist()
        return [
            (listed(self.found.players[player].columns), float(self.falls[row, player] / self.fall[row]))
            for player in players
            if self.falls[row, player] >= self.least[row]
        ]

    @cached_property
    def _far(self) -> list[list[int]]:
        """The features of each row that lie far out, those that tell best first."""
        return _best_first(self.telling, (self.telling > 0.0) & (self.farness >= self.least_farness))

    @cached_property
    def _beyond(self) -> list[list[int]]:
        """`_far`, with those that lie not so far out."""
        return _best_first(self.telling, (self.telling > 0.0) & (self.farness >= _LEAST_FARNESS))

    @cached_property
    def _surprising(self) -> list[list[int]]:
        """The features of each row that are no evidence and surprise the forest more than any does usually."""
        found = self.preprocessor.surprises(self.features)
        worth: Floats = self.preprocessor.standing_out(np.zeros_like(self.farness), found) * self.weight
        return _best_first(worth, (worth > 0.0) & ~self.weighed)

    def _reasons(
        self, row: int, top: int, able: Sequence[int], says: Callable[[int, int], bool]
    ) -> tuple[Contribution, ...]:
        """The strongest reasons, told by those of the `able` features, the best first, that have something to say."""
        by_feature: dict[int, list[int]] = {}
        teller_of: dict[str, int] = {}
        falls = self.falls[row].tolist()
        least, said = float(self.least[row]), dict[int, bool]()

        def tells(feature: int) -> bool:
            if feature not in said:
                said[feature] = says(row, feature)
            return said[feature]

        for player in sorted((i for i, fall in enumerate(falls) if fall >= least), key=lambda i: -falls[i]):
            own, columns = self.found.players[player].own, self.found.players[player].columns
            feature = next((one for one in able if one in own and tells(one)), None)
            if feature is None:
                continue
            if len(columns) == 1:
                # Odd only beside a column that has been told: the same story.
                beside = (teller_of[name] for name in self.sources[feature].columns if name in teller_of)
                feature = teller_of[columns[0]] = next(beside, feature)
            by_feature.setdefault(feature, []).append(player)
        # A record that occurs again repeats all its readings: one reason, told by what is about most columns, of equal
        # ones the strongest.
        repeats = [feature for feature in by_feature if KINDS[self.sources[feature].kind].repeats]
        if len(repeats) > 1:
            players = [player for feature in repeats for player in by_feature.pop(feature)]
            telling = (one for one in able if KINDS[self.sources[one].kind].repeats and tells(one))
            by_feature[max(telling, key=lambda feature: len(self.sources[feature].columns))] = players
        fall = {feature: _total(falls, players) for feature, players in by_feature.items()}
        strongest = sorted(fall, key=lambda feature: -fall[feature])[:top]
        return tuple(self._reason(row, feature, by_feature[feature], fall[feature]) for feature in strongest)

    def _strictly(self, row: int, feature: int) -> bool:
        """Whether a feature has something to say."""
        return self._says(row, feature, True)

    def _by_and_large(self, row: int, feature: int) -> bool:
        """`_strictly`, or something ordinary."""
        return self._says(row, feature, False)

    def _says(self, row: int, feature: int, strict: bool) -> bool:
        kind, (value, usual) = KINDS[self.sources[feature].kind], self.units.of(row, feature)
        # Of a level as common as others nothing is told; of a number that is a little odd, for want of better.
        if (strict or not kind.ordered) and kind.is_ordinary(float(self.features[row, feature]), value, usual):
            return False
        # A training record that comes again has its features of the training, and may have no neighbours here.
        if not (kind.says(value) and kind.tells(usual)):
            return False
        if kind.ordered and isinstance(value, float):
            # A training record alone in its group is all that was usual there.
            if isclose(value, usual, rel_tol=1e-9):
                return False
            # What nine of ten are between is usual, however far from the median.
            low, high = self.units.between(row, feature)
            if strict and low <= value <= high:
                return False
        # Columns that say the same cannot disagree, whatever an estimate makes of the largest numbers.
        beside = self.units.told_beside(row, feature)
        if beside and any(self.records[row].get(name) == value for name in beside):
            return False
        return beside is None or not self._is_known(row, feature, value)

    def _is_known(self, row: int, feature: int, value: Any) -> bool:
        """Whether some group of the record has a history that holds the value: it knows better than all records do."""
        for other in self.contexts.get(self.sources[feature].columns, ()):
            low, high = self.units.between(row, other)
            if self.units.told_beside(row, other) is None and low <= value <= high:
                return True
        return False

    def _source(self, feature: int, beside: tuple[str, ...] | None) -> FeatureSource:
        """Where a feature comes from, `beside` what it is told."""
        if beside is None:
            return self.sources[feature]
        if (feature, beside) not in self._besides:
            self._besides[feature, beside] = replace(self.sources[feature], group_by=beside)
        return self._besides[feature, beside]

    def _reason(self, row: int, feature: int, players: list[int], fall: float) -> Contribution:
        source = self._source(feature, self.units.told_beside(row, feature))
        kind = KINDS[source.kind]
        (value, usual), (low, high) = self.units.of(row, feature), self.units.between(row, feature)
        rows = self.n_records
        if kind.ordered:
            facts = self.units.facts(row, feature)
            rows = 0 if facts is None else facts.values
            kept = facts is not None and not kind.weighed and rows >= FEW
            if facts is not None and kept and (value > usual) == (value > facts.median):
                # What a group had, and not what its values and those of others together make one expect.
                _, usual, low, high = facts
        between = (low, high) if isfinite(low) and isfinite(high) else None
        own = [column for player in players for column in self.found.players[player].columns]
        return Contribution(
            feature=source.name,
            columns=tuple(dict.fromkeys([*(column for column in own if column in source.columns), *source.columns])),
            value=plain(value),
            expected=plain(usual),
            expected_range=between,
            direction=kind.direction(value, usual),
            factor=_factor(value, usual, between) if kind.ordered else None,
            share=float(fall / self.fall[row]),
            effect=_total(self.found.effects[row], players),
            text=phrase(source, value, usual, self.records[row], rows, between),
        )


def _best_first(worth: Floats, able: npt.NDArray[np.bool_]) -> list[list[int]]:
    """The features of each row that are `able`, those of most `worth` first, of equal ones the first."""
    rows, features = np.nonzero(able)
    found = features[np.lexsort((-worth[rows, features], rows))].tolist()
    ends = np.cumsum(np.count_nonzero(able, axis=1)).tolist()
    return [found[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _total(of: Sequence[float] | Floats, places: list[int]) -> float:
    """The sum of what is at some places, of which there is mostly one."""
    # One after the other, as NumPy adds up to seven; Python's `sum` may round otherwise.
    return float(reduce(add, [of[place] for place in places]))


def _factor(value: Any, usual: Any, between: tuple[float, float] | None) -> float | None:
    """How many times the usual a number is; None of dates, and where one is, or usually may be, not positive."""
    if isinstance(value, np.datetime64) or (between is not None and between[0] < 0.0):
        return None
    return float(value / usual) if value > 0 and usual > 0 else None
