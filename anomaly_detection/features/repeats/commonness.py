"""`Commonness`: how common it is what a record says, and how probable another record is that says the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.repeats.coincidences import repeats_of

__all__ = ["CommonCells", "Commonness", "learn_commonness"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_FEWEST_WITH_TWINS = 10
_MOST_CELLS = 1_000  # a column: what is rarer tells little of how common a record is
_BINS = 200
_SLOPES = np.linspace(0.0, 2.0, 21)
_HALVINGS = 60


@dataclass(frozen=True)
class CommonCells:
    """The cells of a column that occurred most.

    Attributes
    ----------
    keys : ndarray of uint64, shape (k,)
        Ascending.
    counts : ndarray of float64, shape (k,)
        In how many training records each was.
    others : float
        The same of any other cell.
    """

    keys: Keys
    counts: Floats
    others: float

    def of(self, keys: Keys) -> Floats:
        """In how many training records cells were, shape (n,)."""
        if not len(self.keys):
            return np.full(len(keys), self.others)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.counts[at], self.others)


@dataclass(frozen=True)
class Commonness:
    """How many others say what a record says, by how probable its cells are.

    Were columns independent, each other record would say the same with a probability of ``exp(-s)``, `s` the sum of
    the cells' surprisals. They are not, so that ``exp(start - slope s)`` others are expected, with the slope and start
    that make the training records' twins likeliest. A record of common cells has a twin by chance; one of rare cells,
    with digits that nobody else has, has none.

    Attributes
    ----------
    cells : dict of column to CommonCells
    start, slope : float
    compared : float
        With how many others each training record was compared.
    """

    cells: dict[str, CommonCells]
    start: float
    slope: float
    compared: float

    def evidence(self, keys: Mapping[str, Keys], alike: Codes, compared: float, besides: float) -> Floats:
        """``-log`` of the probability of a twin; nats, at least 0, shape (n,).

        Parameters
        ----------
        keys : mapping of column to ndarray of uint64, shape (n,)
            The cells of the records.
        alike : ndarray of int64, shape (n,)
            How many training records say the same.
        compared : float
            With how many others each is compared.
        besides : float
            Nats that are added, up to what independent columns would give.
        """
        surprisal = _surprisal(self.cells, keys, alike, self.compared)
        expected = self.start - self.slope * surprisal + np.log(max(compared, 1.0) / max(self.compared, 1.0))
        most = _of_one_or_more(np.log(max(compared, 1.0)) - surprisal)
        return np.minimum(_of_one_or_more(expected) + besides, most)


def learn_commonness(keys: Mapping[str, Keys], content: Keys, compared: float) -> Commonness | None:
    """Learn from the cells of training records, and keys of all that they say; None where hardly any has a twin.

    Parameters
    ----------
    keys : mapping of column to ndarray of uint64, shape (n,)
    content : ndarray of uint64, shape (n,)
    compared : float
        With how many others each is compared.
    """
    alike = repeats_of(content) + 1
    has_twin = alike > 1
    if has_twin.sum() < _FEWEST_WITH_TWINS:
        return None
    cells = {name: _common(column) for name, column in keys.items()}
    surprisal = _surprisal(cells, keys, alike, compared)
    parts = np.array_split(np.argsort(surprisal, kind="stable"), min(_BINS, len(content)))
    middles = np.array([surprisal[part].mean() for part in parts])
    rows = np.array([len(part) for part in parts], dtype=np.float64)
    twins = np.array([has_twin[part].sum() for part in parts], dtype=np.float64)

    def likely(start: float, slope: float) -> float:
        expected = start - slope * middles
        return -float(np.sum(twins * _of_one_or_more(expected)) + np.sum((rows - twins) * np.exp(expected)))

    slopes = _SLOPES.tolist()
    starts = [_start(slope, middles, rows, float(twins.sum())) for slope in slopes]
    best = int(np.argmax([*map(likely, starts, slopes)]))
    return Commonness(cells, starts[best], slopes[best], compared)


def _surprisal(cells: Mapping[str, CommonCells], keys: Mapping[str, Keys], alike: Codes, compared: float) -> Floats:
    """``-log`` of the share of other records with each cell, added up, shape (n,).

    Those that say the same are left out: else the cells of a record with a twin look commoner for it.
    """
    shares = [(np.maximum(one.of(keys[name]) - alike, 0.0) + 0.5) / (compared + 1.0) for name, one in cells.items()]
    return -np.sum(np.log(np.minimum(shares, 1.0)), axis=0)


def _common(keys: Keys) -> CommonCells:
    known, counts = np.unique(keys, return_counts=True)
    most = np.sort(np.argsort(-counts, kind="stable")[:_MOST_CELLS])
    left = len(keys) - int(counts[most].sum())
    return CommonCells(known[most], counts[most].astype(np.float64), left / (len(known) - len(most)) if left else 0.0)


def _start(slope: float, middles: Floats, rows: Floats, twins: float) -> float:
    """The start with which as many have a twin as did."""
    low, high = -50.0, 50.0 + slope * float(middles.max())
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        expected = float(np.sum(rows * -np.expm1(-np.exp(np.minimum(middle - slope * middles, 700.0)))))
        low, high = (low, middle) if expected > twins else (middle, high)
    return 0.5 * (low + high)


def _of_one_or_more(logarithm: Floats) -> Floats:
    """``-log`` of the probability of one or more where ``exp(logarithm)`` are expected; shape (n,)."""
    mean = np.exp(np.minimum(logarithm, 700.0))
    return np.where(logarithm < -30.0, -logarithm, -np.log(-np.expm1(-np.maximum(mean, 1e-300))))
