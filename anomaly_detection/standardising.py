"""What scikit-learn's standard scalers do to float32, without what they check: one record would pay for that alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import StandardScaler

__all__ = ["Standardising"]

Floats32 = npt.NDArray[np.float32]


class Standardising:
    """A fitted `StandardScaler`, or a `ColumnTransformer` of some on slices, as two arrays.

    Parameters
    ----------
    columns : ndarray of int64, shape (n,)
        The columns that are given, in their order.
    mean, scale : ndarray of float32, shape (n,)
    width : int
        Columns that there must be.
    """

    def __init__(self, columns: npt.NDArray[np.int64], mean: Floats32, scale: Floats32, width: int) -> None:
        self.columns, self._mean, self._scale, self.width = columns, mean, scale, width

    @classmethod
    def of(cls, scaler: Any) -> Standardising | None:
        """What a fitted scaler does; None for any other."""
        if type(scaler) is StandardScaler:
            width = int(scaler.n_features_in_)
            return cls(np.arange(width), *_means(scaler, width), width)
        if type(scaler) is not ColumnTransformer or scaler.remainder != "drop" or scaler.transformer_weights:
            return None
        width, parts = int(scaler.n_features_in_), []
        for _, part, columns in scaler.transformers_:
            if isinstance(part, str) and part == "drop":
                continue
            if type(part) is not StandardScaler or not isinstance(columns, slice):
                return None
            parts.append((np.arange(width)[columns], *_means(part, int(part.n_features_in_))))
        if not parts:
            return None
        chosen, mean, scale = (np.concatenate([part[i] for part in parts]) for i in range(3))
        return cls(chosen, mean, scale, width)

    def apply(self, X: Floats32) -> Floats32:
        """`transform` of the scaler, bit for bit, shape (n_rows, n)."""
        return np.asarray((X[:, self.columns] - self._mean) / self._scale, dtype=np.float32)


def _means(scaler: StandardScaler, width: int) -> tuple[Floats32, Floats32]:
    mean = np.zeros(width) if not scaler.with_mean else scaler.mean_
    scale = np.ones(width) if not scaler.with_std else scaler.scale_
    return mean.astype(np.float32), scale.astype(np.float32)
