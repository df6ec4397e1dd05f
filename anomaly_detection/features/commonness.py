"""`Commonness`: how common it is what a record says, and how probable another record is that says the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CommonCells", "Commonness", "learn_commonness"]

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

_FEWEST_TWINS = 5
_MOST_CELLS = 1_000  # a column: what is rarer tells little of how common a record is
_BINS = 200
_SLOPES = np.linspace(0.0, 1.0, 21)
_HALVINGS = 60


@dataclass(frozen=True)
class CommonCells:
    """The cells of a column that occurred most.

    Attributes
    ----------
    keys : ndarray of uint64, shape (k,)
        Ascending.
    surprisals : ndarray of float64, shape (k,)
        ``-log`` of the share of each; nats.
    others : float
        The same of any other cell.
    """

    keys: Keys
    surprisals: Floats
    others: float

    def of(self, keys: Keys) -> Floats:
        """The surprisal of cells, shape (n,)."""
        if not len(self.keys):
            return np.full(len(keys), self.others)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.surprisals[at], self.others)


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

    def evidence(self, keys: Mapping[str, Keys], compared: float, besides: float) -> Floats:
        """``-log`` of the probability of a twin, for records with these cells, compared with so many; nats, (n,).

        And `besides`, but no more than independent columns would give.
        """
        surprisal = np.sum([column.of(keys[name]) for name, column in self.cells.items()], axis=0)
        expected = self.start - self.slope * surprisal + np.log(max(compared, 1.0) / max(self.compared, 1.0))
        return np.minimum(_of_one_or_more(expected) + besides, _of_one_or_more(np.log(max(compared, 1.0)) - surprisal))


def learn_commonness(keys: Mapping[str, Keys], content: Keys, compared: float) -> Commonness | None:
    """Learn from the cells of training records, and keys of all that they say; None where hardly any has a twin.

    Parameters
    ----------
    keys : mapping of column to ndarray of uint64, shape (n,)
    content : ndarray of uint64, shape (n,)
    compared : float
        With how many others each is compared.
    """
    _, first, counts = np.unique(content, return_index=True, return_counts=True)
    if (counts > 1).sum() < _FEWEST_TWINS:
        return None
    # What is said several times counts once: else a twin's cells look commoner than a single record's.
    cells = {name: _common(column[first]) for name, column in keys.items()}
    surprisal = np.sum([column.of(keys[name][first]) for name, column in cells.items()], axis=0)
    order = np.argsort(surprisal, kind="stable")
    parts = np.array_split(order, min(_BINS, len(order)))
    middles = np.array([surprisal[part].mean() for part in parts])
    rows, twins = (np.array([one[part].sum() for part in parts], dtype=np.float64) for one in (counts > 0, counts > 1))

    def likely(start: float, slope: float) -> float:
        expected = start - slope * middles
        return -float(np.sum(twins * _of_one_or_more(expected)) + np.sum((rows - twins) * np.exp(expected)))

    slopes = _SLOPES.tolist()
    starts = [_start(slope, middles, rows, float(twins.sum())) for slope in slopes]
    best = int(np.argmax([*map(likely, starts, slopes)]))
    return Commonness(cells, starts[best], slopes[best], compared)


def _common(keys: Keys) -> CommonCells:
    known, counts = np.unique(keys, return_counts=True)
    most = np.sort(np.argsort(-counts, kind="stable")[:_MOST_CELLS])
    left = len(keys) - int(counts[most].sum())
    usual = left / (len(known) - len(most)) if left else 1.0
    return CommonCells(known[most], -np.log(counts[most] / len(keys)), float(-np.log(usual / len(keys))))


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
