"""`Evidence`: how improbable each feature of a row is, in nats, with tails that go on beyond all that was seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from anomaly_detection.features.surprise import DeviationSummary, Floats32

__all__ = ["Evidence"]

_LEVELS = np.array([0.5, 0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.002, 0.001, 5e-4, 2e-4, 1e-4, 5e-5])
CFG = dict(mode="mixed", alpha=0.0, trim=0.0, rounds=1, pi=0.002, slope=0.05, never=2.0)
_FAR = (0.05, 0.025, 0.01, 0.005, 0.002)
_TAIL_FROM = 0.1
_LEAST_SLOPE = 0.05
_LEAST_VALUES = 20
_WEIGHTS = np.array([1.0, 0.3, 0.1])
_MOST = np.float32(1e6)


class Evidence(DeviationSummary):
    """``-log`` of the probability that a usual record's feature lies as far out, on its side.

    Up to the outermost 1 % the probability is that of the training records. Beyond, the tail is exponential in the
    logarithm of the deviation (a power law, as Hill, 1975, has it), as heavy as the heaviest stretch from the outermost
    10 % on: it is neither capped, so that one enormous deviation outweighs many moderate ones, nor lighter than what was
    seen. Features that come as evidence (`nats`) keep their values.

    `total` weighs up a row: of the columns judged, the largest evidence, 0.3 of the second and 0.1 of the third.

    Parameters
    ----------
    least, most : see `DeviationSummary`
    nats, logarithmic, one_sided : sequence of bool, optional
        One a feature: whether it is evidence already; grows as a logarithm of a deviation; and is odd on the upper side
        only.
    judged : sequence of int, optional
        One a feature: the number of the column that it judges.
    """

    def __init__(
        self,
        least: Sequence[float] | None = None,
        most: Sequence[float] | None = None,
        nats: Sequence[bool] | None = None,
        logarithmic: Sequence[bool] | None = None,
        one_sided: Sequence[bool] | None = None,
        judged: Sequence[int] | None = None,
        discrete: Sequence[bool] | None = None,
    ) -> None:
        super().__init__(least, most)
        self.nats = nats
        self.logarithmic = logarithmic
        self.one_sided = one_sided
        self.judged = judged
        self.discrete = discrete

    def fit(self, X: Floats32, y: object = None) -> Evidence:
        """Learn each feature's tails."""
        n = X.shape[1]
        self.knots_ = np.full((2, n, len(_LEVELS)), np.inf)
        self.worth_ = np.zeros((2, n, len(_LEVELS)))
        self.slopes_ = np.ones((2, n))
        super().fit(X)
        self._fit_tails(X)
        for _ in range(CFG["rounds"] if CFG["trim"] else 0):
            total = self.total(self.deviations(X))
            self._fit_tails(X[total <= np.quantile(total, 1.0 - CFG["trim"])])
        self.profile_ = np.median(np.sort(self.deviations(X[:: -(-len(X) // 10_000)]), axis=1), axis=0)[::-1].copy()
        return self

    def _fit_tails(self, X: Floats32) -> None:
        for i in range(X.shape[1]):
            if self._flag("nats", i):
                continue
            placed = self._placed(X[:, i], i)
            placed = placed[~np.isnan(placed)]
            if placed.size < _LEAST_VALUES:
                continue
            for side, sign in ((0, 1.0), (1, -1.0)):
                self.knots_[side, i], self.worth_[side, i], self.slopes_[side, i] = _tail(
                    sign * placed, {'L1': False, 'L2': True, 'mixed': self._flag('discrete', i)}[CFG['mode']]
                )

    def _flag(self, name: str, i: int) -> bool:
        flags = getattr(self, name)
        return bool(flags[i]) if flags is not None else False

    def _placed(self, values: Floats32, i: int) -> npt.NDArray[np.float64]:
        """A feature's values about their median, on a scale that is the logarithm of a deviation for large ones."""
        away = values.astype(np.float64) - self.median_[i]
        if self._flag("logarithmic", i):
            return away
        width = self.width_[:, i]
        width = np.where(np.isfinite(width), width, np.nanmin(np.append(width[np.isfinite(width)], 1.0)))
        return np.asarray(np.arcsinh(away / np.where(away > 0, width[0], width[1])))

    def deviations(self, X: Floats32) -> Floats32:
        """Give the evidence in nats, shape (n, features), at least 0; 0 where a value is missing."""
        check_is_fitted(self)
        out = np.zeros(X.shape, dtype=np.float32)
        for i in range(X.shape[1]):
            if self._flag("nats", i):
                out[:, i] = np.nan_to_num(X[:, i])
                continue
            placed = np.nan_to_num(self._placed(X[:, i], i))
            found = _evidence(placed, self.knots_[0, i], self.worth_[0, i], self.slopes_[0, i])
            if not self._flag("one_sided", i):
                below = _evidence(-placed, self.knots_[1, i], self.worth_[1, i], self.slopes_[1, i])
                found = np.maximum(np.maximum(found, below) - np.log(2.0), 0.0)
            out[:, i] = np.where(np.isnan(X[:, i]), 0.0, np.minimum(found, _MOST))
        return out

    def total(self, evidence: Floats32) -> npt.NDArray[np.float32]:
        """Weigh up each row's evidence, shape (n, features), as `deviations` gives it; nats, shape (n,)."""
        if self.judged is None:
            columns = evidence
        else:
            order = np.argsort(self.judged, kind="stable")
            starts = np.flatnonzero(np.diff(np.asarray(self.judged)[order], prepend=-1))
            columns = np.maximum.reduceat(evidence[:, order], starts, axis=1)
        count = min(len(_WEIGHTS), columns.shape[1])
        largest = np.sort(np.partition(columns, columns.shape[1] - count, axis=1)[:, -count:], axis=1)[:, ::-1]
        return np.asarray(largest.astype(np.float64) @ _WEIGHTS[:count], dtype=np.float32)


    def summary(self, z: Floats32) -> Floats32:
        """`transform` of rows whose evidence, shape (n, features), is known: as `DeviationSummary`, and `total`."""
        return np.column_stack([super().summary(z), self.total(z)])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names."""
        return np.append(super().get_feature_names_out(), "evidence")


def _tail(
    values: npt.NDArray[np.float64], discrete: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Where the outermost shares `_LEVELS` of the values begin, the evidence there, and the slope beyond."""
    n = values.size
    ordered = np.sort(values)
    known = (_LEVELS * n >= 3.0) & (discrete | (_LEVELS >= 0.01))
    knots = np.quantile(values, 1.0 - _LEVELS)
    edge = float(np.quantile(values, 1.0 - _TAIL_FROM))
    far = [share for share in _FAR if share * n >= 2.0 and share >= CFG["pi"] * 0.999]
    slopes = [(float(np.quantile(values, 1.0 - share)) - edge) / np.log(_TAIL_FROM / share) for share in far]
    slope = max([CFG["slope"], *slopes])
    # By ranks: what of the values lies at or beyond.
    beyond = n - np.searchsorted(ordered, knots, side="left")
    worth = -np.log((beyond + 0.5) / (n + 1.0))
    drawn = -np.log(_TAIL_FROM) + (knots - edge) / slope
    worth = np.where(knots > edge, worth + CFG["alpha"] * np.maximum(drawn - worth, 0.0), worth)
    last = int(np.flatnonzero(known)[-1])
    knots[last + 1 :], worth[last + 1 :] = knots[last], worth[last]
    return knots, np.maximum.accumulate(worth), slope


def _evidence(
    values: npt.NDArray[np.float64], knots: npt.NDArray[np.float64], worth: npt.NDArray[np.float64], slope: float
) -> npt.NDArray[np.float64]:
    if not np.isfinite(knots).all():
        return np.zeros(len(values))
    # From above, so that of equal knots the outermost share counts that begins there.
    within = np.interp(-values, -knots[::-1], worth[::-1])
    return np.where(values > knots[-1], worth[-1] + (values - knots[-1]) / slope, within)
