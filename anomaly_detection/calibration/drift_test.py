"""`DriftTest`: watches every column of a stream, record by record, with an error rate that holds for good.

Each record gets a conformal p-value a column: its bin's place among those of the reference records and of all records
before it, ties broken at random. While the stream is exchangeable with the reference, these are independent and uniform
(Vovk, Gammerman and Shafer, 2005, theorem 8.2), whatever the distribution. Bets are made against that (Vovk et al.,
2021, "Retrain or not retrain"; Shafer, 2021; Waudby-Smith and Ramdas, 2024): a capital that starts at 1 is multiplied
by f(p), where f averages 1. By Ville's inequality it ever reaches 1 / a with a probability of at most a, so that one
may look every day. Since nobody knows when a change begins, each block of records starts bets of its own with a share
1 / (s (s + 1)) of the capital, and ten functions f share it alike; the mean is such a capital again.

Columns are combined by Bonferroni: an e-value counts where it reaches columns / level.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.column_reference import BINS

__all__ = ["BLOCK", "LEVEL", "DriftTest", "Observed"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

BLOCK = 32
"""Records between two looks. They are counted by place in the stream, so that batches do not matter."""

LEVEL = 0.01
"""The chance that a stream that never changes is ever said to have."""

_PERIODS = 256
"""Of equal length, of which counts are kept; where there are more, each two become one."""

_TILTS = np.array([-0.9, -0.4, 0.4, 0.9])
_WAVES = np.array([-0.7, 0.7])
_POWERS = np.array([0.5, 0.8])
_BETS = len(_TILTS) + len(_WAVES) + 2 * len(_POWERS)


def _log_bets(p: Floats) -> Floats:
    """Logarithms of the ten functions of p-values, shape (..., 10): more high or low ones, more or fewer extremes."""
    p = np.clip(p, 1e-12, 1.0 - 1e-12)[..., np.newaxis]
    return np.concatenate(
        [
            np.log1p(_TILTS * (2.0 * p - 1.0)),
            np.log1p(_WAVES * np.cos(2.0 * np.pi * p)),
            np.log(_POWERS) + (_POWERS - 1.0) * np.log(p),
            np.log(_POWERS) + (_POWERS - 1.0) * np.log1p(-p),
        ],
        axis=-1,
    )


def _log_sum_exp(x: Floats) -> Floats:
    """``log(sum(exp(x)))`` over the last axis. SciPy's, an ulp more exact, takes a tenth of a second to load."""
    most = x.max(axis=-1, keepdims=True)
    # Of a test that begins anew all bets are yet to come: a sum of nothing.
    most = np.where(np.isneginf(most), 0.0, most)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(x - most).sum(axis=-1)) + most[..., 0])


@dataclass
class Observed:
    """What a test sees of records, in the order of the stream.

    Attributes
    ----------
    codes : ndarray of int8, shape (rows, columns)
        Bins, -1 for a record that a column's test leaves out.
    residuals : ndarray of float64, shape (rows, columns)
        NaN where there are none.
    moments : ndarray of float64, shape (rows,)
        Seconds since 1970, NaN where not known.
    """

    codes: npt.NDArray[np.int8]
    residuals: Floats
    moments: Floats

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def nothing(cls, columns: int) -> Observed:
        """No records yet."""
        return cls(np.empty((0, columns), np.int8), np.empty((0, columns)), np.empty(0))

    def followed_by(self, more: Observed) -> Observed:
        """These records and others after them."""
        return Observed(
            *(np.concatenate([getattr(self, name), getattr(more, name)]) for name in ("codes", "residuals", "moments"))
        )

    def take(self, rows: Any) -> Observed:
        """Some of them."""
        return Observed(self.codes[rows], self.residuals[rows], self.moments[rows])


@dataclass
class DriftTest:
    """The state of a stream's test: a pure function of the reference and of the records in their order.

    Parameters
    ----------
    reference : ndarray of int64, shape (columns, BINS)
        Reference records by bin.
    usual : ndarray of float64, shape (columns, 2)
        Number and sum of their residuals.

    Attributes
    ----------
    records : int
        That came so far.
    peaks : ndarray of float64, shape (columns,)
        Logarithms of the largest e-value that each column ever had.
    periods : ndarray of int64, shape (periods, columns, BINS)
        Counts of `per_period` blocks each, the last of as many as there are.
    sums : ndarray of float64, shape (periods, columns, 2)
        Number and sum of the residuals.
    starts : ndarray of float64, shape (periods,)
        The moment of each period's first record.
    """

    reference: Codes
    usual: Floats
    records: int = 0
    blocks: int = 0
    per_period: int = 1
    counts: Codes = field(init=False)
    started: Codes = field(init=False)
    capital: Floats = field(init=False)
    peaks: Floats = field(init=False)
    periods: Codes = field(init=False)
    sums: Floats = field(init=False)
    starts: Floats = field(init=False)
    rest: Observed = field(init=False)

    def __post_init__(self) -> None:
        columns = len(self.reference)
        self.counts = self.reference.copy()
        self.started = np.zeros(columns, dtype=np.int64)
        self.capital = np.full((columns, _BETS), -np.inf)
        self.peaks = np.zeros(columns)
        self.periods = np.empty((0, columns, BINS), dtype=np.int64)
        self.sums = np.empty((0, columns, 2))
        self.starts = np.empty(0)
        self.rest = Observed.nothing(columns)

    def update(self, found: Observed) -> None:
        """Go on by records; the state does not depend on how they come in parts."""
        self.records += len(found)
        found = self.rest.followed_by(found)
        whole = len(found) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            self._look(found.take(slice(start, start + BLOCK)))
        self.rest = found.take(slice(whole, None))

    def log_e_values(self) -> Floats:
        """Logarithms of the columns' e-values now (columns,)."""
        kept = -np.log(self.blocks - self.started + 1.0)
        return _log_sum_exp(np.column_stack([_log_sum_exp(self.capital) - np.log(_BETS), kept]))

    @property
    def log_e_value(self) -> float:
        """That of all columns together: the mean of e-values is one, however they depend on each other."""
        return float(_log_sum_exp(self.log_e_values()) - np.log(len(self.reference)))

    def alarms(self, level: float = LEVEL) -> npt.NDArray[np.bool_]:
        """Which columns have ever reached the e-value at which `level` is kept over all of them (columns,)."""
        return np.asarray(self.peaks >= np.log(len(self.reference) / level))

    def settle(self, column: int, since: int) -> None:
        """Take what a column was from a period on for its reference, and begin its test anew."""
        self.reference[column] = self.counts[column] = self.periods[since:, column].sum(axis=0)
        self.usual[column] = self.sums[since:, column].sum(axis=0)
        self.periods[:, column] = 0
        self.sums[:, column] = 0.0
        self.started[column] = self.blocks
        self.capital[column] = -np.inf
        self.peaks[column] = 0.0

    def _look(self, found: Observed) -> None:
        block = self.blocks
        self.blocks += 1
        p, used = self._p_values(found.codes.astype(np.int64), block)
        gained = np.where(used[..., np.newaxis], _log_bets(p), 0.0).sum(axis=0)
        age = (self.blocks - self.started).astype(np.float64)[:, np.newaxis]
        self.capital = np.logaddexp(self.capital, -np.log(age * (age + 1.0))) + gained
        self.peaks = np.maximum(self.peaks, self.log_e_values())
        self._remember(found, block)

    def _p_values(self, codes: Codes, block: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Of a block's records: the share of records up to each, itself too, that lie below it, ties by lot."""
        used = codes >= 0
        own = (codes[..., np.newaxis] == np.arange(BINS)).astype(np.int64)
        until = self.counts + np.cumsum(own, axis=0)
        self.counts = until[-1]
        below = np.where(np.arange(BINS) < codes[..., np.newaxis], until, 0).sum(axis=-1)
        equal = (until * own).sum(axis=-1)
        lots = np.random.Generator(np.random.Philox(key=block)).random(codes.shape)
        return (below + lots * equal) / np.maximum(until.sum(axis=-1), 1), used

    def _remember(self, found: Observed, block: int) -> None:
        if block % self.per_period == 0:
            if len(self.starts) == _PERIODS:
                self.periods = self.periods[::2] + self.periods[1::2]
                self.sums = self.sums[::2] + self.sums[1::2]
                self.starts = self.starts[::2]
                self.per_period *= 2
            if block % self.per_period == 0:
                columns = len(self.reference)
                self.periods = np.concatenate([self.periods, np.zeros((1, columns, BINS), dtype=np.int64)])
                self.sums = np.concatenate([self.sums, np.zeros((1, columns, 2))])
                self.starts = np.append(self.starts, found.moments[0])
        self.periods[-1] += (found.codes[..., np.newaxis] == np.arange(BINS)).sum(axis=0)
        known = np.isfinite(found.residuals)
        self.sums[-1, :, 0] += known.sum(axis=0)
        self.sums[-1, :, 1] += np.where(known, found.residuals, 0.0).sum(axis=0)
