"""`CompiledEvidence`: the evidence of features by compiled loops, and `arcsinh` by NumPy between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["KNOTS", "CompiledEvidence"]

KNOTS = 13
"""Places of a tail: a constant, so that a compiled loop over them is laid out for vectors."""

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

_ROWS = 128
"""At once: what they take stays in the cache."""


class CompiledEvidence:
    """What `evidence._Learned` has learned, laid out for `kernels`.

    Parameters
    ----------
    nats, placed : ndarray of int64
        The features that are evidence already, and those that are on a scale.
    widths, two_sided : ndarray of int64
        Which of `placed` are on an `asinh` scale, and which are odd on both sides.
    median : ndarray of float64, shape (placed,)
    width : ndarray of float64, shape (2, widths)
    up, down : tables of all that are placed, and of those that are two-sided
        Each ``knots``, shape (features, 3, KNOTS), and ``ends``, shape (features, 3), as `kernels.weigh` has them.
    most : float
    """

    def __init__(
        self,
        nats: Places,
        placed: Places,
        widths: Places,
        two_sided: Places,
        median: Floats,
        width: Floats,
        up: tuple[Floats, Floats],
        down: tuple[Floats, Floats],
        most: float,
    ) -> None:
        from anomaly_detection.features.compiled import kernels

        self._kernels: Any = kernels
        # Those on an asinh scale first.
        order = np.concatenate([widths, np.setdiff1d(np.arange(len(placed)), widths)])
        self._nats, self._features, self._median = nats, placed[order], median[order]
        self._columns = int(np.concatenate([[-1], nats, placed]).max()) + 1
        self._width, self._most = np.ascontiguousarray(width), most
        self._two_sided = np.isin(order, two_sided)
        knots, ends = (np.stack([one, one], axis=1) for one in up)
        knots[two_sided, 1], ends[two_sided, 1] = down
        self._knots, self._ends = np.ascontiguousarray(knots[order]), np.ascontiguousarray(ends[order])

    def of(self, X: Floats32) -> Floats32:
        """`Evidence.of`."""
        if X.shape[1] < self._columns:
            raise ValueError(f"there are {X.shape[1]} features of {self._columns}")
        X, out = np.ascontiguousarray(X), np.zeros(X.shape, dtype=np.float32)
        for start in range(0, len(X), _ROWS):
            placed = np.empty((len(self._features), min(_ROWS, len(X) - start)))
            self._kernels.place(X, start, self._features, self._median, self._width, placed)
            on_scale = placed[: self._width.shape[1]]
            np.arcsinh(on_scale, out=on_scale)
            self._kernels.weigh(
                X, start, self._features, placed, self._two_sided, self._knots, self._ends, self._nats, self._most, out
            )
        return out
